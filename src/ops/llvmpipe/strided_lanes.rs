//! Convolutions whose windows overlap, of any stride, as [`Gemm`]s over a padded copy: the taps of a window that lie side by side
//! along x are a row of a matrix as they stand in memory, and the rows of neighbouring windows overlap.

use super::gemm::emit_by_rows;
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Target};
use crate::ops::conv3d::geometry::{Geometry, WeightOrder};
use crate::ops::conv3d::kernels::operands::{ConvOperands, Sides, emit_weight_transpose};
use crate::ops::conv3d::kernels::split_k::{MOST_PARTIAL_BYTES, emit_sum, partial_sums};
use crate::ops::conv3d::kernels::{Direction, Family};
use crate::ops::gemm::{Batch, Gemm, Steps, padded_channels};
use crate::tensor::ELEMENT_BYTES;

/// Gemms over a padded copy, where the channels are those that the kernels take.
#[derive(Debug)]
pub(super) struct StridedLanes;

/// One side with zeros around it.
#[derive(Debug, Clone, Copy)]
struct Padded {
    before: [usize; 3],
    extents: [usize; 3],
    channels: usize,
}

impl Padded {
    /// The input, so that every window lies inside.
    fn input(g: &Geometry) -> Self {
        let reach = |axis: usize| (g.output[axis] - 1) * g.stride[axis] + g.kernel[axis];
        let extents = std::array::from_fn(|axis| reach(axis).max(g.input[axis] + g.padding[axis]));
        Self { before: g.padding, extents, channels: g.in_channels }
    }

    /// The output's gradient, so that every voxel of the input meets as many windows as the others of its class.
    fn grad_output(g: &Geometry) -> Self {
        let (mut before, mut extents) = ([0; 3], [0; 3]);
        for axis in 0..3 {
            let classes = Class::along(g, axis);
            let lacks = |class: &Class| (class.taps.saturating_sub(1)).saturating_sub(class.base);
            let last = |class: &Class| (class.voxels + class.base).saturating_sub(1);
            before[axis] = classes.iter().map(lacks).max().unwrap_or(0);
            let after = classes.iter().map(last).max().unwrap_or(0);
            extents[axis] = before[axis] + g.output[axis].max(after + 1);
        }
        Self { before, extents, channels: g.out_channels }
    }

    fn line(&self) -> usize {
        self.extents[2] * self.channels
    }

    fn plane(&self) -> usize {
        self.extents[1] * self.line()
    }

    fn sample(&self) -> usize {
        self.extents[0] * self.plane()
    }

    fn elements(&self, g: &Geometry) -> usize {
        g.batch * self.sample()
    }

    /// The first element of a voxel.
    fn at(&self, [z, y, x]: [usize; 3]) -> usize {
        z * self.plane() + y * self.line() + x * self.channels
    }

    /// The copy, or what is already as large.
    fn emit(&self, at: &mut Lowering<'_>, g: &Geometry, from: [usize; 3], side: Operand) -> Operand {
        if self.extents == from {
            return side;
        }
        let copy = at.scratch(self.elements(g));
        let rows = g.batch * self.extents[0] * self.extents[1];
        let mut dispatch = Dispatch::new("pad_crop").params(&from).params(&self.extents).params(&[self.channels, rows]);
        dispatch.params.extend(self.before.map(|before| (-(before as i32)).cast_unsigned()));
        let grid = at.target().fold(rows);
        at.emit(dispatch.read(side).write(copy).grid(grid));
        copy
    }
}

/// Along one axis the input's voxels at one place between the starts of two windows: voxel `j` of them meets the windows
/// `j + base - t` at the taps `first + t stride`.
#[derive(Debug, Clone, Copy)]
struct Class {
    residue: usize,
    voxels: usize,
    first: usize,
    taps: usize,
    base: usize,
}

