//! Batches of gemms (general matrix products): the inner loop of Winograd's convolutions and of those without overlap.

use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Target};
use std::ops::Range;

/// Rows of a panel of Winograd's tiles.
pub(super) const PANEL: usize = 16;

/// The largest part of an inner extent that a lane keeps of b.
const MOST_KEPT: usize = 64;

/// The same in panels.
pub(super) const KEPT_PANELS: usize = MOST_KEPT / PANEL;

/// Where an index lies: `index / length * panel + index % length * step`, in elements; the length is that of the whole
/// operands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    /// From one index of a panel to the next.
    pub step: usize,
    /// From one panel to the next.
    pub panel: usize,
}

impl Steps {
    /// An index without panels.
    pub fn plain(step: usize) -> Self {
        Self { step, panel: PANEL * step }
    }
}

/// First element of an argument or of the result, and steps from one gemm of the batch to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub first: usize,
    pub step: usize,
}

/// `c[i, m, n] = Σ_k a[i, m, k] * b[i, k, n]` for every `i` of the batch; `n` is contiguous in c.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gemm {
    /// Number of gemms.
    pub batch: usize,
    /// Extents m, n and k.
    pub extents: [usize; 3],
    /// Indices of a panel of rows, and of the inner index.
    pub lengths: [usize; 2],
    /// a.
    pub a: Batch,
    /// Rows m of a.
    pub a_rows: Steps,
    /// Inner index k of a: contiguous within panels of 16, unless the rows are.
    pub a_inner: Steps,
    /// b.
    pub b: Batch,
    /// Inner index k of b.
    pub b_inner: Steps,
    /// c.
    pub c: Batch,
    /// Rows m of c.
    pub c_rows: Steps,
    /// Add to what c holds.
    pub add: bool,
}

/// Channels that the kernels take at a time: eight where there are no more, or multiples of 16.
pub(super) fn padded_channels(channels: usize) -> usize {
    if channels <= 8 { 8 } else { channels.next_multiple_of(16) }
}

impl Gemm {
    /// Emits the batch. Columns must be [`padded_channels`], and so must rows that are contiguous in a; otherwise a and
    /// c must have whole panels of rows, and the inner extent must be in multiples of 8 and b without panels.
    pub fn emit(&self, at: &mut Lowering<'_>, a: Operand, b: Operand, c: Operand) {
        for (part, flops) in self.parts(at) {
            let dispatch = part.dispatch(at.target(), a, b, c).flops(flops);
            at.emit(dispatch);
        }
    }

    /// Emits the batch with a by rows, starting from a bias, for devices with [`has_subgroup_kernels`].
    pub fn emit_with_bias(&self, at: &mut Lowering<'_>, a: Operand, b: Operand, bias: Option<Operand>, c: Operand) {
        for (part, flops) in self.parts(at) {
            at.emit(part.by_rows(a, b, bias, c).flops(flops));
        }
    }

    /// This batch in parts that a submission can hold, and the flops of each.
    fn parts(&self, at: &Lowering<'_>) -> Vec<(Self, u64)> {
        let flops = 2 * (self.batch * self.extents.iter().product::<usize>()) as u64;
        let part = |(range, flops): (Range<usize>, u64)| {
            let from = |of: Batch| Batch { first: of.first + range.start * of.step, ..of };
            let [a, b, c] = [self.a, self.b, self.c].map(from);
            (Self { batch: range.len(), a, b, c, ..*self }, flops)
        };
        at.parts(self.batch, flops).into_iter().map(part).collect()
    }

    fn dispatch(&self, target: &Target, a: Operand, b: Operand, c: Operand) -> Dispatch {
        if !has_subgroup_kernels(target) {
            assert_eq!(self.lengths, [PANEL; 2], "the kernel for workgroup tiles");
            let dispatch = self.params(Dispatch::new("gemm_tiled").grid(self.grid(64, 32)), false);
            return dispatch.read(a).read(b).write(c);
        }
        let [rows, columns, inner] = self.extents;
        let width = columns.min(16);
        // Few rows do not repay the loading of b.
        let dispatch = if self.a_rows.step == 1 {
            let height = rows.min(16);
            let whole = inner.is_multiple_of(8) && self.lengths[1].is_multiple_of(8);
            let dispatch = Dispatch::new("gemm_subgroup_transposed")
                .constant("ROWS", height as u32)
                .constant("WHOLE", u32::from(whole));
            dispatch.grid(self.grid(height, width))
        } else if rows <= 64 && inner > 64 && self.lengths[0] == PANEL {
            Dispatch::new("gemm_subgroup_tile").grid(self.grid(PANEL, width))
        } else {
            return self.by_rows(a, b, None, c);
        };
        self.params(dispatch, false).read(a).read(b).write(c)
    }

    fn by_rows(&self, a: Operand, b: Operand, bias: Option<Operand>, c: Operand) -> Dispatch {
        let [rows, columns, inner] = self.extents;
        let wide = columns.is_multiple_of(32);
        let width = if wide { 32 } else { columns.min(16) };
        let part = kept(inner);
        let panels = rows / self.lengths[0];
        let blocks = rows.div_ceil(256).min(panels);
        let dispatch = match wide {
            true => Dispatch::new("gemm_subgroup_wide"),
            false => Dispatch::new("gemm_subgroup"),
        };
        let dispatch = dispatch
            .constant("INNER", part as u32)
            .constant("HELD", u32::from(self.add || inner > part))
            .grid([columns.div_ceil(width) as u32, blocks as u32, self.batch as u32]);
        // Every binding must be bound: without a bias, that one is not read.
        let dispatch = self.params(dispatch, bias.is_some()).read(a).read(b).read(bias.unwrap_or(b));
        dispatch.write(c)
    }

    fn params(&self, dispatch: Dispatch, with_bias: bool) -> Dispatch {
        dispatch
            .params(&self.extents)
            .params(&self.lengths)
            .params(&[self.a.first, self.a.step])
            .params(&[self.a_rows.step, self.a_rows.panel, self.a_inner.step, self.a_inner.panel])
            .params(&[self.b.first, self.b.step, self.b_inner.step, self.b_inner.panel])
            .params(&[self.c.first, self.c.step, self.c_rows.step, self.c_rows.panel])
            .params(&[usize::from(self.add), usize::from(with_bias)])
    }

    fn grid(&self, height: usize, width: usize) -> [u32; 3] {
        let [rows, columns, _] = self.extents;
        [columns.div_ceil(width) as u32, rows.div_ceil(height) as u32, self.batch as u32]
    }
}

/// The part of an inner extent that a lane keeps: a divisor of it, 64 at most.
fn kept(inner: usize) -> usize {
    [MOST_KEPT, 32, 16, 8].into_iter().find(|part| inner.is_multiple_of(*part)).expect("a multiple of eight")
}

/// Whether the kernels for subgroups of eight are faster: on llvmpipe, whose loads cost as much as a dozen multiply-adds,
/// but whose broadcasts cost next to nothing.
pub(super) fn has_subgroup_kernels(target: &Target) -> bool {
    target.subgroup_kernels()
}
