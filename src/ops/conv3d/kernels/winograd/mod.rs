//! Winograd's convolution, of 1, 3 or 5 taps along each axis: F(4x4x4, 5x5x5) takes 512 products for the 64 outputs of a tile in
//! place of 8000, F(4x4x4, 3x3x3) 216 in place of 1728 (Winograd 1980; Lavin and Gray, *Fast Algorithms for Convolutional Neural
//! Networks*, 2016). The transform of each axis is [`Transform`](crate::kernel::Transform).
//!
//! ```text
//! output      = Aᵀ [ (G weight) ∘ (Bᵀ input) ],       summed over input channels between the transforms
//! grad_input  = the same with mirrored taps and the channels exchanged
//! grad_weight = Gᵀ [ (A grad_output) ∘ (Bᵀ input) ],  summed over tiles between the transforms
//! ```
//!
//! with every transform nested over z, y and x. Along z it is a pass of its own over whole lines, along y and x one over
//! planes of a tile; between them stands one gemm per frequency. Frequencies take up to eight times the space of an
//! activation and nineteen times that of weights, so they are worked on in parts: chunks of tiles, and slices of the frequencies along z.

pub(in crate::ops) mod grad_weight;
pub(in crate::ops) mod tiling;

use super::operands::{ConvOperands, Sides, emit_weight_transpose};
use super::{Direction, Family};
use crate::graph::Lowering;
use crate::kernel::{ConvolutionKernels, Operand, Target};
use crate::ops::conv3d::geometry::Geometry;
use crate::ops::gemm::{Batch, Gemm, PANEL, Steps, padded_channels};
use crate::ops::rows::element_width;
use crate::tensor::ELEMENT_BYTES;
use tiling::{Chunk, Frequencies, Slice, Tiling, Transforms};

/// The weights' frequencies, `[count planes of frequencies, from, to]`, padded.
#[derive(Debug, Clone, Copy)]
struct WeightFrequencies {
    from: usize,
    to: usize,
    /// Frequencies along z that are kept at a time.
    count: usize,
    /// Frequencies of a plane.
    plane: usize,
}

impl WeightFrequencies {
    /// Elements from one frequency to the next.
    fn step(&self) -> usize {
        self.from * self.to
    }

    fn elements(&self) -> usize {
        self.plane * self.count * self.step()
    }

    /// Where the frequencies of a slice start.
    fn batch(&self, slice: Slice) -> Batch {
        Batch { first: slice.first % self.count * self.plane * self.step(), step: self.step() }
    }
}

/// How a convolution is divided.
#[derive(Debug)]
struct Division {
    tiling: Tiling,
    chunks: Vec<Chunk>,
    /// Frequencies along z of a slice.
    count: usize,
    weights: WeightFrequencies,
}

impl Division {
    fn new(g: &Geometry, transforms: Transforms, [from, to]: [usize; 2], target: &Target) -> Self {
        let tuning = target.tuning.winograd;
        let tiling = Tiling::new(g, transforms);
        let (depth, plane) = (transforms.depth(), transforms.plane());
        let weights = WeightFrequencies { from: padded_channels(from), to: padded_channels(to), count: depth, plane };
        let plane_bytes = plane * weights.from.max(weights.to) * ELEMENT_BYTES as usize;
        if weights.elements() * ELEMENT_BYTES as usize > tuning.weight_bytes {
            // One chunk, so that no slice of the weights is transformed twice.
            let chunks = tiling.chunks(tiling.tiles());
            return Self { tiling, chunks, count: 1, weights: WeightFrequencies { count: 1, ..weights } };
        }
        let most = (tuning.part_bytes / plane_bytes).max(1);
        let count = if tiling.tiles() * depth <= most { depth } else { 1 };
        Self { tiling, chunks: tiling.chunks(most), count, weights }
    }

    /// The largest of what a buffer holds in turn.
    fn largest(&self, elements: impl Fn(&Chunk) -> usize) -> usize {
        self.chunks.iter().map(elements).max().unwrap_or(0)
    }

