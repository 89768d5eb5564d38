use crate::kernel::{Dispatch, Transform};
use crate::ops::conv3d::geometry::Geometry;
use crate::ops::gemm::{PANEL, Steps, padded_channels};

/// Outputs of a tile along an axis of three taps: either is the better one for some extents.
const OUTPUTS_OF_THREE_TAPS: [usize; 2] = [4, 6];

/// Outputs of a tile along an axis of five taps.
const OUTPUTS_OF_FIVE_TAPS: usize = 4;

/// Elements between the end of a frequency of a panel and the start of the next, so that the frequencies which one
/// invocation writes do not fall on one set of a cache.
const SKEW: usize = 16;

/// The transforms along z, y and x of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) struct Transforms([Transform; 3]);

impl Transforms {
    /// Those of a convolution of stride 1 that keeps the extents, with 1, 3 or 5 taps along each axis. Axes of three taps have tiles of
    /// one size, that with the fewest frequencies over all tiles, or the smaller one: each size is ten shaders more to compile.
    pub fn new(g: &Geometry) -> Option<Self> {
        let fits = g.layer().is_some_and(|layer| layer.has_choice());
        let of_three = |outputs: usize| {
            let transform = |taps: usize| match taps {
                1 => Transform { outputs: 1, taps },
                3 => Transform { outputs, taps },
                _ => Transform { outputs: OUTPUTS_OF_FIVE_TAPS, taps },
            };
            Self(g.kernel.map(transform))
        };
        let sizes = OUTPUTS_OF_THREE_TAPS.map(of_three).into_iter();
        fits.then(|| sizes.min_by_key(|sizes| sizes.count_for(g)).expect("there are two"))
    }

    /// Frequencies of all tiles of a sample.
    fn count_for(&self, g: &Geometry) -> usize {
        let along = |(t, extent): (&Transform, &usize)| extent.div_ceil(t.outputs) * t.frequencies();
        self.0.iter().zip(&g.input).map(along).product()
    }

    /// Frequencies of a tile along z.
    pub fn depth(&self) -> usize {
        self.0[0].frequencies()
    }

    /// Frequencies of a plane of a tile.
    pub fn plane(&self) -> usize {
        self.0[1].frequencies() * self.0[2].frequencies()
    }

    /// Taps of a plane.
    pub fn taps_plane(&self) -> usize {
        self.0[1].taps * self.0[2].taps
    }

    /// Outputs of a tile, per axis.
    pub fn outputs(&self) -> [usize; 3] {
        self.0.map(|t| t.outputs)
    }

    /// Per axis.
    pub fn each(&self) -> [Transform; 3] {
        self.0
    }

    /// Lines, or columns, that neighbouring tiles share.
    fn shared(&self, axis: usize) -> usize {
        self.0[axis].taps - 1
    }

    /// A dispatch of a shader for these transforms.
    pub fn dispatch(&self, shader: &'static str) -> Dispatch {
        let names = [("OUTPUTS_Z", "TAPS_Z"), ("OUTPUTS_Y", "TAPS_Y"), ("OUTPUTS_X", "TAPS_X")];
        let counted = |dispatch: Dispatch, ((outputs, taps), t): ((&'static str, &'static str), Transform)| {
            dispatch.count(outputs, t.outputs).count(taps, t.taps)
        };
        names.into_iter().zip(self.0).fold(Dispatch::new(shader), counted)
    }

    /// All frequencies along z.
    pub fn whole(&self) -> Slice {
        Slice { first: 0, count: self.depth() }
    }

    /// All frequencies along z in parts of `count`, which divides their number.
    pub fn slices(&self, count: usize) -> impl Iterator<Item = Slice> {
        (0..self.depth()).step_by(count).map(move |first| Slice { first, count })
    }
}

/// How tiles cover a batch of activations.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Tiling {
    pub transforms: Transforms,
    batch: usize,
    extents: [usize; 3],
    tiles: [usize; 3],
}

/// Tiles of one set of dispatches: `rows` rows of tiles from `first_row` on, of each of `slabs` slabs from `first_slab`
/// on. A slab is all tiles of one sample and one position along z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) struct Chunk {
    pub first_slab: usize,
    pub slabs: usize,
    pub first_row: usize,
    pub rows: usize,
}

/// Frequencies along z that are worked on at a time: `count` from `first` on.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Slice {
    pub first: usize,
    pub count: usize,
}

