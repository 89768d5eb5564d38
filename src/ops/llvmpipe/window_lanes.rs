//! Convolutions whose windows do not overlap, as [`Gemm`]s of whole matrices: the taps of a window that lie side by
//! side along x, of all windows of a plane, are the rows of a matrix as they stand in memory.

use super::gemm::emit_by_rows;
use crate::graph::Lowering;
use crate::kernel::{Operand, Target};
use crate::ops::conv3d::geometry::{Geometry, WeightOrder};
use crate::ops::conv3d::kernels::operands::{ConvOperands, Sides, emit_weight_transpose};
use crate::ops::conv3d::kernels::split_k::{MOST_PARTIAL_BYTES, emit_sum, partial_sums};
use crate::ops::conv3d::kernels::{Direction, Family};
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

/// The input or the output by planes of windows: a matrix with the run's elements of a window in a row.
#[derive(Debug, Clone, Copy)]
struct Side {
    /// Element at which the first plane starts.
    first: usize,
    /// From one plane to the next.
    plane: usize,
    /// From one window to the next.
    windows: Steps,
    /// Elements of a row.
    channels: usize,
}

impl Side {
    fn batch(&self) -> Batch {
        Batch { first: self.first, step: self.plane }
    }
}

/// Both sides of a run, the input first.
fn sides(g: &Geometry, run: Run) -> [Side; 2] {
    let [_, h, w] = g.output;
    let [kz, ky, kx] = g.kernel;
    let (line, channels) = (g.input[2] * g.in_channels, g.out_channels);
    let input = Steps { step: kx * g.in_channels, panel: ky * line };
    let output = Steps { step: channels, panel: w * channels };
    [
        Side { first: run.input, plane: kz * g.input[1] * line, windows: input, channels: run.taps * g.in_channels },
        Side { first: 0, plane: h * w * channels, windows: output, channels },
    ]
}

/// Planes of windows.
fn planes(g: &Geometry) -> usize {
    g.batch * g.output[0]
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
        let partial = planes(g) * g.weights() * ELEMENT_BYTES as usize;
        let channels = whole(run) && whole(g.out_channels);
        let sides = [g.input_voxels() * g.in_channels, g.output_voxels() * g.out_channels];
        let bound = sides.iter().all(|&side| side as u64 * ELEMENT_BYTES <= target.limits.max_binding_bytes);
        let fits = channels && bound && partial as u64 <= MOST_PARTIAL_BYTES;
        g.windows_tile() && target.subgroup_kernels() && fits
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        target.tuning.costs.direct_subgroup * g.flops() as f64
    }

    // Forward `output[v, co] = bias[co] + Σ_{k, ci} input[window(v, k), ci] * weight[k, ci, co]`, a sum over the runs;
    // backward `input[window(v, k), ci] = bias[ci] + Σ_co output[v, co] * weight[k, ci, co]`, each run for itself.
    fn convolve(&self, at: &mut Lowering<'_>, g: &Geometry, direction: Direction, operands: ConvOperands) {
        let (runs, backward) = (runs(g), direction.is_backward());
        let columns = runs[0].taps * g.in_channels;
        let weight = match (direction, g.order) {
            (Direction::Forward, WeightOrder::OutputFirst) => {
                transposed(at, g, [g.taps(), g.out_channels, g.in_channels], operands.weight)
            }
            (Direction::Backward, WeightOrder::InputFirst) => {
                transposed(at, g, [runs.len(), columns, g.out_channels], operands.weight)
            }
            _ => operands.weight,
        };
        for (i, run) in runs.into_iter().enumerate() {
            let [input, output] = sides(g, run);
            let (from, to) = if backward { (output, input) } else { (input, output) };
            let gemm = Gemm {
                batch: planes(g),
                extents: [g.output[1] * g.output[2], to.channels, from.channels],
                lengths: [g.output[2], 1],
                a: from.batch(),
                a_rows: from.windows,
                a_inner: Steps::plain(1),
                b: Batch { first: run.tap * g.in_channels * g.out_channels, step: 0 },
                b_inner: Steps::plain(to.channels),
                c: to.batch(),
                c_rows: to.windows,
                add: !backward && i > 0,
            };
            let bias = operands.bias.filter(|_| backward || i == 0);
            assert!(!backward || run.taps == 1 || bias.is_none(), "a bias belongs to a transposed convolution");
            emit_by_rows(at, &gemm, [operands.activation, weight, at.output(0)], bias);
        }
    }

    // `weight[k, ci, co] = Σ_v input[window(v, k), ci] * output[v, co]`, plane by plane and then over the planes.
    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, operands: Sides) {
        let output = at.output(0);
        let partial = partial_sums(at, g.weights(), planes(g), output);
        for run in runs(g) {
            let [input, output] = sides(g, run);
            let (input, output) = ((operands.input, input), (operands.output, output));
            let ((a, rows), (b, columns)) = match g.order {
                WeightOrder::InputFirst => (input, output),
                WeightOrder::OutputFirst => (output, input),
            };
            let gemm = Gemm {
                batch: planes(g),
                extents: [rows.channels, columns.channels, g.output[1] * g.output[2]],
                lengths: [1, g.output[2]],
                a: rows.batch(),
                a_rows: Steps::plain(1),
                a_inner: rows.windows,
                b: columns.batch(),
                b_inner: columns.windows,
                c: Batch { first: run.tap * g.in_channels * g.out_channels, step: g.weights() },
                c_rows: Steps::plain(columns.channels),
                add: false,
            };
            gemm.emit(at, [a, b, partial]);
        }
        emit_sum(at, g.weights(), planes(g), partial, output);
    }
}

/// Weights with rows and columns exchanged, so that the columns of a gemm lie together.
fn transposed(at: &mut Lowering<'_>, g: &Geometry, extents: [usize; 3], weight: Operand) -> Operand {
    let transposed = at.scratch(g.weights());
    emit_weight_transpose(at, extents, weight, transposed);
    transposed
}
