//! Batches of matrix products: the inner loop of Winograd's convolutions.

use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Target};

/// Rows of a panel.
pub(super) const PANEL: usize = 16;

/// Where an index lies: `index / 16 * panel + index % 16 * step`, in elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    /// From one index of a panel to the next.
    pub step: usize,
    /// From one panel to the next.
    pub panel: usize,
}

impl Steps {
    /// Indices without panels.
    pub fn plain(step: usize) -> Self {
        Self { step, panel: PANEL * step }
    }
}

/// One of the two arguments or the result: its first element, and steps from one product of the batch to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub first: usize,
    pub step: usize,
}

/// `c[i, m, n] = Σ_k a[i, m, k] * b[i, k, n]` for every `i` of the batch; `n` is contiguous in b and c.
#[derive(Debug, Clone, Copy)]
pub(super) struct Products {
    /// Number of products.
    pub batch: usize,
    /// Extents m, n and k.
    pub extents: [usize; 3],
    /// Elements from one product's a to the next one's.
    pub a: usize,
    /// Rows m of a.
    pub a_rows: Steps,
    /// Inner index k of a: contiguous, unless the rows are.
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

impl Products {
    /// Emits the products. Columns must be [`padded_channels`], and so must rows that are contiguous in a; otherwise a and
    /// c must have whole [`PANEL`]s of rows, and the inner extent must be in multiples of 8 and b without panels.
    pub fn emit(&self, at: &mut Lowering<'_>, a: Operand, b: Operand, c: Operand) {
        let dispatch = if has_lane_tiles(at.target()) { self.lane_tiles() } else { self.workgroup_tiles() };
        let dispatch = dispatch
            .params(&self.extents)
            .params(&[self.a, self.a_rows.step, self.a_rows.panel, self.a_inner.step, self.a_inner.panel])
            .params(&[self.b.first, self.b.step, self.b_inner.step, self.b_inner.panel])
            .params(&[self.c.first, self.c.step, self.c_rows.step, self.c_rows.panel])
            .param(usize::from(self.add))
            .read(a)
            .read(b)
            .write(c);
        at.emit(dispatch);
    }

    fn lane_tiles(&self) -> Dispatch {
        let [rows, columns, inner] = self.extents;
        let width = columns.min(16);
        let columns_of = |shader| Dispatch::new(shader).constant("COLUMNS", width as u32);
        if self.a_rows.step == 1 {
            let height = rows.min(16);
            let dispatch = columns_of("matmul_subgroup_transposed").constant("ROWS", height as u32);
            return dispatch.grid(self.grid(height, width));
        }
        // Few rows do not repay the loading of b.
        if rows <= 64 && inner > 64 {
            return columns_of("matmul_subgroup_tile").grid(self.grid(PANEL, width));
        }
        columns_of("matmul_subgroup").constant("INNER", kept(inner) as u32).grid(self.grid(256, width))
    }

    fn workgroup_tiles(&self) -> Dispatch {
        Dispatch::new("matmul_tiled").grid(self.grid(64, 32))
    }

    fn grid(&self, height: usize, width: usize) -> [u32; 3] {
        let [rows, columns, _] = self.extents;
        [columns.div_ceil(width) as u32, rows.div_ceil(height) as u32, self.batch as u32]
    }
}

/// The part of an inner extent that a lane keeps: a divisor of it, 64 at most.
fn kept(inner: usize) -> usize {
    [64, 48, 32, 16, 8].into_iter().find(|part| inner.is_multiple_of(*part)).expect("a multiple of eight")
}

/// Whether the kernels for subgroups of eight are faster: on llvmpipe, whose loads cost as much as a dozen multiply-adds,
/// but whose broadcasts cost next to nothing.
fn has_lane_tiles(target: &Target) -> bool {
    target.software && target.subgroup == Some(8)
}
