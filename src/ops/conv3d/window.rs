//! Convolutions whose windows do not overlap, as matrix products with an index map.

use super::family::{Family, Kind, Sides};
use super::geometry::{Geometry, WeightOrder};
use super::shares::{Product, Shares};
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Target};

/// Voxels and output channels of one invocation's tile.
const TILE: [usize; 2] = [8, 8];

/// Voxels of both sides that a workgroup of the weight gradient stages per share.
const SEGMENT: usize = 8;

fn extents(dispatch: Dispatch, g: &Geometry) -> Dispatch {
    let plane = g.kernel[1] * g.kernel[2];
    dispatch.param(g.coarse_voxels()).params(&g.coarse[1..]).params(&g.kernel).params(&[plane, g.taps()])
}

/// An index map in the kernel, any channels.
#[derive(Debug)]
pub(super) struct Window;

impl Family for Window {
    fn kind(&self) -> Kind {
        Kind::Direct
    }

    fn fits(&self, g: &Geometry, _order: WeightOrder, _target: &Target) -> bool {
        g.windows_tile()
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        target.tuning.costs.direct * g.flops() as f64
    }

    fn forward(&self, at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder) {
        let [fine_step, coarse_step] = order.steps(g);
        emit(at, g, product, [g.fine_channels, g.coarse_channels], [fine_step, coarse_step], false);
    }

    fn grad_input(&self, at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder) {
        let [fine_step, coarse_step] = order.steps(g);
        emit(at, g, product, [g.coarse_channels, g.fine_channels], [coarse_step, fine_step], true);
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides, order: WeightOrder) {
        let shares = Shares::new(g, g.taps(), g.coarse_voxels().div_ceil(SEGMENT), at.target());
        let dispatch = extents(Dispatch::new("conv3d_window_grad_weight"), g)
            .params(&[g.fine_channels, g.coarse_channels])
            .params(&order.steps(g))
            .param(shares.groups())
            .read(sides.fine)
            .read(sides.coarse);
        shares.emit(at, g, dispatch, [SEGMENT, SEGMENT]);
    }
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