/// One side's frequencies of a chunk and slice, `[panels, count planes of frequencies, 16 tiles, padded channels]`.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Frequencies {
    pub chunk: Chunk,
    pub channels: usize,
    pub padded: usize,
    pub panels: usize,
    pub slice: Slice,
    /// Frequencies of a plane.
    pub plane: usize,
}

impl Frequencies {
    /// Elements from one frequency of a panel to the next.
    pub fn step(&self) -> usize {
        PANEL * self.padded + SKEW
    }

    /// Elements from one panel to the next.
    pub fn panel_step(&self) -> usize {
        self.plane * self.slice.count * self.step()
    }

    /// Elements of the buffer.
    pub fn elements(&self) -> usize {
        self.panels * self.panel_step()
    }

    /// Where tiles lie.
    pub fn tiles(&self) -> Steps {
        Steps { step: self.padded, panel: self.panel_step() }
    }
}

impl Tiling {
    /// How tiles of these transforms cover the input, which is as large as the output.
    pub fn new(g: &Geometry, transforms: Transforms) -> Self {
        let outputs = transforms.outputs();
        let tiles = std::array::from_fn(|axis| g.input[axis].div_ceil(outputs[axis]));
        Self { transforms, batch: g.batch, extents: g.input, tiles }
    }

    /// Tiles of the whole batch.
    pub fn tiles(&self) -> usize {
        self.batch * self.tiles.iter().product::<usize>()
    }

    /// Tiles of a chunk.
    pub fn tiles_of(&self, chunk: &Chunk) -> usize {
        chunk.slabs * chunk.rows * self.tiles[2]
    }

    /// Chunks of at most `most` tiles each, but at least a row of tiles, and as even as they come.
    pub fn chunks(&self, most: usize) -> Vec<Chunk> {
        let [tiles_z, tiles_y, tiles_x] = self.tiles;
        let slabs = self.batch * tiles_z;
        let per_slab = tiles_y * tiles_x;
        let (slabs_each, rows_each) = if per_slab <= most {
            (even(slabs, most / per_slab), tiles_y)
        } else {
            (1, even(tiles_y, (most / tiles_x).max(1)))
        };
        let mut chunks = Vec::new();
        for first_slab in (0..slabs).step_by(slabs_each) {
            for first_row in (0..tiles_y).step_by(rows_each) {
                chunks.push(Chunk {
                    first_slab,
                    slabs: slabs_each.min(slabs - first_slab),
                    first_row,
                    rows: rows_each.min(tiles_y - first_row),
                });
            }
        }
        chunks
    }

    /// The frequencies of a chunk with this many channels.
    pub fn frequencies(&self, chunk: &Chunk, slice: Slice, channels: usize) -> Frequencies {
        let panels = self.tiles_of(chunk).div_ceil(PANEL);
        let plane = self.transforms.plane();
        Frequencies { chunk: *chunk, channels, padded: padded_channels(channels), panels, slice, plane }
    }

    /// Lines of a slab of a chunk, and columns, of the output and of the input, which has those that neighbouring tiles share.
    fn lines(&self, chunk: &Chunk) -> [[usize; 2]; 2] {
        let [_, outputs_y, outputs_x] = self.transforms.outputs();
        let output = [chunk.rows * outputs_y, self.tiles[2] * outputs_x];
        [output, [output[0] + self.transforms.shared(1), output[1] + self.transforms.shared(2)]]
    }

    /// Elements of the input after its transform along z.
    pub fn input_elements(&self, chunk: &Chunk, channels: usize) -> usize {
        let [_, [lines, columns]] = self.lines(chunk);
        chunk.slabs * self.transforms.depth() * lines * columns * channels
    }

    /// Elements of the output, or of its gradient, before the transform along z.
    pub fn output_elements(&self, chunk: &Chunk, channels: usize) -> usize {
        let [[lines, columns], _] = self.lines(chunk);
        chunk.slabs * self.transforms.depth() * lines * columns * channels
    }

    /// A dispatch of a shader with `Tiles` of `shaders/common/winograd_tiles.wgsl`, for invocations that work on `width` channels;
    /// `with_bias` for the one that adds it.
    pub fn write(&self, shader: &'static str, f: &Frequencies, width: usize, with_bias: bool) -> Dispatch {
        let chunk = &f.chunk;
        self.transforms
            .dispatch(shader)
            .pairs(width > 1)
            .params(&self.extents)
            .params(&[f.channels / width, f.padded / width, self.tiles[0], self.tiles[2]])
            .params(&[chunk.first_slab, chunk.first_row, chunk.rows, chunk.slabs * chunk.rows, f.panels, f.slice.first])
            .params(&[f.step() / width, f.panel_step() / width])
            .param(usize::from(with_bias))
    }

