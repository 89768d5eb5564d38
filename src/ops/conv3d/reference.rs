//! The definitions in f64: loops over voxels, taps and channels; taps in the padding are skipped.

use super::geometry::{Geometry, activation};
use crate::tensor::layout::permute;
use crate::tensor::{HostTensor, TensorSpec};

/// Calls `visit(coarse voxel, fine voxel, tap)` for every tap of every window that lies inside the fine side.
fn taps(g: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    let inside = |axis: usize, o: usize, k: usize| {
        (o * g.stride[axis] + k).checked_sub(g.padding[axis]).filter(|&i| i < g.fine[axis])
    };
    let mut coarse = 0;
    for n in 0..g.batch {
        for (oz, oy, ox) in triples(g.coarse) {
            for (tap, (kz, ky, kx)) in triples(g.kernel).enumerate() {
                if let (Some(z), Some(y), Some(x)) = (inside(0, oz, kz), inside(1, oy, ky), inside(2, ox, kx)) {
                    visit(coarse, ((n * g.fine[0] + z) * g.fine[1] + y) * g.fine[2] + x, tap);
                }
            }
            coarse += 1;
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

/// The coarse side from the fine one with weights `[k, fine channel, coarse channel]`.
pub(in crate::ops) fn coarse_from_fine(
    g: &Geometry,
    fine: &HostTensor,
    weight: &HostTensor,
    bias: Option<&HostTensor>,
) -> HostTensor {
    let (f, a) = (g.fine_channels, g.coarse_channels);
    let mut coarse = biased(activation(g.batch, g.coarse, a), bias);
    taps(g, |o, i, tap| {
        let output = &mut coarse.data[o * a..][..a];
        accumulate(output, row(&fine.data, f, i), row(&weight.data, f * a, tap));
    });
    coarse
}

/// The fine side from the coarse one with weights `[k, coarse channel, fine channel]`.
pub(in crate::ops) fn fine_from_coarse(
    g: &Geometry,
    coarse: &HostTensor,
    weight: &HostTensor,
    bias: Option<&HostTensor>,
) -> HostTensor {
    let (f, a) = (g.fine_channels, g.coarse_channels);
    let mut fine = biased(activation(g.batch, g.fine, f), bias);
    taps(g, |o, i, tap| {
        let output = &mut fine.data[i * f..][..f];
        accumulate(output, row(&coarse.data, a, o), row(&weight.data, f * a, tap));
    });
    fine
}

/// The weights `[k, fine channel, coarse channel]` from both sides.
pub(in crate::ops) fn weight(g: &Geometry, fine: &HostTensor, coarse: &HostTensor) -> HostTensor {
    let (f, a) = (g.fine_channels, g.coarse_channels);
    let [kd, kh, kw] = g.kernel;
    let mut weight = HostTensor::zeros(TensorSpec::f32([kd, kh, kw, f, a]));
    taps(g, |o, i, tap| {
        let matrix = &mut weight.data[tap * f * a..][..f * a];
        for (&x, row_of_weights) in row(&fine.data, f, i).iter().zip(matrix.chunks_exact_mut(a)) {
            row_of_weights.iter_mut().zip(row(&coarse.data, a, o)).for_each(|(w, y)| *w += x * y);
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
