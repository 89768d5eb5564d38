//! The 5x5x5 convolution that keeps the extents, in register and workgroup-memory tiles.

use super::geometry::Geometry;
use super::shares::{Product, Shares};
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand};

/// Voxels along x and output channels of one invocation's tile.
const TILE: [usize; 2] = [8, 8];

/// Which of the two products with the same kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the input to the output.
    Forward,
    /// From the gradient of the output to that of the input: taps mirrored, channels exchanged.
    Backward,
}

/// Emits the convolution in either direction.
pub(super) fn product(at: &mut Lowering<'_>, g: &Geometry, direction: Direction, product: Product) {
    let rows = g.batch * g.fine[0] * g.fine[1];
    let (cin, cout) = (g.fine_channels, g.coarse_channels);
    let [from, to, in_step, out_step] = match direction {
        Direction::Forward => [cin, cout, cout, 1],
        Direction::Backward => [cout, cin, 1, cout],
    };
    let lanes = at.target().tuning.convolution_lanes;
    let workgroups = rows.div_ceil(lanes as usize) * g.fine[2].div_ceil(TILE[0]) * to.div_ceil(TILE[1]);
    let dispatch = Dispatch::new("conv3d_same5")
        .constant("LANES", lanes)
        .param(rows)
        .params(&g.fine)
        .params(&[from, to, cin * cout, in_step, out_step])
        .param(usize::from(direction == Direction::Backward))
        .param(usize::from(product.bias.is_some()));
    let dispatch = product.bind(dispatch, at);
    at.emit_in_parts(&dispatch, workgroups, tiled_flops(g, from, to));
}

/// Flops of a product, which works on eight voxels of a row and eight output channels at a time.
pub(super) fn tiled_flops(g: &Geometry, from: usize, to: usize) -> u64 {
    let voxels = (g.batch * g.fine[0] * g.fine[1] * g.fine[2].next_multiple_of(TILE[0])) as u64;
    2 * voxels * (g.taps() * from * to.next_multiple_of(TILE[1])) as u64
}

/// Emits the gradient with respect to the weight.
pub(super) fn grad_weight(at: &mut Lowering<'_>, g: &Geometry, input: Operand, grad_output: Operand) {
    let rows = g.batch * g.fine[0] * g.fine[1];
    let shares = Shares::new(g, 25, rows, at.target());
    let dispatch = Dispatch::new("conv3d_same5_grad_weight")
        .param(rows)
        .params(&g.fine)
        .params(&[g.fine_channels, g.coarse_channels, shares.groups()])
        .read(input)
        .read(grad_output);
    // Eight voxels of a row, and two more on either side of the input.
    shares.emit(at, g, dispatch, [12, 8]);
}
