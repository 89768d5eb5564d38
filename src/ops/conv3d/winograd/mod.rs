//! Winograd's convolution F(4x4x4, 5x5x5): 512 products for the 64 outputs of a tile in place of 8000 (Winograd 1980;
//! Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016).
//!
//! ```text
//! output      = Aᵀ [ (G weight) ∘ (Bᵀ input) ],       summed over input channels between the transforms
//! grad_input  = the same with mirrored taps and the channels exchanged
//! grad_weight = Gᵀ [ (A grad_output) ∘ (Bᵀ input) ],  summed over tiles between the transforms
//! ```
//!
//! with every transform nested over z, y and x. Along z it is a pass of its own over whole lines, along y and x one over
//! planes of a tile; between them stand 512 independent matrix products, one per frequency. Tiles are worked on in chunks,
//! so that their frequencies, eight times the activation, stay small.

mod tiling;

use super::geometry::Geometry;
use super::same5::Direction;
use super::shares::Product;
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Target};
use crate::ops::matmul::{Products, padded_channels};
use crate::tensor::ELEMENT_BYTES;
use tiling::{Chunk, FREQUENCIES, Frequencies, TILE, Tiling};

/// Frequencies of one side of a chunk take about this much.
const CHUNK_BYTES: usize = 16 << 20;

/// The weights' frequencies `[512, from, to]`, padded.
#[derive(Debug, Clone, Copy)]
struct WeightFrequencies {
    from: usize,
    to: usize,
}

impl WeightFrequencies {
    fn new(from: usize, to: usize) -> Self {
        Self { from: padded_channels(from), to: padded_channels(to) }
    }

    fn step(&self) -> usize {
        self.from * self.to
    }

    fn elements(&self) -> usize {
        FREQUENCIES * self.step()
    }
}

/// Whether the weights' frequencies can be bound.
pub(super) fn fits(g: &Geometry, target: &Target) -> bool {
    let weights = WeightFrequencies::new(g.fine_channels, g.coarse_channels);
    weights.elements() as u64 * ELEMENT_BYTES <= target.max_binding_bytes
}

/// Tiles, and multiply-adds of the products between the transforms.
pub(super) fn work(g: &Geometry) -> [usize; 2] {
    let tiles = Tiling::new(g).tiles();
    let weights = WeightFrequencies::new(g.fine_channels, g.coarse_channels);
    [tiles, tiles * weights.elements()]
}

fn chunks(tiling: &Tiling, channels: usize) -> Vec<Chunk> {
    let tile = FREQUENCIES * padded_channels(channels) * ELEMENT_BYTES as usize;
    tiling.chunks((CHUNK_BYTES / tile).max(1))
}

/// The largest of what a buffer holds in turn.
fn largest(chunks: &[Chunk], elements: impl Fn(&Chunk) -> usize) -> usize {
    chunks.iter().map(elements).max().unwrap_or(0)
}

/// Emits the convolution in either direction.
pub(super) fn product(at: &mut Lowering<'_>, g: &Geometry, direction: Direction, product: Product) {
    let mirrored = direction == Direction::Backward;
    let [from, to] = match direction {
        Direction::Forward => [g.fine_channels, g.coarse_channels],
        Direction::Backward => [g.coarse_channels, g.fine_channels],
    };
    let tiling = Tiling::new(g);
    let chunks = chunks(&tiling, from.max(to));
    let weights = WeightFrequencies::new(from, to);
    let partial_weights = 8 * 25 * from * to;
    let sources = largest(&chunks, |c| tiling.frequencies(c, from).elements());
    let outputs = largest(&chunks, |c| tiling.frequencies(c, to).elements());
    let partial = at.scratch(largest(&chunks, |c| tiling.partial_elements(c, from, to)));
    let source = at.scratch(sources.max(partial_weights));
    let result = at.scratch(outputs);
    let weight = at.scratch(weights.elements());

    emit_weights(at, g, mirrored, product.weight, source, weight);
    let output = at.output(0);
    for chunk in &chunks {
        let f = tiling.frequencies(chunk, from);
        emit_source(at, &tiling, chunk, &f, [product.source, partial, source]);
        let r = tiling.frequencies(chunk, to);
        let products = Products {
            batch: FREQUENCIES,
            extents: [tiling.tiles_of(chunk), r.padded, f.padded],
            a: [f.step, f.padded, 1],
            b: [weights.step(), weights.to],
            c: [r.step, r.padded],
            add: false,
        };
        products.emit(at, source, weight, result);
        let dispatch = tiling.write(Dispatch::new("winograd_output_plane"), chunk, &r, product.bias.is_some());
        // Every binding must be bound: without a bias, that one is not read.
        let dispatch = dispatch.read(result).read(product.bias.unwrap_or(product.weight)).write(partial);
        at.emit(dispatch.grid(tiling.plane_grid(chunk, to)));
        let dispatch = tiling.write(Dispatch::new("winograd_output_depth"), chunk, &r, false);
        let dispatch = dispatch.read(partial).write(output);
        at.emit(dispatch.grid(tiling.depth_grid(chunk, to, chunk.rows * TILE)));
    }
}

