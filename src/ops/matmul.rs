//! Batches of matrix products: the inner loop of Winograd's convolutions.

use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Target};

/// `c[i, m, n] = Σ_k a[i, m, k] * b[i, k, n]` for every `i` of the batch; `n` is contiguous in b and c.
#[derive(Debug, Clone, Copy)]
pub(super) struct Products {
    /// Number of products.
    pub batch: usize,
    /// Extents m, n and k.
    pub extents: [usize; 3],
    /// Elements from one i, m and k to the next in a.
    pub a: [usize; 3],
    /// Elements from one i and k to the next in b.
    pub b: [usize; 2],
    /// Elements from one i and m to the next in c.
    pub c: [usize; 2],
    /// Add to what c holds.
    pub add: bool,
}

/// Rows of c that [`Products`] may write behind the last one: what its buffer must be padded to.
pub(super) const ROW_ALIGNMENT: usize = 16;

/// Channels that the kernels take at a time: eight where there are no more, or multiples of 16.
pub(super) fn padded_channels(channels: usize) -> usize {
    if channels <= 8 { 8 } else { channels.next_multiple_of(16) }
}

impl Products {
    /// Emits the products. Columns must be [`padded_channels`], and so must rows of a transposed a (a step of 1 from row to
    /// row); otherwise a must have rows up to a multiple of [`ROW_ALIGNMENT`] and an inner extent in multiples of 8.
    pub fn emit(&self, at: &mut Lowering<'_>, a: Operand, b: Operand, c: Operand) {
        let dispatch = if has_lane_tiles(at.target()) { self.lane_tiles() } else { self.workgroup_tiles() };
        let dispatch = dispatch
            .params(&self.extents)
            .params(&self.a)
            .params(&self.b)
            .params(&self.c)
            .param(usize::from(self.add))
            .read(a)
            .read(b)
            .write(c);
        at.emit(dispatch);
    }

    fn lane_tiles(&self) -> Dispatch {
        let [rows, columns, _] = self.extents;
        let width = columns.min(16);
        if self.a[1] == 1 {
            let height = rows.min(16);
            let grid = self.grid(height, width);
            return Dispatch::new("matmul_subgroup_transposed")
                .constant("COLUMNS", width as u32)
                .constant("ROWS", height as u32)
                .grid(grid);
        }
        Dispatch::new("matmul_subgroup").constant("COLUMNS", width as u32).grid(self.grid(ROW_ALIGNMENT, width))
    }

    fn workgroup_tiles(&self) -> Dispatch {
        Dispatch::new("matmul_tiled").grid(self.grid(64, 32))
    }

    fn grid(&self, height: usize, width: usize) -> [u32; 3] {
        let [rows, columns, _] = self.extents;
        [columns.div_ceil(width) as u32, rows.div_ceil(height) as u32, self.batch as u32]
    }
}

/// Whether the kernels for subgroups of eight are faster: on llvmpipe, whose loads cost as much as a dozen multiply-adds,
/// but whose broadcasts cost next to nothing.
fn has_lane_tiles(target: &Target) -> bool {
    target.software && target.subgroup == Some(8)
}
