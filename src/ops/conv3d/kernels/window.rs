//! Convolutions whose windows do not overlap, as gemms with an index map.

use super::operands::{ConvOperands, Sides};
use super::split_k::SplitK;
use super::{Direction, Family};
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Pieces, Target};
use crate::ops::add::emit_sum_of;
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
        let dispatch =
            extents(Dispatch::new("conv3d_window").constant("INVOCATIONS", invocations), g, g.output_voxels())
                .params(&direction.channels(g))
                .param(g.in_channels * g.out_channels)
                .params(&steps)
                .param(usize::from(direction.is_backward()));
        let unit = TILE[0] * invocations as usize;
        let pieces =
            Pieces { rows: g.output_voxels(), unit, workgroups: to.div_ceil(TILE[1]), rows_word: 0, units_word: None };
        let dispatch = operands.bind(dispatch, at).pieces(is_pointwise(g).then_some(pieces));
        at.emit_in_parts(&dispatch, workgroups, g.flops());
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides) {
        let large = [sides.input, sides.output].iter().any(|&side| at.exceeds_binding(side));
        if !large || !is_pointwise(g) {
            let output = at.output(0);
            return emit_grad_weight(at, g, g.output_voxels(), sides, output);
        }
        // A sum for each range of voxels that bindings can hold, and the sum of these.
        let channels = [g.in_channels, g.out_channels];
        let mut sums = Vec::new();
        for range in at.row_ranges(g.output_voxels(), SEGMENT, &channels) {
            let [input, output] = [(sides.input, channels[0]), (sides.output, channels[1])]
                .map(|(side, channels)| side.part(range.start * channels, range.len() * channels));
            let sum = at.scratch(g.weights());
            emit_grad_weight(at, g, range.len(), Sides { input, output }, sum);
            sums.push(sum);
        }
        emit_sum_of(at, &sums, g.weights());
    }
}

/// Whether a window is a voxel, so that the convolution is a product of matrices with the voxels as rows.
fn is_pointwise(g: &Geometry) -> bool {
    g.kernel == [1; 3]
}

fn emit_grad_weight(at: &mut Lowering<'_>, g: &Geometry, voxels: usize, sides: Sides, output: Operand) {
    let split_k = SplitK::new(g, g.taps(), voxels.div_ceil(SEGMENT), at.target());
    let dispatch = extents(Dispatch::new("conv3d_window_grad_weight"), g, voxels)
        .params(&[g.in_channels, g.out_channels])
        .params(&g.weight_steps())
        .param(split_k.groups());
    split_k.emit(at, g, sides.bind(dispatch), [SEGMENT, SEGMENT], output);
}

fn extents(dispatch: Dispatch, g: &Geometry, voxels: usize) -> Dispatch {
    let plane = g.kernel[1] * g.kernel[2];
    dispatch.param(voxels).params(&g.output[1..]).params(&g.kernel).params(&[plane, g.taps()])
}
