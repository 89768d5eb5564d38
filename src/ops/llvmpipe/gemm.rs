use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Target};
use crate::ops::gemm::{Gemm, GemmKernels, PANEL};

/// The largest part of an inner extent that a lane keeps of b.
const MOST_KEPT: usize = 64;

/// The same in panels.
pub(super) const KEPT_PANELS: usize = MOST_KEPT / PANEL;

/// `shaders/llvmpipe/gemm_subgroup*.wgsl`. Columns must be
/// [`padded_channels`](crate::ops::gemm::padded_channels), and so must rows that are contiguous in a; otherwise a and c must have
/// whole panels of rows, and the inner extent must be in multiples of 8 and b without panels.
#[derive(Debug)]
pub(in crate::ops) struct SubgroupGemm;

impl GemmKernels for SubgroupGemm {
    fn fits(&self, target: &Target) -> bool {
        target.subgroup_kernels()
    }

    fn dispatch(&self, gemm: &Gemm, [a, b, c]: [Operand; 3]) -> Dispatch {
        let [rows, columns, inner] = gemm.extents;
        let width = columns.min(16);
        // Few rows do not repay the loading of b.
        let dispatch = if gemm.a_rows.step == 1 {
            let height = rows.min(16);
            let whole = inner.is_multiple_of(8) && gemm.lengths[1].is_multiple_of(8);
            let dispatch = Dispatch::new("gemm_subgroup_transposed")
                .constant("ROWS", height as u32)
                .constant("WHOLE", u32::from(whole));
            dispatch.grid(gemm.grid(height, width))
        } else if rows <= 64 && inner > 64 && gemm.lengths[0] == PANEL {
            Dispatch::new("gemm_subgroup_tile").grid(gemm.grid(PANEL, width))
        } else {
            return by_rows(gemm, [a, b, c], None);
        };
        gemm.write(dispatch).read(a).read(b).write(c)
    }
}

/// Emits a gemm with a by rows, whose results start from a bias.
pub(super) fn emit_by_rows(at: &mut Lowering<'_>, gemm: &Gemm, operands: [Operand; 3], bias: Option<Operand>) {
    gemm.emit_parts(at, |part| by_rows(part, operands, bias));
}

fn by_rows(gemm: &Gemm, [a, b, c]: [Operand; 3], bias: Option<Operand>) -> Dispatch {
    let [rows, columns, inner] = gemm.extents;
    let wide = columns.is_multiple_of(32);
    let width = if wide { 32 } else { columns.min(16) };
    let part = kept(inner);
    let panels = rows / gemm.lengths[0];
    let blocks = rows.div_ceil(256).min(panels);
    let dispatch = Dispatch::new(if wide { "gemm_subgroup_wide" } else { "gemm_subgroup" })
        .constant("INNER", part as u32)
        .constant("HELD", u32::from(gemm.add || inner > part))
        .grid([columns.div_ceil(width) as u32, blocks as u32, gemm.batch as u32]);
    // Every binding must be bound: without a bias, that one is not read.
    let dispatch = gemm.write(dispatch).param(usize::from(bias.is_some()));
    dispatch.read(a).read(b).read(bias.unwrap_or(b)).write(c)
}

/// The part of an inner extent that a lane keeps: a divisor of it, 64 at most.
fn kept(inner: usize) -> usize {
    [MOST_KEPT, 32, 16, 8].into_iter().find(|part| inner.is_multiple_of(*part)).expect("a multiple of eight")
}
