use super::gemm::{KEPT_PANELS, emit_by_rows};
use crate::graph::Lowering;
use crate::kernel::{Operand, Target};
use crate::ops::conv3d::kernels::winograd::grad_weight::{Part, TileSums};
use crate::ops::conv3d::kernels::winograd::tiling::{Frequencies, Tiling};
use crate::ops::gemm::{Batch, Gemm, PANEL, Steps};

/// Sums `[out, in]` by rows, from panels of gradients whose tiles follow one another.
#[derive(Debug)]
pub(in crate::ops) struct SumsByRows;

impl TileSums for SumsByRows {
    fn fits(&self, target: &Target) -> bool {
        target.subgroup_kernels()
    }

    fn transposed(&self) -> bool {
        true
    }

    fn emit_grad_plane(
        &self,
        at: &mut Lowering<'_>,
        tiling: &Tiling,
        y: &Frequencies,
        [lines, frequencies]: [Operand; 2],
    ) {
        let dispatch = tiling.write("winograd_grad_plane_transposed", y, 1, false).pairs(true);
        // Pairs of tiles, panels, and frequencies along z.
        let grid = [(y.padded * PANEL / 2).div_ceil(64) as u32, y.panels as u32, y.slice.count as u32];
        at.emit(dispatch.read(lines).write(frequencies).grid(grid));
    }

    fn emit_sums(
        &self,
        at: &mut Lowering<'_>,
        [f, y]: [&Frequencies; 2],
        part: Part,
        [input, grad, sum]: [Operand; 3],
    ) {
        // Whole parts of the inner extent that a lane keeps, and what is left.
        let whole = f.panels / KEPT_PANELS * KEPT_PANELS;
        for (first, panels) in [(0, whole), (whole, f.panels - whole)].into_iter().filter(|(_, panels)| *panels > 0) {
            let gemm = Gemm {
                batch: f.plane * f.slice.count,
                extents: [y.padded, f.padded, panels * PANEL],
                lengths: [y.padded.min(PANEL), PANEL],
                a: Batch { first: first * y.panel_step(), step: y.step() },
                a_rows: Steps::plain(PANEL),
                a_inner: Steps { step: 1, panel: y.panel_step() },
                b: Batch { first: first * f.panel_step(), step: f.step() },
                b_inner: f.tiles(),
                c: part.sums,
                c_rows: Steps::plain(f.padded),
                add: part.add || first > 0,
            };
            emit_by_rows(at, &gemm, [grad, input, sum], None);
        }
    }
}