impl Class {
    fn along(g: &Geometry, axis: usize) -> Vec<Self> {
        let (stride, kernel) = (g.stride[axis], g.kernel[axis]);
        let class = |residue: usize| {
            let shifted = residue + g.padding[axis];
            let first = shifted % stride;
            let voxels = g.input[axis].saturating_sub(residue).div_ceil(stride);
            let taps = kernel.saturating_sub(first).div_ceil(stride);
            Self { residue, voxels, first, taps, base: shifted / stride }
        };
        (0..stride).map(class).collect()
    }
}

/// Triples of indices below these.
fn triples([d, h, w]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..d).flat_map(move |z| (0..h).flat_map(move |y| (0..w).map(move |x| [z, y, x])))
}

fn whole(channels: usize) -> bool {
    padded_channels(channels) == channels
}

impl Family for StridedLanes {
    fn fits(&self, g: &Geometry, target: &Target) -> bool {
        let bound = |elements: usize| elements as u64 * ELEMENT_BYTES <= target.limits.max_binding_bytes;
        let sides = [g.input_voxels() * g.in_channels, g.output_voxels() * g.out_channels, g.weights()];
        let padded = [Padded::input(g), Padded::grad_output(g)].map(|side| side.elements(g));
        let channels = whole(g.in_channels) && whole(g.out_channels) && g.order == WeightOrder::InputFirst;
        let fits = channels && sides.into_iter().chain(padded).all(bound);
        // 5x5x5 convolutions keep the kernels whose bits trainings have had.
        let others = g.windows_tile() || (g.keeps_extents() && g.kernel == [5; 3]);
        fits && target.subgroup_kernels() && !others
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        target.tuning.costs.gemm * g.flops() as f64
    }

    fn convolve(&self, at: &mut Lowering<'_>, g: &Geometry, direction: Direction, operands: ConvOperands) {
        match direction {
            Direction::Forward => forward(at, g, operands),
            Direction::Backward => backward(at, g, operands),
        }
    }

    // `weight[k, ci, co] = Σ_v input[window(v, k), ci] * output[v, co]`: planes for themselves, and then their sum.
    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, operands: Sides) {
        let output = at.output(0);
        let padded = Padded::input(g);
        let input = padded.emit(at, g, g.input, operands.input);
        let most = (MOST_PARTIAL_BYTES / (g.weights() as u64 * ELEMENT_BYTES)).max(1) as usize;
        let splits = g.output[0].min(most);
        let partial = partial_sums(at, g.weights(), splits, output);
        let run = if whole(g.kernel[2] * g.in_channels) { g.kernel[2] } else { 1 };
        let [d, h, w] = g.output;
        for sample in 0..g.batch {
            for first_plane in (0..d).step_by(splits) {
                for [z, y, x] in triples([g.kernel[0], g.kernel[1], g.kernel[2] / run]) {
                    let from = [first_plane * g.stride[0] + z, y, x * run];
                    let tap = (z * g.kernel[1] + y) * g.kernel[2] + x * run;
                    let gemm = Gemm {
                        batch: splits.min(d - first_plane),
                        extents: [run * g.in_channels, g.out_channels, h * w],
                        lengths: [1, w],
                        a: Batch {
                            first: sample * padded.sample() + padded.at(from),
                            step: g.stride[0] * padded.plane(),
                        },
                        a_rows: Steps::plain(1),
                        a_inner: Steps { step: g.stride[2] * g.in_channels, panel: g.stride[1] * padded.line() },
                        b: Batch {
                            first: (sample * d + first_plane) * h * w * g.out_channels,
                            step: h * w * g.out_channels,
                        },
                        b_inner: Steps { step: g.out_channels, panel: w * g.out_channels },
                        c: Batch { first: tap * g.in_channels * g.out_channels, step: g.weights() },
                        c_rows: Steps::plain(g.out_channels),
                        add: sample > 0 || first_plane > 0,
                    };
                    gemm.emit(at, [input, operands.output, partial]);
                }
            }
        }
        emit_sum(at, g.weights(), splits, partial, output);
    }
}

