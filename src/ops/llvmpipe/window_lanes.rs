//! Convolutions whose windows do not overlap, as [`Gemm`]s of whole matrices: the taps of a window that lie side by
//! side along x, of all windows of a plane, are the rows of a matrix as they stand in memory.

use super::gemm::emit_by_rows;
use crate::graph::Lowering;
use crate::kernel::{Operand, Target};
use crate::ops::conv3d::geometry::{Geometry, WeightOrder};
use crate::ops::conv3d::kernels::Family;
use crate::ops::conv3d::kernels::operands::{ConvOperands, Sides, emit_weight_transpose};
use crate::ops::conv3d::kernels::split_k::{MOST_PARTIAL_BYTES, emit_sum, partial_sums};
use crate::ops::gemm::{Batch, Gemm, Steps, padded_channels};
use crate::tensor::ELEMENT_BYTES;

/// Taps side by side: the window's row (z, y), or one tap of it.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Elements of the input from the window's first to the run's first.
    input: usize,
    /// First tap.
    tap: usize,
    /// Taps.
    taps: usize,
}

/// The runs of a window. With [`WeightOrder::InputFirst`] the taps of a row follow one another in the weights as well.
fn runs(g: &Geometry) -> Vec<Run> {
    let [kz, ky, kx] = g.kernel;
    let taps = if g.order == WeightOrder::InputFirst { kx } else { 1 };
    let run = |tap: usize| {
        let (z, y, x) = (tap / (ky * kx), tap / kx % ky, tap % kx);
        Run { input: ((z * g.input[1] + y) * g.input[2] + x) * g.in_channels, tap, taps }
    };
    (0..kz * ky * kx).step_by(taps).map(run).collect()
}

/// Planes of windows, and where the first element of each window lies on the input and the output side.
struct Planes {
    planes: usize,
    input: (usize, Steps),
    output: (usize, Steps),
}

fn planes(g: &Geometry) -> Planes {
    let [_, h, w] = g.output;
    let [kz, ky, kx] = g.kernel;
    let line = g.input[2] * g.in_channels;
    let input = Steps { step: kx * g.in_channels, panel: ky * line };
    let output = Steps { step: g.out_channels, panel: w * g.out_channels };
    Planes {
        planes: g.batch * g.output[0],
        input: (kz * g.input[1] * line, input),
        output: (h * w * g.out_channels, output),
    }
}

fn whole(channels: usize) -> bool {
    padded_channels(channels) == channels
}

/// Gemms of matrices as they stand in memory, where the channels are those that the kernels take.
#[derive(Debug)]
pub(super) struct WindowLanes;

impl Family for WindowLanes {
    fn fits(&self, g: &Geometry, target: &Target) -> bool {
        let run = runs(g)[0].taps * g.in_channels;
        let partial = g.batch * g.output[0] * g.weights() * ELEMENT_BYTES as usize;
        let channels = whole(run) && whole(g.out_channels);
        g.windows_tile() && target.subgroup_kernels() && channels && partial as u64 <= MOST_PARTIAL_BYTES
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        target.tuning.costs.direct_subgroup * g.flops() as f64
    }

    // `output[v, co] = bias[co] + Σ_{k, ci} input[window(v, k), ci] * weight[k, ci, co]`.
    fn forward(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands) {
        let sides = planes(g);
        let weight = match g.order {
            WeightOrder::InputFirst => operands.weight,
            WeightOrder::OutputFirst => transposed(at, g, [g.taps(), g.out_channels, g.in_channels], operands.weight),
        };
        for (i, run) in runs(g).into_iter().enumerate() {
            let gemm = Gemm {
                batch: sides.planes,
                extents: [g.output[1] * g.output[2], g.out_channels, run.taps * g.in_channels],
                lengths: [g.output[2], 1],
                a: Batch { first: run.input, step: sides.input.0 },
                a_rows: sides.input.1,
                a_inner: Steps::plain(1),
                b: Batch { first: run.tap * g.in_channels * g.out_channels, step: 0 },
                b_inner: Steps::plain(g.out_channels),
                c: Batch { first: 0, step: sides.output.0 },
                c_rows: sides.output.1,
                add: i > 0,
            };
            let bias = operands.bias.filter(|_| i == 0);
            emit_by_rows(at, &gemm, [operands.activation, weight, at.output(0)], bias);
        }
    }

    // `input[window(v, k), ci] = bias[ci] + Σ_co output[v, co] * weight[k, ci, co]`.
    fn grad_input(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands) {
        let sides = planes(g);
        let runs = runs(g);
        let columns = runs[0].taps * g.in_channels;
        let weight = match g.order {
            WeightOrder::InputFirst => transposed(at, g, [runs.len(), columns, g.out_channels], operands.weight),
            WeightOrder::OutputFirst => operands.weight,
        };
        for run in runs {
            let gemm = Gemm {
                batch: sides.planes,
                extents: [g.output[1] * g.output[2], columns, g.out_channels],
                lengths: [g.output[2], 1],
                a: Batch { first: 0, step: sides.output.0 },
                a_rows: sides.output.1,
                a_inner: Steps::plain(1),
                b: Batch { first: run.tap * g.in_channels * g.out_channels, step: 0 },
                b_inner: Steps::plain(columns),
                c: Batch { first: run.input, step: sides.input.0 },
                c_rows: sides.input.1,
                add: false,
            };
            assert!(run.taps == 1 || operands.bias.is_none(), "a bias belongs to a transposed convolution");
            emit_by_rows(at, &gemm, [operands.activation, weight, at.output(0)], operands.bias);
        }
    }

    // `weight[k, ci, co] = Σ_v input[window(v, k), ci] * output[v, co]`, plane by plane and then over the planes.
    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, operands: Sides) {
        let sides = planes(g);
        let partial = partial_sums(at, g.weights(), sides.planes);
        let output_side = (operands.output, 0, sides.output, g.out_channels);
        for run in runs(g) {
            let input_side = (operands.input, run.input, sides.input, run.taps * g.in_channels);
            let (rows, columns) = match g.order {
                WeightOrder::InputFirst => (input_side, output_side),
                WeightOrder::OutputFirst => (output_side, input_side),
            };
            let gemm = Gemm {
                batch: sides.planes,
                extents: [rows.3, columns.3, g.output[1] * g.output[2]],
                lengths: [1, g.output[2]],
                a: Batch { first: rows.1, step: rows.2.0 },
                a_rows: Steps::plain(1),
                a_inner: rows.2.1,
                b: Batch { first: columns.1, step: columns.2.0 },
                b_inner: columns.2.1,
                c: Batch { first: run.tap * g.in_channels * g.out_channels, step: g.weights() },
                c_rows: Steps::plain(columns.3),
                add: false,
            };
            gemm.emit(at, [rows.0, columns.0, partial]);
        }
        emit_sum(at, g.weights(), sides.planes, partial);
    }
}

/// Weights with rows and columns exchanged, so that the columns of a gemm lie together.
fn transposed(at: &mut Lowering<'_>, g: &Geometry, extents: [usize; 3], weight: Operand) -> Operand {
    let transposed = at.scratch(g.weights());
    emit_weight_transpose(at, extents, weight, transposed);
    transposed
}
