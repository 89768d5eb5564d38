//! The weight gradient: transforms of the input and of the output's gradient, sums over tiles, and the way back to taps.

use super::tiling::{Frequencies, Slice, Tiling, Transforms};
use super::{Division, WeightFrequencies, emit_plane, pairs_grid, transforms};
use crate::graph::Lowering;
use crate::kernel::{Operand, Target};
use crate::ops::conv3d::geometry::Geometry;
use crate::ops::conv3d::kernels::operands::{Sides, emit_weight_transpose};
use crate::ops::gemm::{Batch, Gemm, PANEL, Steps, padded_channels};
use crate::ops::rows::element_width;
use std::fmt::Debug;

/// Which sums a part of the tiles contributes to, and whether others did before.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Part {
    pub sums: Batch,
    pub add: bool,
}

/// How products of frequencies are summed over tiles.
pub(in crate::ops) trait TileSums: Debug + Sync {
    /// Whether they may and should be used on this device.
    fn fits(&self, target: &Target) -> bool;

    /// Whether sums are `[out, in]`; otherwise they are `[in, out]`.
    fn transposed(&self) -> bool;

    /// Emits the transform of the output's gradient along y and x. The operands are lines and their
    /// frequencies.
    fn emit_grad_plane(&self, at: &mut Lowering<'_>, tiling: &Tiling, y: &Frequencies, operands: [Operand; 2]);

    /// Emits the sums over the tiles of a part: `Σ_t input[t, i] * grad[t, o]` for each frequency. The operands are the
    /// frequencies of the input and of the output's gradient, and the sums.
    fn emit_sums(&self, at: &mut Lowering<'_>, input_and_grad: [&Frequencies; 2], part: Part, operands: [Operand; 3]);
}

/// The first that fits a device is taken.
const SUMS: &[&dyn TileSums] = &[
    // For subgroups of eight.
    &crate::ops::llvmpipe::SumsByRows,
    &SumsByColumns,
];

/// Sums `[in, out]`, the input read by columns, on any device.
#[derive(Debug)]
struct SumsByColumns;

impl TileSums for SumsByColumns {
    fn fits(&self, _target: &Target) -> bool {
        true
    }

    fn transposed(&self) -> bool {
        false
    }

    fn emit_grad_plane(&self, at: &mut Lowering<'_>, tiling: &Tiling, y: &Frequencies, operands: [Operand; 2]) {
        emit_plane(at, "winograd_grad_plane", tiling, y, operands);
    }

    fn emit_sums(&self, at: &mut Lowering<'_>, [f, y]: [&Frequencies; 2], part: Part, operands: [Operand; 3]) {
        let gemm = Gemm {
            batch: f.plane * f.slice.count,
            extents: [f.padded, y.padded, f.panels * PANEL],
            lengths: [PANEL; 2],
            a: Batch { first: 0, step: f.step() },
            a_rows: Steps::plain(1),
            a_inner: f.tiles(),
            b: Batch { first: 0, step: y.step() },
            b_inner: y.tiles(),
            c: part.sums,
            c_rows: Steps::plain(y.padded),
            add: part.add,
        };
        gemm.emit(at, operands);
    }
}

/// Emits the gradient with respect to the weight.
pub(super) fn emit(at: &mut Lowering<'_>, g: &Geometry, sides: Sides) {
    let [cin, cout] = [g.in_channels, g.out_channels];
    let transforms = transforms(g);
    let division = Division::new(g, transforms, [cin, cout], at.target());
    let Division { tiling, weights, .. } = &division;
    let sums = SUMS.iter().find(|sums| sums.fits(at.target())).expect("the last fits any device");
    let input_lines = at.scratch(division.largest(|c| tiling.input_elements(c, cin)));
    let grad_lines = at.scratch(division.largest(|c| tiling.output_elements(c, cout)));
    let input_frequencies = at.scratch(division.frequencies(cin));
    let grad_frequencies = at.scratch(division.frequencies(cout));
    let sum = at.scratch(weights.elements());
    let partial_weight = at.scratch(transforms.taps_plane() * transforms.depth() * cin * cout);
    let widths = [cin, cout].map(|channels| element_width(channels, at.target()));
    // Channels of the sums.
    let [from, to] = if sums.transposed() { [cout, cin] } else { [cin, cout] };

    for (i, chunk) in division.chunks.iter().enumerate() {
        let whole = tiling.frequencies(chunk, transforms.whole(), cin);
        let dispatch = tiling.write("winograd_input_depth", &whole, widths[0], false);
        let dispatch = dispatch.read(sides.input).write(input_lines);
        at.emit(dispatch.grid(tiling.input_grid(chunk, cin / widths[0])));
        let whole = tiling.frequencies(chunk, transforms.whole(), cout);
        let dispatch = tiling.write("winograd_grad_depth", &whole, widths[1], false);
        let dispatch = dispatch.read(sides.output).write(grad_lines);
        at.emit(dispatch.grid(tiling.output_grid(chunk, cout / widths[1])));
        for slice in transforms.slices(division.count) {
            let f = tiling.frequencies(chunk, slice, cin);
            let y = tiling.frequencies(chunk, slice, cout);
            emit_plane(at, "winograd_input_plane", tiling, &f, [input_lines, input_frequencies]);
            sums.emit_grad_plane(at, tiling, &y, [grad_lines, grad_frequencies]);
            let part = Part { sums: weights.batch(slice), add: i > 0 };
            sums.emit_sums(at, [&f, &y], part, [input_frequencies, grad_frequencies, sum]);
            if weights.count < transforms.depth() {
                emit_grad_weights(at, transforms, [from, to], weights, slice, [sum, partial_weight]);
            }
        }
    }
    if weights.count == transforms.depth() {
        emit_grad_weights(at, transforms, [from, to], weights, transforms.whole(), [sum, partial_weight]);
    }
    let width = element_width(to, at.target());
    let pairs = cin * cout / width;
    let gradient = if sums.transposed() { at.scratch(g.weights()) } else { at.output(0) };
    let dispatch = transforms.dispatch("winograd_grad_weight_depth").pairs(width > 1).param(pairs);
    at.emit(dispatch.read(partial_weight).write(gradient).grid(pairs_grid(pairs, transforms.taps_plane())));
    if sums.transposed() {
        let output = at.output(0);
        emit_weight_transpose(at, [g.taps(), from, to], gradient, output);
    }
}

/// Emits the transform of the weight gradient along y and x for a slice of the frequencies.
fn emit_grad_weights(
    at: &mut Lowering<'_>,
    transforms: Transforms,
    [from, to]: [usize; 2],
    weights: &WeightFrequencies,
    slice: Slice,
    [frequencies, partial]: [Operand; 2],
) {
    let width = element_width(to, at.target());
    let dispatch = transforms
        .dispatch("winograd_grad_weight_plane")
        .pairs(width > 1)
        .params(&[from, to / width, padded_channels(to) / width])
        .params(&[slice.first, weights.step() / width]);
    let dispatch = dispatch.read(frequencies).write(partial);
    at.emit(dispatch.grid(pairs_grid(from * to / width, slice.count)));
}