    /// Workgroups of the input's transform along z: over the elements of a line, lines and slabs.
    pub fn input_grid(&self, chunk: &Chunk, elements: usize) -> [u32; 3] {
        let [_, [lines, columns]] = self.lines(chunk);
        [(columns * elements).div_ceil(64) as u32, lines as u32, chunk.slabs as u32]
    }

    /// The same for the output or its gradient.
    pub fn output_grid(&self, chunk: &Chunk, elements: usize) -> [u32; 3] {
        let [[lines, columns], _] = self.lines(chunk);
        [(columns * elements).div_ceil(64) as u32, lines as u32, chunk.slabs as u32]
    }

    /// Workgroups of a transform of planes: over the elements of a row of tiles, rows of tiles and frequencies along z.
    pub fn plane_grid(&self, f: &Frequencies, width: usize) -> [u32; 3] {
        self.grid_of_rows(f.chunk.slabs * f.chunk.rows, f.slice, f.channels / width)
    }

    /// Like [`Tiling::plane_grid`], with rows of tiles that do not exist to fill the last panel.
    pub fn padded_plane_grid(&self, f: &Frequencies, width: usize) -> [u32; 3] {
        self.grid_of_rows((f.panels * PANEL).div_ceil(self.tiles[2]), f.slice, f.padded / width)
    }

    fn grid_of_rows(&self, rows: usize, slice: Slice, elements: usize) -> [u32; 3] {
        [(self.tiles[2] * elements).div_ceil(64) as u32, rows as u32, slice.count as u32]
    }
}

/// The most even division of `count` into parts of at most `most`.
fn even(count: usize, most: usize) -> usize {
    count.div_ceil(count.div_ceil(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ConvolutionLayer;

    #[test]
    fn tiles_follow_kernel_and_extents() {
        let outputs = |kernel, extents| {
            let layer = ConvolutionLayer { kernel, ..ConvolutionLayer::same_5([8, 8], extents, 1) };
            Transforms::new(&Geometry::of_layer(&layer)).map(|t| t.outputs())
        };
        assert_eq!(outputs([5; 3], [64; 3]), Some([4; 3]));
        assert_eq!(outputs([3; 3], [64; 3]), Some([6; 3]));
        assert_eq!(outputs([3; 3], [32; 3]), Some([4; 3]), "as many frequencies, and less noise");
        assert_eq!(outputs([1, 3, 5], [7; 3]), Some([1, 4, 4]));
        assert_eq!(outputs([1; 3], [64; 3]), None);
        let strided = ConvolutionLayer { stride: [1, 2, 2], ..ConvolutionLayer::same_5([8, 8], [64; 3], 1) };
        assert_eq!(Transforms::new(&Geometry::of_layer(&strided)), None);
    }

    #[test]
    fn chunks_cover_every_row_of_tiles_once() {
        // The second and third leave a smaller chunk at the end, of slabs and of rows.
        for (batch, tiles) in [(2, [3, 6, 5]), (1, [5, 5, 2]), (1, [7, 11, 3])] {
            let [slabs, rows] = [batch * tiles[0], tiles[1]];
            let transforms = Transforms([Transform { outputs: 4, taps: 5 }; 3]);
            let tiling = Tiling { transforms, batch, extents: tiles.map(|t| 4 * t - 3), tiles };
            let mut last_is_smaller = [false; 2];
            for most in (1..=tiling.tiles() + 1).chain([1000]) {
                let chunks = tiling.chunks(most);
                let mut seen = vec![0; slabs * rows];
                for c in &chunks {
                    assert!(tiling.tiles_of(c) <= most.max(tiles[2]), "{c:?}");
                    assert!(c.first_slab + c.slabs <= slabs && c.first_row + c.rows <= rows, "{c:?}");
                    for slab in c.first_slab..c.first_slab + c.slabs {
                        for row in c.first_row..c.first_row + c.rows {
                            seen[slab * rows + row] += 1;
                        }
                    }
                }
                assert!(seen.iter().all(|&n| n == 1), "{most}: {seen:?}");
                let (first, last) = (chunks[0], chunks[chunks.len() - 1]);
                last_is_smaller[0] |= last.slabs < first.slabs;
                last_is_smaller[1] |= last.rows < first.rows;
            }
            assert!(batch == 2 || last_is_smaller == [true; 2], "{tiles:?}");
        }
    }
}
