//! Convolutions whose windows do not overlap, as [`Products`] of whole matrices: the taps of a window that lie side by
//! side along x, of all windows of a plane, are the rows of a matrix as they stand in memory.

use super::family::{Family, Kind, Sides};
use super::geometry::{Geometry, WeightOrder};
use super::shares::{MOST_PARTIAL_BYTES, Product, emit_sum};
use super::turned::emit_turned;
use crate::graph::Lowering;
use crate::kernel::{Operand, Target};
use crate::ops::matmul::{Batch, Products, Steps, has_lane_tiles, padded_channels};
use crate::tensor::ELEMENT_BYTES;

/// Taps side by side: the window's row (z, y), or one tap of it.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Elements from the window's first to the run's first.
    fine: usize,
    /// First tap.
    tap: usize,
    /// Taps.
    taps: usize,
}

/// The runs of a window. With [`WeightOrder::FineFirst`] the taps of a row follow one another in the weights as well.
fn runs(g: &Geometry, order: WeightOrder) -> Vec<Run> {
    let [kz, ky, kx] = g.kernel;
    let taps = if order == WeightOrder::FineFirst { kx } else { 1 };
    let run = |tap: usize| {
        let (z, y, x) = (tap / (ky * kx), tap / kx % ky, tap % kx);
        Run { fine: ((z * g.fine[1] + y) * g.fine[2] + x) * g.fine_channels, tap, taps }
    };
    (0..kz * ky * kx).step_by(taps).map(run).collect()
}

/// Planes of windows, and where the first element of each window lies on the fine and the coarse side.
struct Planes {
    planes: usize,
    fine: (usize, Steps),
    coarse: (usize, Steps),
}

fn planes(g: &Geometry) -> Planes {
    let [_, h, w] = g.coarse;
    let [kz, ky, kx] = g.kernel;
    let line = g.fine[2] * g.fine_channels;
    let fine = Steps { step: kx * g.fine_channels, panel: ky * line };
    let coarse = Steps { step: g.coarse_channels, panel: w * g.coarse_channels };
    Planes {
        planes: g.batch * g.coarse[0],
        fine: (kz * g.fine[1] * line, fine),
        coarse: (h * w * g.coarse_channels, coarse),
    }
}

fn whole(channels: usize) -> bool {
    padded_channels(channels) == channels
}

/// Products of matrices as they stand in memory, where the channels are those that the kernels take.
#[derive(Debug)]
pub(super) struct WindowLanes;

impl Family for WindowLanes {
    fn kind(&self) -> Kind {
        Kind::Direct
    }

    fn fits(&self, g: &Geometry, order: WeightOrder, target: &Target) -> bool {
        let run = runs(g, order)[0].taps * g.fine_channels;
        let partial = g.batch * g.coarse[0] * g.weights() * ELEMENT_BYTES as usize;
        let channels = whole(run) && whole(g.coarse_channels);
        g.windows_tile() && has_lane_tiles(target) && channels && partial as u64 <= MOST_PARTIAL_BYTES
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        target.tuning.costs.direct_lanes * g.flops() as f64
    }

    fn forward(&self, at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder) {
        coarse_from_fine(at, g, product, order);
    }

    fn grad_input(&self, at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder) {
        fine_from_coarse(at, g, product, order);
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides, order: WeightOrder) {
        weight(at, g, sides.fine, sides.coarse, order);
    }
}

/// Weights with rows and columns exchanged, so that the columns of a product lie together.
fn turned(at: &mut Lowering<'_>, g: &Geometry, extents: [usize; 3], weight: Operand) -> Operand {
    let turned = at.scratch(g.weights());
    emit_turned(at, extents, weight, turned);
    turned
}

