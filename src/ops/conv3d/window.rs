//! Convolutions whose windows do not overlap, as matrix products with an index map.

use super::geometry::{Geometry, WeightOrder};
use super::shares::{Product, Shares};
use super::window_lanes;
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand};

/// Voxels and output channels of one invocation's tile.
const TILE: [usize; 2] = [8, 8];

/// Voxels of both sides that a workgroup of the weight gradient stages per share.
const SEGMENT: usize = 8;

fn extents(dispatch: Dispatch, g: &Geometry) -> Dispatch {
    let plane = g.kernel[1] * g.kernel[2];
    dispatch.param(g.coarse_voxels()).params(&g.coarse[1..]).params(&g.kernel).params(&[plane, g.taps()])
}

/// `coarse[v, a] = bias[a] + Σ_{k, f} fine[window(v, k), f] * weight[k, f, a]`.
pub(in crate::ops) fn coarse_from_fine(at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder) {
    if window_lanes::fits(g, order, at.target()) {
        return window_lanes::coarse_from_fine(at, g, product, order);
    }
    let [fine_step, coarse_step] = order.steps(g);
    emit(at, g, product, [g.fine_channels, g.coarse_channels], [fine_step, coarse_step], false);
}

/// `fine[window(v, k), f] = bias[f] + Σ_a coarse[v, a] * weight[k, f, a]`.
pub(in crate::ops) fn fine_from_coarse(at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder) {
    if window_lanes::fits(g, order, at.target()) {
        return window_lanes::fine_from_coarse(at, g, product, order);
    }
    let [fine_step, coarse_step] = order.steps(g);
    emit(at, g, product, [g.coarse_channels, g.fine_channels], [coarse_step, fine_step], true);
}

fn emit(at: &mut Lowering<'_>, g: &Geometry, product: Product, channels: [usize; 2], steps: [usize; 2], scatter: bool) {
    let lanes = at.target().tuning.convolution_lanes;
    let products = if scatter { g.taps() } else { 1 };
    let blocks = g.coarse_voxels().div_ceil(TILE[0] * lanes as usize);
    let workgroups = blocks * channels[1].div_ceil(TILE[1]) * products;
    let dispatch = extents(Dispatch::new("conv3d_window").constant("LANES", lanes), g)
        .params(&channels)
        .param(g.fine_channels * g.coarse_channels)
        .params(&steps)
        .param(usize::from(scatter))
        .param(usize::from(product.bias.is_some()));
    let dispatch = product.bind(dispatch, at);
    at.emit_in_parts(&dispatch, workgroups, g.flops());
}

/// `weight[k, f, a] = Σ_v fine[window(v, k), f] * coarse[v, a]`.
pub(in crate::ops) fn weight(at: &mut Lowering<'_>, g: &Geometry, fine: Operand, coarse: Operand, order: WeightOrder) {
    if window_lanes::fits(g, order, at.target()) {
        return window_lanes::weight(at, g, fine, coarse, order);
    }
    let shares = Shares::new(g, g.taps(), g.coarse_voxels().div_ceil(SEGMENT), at.target());
    let dispatch = extents(Dispatch::new("conv3d_window_grad_weight"), g)
        .params(&[g.fine_channels, g.coarse_channels])
        .params(&order.steps(g))
        .param(shares.groups())
        .read(fine)
        .read(coarse);
    shares.emit(at, g, dispatch, [SEGMENT, SEGMENT]);
}