/// `output[v, co] = bias[co] + Σ_{k, ci} input[window(v, k), ci] * weight[k, ci, co]`, a sum over rows (z, y) of taps.
fn forward(at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands) {
    let padded = Padded::input(g);
    let input = padded.emit(at, g, g.input, operands.activation);
    let [d, h, w] = g.output;
    let [kd, kh, kw] = g.kernel;
    for sample in 0..g.batch {
        for (i, [z, y, _]) in triples([kd, kh, 1]).enumerate() {
            let gemm = Gemm {
                batch: d,
                extents: [h * w, g.out_channels, kw * g.in_channels],
                lengths: [w, 1],
                a: Batch { first: sample * padded.sample() + padded.at([z, y, 0]), step: g.stride[0] * padded.plane() },
                a_rows: Steps { step: g.stride[2] * g.in_channels, panel: g.stride[1] * padded.line() },
                a_inner: Steps::plain(1),
                b: Batch { first: (z * kh + y) * kw * g.in_channels * g.out_channels, step: 0 },
                b_inner: Steps::plain(g.out_channels),
                c: Batch { first: sample * d * h * w * g.out_channels, step: h * w * g.out_channels },
                c_rows: Steps { step: g.out_channels, panel: w * g.out_channels },
                add: i > 0,
            };
            let bias = operands.bias.filter(|_| i == 0);
            emit_by_rows(at, &gemm, [input, operands.weight, at.output(0)], bias);
        }
    }
}

/// `input[i, ci] = Σ output[o, co] * weight[k, ci, co]` over the windows that meet voxel `i`, class by class of voxels.
fn backward(at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands) {
    assert!(operands.bias.is_none(), "a bias belongs to a transposed convolution");
    let padded = Padded::grad_output(g);
    let grad = padded.emit(at, g, g.output, operands.activation);
    let weight = at.scratch(g.weights());
    emit_weight_transpose(at, [g.taps(), g.in_channels, g.out_channels], operands.weight, weight);
    let classes: [Vec<Class>; 3] = std::array::from_fn(|axis| Class::along(g, axis));
    let result = Padded { before: [0; 3], extents: g.input, channels: g.in_channels };
    let output = at.output(0);
    if classes.iter().flatten().any(|class| class.taps == 0) {
        let elements = result.elements(g);
        let dispatch = Dispatch::new("fill").param(elements).scalar(0.0).write(output);
        at.emit(dispatch.linear_grid(elements.div_ceil(64), at.target()));
    }
    for [z, y, x] in triples(g.stride) {
        let class = [classes[0][z], classes[1][y], classes[2][x]];
        if class.iter().any(|c| c.voxels == 0) {
            continue;
        }
        for sample in 0..g.batch {
            for (i, t) in triples(class.map(|c| c.taps)).enumerate() {
                let from = std::array::from_fn(|axis| padded.before[axis] + class[axis].base - t[axis]);
                let tap: [usize; 3] = std::array::from_fn(|axis| class[axis].first + t[axis] * g.stride[axis]);
                let tap = (tap[0] * g.kernel[1] + tap[1]) * g.kernel[2] + tap[2];
                let [d, h, w] = class.map(|c| c.voxels);
                let to = sample * result.sample() + result.at(class.map(|c| c.residue));
                let gemm = Gemm {
                    batch: d,
                    extents: [h * w, g.in_channels, g.out_channels],
                    lengths: [w, 1],
                    a: Batch { first: sample * padded.sample() + padded.at(from), step: padded.plane() },
                    a_rows: Steps { step: g.out_channels, panel: padded.line() },
                    a_inner: Steps::plain(1),
                    b: Batch { first: tap * g.in_channels * g.out_channels, step: 0 },
                    b_inner: Steps::plain(g.in_channels),
                    c: Batch { first: to, step: g.stride[0] * result.plane() },
                    c_rows: Steps { step: g.stride[2] * g.in_channels, panel: g.stride[1] * result.line() },
                    add: i > 0,
                };
                emit_by_rows(at, &gemm, [grad, weight, output], None);
            }
        }
    }
}
