//! The 5x5x5 convolution that keeps the extents, in blocks of eight voxels by the channels of a subgroup, for devices with
//! [`has_subgroup_kernels`](crate::ops::gemm::has_subgroup_kernels).

use super::family::{Family, Kind};
use super::geometry::{Geometry, WeightOrder};
use super::operands::{ConvOperands, Sides};
use super::same5::{Direction, tiled_flops};
use super::split_k::{MOST_PARTIAL_BYTES, emit_sum};
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Target};
use crate::ops::gemm::{has_subgroup_kernels, padded_channels};
use crate::tensor::ELEMENT_BYTES;

/// SplitK of the voxels whose weight gradients are summed separately, at most.
const MOST_SPLITS: usize = 64;

/// Channels of a workgroup and number of workgroups for all of them.
fn columns(channels: usize) -> (u32, u32) {
    let columns = padded_channels(channels).min(16);
    (columns as u32, channels.div_ceil(columns) as u32)
}

/// The channels of a subgroup by blocks of eight voxels. Rows must be wide to repay the loading of the taps for every row.
#[derive(Debug)]
pub(super) struct Same5Lanes;

impl Family for Same5Lanes {
    fn kind(&self) -> Kind {
        Kind::Direct
    }

    fn fits(&self, g: &Geometry, _order: WeightOrder, target: &Target) -> bool {
        g.is_same_5() && has_subgroup_kernels(target) && g.input[2] >= 32
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        target.tuning.costs.direct_subgroup * tiled_flops(g, g.in_channels, g.out_channels) as f64
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
    let (columns, blocks) = columns(to);
    let dispatch = Dispatch::new("conv3d_same5_lanes")
        .constant("COLUMNS", columns)
        .param(rows)
        .params(&g.input)
        .params(&[from, to, cin * cout, in_step, out_step])
        .param(usize::from(direction == Direction::Backward))
        .param(usize::from(operands.bias.is_some()));
    let dispatch = operands.bind(dispatch, at);
    for (range, flops) in at.parts(rows, tiled_flops(g, from, to)) {
        let [x, y, z] = at.target().fold(range.len());
        assert_eq!(z, 1, "two dimensions hold the rows of any activation");
        at.emit(dispatch.clone().first_unit(range.start).grid([blocks, x, y]).flops(flops));
    }
}

/// Emits the gradient with respect to the weight.
fn grad_weight(at: &mut Lowering<'_>, g: &Geometry, sides: Sides) {
    let rows = g.batch * g.input[0] * g.input[1];
    let limit = MOST_PARTIAL_BYTES.min(at.target().limits.max_binding_bytes) / (g.weights() as u64 * ELEMENT_BYTES);
    let splits = rows.min(MOST_SPLITS).min(limit as usize).max(1);
    let partial = if splits == 1 { at.output(0) } else { at.scratch(splits * g.weights()) };
    let (columns, blocks) = columns(g.out_channels);
    let dispatch = Dispatch::new("conv3d_same5_lanes_grad_weight")
        .constant("COLUMNS", columns)
        .param(rows)
        .params(&g.input)
        .params(&[g.in_channels, g.out_channels])
        .read(sides.input)
        .read(sides.output)
        .write(partial);
    let flops = tiled_flops(g, g.in_channels, g.out_channels);
    for (range, flops) in at.parts(5 * g.in_channels, flops) {
        let planes = range.len() as u32;
        at.emit(dispatch.clone().first_unit(range.start).grid([blocks, planes, splits as u32]).flops(flops));
    }
    if splits > 1 {
        emit_sum(at, g.weights(), splits, partial);
    }
}
