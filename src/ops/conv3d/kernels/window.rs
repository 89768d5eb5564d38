//! Convolutions of any kernel, stride and padding, as gemms with an index map.

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

/// Cost of a flop where windows overlap, and channels are loaded anew for each tap, in flops of the direct kernels.
const OVERLAPPING: f64 = 2.0;

/// An index map in the kernel, any channels.
#[derive(Debug)]
pub(super) struct Window;

impl Family for Window {
    fn fits(&self, _g: &Geometry, _target: &Target) -> bool {
        true
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        let factor = if g.windows_tile() { 1.0 } else { OVERLAPPING };
        factor * target.tuning.costs.direct * g.flops() as f64
    }

    // A gather from the windows forward; backward a gather from the voxels whose windows meet a voxel, by classes of voxels that meet
    // the same taps.
    fn convolve(&self, at: &mut Lowering<'_>, g: &Geometry, direction: Direction, operands: ConvOperands) {
        let [_, to] = direction.channels(g);
        let [in_step, out_step] = g.weight_steps();
        let (steps, classes, extents) = match direction {
            Direction::Forward => ([in_step, out_step], 1, g.output),
            Direction::Backward => {
                let extents = std::array::from_fn(|axis| g.input[axis].div_ceil(g.stride[axis]));
                ([out_step, in_step], g.stride.iter().product(), extents)
            }
        };
        let voxels = g.batch * extents.iter().product::<usize>();
        let invocations = at.target().tuning.convolution_invocations;
        let unit = TILE[0] * invocations as usize;
        let workgroups = voxels.div_ceil(unit) * to.div_ceil(TILE[1]) * classes;
        let dispatch = window(Dispatch::new("conv3d_window").constant("INVOCATIONS", invocations), g, voxels, extents)
            .params(&direction.channels(g))
            .param(g.in_channels * g.out_channels)
            .params(&steps)
            .param(usize::from(direction.is_backward()));
        let pieces = Pieces { rows: voxels, unit, workgroups: to.div_ceil(TILE[1]), rows_word: 0, units_word: None };
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
    g.kernel == [1; 3] && g.windows_tile()
}

fn emit_grad_weight(at: &mut Lowering<'_>, g: &Geometry, voxels: usize, sides: Sides, output: Operand) {
    let split_k = SplitK::new(g, g.taps(), voxels.div_ceil(SEGMENT), at.target());
    let dispatch = window(Dispatch::new("conv3d_window_grad_weight"), g, voxels, g.output)
        .params(&[g.in_channels, g.out_channels])
        .params(&g.weight_steps())
        .param(split_k.groups());
    split_k.emit(at, g, sides.bind(dispatch), [SEGMENT, SEGMENT], output);
}

/// Appends `Window` of `shaders/common/window.wgsl`, for classes of these extents.
fn window(dispatch: Dispatch, g: &Geometry, voxels: usize, extents: [usize; 3]) -> Dispatch {
    let dispatch = dispatch.param(voxels).params(&extents).params(&g.input).params(&g.output);
    dispatch.params(&g.kernel).params(&g.stride).params(&g.padding).param(g.taps())
}
