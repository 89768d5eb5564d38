//! How weight gradients are divided among workgroups: each sums a share of the voxels, and the shares are added in order.

use super::geometry::Geometry;
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Target};
use crate::tensor::ELEMENT_BYTES;

/// Partial sums of a weight gradient take at most this much memory.
pub(super) const MOST_PARTIAL_BYTES: u64 = 32 << 20;

/// Invocations of a workgroup and shares: a workgroup has `rows` shares, one invocation for each of `in_blocks *
/// out_blocks` blocks of 4 x 4 channels, and there are `groups` times `rows` shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) struct Shares {
    in_blocks: usize,
    out_blocks: usize,
    rows: usize,
    groups: usize,
    /// Workgroups of a group.
    tiles: usize,
}

impl Shares {
    /// A division with `products` separate products (taps, or rows of taps) over `units` units of voxels.
    pub fn new(g: &Geometry, products: usize, units: usize, target: &Target) -> Self {
        let in_blocks = g.fine_channels.div_ceil(4).min(8);
        let out_blocks = g.coarse_channels.div_ceil(4).min(8);
        let rows = (64 / (in_blocks * out_blocks)).clamp(1, 8);
        let tiles = products * g.fine_channels.div_ceil(4 * in_blocks) * g.coarse_channels.div_ceil(4 * out_blocks);
        let wanted = target.tuning.gradient_workgroups;
        let bytes = (g.weights() * rows) as u64 * ELEMENT_BYTES;
        let limit = (MOST_PARTIAL_BYTES.min(target.limits.max_binding_bytes) / bytes).max(1) as usize;
        let groups = wanted.div_ceil(tiles).min(limit).min(units.div_ceil(rows)).max(1);
        Self { in_blocks, out_blocks, rows, groups, tiles }
    }

    /// Groups of shares.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Emits `dispatch`, which lacks its constants and output, and the sum of its shares. A workgroup stages `inputs` and
    /// `grads` voxels of the two sides per share.
    pub fn emit(&self, at: &mut Lowering<'_>, g: &Geometry, dispatch: Dispatch, [inputs, grads]: [usize; 2]) {
        let shares = self.rows * self.groups;
        let partial = if shares == 1 { at.output(0) } else { at.scratch(shares * g.weights()) };
        let constant = |value: usize| u32::try_from(value).expect("a workgroup's extents are small");
        let dispatch = dispatch
            .constant("ROWS", constant(self.rows))
            .constant("IN_BLOCKS", constant(self.in_blocks))
            .constant("OUT_BLOCKS", constant(self.out_blocks))
            .constant("LANES", constant(self.rows * self.in_blocks * self.out_blocks))
            .constant("INPUTS", constant(self.rows * self.in_blocks * inputs))
            .constant("GRADS", constant(self.rows * self.out_blocks * grads))
            .write(partial);
        at.emit_in_parts(&dispatch, self.tiles * self.groups, g.flops());
        if shares > 1 {
            emit_sum(at, g.weights(), shares, partial);
        }
    }
}

/// Emits the sum of `shares` times `elements` partial sums to the output.
pub(super) fn emit_sum(at: &mut Lowering<'_>, elements: usize, shares: usize, partial: Operand) {
    let sum = Dispatch::new("conv3d_sum_shares").params(&[elements, shares]).read(partial).write(at.output(0));
    at.emit(sum.linear_grid(elements.div_ceil(64), at.target()));
}

/// Operands of a product with weights, and where it is written.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Product {
    /// What is convolved.
    pub source: Operand,
    /// The weights.
    pub weight: Operand,
    /// What is added to each output channel.
    pub bias: Option<Operand>,
}

impl Product {
    /// Binds the operands in the order of the shaders. Every binding must be bound: without a bias, that one is not read.
    pub fn bind(&self, dispatch: Dispatch, at: &Lowering<'_>) -> Dispatch {
        let bias = self.bias.unwrap_or(self.weight);
        dispatch.read(self.source).read(self.weight).read(bias).write(at.output(0))
    }
}
