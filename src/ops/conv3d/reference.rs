//! The definitions in f64: loops over voxels, taps and channels; taps in the padding are skipped.

use super::geometry::{Geometry, activation};
use super::kernels::Direction;
use crate::tensor::layout::permute;
use crate::tensor::{HostTensor, TensorSpec};

/// Calls `visit(output voxel, input voxel, tap)` for every tap of every window that lies inside the input.
fn taps(g: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    let inside = |axis: usize, o: usize, k: usize| {
        (o * g.stride[axis] + k).checked_sub(g.padding[axis]).filter(|&i| i < g.input[axis])
    };
    let mut output = 0;
    for n in 0..g.batch {
        for (oz, oy, ox) in triples(g.output) {
            for (tap, (kz, ky, kx)) in triples(g.kernel).enumerate() {
                if let (Some(z), Some(y), Some(x)) = (inside(0, oz, kz), inside(1, oy, ky), inside(2, ox, kx)) {
                    visit(output, ((n * g.input[0] + z) * g.input[1] + y) * g.input[2] + x, tap);
                }
            }
            output += 1;
        }
    }
}

fn triples([d, h, w]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..d).flat_map(move |z| (0..h).flat_map(move |y| (0..w).map(move |x| (z, y, x))))
}

/// Rows of a tensor by its innermost axis.
fn row(data: &[f64], channels: usize, index: usize) -> &[f64] {
    &data[index * channels..][..channels]
}

/// `output += Σ_i input[i] * matrix[i, ..]` for a matrix with rows of the output's length.
fn accumulate(output: &mut [f64], input: &[f64], matrix: &[f64]) {
    for (&x, weights) in input.iter().zip(matrix.chunks_exact(output.len())) {
        output.iter_mut().zip(weights).for_each(|(o, w)| *o += x * w);
    }
}

fn biased(spec: TensorSpec, bias: Option<&HostTensor>) -> HostTensor {
    match bias {
        Some(bias) => {
            let data = bias.data.iter().copied().cycle().take(spec.elements()).collect();
            HostTensor::new(spec, data)
        }
        None => HostTensor::zeros(spec),
    }
}

/// One side from the other, with weights `[k, from, to]`.
pub(in crate::ops) fn convolve(
    g: &Geometry,
    direction: Direction,
    source: &HostTensor,
    weight: &HostTensor,
    bias: Option<&HostTensor>,
) -> HostTensor {
    let [ci, co] = direction.channels(g);
    let extents = if direction.is_backward() { g.input } else { g.output };
    let mut result = biased(activation(g.batch, extents, co), bias);
    taps(g, |output, input, tap| {
        let (from, to) = if direction.is_backward() { (output, input) } else { (input, output) };
        let voxel = &mut result.data[to * co..][..co];
        accumulate(voxel, row(&source.data, ci, from), row(&weight.data, ci * co, tap));
    });
    result
}

/// The weights `[k, ci, co]` from both sides.
pub(in crate::ops) fn grad_weight(g: &Geometry, input: &HostTensor, output: &HostTensor) -> HostTensor {
    let (ci, co) = (g.in_channels, g.out_channels);
    let [kd, kh, kw] = g.kernel;
    let mut weight = HostTensor::zeros(TensorSpec::f32([kd, kh, kw, ci, co]));
    taps(g, |o, i, tap| {
        let matrix = &mut weight.data[tap * ci * co..][..ci * co];
        for (&x, row_of_weights) in row(&input.data, ci, i).iter().zip(matrix.chunks_exact_mut(co)) {
            row_of_weights.iter_mut().zip(row(&output.data, co, o)).for_each(|(w, y)| *w += x * y);
        }
    });
    weight
}

/// Weights with their two channel axes exchanged.
pub(in crate::ops) fn channels_swapped(weight: &HostTensor) -> HostTensor {
    let axes = [0, 1, 2, 4, 3];
    let shape: Vec<usize> = axes.iter().map(|&a| weight.shape()[a]).collect();
    HostTensor::new(TensorSpec::f32(shape), permute(&weight.data, weight.shape(), &axes))
}