    /// The largest frequencies of a part.
    fn frequencies(&self, channels: usize) -> usize {
        let slice = Slice { first: 0, count: self.count };
        self.largest(|c| self.tiling.frequencies(c, slice, channels).elements())
    }

    /// The largest buffer, for any pass of the convolution.
    fn largest_buffer(&self, channels: [usize; 2]) -> usize {
        let of_channels = |c: usize| {
            let lines = self.largest(|k| self.tiling.input_elements(k, c).max(self.tiling.output_elements(k, c)));
            lines.max(self.frequencies(c))
        };
        let transforms = self.tiling.transforms;
        let partial_weights = transforms.taps_plane() * transforms.depth() * channels[0] * channels[1];
        channels.map(of_channels).into_iter().max().unwrap_or(0).max(self.weights.elements()).max(partial_weights)
    }
}

/// Where every buffer can be bound.
#[derive(Debug)]
pub(super) struct Winograd;

impl Family for Winograd {
    fn kind(&self) -> ConvolutionKernels {
        ConvolutionKernels::Winograd
    }

    fn fits(&self, g: &Geometry, target: &Target) -> bool {
        let Some(transforms) = Transforms::new(g) else { return false };
        let channels = [g.in_channels, g.out_channels];
        let largest = Division::new(g, transforms, channels, target).largest_buffer(channels);
        largest as u64 * ELEMENT_BYTES <= target.limits.max_binding_bytes
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        let transforms = transforms(g);
        let (frequencies, tiles) = (transforms.depth() * transforms.plane(), Tiling::new(g, transforms).tiles());
        let [from, to] = [g.in_channels, g.out_channels].map(padded_channels);
        let gemm_flops = 2 * frequencies * tiles.next_multiple_of(PANEL) * from * to;
        // Of the input, the output and the weights.
        let transformed = frequencies * (tiles * (from + to) + from * to);
        let costs = target.tuning.costs;
        costs.gemm * gemm_flops as f64 + costs.frequency * transformed as f64
    }

    fn convolve(&self, at: &mut Lowering<'_>, g: &Geometry, direction: Direction, operands: ConvOperands) {
        emit(at, g, direction, operands);
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides) {
        grad_weight::emit(at, g, sides);
    }
}

/// The transforms of a convolution that this family fits.
fn transforms(g: &Geometry) -> Transforms {
    Transforms::new(g).expect("the family fits this convolution")
}

