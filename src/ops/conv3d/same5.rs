//! The 5x5x5 convolution that keeps the extents, in register and workgroup-memory tiles.

use super::family::{Family, Kind};
use super::geometry::{Geometry, WeightOrder};
use super::operands::{ConvOperands, Sides};
use super::split_k::SplitK;
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Target};

/// Voxels along x and output channels of one invocation's tile.
const TILE: [usize; 2] = [8, 8];

/// Which of the two convolutions that one kernel computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the input to the output.
    Forward,
    /// From the gradient of the output to that of the input: taps mirrored, channels exchanged.
    Backward,
}

/// Rows of voxels in registers, any channels.
#[derive(Debug)]
pub(super) struct Same5;

impl Family for Same5 {
    fn kind(&self) -> Kind {
        Kind::Direct
    }

    fn fits(&self, g: &Geometry, _order: WeightOrder, _target: &Target) -> bool {
        g.is_same_5()
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        target.tuning.costs.direct * tiled_flops(g, g.in_channels, g.out_channels) as f64
    }

    fn forward(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands, _order: WeightOrder) {
        emit(at, g, Direction::Forward, operands);
    }

    fn grad_input(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands, _order: WeightOrder) {
        emit(at, g, Direction::Backward, operands);
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides, _order: WeightOrder) {
        grad_weight(at, g, sides);
    }
}

/// Emits the convolution in either direction.
fn emit(at: &mut Lowering<'_>, g: &Geometry, direction: Direction, operands: ConvOperands) {
    let rows = g.batch * g.input[0] * g.input[1];
    let (cin, cout) = (g.in_channels, g.out_channels);
    let [from, to, in_step, out_step] = match direction {
        Direction::Forward => [cin, cout, cout, 1],
        Direction::Backward => [cout, cin, 1, cout],
    };
    let lanes = at.target().tuning.convolution_invocations;
    let workgroups = rows.div_ceil(lanes as usize) * g.input[2].div_ceil(TILE[0]) * to.div_ceil(TILE[1]);
    let dispatch = Dispatch::new("conv3d_same5")
        .constant("INVOCATIONS", lanes)
        .param(rows)
        .params(&g.input)
        .params(&[from, to, cin * cout, in_step, out_step])
        .param(usize::from(direction == Direction::Backward))
        .param(usize::from(operands.bias.is_some()));
    let dispatch = operands.bind(dispatch, at);
    at.emit_in_parts(&dispatch, workgroups, tiled_flops(g, from, to));
}

/// Flops of a convolution that works on eight voxels of a row and eight output channels at a time.
pub(super) fn tiled_flops(g: &Geometry, from: usize, to: usize) -> u64 {
    let voxels = (g.batch * g.input[0] * g.input[1] * g.input[2].next_multiple_of(TILE[0])) as u64;
    2 * voxels * (g.taps() * from * to.next_multiple_of(TILE[1])) as u64
}

/// Emits the gradient with respect to the weight.
fn grad_weight(at: &mut Lowering<'_>, g: &Geometry, sides: Sides) {
    let rows = g.batch * g.input[0] * g.input[1];
    let split_k = SplitK::new(g, 25, rows, at.target());
    let dispatch = Dispatch::new("conv3d_same5_grad_weight")
        .param(rows)
        .params(&g.input)
        .params(&[g.in_channels, g.out_channels, split_k.groups()])
        .read(sides.input)
        .read(sides.output);
    // Eight voxels of a row, and two more on either side of the input.
    split_k.emit(at, g, dispatch, [12, 8]);
}
