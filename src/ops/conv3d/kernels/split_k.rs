//! Split-K: a weight gradient is a gemm whose inner extent (K) are all voxels, so it is split among workgroups. Each sums its
//! own voxels, and the partial sums are added in a fixed order.

use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Target};
use crate::ops::conv3d::geometry::Geometry;
use crate::tensor::ELEMENT_BYTES;

/// Partial sums of a weight gradient take at most this much memory.
pub(in crate::ops) const MOST_PARTIAL_BYTES: u64 = 32 << 20;

/// Splits, and invocations of a workgroup: a workgroup has `per_workgroup` splits, with one invocation for each of `in_blocks *
/// out_blocks` blocks of 4 x 4 channels, and there are `groups` times `per_workgroup` splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SplitK {
    in_blocks: usize,
    out_blocks: usize,
    per_workgroup: usize,
    groups: usize,
    /// Workgroups of a group.
    tiles: usize,
}

impl SplitK {
    /// The splits of `gemms` separate gemms (taps, or rows of taps) over `units` units of voxels.
    pub fn new(g: &Geometry, gemms: usize, units: usize, target: &Target) -> Self {
        let in_blocks = g.in_channels.div_ceil(4).min(8);
        let out_blocks = g.out_channels.div_ceil(4).min(8);
        let per_workgroup = (64 / (in_blocks * out_blocks)).clamp(1, 8);
        let tiles = gemms * g.in_channels.div_ceil(4 * in_blocks) * g.out_channels.div_ceil(4 * out_blocks);
        let wanted = target.tuning.gradient_workgroups;
        let bytes = (g.weights() * per_workgroup) as u64 * ELEMENT_BYTES;
        let limit = (MOST_PARTIAL_BYTES.min(target.limits.max_binding_bytes) / bytes).max(1) as usize;
        let groups = wanted.div_ceil(tiles).min(limit).min(units.div_ceil(per_workgroup)).max(1);
        Self { in_blocks, out_blocks, per_workgroup, groups, tiles }
    }

    /// Groups of splits.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Emits `dispatch`, which lacks its constants and output, and the sum of its splits to `output`. A workgroup stages
    /// `inputs` voxels of the input and `grads` of the output's gradient per split.
    pub fn emit(
        &self,
        at: &mut Lowering<'_>,
        g: &Geometry,
        dispatch: Dispatch,
        [inputs, grads]: [usize; 2],
        output: Operand,
    ) {
        let splits = self.per_workgroup * self.groups;
        let partial = partial_sums(at, g.weights(), splits, output);
        let constant = |value: usize| u32::try_from(value).expect("a workgroup's extents are small");
        let dispatch = dispatch
            .constant("SPLITS", constant(self.per_workgroup))
            .constant("IN_BLOCKS", constant(self.in_blocks))
            .constant("OUT_BLOCKS", constant(self.out_blocks))
            .constant("INVOCATIONS", constant(self.per_workgroup * self.in_blocks * self.out_blocks))
            .constant("INPUTS", constant(self.per_workgroup * self.in_blocks * inputs))
            .constant("GRADS", constant(self.per_workgroup * self.out_blocks * grads))
            .write(partial);
        at.emit_in_parts(&dispatch, self.tiles * self.groups, g.flops());
        emit_sum(at, g.weights(), splits, partial, output);
    }
}

/// Where `splits` times `elements` partial sums are written: the output itself for a single split.
pub(in crate::ops) fn partial_sums(at: &mut Lowering<'_>, elements: usize, splits: usize, output: Operand) -> Operand {
    if splits == 1 { output } else { at.scratch(splits * elements) }
}

/// Emits the sum of [`partial_sums`] to the output.
pub(in crate::ops) fn emit_sum(
    at: &mut Lowering<'_>,
    elements: usize,
    splits: usize,
    partial: Operand,
    output: Operand,
) {
    if splits > 1 {
        let sum = Dispatch::new("conv3d_split_k_sum").params(&[elements, splits]).read(partial).write(output);
        at.emit(sum.linear_grid(elements.div_ceil(64), at.target()));
    }
}