/// Emits the convolution in either direction.
fn emit(at: &mut Lowering<'_>, g: &Geometry, direction: Direction, operands: ConvOperands) {
    let mirrored = direction.is_backward();
    let [from, to] = direction.channels(g);
    let transforms = transforms(g);
    let division = Division::new(g, transforms, [from, to], at.target());
    let Division { tiling, weights, .. } = &division;
    let widths = [from, to].map(|channels| element_width(channels, at.target()));
    let taps = if mirrored { at.scratch(g.weights()) } else { operands.weight };
    if mirrored {
        emit_weight_transpose(at, [g.taps(), to, from], operands.weight, taps);
    }
    let partial_weight = at.scratch(transforms.taps_plane() * transforms.depth() * from * to);
    let weight = at.scratch(weights.elements());
    let input_lines = at.scratch(division.largest(|c| tiling.input_elements(c, from)));
    let input_frequencies = at.scratch(division.frequencies(from));
    let output_frequencies = at.scratch(division.frequencies(to));
    let output_lines = at.scratch(division.largest(|c| tiling.output_elements(c, to)));

    let pairs = from * to / widths[1];
    let dispatch = transforms.dispatch("winograd_weight_depth").pairs(widths[1] > 1);
    let dispatch = dispatch.params(&[pairs, usize::from(mirrored)]).read(taps).write(partial_weight);
    at.emit(dispatch.grid(pairs_grid(pairs, transforms.taps_plane())));
    let at_once = weights.count == transforms.depth();
    let mirror = Mirror { transforms, mirrored };
    if at_once {
        emit_weights(at, [from, to], mirror, transforms.whole(), [partial_weight, weight]);
    }
    for chunk in &division.chunks {
        let whole = tiling.frequencies(chunk, transforms.whole(), from);
        let dispatch = tiling.write("winograd_input_depth", &whole, widths[0], false);
        let dispatch = dispatch.read(operands.activation).write(input_lines);
        at.emit(dispatch.grid(tiling.input_grid(chunk, from / widths[0])));
        for slice in transforms.slices(division.count) {
            if !at_once {
                emit_weights(at, [from, to], mirror, slice, [partial_weight, weight]);
            }
            let f = tiling.frequencies(chunk, slice, from);
            let r = tiling.frequencies(chunk, slice, to);
            emit_plane(at, "winograd_input_plane", tiling, &f, [input_lines, input_frequencies]);
            let gemm = Gemm {
                batch: transforms.plane() * slice.count,
                extents: [r.panels * PANEL, r.padded, f.padded],
                lengths: [PANEL; 2],
                a: Batch { first: 0, step: f.step() },
                a_rows: f.tiles(),
                a_inner: Steps::plain(1),
                b: weights.batch(slice),
                b_inner: Steps::plain(weights.to),
                c: Batch { first: 0, step: r.step() },
                c_rows: r.tiles(),
                add: false,
            };
            gemm.emit(at, [input_frequencies, weight, output_frequencies]);
            let dispatch = tiling.write("winograd_output_plane", &r, widths[1], operands.bias.is_some());
            let dispatch = dispatch.read(output_frequencies).read(operands.bias_or_any()).write(output_lines);
            at.emit(dispatch.grid(tiling.plane_grid(&r, widths[1])));
        }
        let whole = tiling.frequencies(chunk, transforms.whole(), to);
        let dispatch = tiling.write("winograd_output_depth", &whole, widths[1], false);
        let dispatch = dispatch.read(output_lines).write(at.output(0));
        at.emit(dispatch.grid(tiling.output_grid(chunk, to / widths[1])));
    }
}

/// Workgroups over pairs of channels and another axis.
fn pairs_grid(pairs: usize, other: usize) -> [u32; 3] {
    [pairs.div_ceil(64) as u32, other as u32, 1]
}

/// Emits a transform of lines along y and x to frequencies.
fn emit_plane(
    at: &mut Lowering<'_>,
    shader: &'static str,
    tiling: &Tiling,
    f: &Frequencies,
    [lines, frequencies]: [Operand; 2],
) {
    let width = element_width(f.channels, at.target());
    let dispatch = tiling.write(shader, f, width, false).read(lines).write(frequencies);
    at.emit(dispatch.grid(tiling.padded_plane_grid(f, width)));
}

/// The transforms of weights, and whether taps are taken from the other end.
#[derive(Debug, Clone, Copy)]
struct Mirror {
    transforms: Transforms,
    mirrored: bool,
}

/// Emits the transform of the weights, transformed along z, along y and x for a slice of the frequencies.
fn emit_weights(
    at: &mut Lowering<'_>,
    [from, to]: [usize; 2],
    Mirror { transforms, mirrored }: Mirror,
    slice: Slice,
    [partial, frequencies]: [Operand; 2],
) {
    let width = element_width(to, at.target());
    let [padded_from, padded_to] = [padded_channels(from), padded_channels(to) / width];
    let step = padded_from * padded_to;
    let dispatch = transforms
        .dispatch("winograd_weight_plane")
        .pairs(width > 1)
        .params(&[from, to / width, padded_from, padded_to])
        .params(&[slice.first, step, usize::from(mirrored)])
        .read(partial)
        .write(frequencies);
    at.emit(dispatch.grid(pairs_grid(step, slice.count)));
}
