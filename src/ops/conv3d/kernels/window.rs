//! Convolutions whose windows do not overlap, as gemms with an index map.

use super::operands::{ConvOperands, Sides};
use super::split_k::SplitK;
use super::{Direction, Family};
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Target};
use crate::ops::conv3d::geometry::Geometry;

/// Voxels and output channels of one invocation's tile.
const TILE: [usize; 2] = [8, 8];

/// Voxels of both sides that a workgroup of the weight gradient stages per split.
const SEGMENT: usize = 8;

/// An index map in the kernel, any channels.
#[derive(Debug)]
pub(super) struct Window;

impl Family for Window {
    fn fits(&self, g: &Geometry, _target: &Target) -> bool {
        g.windows_tile()
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        target.tuning.costs.direct * g.flops() as f64
    }

    // A gather from the windows forward, a scatter to them backward.
    fn convolve(&self, at: &mut Lowering<'_>, g: &Geometry, direction: Direction, operands: ConvOperands) {
        let [_, to] = direction.channels(g);
        let [in_step, out_step] = g.weight_steps();
        let (steps, gemms) = match direction {
            Direction::Forward => ([in_step, out_step], 1),
            Direction::Backward => ([out_step, in_step], g.taps()),
        };
        let invocations = at.target().tuning.convolution_invocations;
        let blocks = g.output_voxels().div_ceil(TILE[0] * invocations as usize);
        let workgroups = blocks * to.div_ceil(TILE[1]) * gemms;
        let dispatch = extents(Dispatch::new("conv3d_window").constant("INVOCATIONS", invocations), g)
            .params(&direction.channels(g))
            .param(g.in_channels * g.out_channels)
            .params(&steps)
            .param(usize::from(direction.is_backward()));
        let dispatch = operands.bind(dispatch, at);
        at.emit_in_parts(&dispatch, workgroups, g.flops());
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides) {
        let split_k = SplitK::new(g, g.taps(), g.output_voxels().div_ceil(SEGMENT), at.target());
        let dispatch = extents(Dispatch::new("conv3d_window_grad_weight"), g)
            .params(&[g.in_channels, g.out_channels])
            .params(&g.weight_steps())
            .param(split_k.groups());
        split_k.emit(at, g, sides.bind(dispatch), [SEGMENT, SEGMENT]);
    }
}

fn extents(dispatch: Dispatch, g: &Geometry) -> Dispatch {
    let plane = g.kernel[1] * g.kernel[2];
    dispatch.param(g.output_voxels()).params(&g.output[1..]).params(&g.kernel).params(&[plane, g.taps()])
}
