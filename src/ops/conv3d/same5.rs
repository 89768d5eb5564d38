//! The 5x5x5 convolution that keeps the extents, in register and workgroup-memory tiles.

use super::geometry::Geometry;
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Target};
use crate::tensor::ELEMENT_BYTES;

/// Voxels along x and output channels of one invocation's tile in `conv3d_same5`.
const TILE: [usize; 2] = [8, 8];

/// Partial sums of a weight gradient take at most this much memory.
const MOST_PARTIAL_BYTES: u64 = 32 << 20;

/// Which of the two products with the same kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the input to the output.
    Forward,
    /// From the gradient of the output to that of the input: taps mirrored, channels exchanged.
    Backward,
}

/// Emits the convolution of `source`, in either direction.
pub(super) fn product(
    at: &mut Lowering<'_>,
    g: &Geometry,
    direction: Direction,
    [source, weight]: [Operand; 2],
    bias: Option<Operand>,
) {
    let rows = g.batch * g.fine[0] * g.fine[1];
    let (cin, cout) = (g.fine_channels, g.coarse_channels);
    let (from, to, in_step, out_step) = match direction {
        Direction::Forward => (cin, cout, cout, 1),
        Direction::Backward => (cout, cin, 1, cout),
    };
    // One row per invocation. A software device runs a workgroup on one core: small ones leave none idle.
    let lanes = if at.target().software { 16 } else { 64 };
    let workgroups = rows.div_ceil(lanes as usize) * g.fine[2].div_ceil(TILE[0]) * to.div_ceil(TILE[1]);
    let dispatch = Dispatch::new("conv3d_same5")
        .constant("LANES", lanes)
        .param(rows)
        .params(&g.fine)
        .params(&[from, to, cin * cout, in_step, out_step])
        .param(usize::from(direction == Direction::Backward))
        .param(usize::from(bias.is_some()))
        .read(source)
        .read(weight)
        // Every binding must be bound: without a bias this one is not read.
        .read(bias.unwrap_or(weight))
        .write(at.output(0))
        .linear_grid(workgroups, at.target());
    at.emit(dispatch);
}

/// How a weight gradient is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Division {
    /// Blocks of four channels of a workgroup.
    in_blocks: usize,
    out_blocks: usize,
    /// Shares of a workgroup.
    rows: usize,
    /// Groups of that many shares.
    groups: usize,
}

impl Division {
    fn new(g: &Geometry, target: &Target) -> Self {
        let in_blocks = g.fine_channels.div_ceil(4).min(8);
        let out_blocks = g.coarse_channels.div_ceil(4).min(8);
        let rows = (64 / (in_blocks * out_blocks)).clamp(1, 8);
        let tiles = 25 * g.fine_channels.div_ceil(4 * in_blocks) * g.coarse_channels.div_ceil(4 * out_blocks);
        let wanted: usize = if target.software { 100 } else { 2000 };
        let bytes = g.weights() as u64 * ELEMENT_BYTES * rows as u64;
        let limit = (MOST_PARTIAL_BYTES.min(target.max_binding_bytes) / bytes).max(1) as usize;
        let most = (g.batch * g.fine[0] * g.fine[1]).div_ceil(rows);
        let groups = wanted.div_ceil(tiles).min(limit).min(most).max(1);
        Self { in_blocks, out_blocks, rows, groups }
    }

    fn shares(&self) -> usize {
        self.rows * self.groups
    }
}

/// Emits the gradient with respect to the weight.
pub(super) fn grad_weight(at: &mut Lowering<'_>, g: &Geometry, input: Operand, grad_output: Operand) {
    let division = Division::new(g, at.target());
    let Division { in_blocks, out_blocks, rows, groups } = division;
    let shares = division.shares();
    let partial = if shares == 1 { at.output(0) } else { at.scratch(shares * g.weights()) };
    let constant = |value: usize| u32::try_from(value).expect("a workgroup's extents are small");
    let tiles = 25 * g.fine_channels.div_ceil(4 * in_blocks) * g.coarse_channels.div_ceil(4 * out_blocks);
    let dispatch = Dispatch::new("conv3d_same5_grad_weight")
        .constant("ROWS", constant(rows))
        .constant("IN_BLOCKS", constant(in_blocks))
        .constant("OUT_BLOCKS", constant(out_blocks))
        .constant("LANES", constant(rows * in_blocks * out_blocks))
        .constant("INPUTS", constant(rows * in_blocks * 12))
        .constant("GRADS", constant(rows * out_blocks * 8))
        .param(g.batch * g.fine[0] * g.fine[1])
        .params(&g.fine)
        .params(&[g.fine_channels, g.coarse_channels, groups])
        .read(input)
        .read(grad_output)
        .write(partial)
        .linear_grid(tiles * groups, at.target());
    at.emit(dispatch);
    if shares > 1 {
        let sum = Dispatch::new("conv3d_sum_shares").params(&[g.weights(), shares]).read(partial).write(at.output(0));
        at.emit(sum.linear_grid(g.weights().div_ceil(64), at.target()));
    }
}