/// `coarse[v, a] = bias[a] + Σ_{k, f} fine[window(v, k), f] * weight[k, f, a]`.
fn coarse_from_fine(at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder) {
    let sides = planes(g);
    let weight = match order {
        WeightOrder::FineFirst => product.weight,
        WeightOrder::CoarseFirst => turned(at, g, [g.taps(), g.coarse_channels, g.fine_channels], product.weight),
    };
    for (i, run) in runs(g, order).into_iter().enumerate() {
        let products = Products {
            batch: sides.planes,
            extents: [g.coarse[1] * g.coarse[2], g.coarse_channels, run.taps * g.fine_channels],
            lengths: [g.coarse[2], 1],
            a: Batch { first: run.fine, step: sides.fine.0 },
            a_rows: sides.fine.1,
            a_inner: Steps::plain(1),
            b: Batch { first: run.tap * g.fine_channels * g.coarse_channels, step: 0 },
            b_inner: Steps::plain(g.coarse_channels),
            c: Batch { first: 0, step: sides.coarse.0 },
            c_rows: sides.coarse.1,
            add: i > 0,
        };
        let bias = product.bias.filter(|_| i == 0);
        products.emit_with_bias(at, product.source, weight, bias, at.output(0));
    }
}

/// `fine[window(v, k), f] = bias[f] + Σ_a coarse[v, a] * weight[k, f, a]`.
fn fine_from_coarse(at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder) {
    let sides = planes(g);
    let runs = runs(g, order);
    let columns = runs[0].taps * g.fine_channels;
    let weight = match order {
        WeightOrder::FineFirst => turned(at, g, [runs.len(), columns, g.coarse_channels], product.weight),
        WeightOrder::CoarseFirst => product.weight,
    };
    for run in runs {
        let products = Products {
            batch: sides.planes,
            extents: [g.coarse[1] * g.coarse[2], columns, g.coarse_channels],
            lengths: [g.coarse[2], 1],
            a: Batch { first: 0, step: sides.coarse.0 },
            a_rows: sides.coarse.1,
            a_inner: Steps::plain(1),
            b: Batch { first: run.tap * g.fine_channels * g.coarse_channels, step: 0 },
            b_inner: Steps::plain(columns),
            c: Batch { first: run.fine, step: sides.fine.0 },
            c_rows: sides.fine.1,
            add: false,
        };
        assert!(run.taps == 1 || product.bias.is_none(), "a bias belongs to a transposed convolution");
        products.emit_with_bias(at, product.source, weight, product.bias, at.output(0));
    }
}

/// `weight[k, f, a] = Σ_v fine[window(v, k), f] * coarse[v, a]`, plane by plane and then over the planes.
fn weight(at: &mut Lowering<'_>, g: &Geometry, fine: Operand, coarse: Operand, order: WeightOrder) {
    let sides = planes(g);
    let partial = if sides.planes == 1 { at.output(0) } else { at.scratch(sides.planes * g.weights()) };
    let coarse_side = (coarse, 0, sides.coarse, g.coarse_channels);
    for run in runs(g, order) {
        let fine_side = (fine, run.fine, sides.fine, run.taps * g.fine_channels);
        let (rows, columns) = match order {
            WeightOrder::FineFirst => (fine_side, coarse_side),
            WeightOrder::CoarseFirst => (coarse_side, fine_side),
        };
        let products = Products {
            batch: sides.planes,
            extents: [rows.3, columns.3, g.coarse[1] * g.coarse[2]],
            lengths: [1, g.coarse[2]],
            a: Batch { first: rows.1, step: rows.2.0 },
            a_rows: Steps::plain(1),
            a_inner: rows.2.1,
            b: Batch { first: columns.1, step: columns.2.0 },
            b_inner: columns.2.1,
            c: Batch { first: run.tap * g.fine_channels * g.coarse_channels, step: g.weights() },
            c_rows: Steps::plain(columns.3),
            add: false,
        };
        products.emit(at, rows.0, columns.0, partial);
    }
    if sides.planes > 1 {
        emit_sum(at, g.weights(), sides.planes, partial);
    }
}
