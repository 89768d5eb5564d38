//! The 5x5x5 convolution that keeps the extents, in blocks of eight voxels by the channels of a subgroup, for devices with
//! [`has_lane_tiles`](crate::ops::matmul::has_lane_tiles).

use super::geometry::Geometry;
use super::same5::{Direction, tiled_flops};
use super::shares::{MOST_PARTIAL_BYTES, Product, emit_sum};
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand};
use crate::ops::matmul::padded_channels;
use crate::tensor::ELEMENT_BYTES;

/// Shares of the voxels whose weight gradients are summed separately, at most.
const MOST_SHARES: usize = 64;

/// Channels of a workgroup and number of workgroups for all of them.
fn columns(channels: usize) -> (u32, u32) {
    let columns = padded_channels(channels).min(16);
    (columns as u32, channels.div_ceil(columns) as u32)
}

/// Emits the convolution in either direction.
pub(super) fn product(at: &mut Lowering<'_>, g: &Geometry, direction: Direction, product: Product) {
    let rows = g.batch * g.fine[0] * g.fine[1];
    let (cin, cout) = (g.fine_channels, g.coarse_channels);
    let [from, to, in_step, out_step] = match direction {
        Direction::Forward => [cin, cout, cout, 1],
        Direction::Backward => [cout, cin, 1, cout],
    };
    let (columns, blocks) = columns(to);
    let dispatch = Dispatch::new("conv3d_same5_lanes")
        .constant("COLUMNS", columns)
        .param(rows)
        .params(&g.fine)
        .params(&[from, to, cin * cout, in_step, out_step])
        .param(usize::from(direction == Direction::Backward))
        .param(usize::from(product.bias.is_some()));
    let dispatch = product.bind(dispatch, at);
    for (range, flops) in at.parts(rows, tiled_flops(g, from, to)) {
        let [x, y, z] = at.target().fold(range.len());
        assert_eq!(z, 1, "two dimensions hold the rows of any activation");
        at.emit(dispatch.clone().first_unit(range.start).grid([blocks, x, y]).flops(flops));
    }
}

/// Emits the gradient with respect to the weight.
pub(super) fn grad_weight(at: &mut Lowering<'_>, g: &Geometry, input: Operand, grad_output: Operand) {
    let rows = g.batch * g.fine[0] * g.fine[1];
    let limit = MOST_PARTIAL_BYTES.min(at.target().limits.max_binding_bytes) / (g.weights() as u64 * ELEMENT_BYTES);
    let shares = rows.min(MOST_SHARES).min(limit as usize).max(1);
    let partial = if shares == 1 { at.output(0) } else { at.scratch(shares * g.weights()) };
    let (columns, blocks) = columns(g.coarse_channels);
    let dispatch = Dispatch::new("conv3d_same5_lanes_grad_weight")
        .constant("COLUMNS", columns)
        .param(rows)
        .params(&g.fine)
        .params(&[g.fine_channels, g.coarse_channels])
        .read(input)
        .read(grad_output)
        .write(partial);
    let flops = tiled_flops(g, g.fine_channels, g.coarse_channels);
    for (range, flops) in at.parts(5 * g.fine_channels, flops) {
        let planes = range.len() as u32;
        at.emit(dispatch.clone().first_unit(range.start).grid([blocks, planes, shares as u32]).flops(flops));
    }
    if shares > 1 {
        emit_sum(at, g.weights(), shares, partial);
    }
}
