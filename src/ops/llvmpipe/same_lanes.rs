//! Convolutions of 1, 3 or 5 taps along each axis that keep the extents, in blocks of eight voxels by the channels of a subgroup.

use crate::graph::Lowering;
use crate::kernel::Target;
use crate::ops::conv3d::geometry::Geometry;
use crate::ops::conv3d::kernels::operands::{ConvOperands, Sides};
use crate::ops::conv3d::kernels::same::{convolution, fits, tiled_flops, weight_gradient};
use crate::ops::conv3d::kernels::split_k::{MOST_PARTIAL_BYTES, emit_sum, partial_sums};
use crate::ops::conv3d::kernels::{Direction, Family};
use crate::ops::gemm::padded_channels;
use crate::tensor::ELEMENT_BYTES;

/// Most splits of the voxels in a weight gradient.
const MOST_SPLITS: usize = 64;

/// Channels of a workgroup and number of workgroups for all of them.
fn columns(channels: usize) -> (u32, u32) {
    let columns = padded_channels(channels).min(16);
    (columns as u32, channels.div_ceil(columns) as u32)
}

/// The channels of a subgroup by blocks of eight voxels. Rows must be wide to repay the loading of the taps for every row.
#[derive(Debug)]
pub(super) struct SameLanes;

impl Family for SameLanes {
    fn fits(&self, g: &Geometry, target: &Target) -> bool {
        fits(g) && target.subgroup_kernels() && g.input[2] >= 32
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        target.tuning.costs.direct_subgroup * tiled_flops(g, Direction::Forward) as f64
    }

    fn convolve(&self, at: &mut Lowering<'_>, g: &Geometry, direction: Direction, operands: ConvOperands) {
        let (columns, blocks) = columns(direction.channels(g)[1]);
        let dispatch = convolution("conv3d_same_lanes", at, g, direction, operands).constant("COLUMNS", columns);
        for (range, flops) in at.parts(g.input_rows(), tiled_flops(g, direction)) {
            let [x, y, z] = at.target().fold(range.len());
            assert_eq!(z, 1, "two dimensions hold the rows of any activation");
            at.emit(dispatch.clone().first_unit(range.start).grid([blocks, x, y]).flops(flops));
        }
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides) {
        let bytes = g.weights() as u64 * ELEMENT_BYTES;
        let limit = MOST_PARTIAL_BYTES.min(at.target().limits.max_binding_bytes) / bytes;
        let splits = g.input_rows().min(MOST_SPLITS).min(limit as usize).max(1);
        let output = at.output(0);
        let partial = partial_sums(at, g.weights(), splits, output);
        let (columns, blocks) = columns(g.out_channels);
        let dispatch = weight_gradient("conv3d_same_lanes_grad_weight", g, sides).constant("COLUMNS", columns);
        let dispatch = dispatch.write(partial);
        for (range, flops) in at.parts(g.kernel[0] * g.in_channels, tiled_flops(g, Direction::Forward)) {
            let planes = range.len() as u32;
            at.emit(dispatch.clone().first_unit(range.start).grid([blocks, planes, splits as u32]).flops(flops));
        }
        emit_sum(at, g.weights(), splits, partial, output);
    }
}
