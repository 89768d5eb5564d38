//! Batches of gemms (general matrix products): the inner loop of Winograd's convolutions and of those without overlap.

use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Target};
use std::fmt::Debug;

/// Rows of a panel of Winograd's tiles.
pub(super) const PANEL: usize = 16;

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

/// The number of channels that the kernels work on: at most eight become eight, more the next multiple of 16.
pub(super) fn padded_channels(channels: usize) -> usize {
    if channels <= 8 { 8 } else { channels.next_multiple_of(16) }
}

/// Kernels that compute a gemm.
pub(super) trait GemmKernels: Debug + Sync {
    /// Whether they may and should be used on this device.
    fn fits(&self, target: &Target) -> bool;

    /// The dispatch for operands a, b and c.
    fn dispatch(&self, gemm: &Gemm, operands: [Operand; 3]) -> Dispatch;
}

/// The first that fits a device is taken.
const KERNELS: &[&dyn GemmKernels] = &[
    // For subgroups of eight.
    &super::llvmpipe::SubgroupGemm,
    &Tiled,
];

/// Tiles in workgroup memory, on any device; panels have [`PANEL`] rows.
#[derive(Debug)]
struct Tiled;

impl GemmKernels for Tiled {
    fn fits(&self, _target: &Target) -> bool {
        true
    }

    fn dispatch(&self, gemm: &Gemm, [a, b, c]: [Operand; 3]) -> Dispatch {
        assert_eq!(gemm.lengths, [PANEL; 2], "the kernel for workgroup tiles");
        gemm.write(Dispatch::new("gemm_tiled").grid(gemm.grid(64, 32))).read(a).read(b).write(c)
    }
}

impl Gemm {
    /// Emits the batch on operands a, b and c, whose channels are [`padded_channels`].
    pub fn emit(&self, at: &mut Lowering<'_>, operands: [Operand; 3]) {
        let kernels = KERNELS.iter().find(|kernels| kernels.fits(at.target())).expect("the last fits any device");
        self.emit_parts(at, |part| kernels.dispatch(part, operands));
    }

    /// Emits the dispatches of this batch in parts that a submission can hold.
    pub fn emit_parts(&self, at: &mut Lowering<'_>, dispatch: impl Fn(&Self) -> Dispatch) {
        let flops = 2 * (self.batch * self.extents.iter().product::<usize>()) as u64;
        for (range, flops) in at.parts(self.batch, flops) {
            let from = |of: Batch| Batch { first: of.first + range.start * of.step, ..of };
            let [a, b, c] = [self.a, self.b, self.c].map(from);
            at.emit(dispatch(&Self { batch: range.len(), a, b, c, ..*self }).flops(flops));
        }
    }

    /// Appends `Gemm` of `shaders/common/gemm.wgsl`, up to `with_bias`.
    pub fn write(&self, dispatch: Dispatch) -> Dispatch {
        dispatch
            .params(&self.extents)
            .params(&self.lengths)
            .params(&[self.a.first, self.a.step])
            .params(&[self.a_rows.step, self.a_rows.panel, self.a_inner.step, self.a_inner.panel])
            .params(&[self.b.first, self.b.step, self.b_inner.step, self.b_inner.panel])
            .params(&[self.c.first, self.c.step, self.c_rows.step, self.c_rows.panel])
            .param(usize::from(self.add))
    }

    /// Workgroups of this many rows and columns each.
    pub fn grid(&self, height: usize, width: usize) -> [u32; 3] {
        let [rows, columns, _] = self.extents;
        [columns.div_ceil(width) as u32, rows.div_ceil(height) as u32, self.batch as u32]
    }
}
