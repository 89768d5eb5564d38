//! Convolutions whose windows do not overlap, as gemms with an index map.

use super::family::{Family, Kind};
use super::geometry::{Geometry, WeightOrder};
use super::operands::{ConvOperands, Sides};
use super::split_k::SplitK;
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Target};

/// Voxels and output channels of one invocation's tile.
const TILE: [usize; 2] = [8, 8];

/// Voxels of both sides that a workgroup of the weight gradient stages per split.
const SEGMENT: usize = 8;

fn extents(dispatch: Dispatch, g: &Geometry) -> Dispatch {
    let plane = g.kernel[1] * g.kernel[2];
    dispatch.param(g.output_voxels()).params(&g.output[1..]).params(&g.kernel).params(&[plane, g.taps()])
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

    fn forward(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands, order: WeightOrder) {
        let [in_step, out_step] = order.steps(g);
        emit(at, g, operands, [g.in_channels, g.out_channels], [in_step, out_step], false);
    }

    fn grad_input(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands, order: WeightOrder) {
        let [in_step, out_step] = order.steps(g);
        emit(at, g, operands, [g.out_channels, g.in_channels], [out_step, in_step], true);
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides, order: WeightOrder) {
        let split_k = SplitK::new(g, g.taps(), g.output_voxels().div_ceil(SEGMENT), at.target());
        let dispatch = extents(Dispatch::new("conv3d_window_grad_weight"), g)
            .params(&[g.in_channels, g.out_channels])
            .params(&order.steps(g))
            .param(split_k.groups())
            .read(sides.input)
            .read(sides.output);
        split_k.emit(at, g, dispatch, [SEGMENT, SEGMENT]);
    }
}

fn emit(
    at: &mut Lowering<'_>,
    g: &Geometry,
    operands: ConvOperands,
    channels: [usize; 2],
    steps: [usize; 2],
    scatter: bool,
) {
    let lanes = at.target().tuning.convolution_invocations;
    let gemms = if scatter { g.taps() } else { 1 };
    let blocks = g.output_voxels().div_ceil(TILE[0] * lanes as usize);
    let workgroups = blocks * channels[1].div_ceil(TILE[1]) * gemms;
    let dispatch = extents(Dispatch::new("conv3d_window").constant("INVOCATIONS", lanes), g)
        .params(&channels)
        .param(g.in_channels * g.out_channels)
        .params(&steps)
        .param(usize::from(scatter))
        .param(usize::from(operands.bias.is_some()));
    let dispatch = operands.bind(dispatch, at);
    at.emit_in_parts(&dispatch, workgroups, g.flops());
}