/// Emits the gradient with respect to the weight.
pub(super) fn grad_weight(at: &mut Lowering<'_>, g: &Geometry, input: Operand, grad_output: Operand) {
    let [cin, cout] = [g.fine_channels, g.coarse_channels];
    let tiling = Tiling::new(g);
    let chunks = chunks(&tiling, cin.max(cout));
    let weights = WeightFrequencies::new(cin, cout);
    let partial_weights = 8 * 25 * cin * cout;
    let sources = largest(&chunks, |c| tiling.frequencies(c, cin).elements());
    let partial = at.scratch(largest(&chunks, |c| tiling.partial_elements(c, cin, cout)));
    let source = at.scratch(sources.max(partial_weights));
    let grads = at.scratch(largest(&chunks, |c| tiling.frequencies(c, cout).elements()));
    let sum = at.scratch(weights.elements());

    for (i, chunk) in chunks.iter().enumerate() {
        let f = tiling.frequencies(chunk, cin);
        emit_source(at, &tiling, chunk, &f, [input, partial, source]);
        let y = tiling.frequencies(chunk, cout);
        let dispatch = tiling.write(Dispatch::new("winograd_grad_depth"), chunk, &y, false);
        let dispatch = dispatch.read(grad_output).write(partial);
        at.emit(dispatch.grid(tiling.depth_grid(chunk, cout, chunk.rows * TILE)));
        let dispatch = tiling.write(Dispatch::new("winograd_grad_plane"), chunk, &y, false);
        let dispatch = dispatch.read(partial).write(grads);
        at.emit(dispatch.grid(tiling.plane_grid(chunk, y.padded)));
        let products = Products {
            batch: FREQUENCIES,
            extents: [f.padded, y.padded, tiling.tiles_of(chunk)],
            a: [f.step, 1, f.padded],
            b: [y.step, y.padded],
            c: [weights.step(), weights.to],
            add: i > 0,
        };
        products.emit(at, source, grads, sum);
    }
    let dispatch =
        Dispatch::new("winograd_grad_weight_plane").params(&[cin, cout, weights.to, weights.step()]).read(sum);
    at.emit(dispatch.write(source).grid([(cin * cout).div_ceil(64) as u32, 8, 1]));
    let dispatch = Dispatch::new("winograd_grad_weight_depth").param(cin * cout).read(source).write(at.output(0));
    at.emit(dispatch.grid([(cin * cout).div_ceil(64) as u32, 25, 1]));
}

/// Emits the transform of a chunk of the input, through a partial result, to frequencies.
fn emit_source(
    at: &mut Lowering<'_>,
    tiling: &Tiling,
    chunk: &Chunk,
    f: &Frequencies,
    [input, partial, frequencies]: [Operand; 3],
) {
    let dispatch = tiling.write(Dispatch::new("winograd_source_depth"), chunk, f, false).read(input).write(partial);
    at.emit(dispatch.grid(tiling.depth_grid(chunk, f.channels, chunk.rows * TILE + 4)));
    let dispatch =
        tiling.write(Dispatch::new("winograd_source_plane"), chunk, f, false).read(partial).write(frequencies);
    at.emit(dispatch.grid(tiling.plane_grid(chunk, f.padded)));
}

/// Emits the transform of the weights, through a partial result, to frequencies.
fn emit_weights(
    at: &mut Lowering<'_>,
    g: &Geometry,
    mirrored: bool,
    weight: Operand,
    partial: Operand,
    frequencies: Operand,
) {
    let [cin, cout] = [g.fine_channels, g.coarse_channels];
    let ([from, to], steps) = if mirrored { ([cout, cin], [1, cout]) } else { ([cin, cout], [cout, 1]) };
    let padded = WeightFrequencies::new(from, to);
    let dispatch = Dispatch::new("winograd_weight_depth").params(&[cin * cout, usize::from(mirrored)]);
    let dispatch = dispatch.read(weight).write(partial);
    at.emit(dispatch.grid([(cin * cout).div_ceil(64) as u32, 25, 1]));
    let dispatch = Dispatch::new("winograd_weight_plane")
        .params(&[from, to, padded.from, padded.to])
        .params(&steps)
        .params(&[padded.step(), usize::from(mirrored)])
        .read(partial)
        .write(frequencies);
    at.emit(dispatch.grid([padded.step().div_ceil(64) as u32, 8, 1]));
}
