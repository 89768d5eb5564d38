use crate::kernel::Dispatch;
use crate::ops::conv3d::geometry::Geometry;
use crate::ops::gemm::{PANEL, Steps, padded_channels};

/// Frequencies of a tile along z.
pub(in crate::ops) const DEPTH: usize = 8;

/// Frequencies of a plane of a tile: 8 x 8.
pub(in crate::ops) const PLANE: usize = 64;

/// Outputs of a tile along each axis.
pub(in crate::ops) const TILE: usize = 4;

/// Elements between the end of a frequency of a panel and the start of the next, so that the 64 frequencies which one
/// invocation writes do not fall on one set of a cache.
const SKEW: usize = 16;

/// How tiles cover a batch of activations.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Tiling {
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

impl Slice {
    /// All frequencies.
    pub const ALL: Self = Self { first: 0, count: DEPTH };

    /// All frequencies in parts of `count`, which divides their number.
    pub fn parts(count: usize) -> impl Iterator<Item = Self> {
        (0..DEPTH).step_by(count).map(move |first| Self { first, count })
    }
}

/// One side's frequencies of a chunk and slice, `[panels, 64 count, 16 tiles, padded channels]`.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Frequencies {
    pub chunk: Chunk,
    pub channels: usize,
    pub padded: usize,
    pub panels: usize,
    pub slice: Slice,
}

impl Frequencies {
    /// Elements from one frequency of a panel to the next.
    pub fn step(&self) -> usize {
        PANEL * self.padded + SKEW
    }

    /// Elements from one panel to the next.
    pub fn panel_step(&self) -> usize {
        PLANE * self.slice.count * self.step()
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
    pub fn new(g: &Geometry) -> Self {
        Self { batch: g.batch, extents: g.input, tiles: g.input.map(|e| e.div_ceil(TILE)) }
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
        Frequencies { chunk: *chunk, channels, padded: padded_channels(channels), panels, slice }
    }

    /// Elements of the input after its transform along z, with the lines and columns that neighbouring tiles share.
    pub fn input_elements(&self, chunk: &Chunk, channels: usize) -> usize {
        chunk.slabs * DEPTH * (chunk.rows * TILE + 4) * (self.tiles[2] * TILE + 4) * channels
    }

    /// Elements of the output, or of its gradient, before the transform along z.
    pub fn output_elements(&self, chunk: &Chunk, channels: usize) -> usize {
        chunk.slabs * DEPTH * chunk.rows * TILE * self.tiles[2] * TILE * channels
    }

    /// Appends `Tiles` of `shaders/common/winograd_tiles.wgsl` for invocations that work on `width` channels; `with_bias` for the one that adds it.
    pub fn write(&self, dispatch: Dispatch, f: &Frequencies, width: usize, with_bias: bool) -> Dispatch {
        let chunk = &f.chunk;
        dispatch
            .pairs(width > 1)
            .params(&self.extents)
            .params(&[f.channels / width, f.padded / width, self.tiles[0], self.tiles[2]])
            .params(&[chunk.first_slab, chunk.first_row, chunk.rows, chunk.slabs * chunk.rows, f.panels, f.slice.first])
            .params(&[f.step() / width, f.panel_step() / width])
            .param(usize::from(with_bias))
    }

    /// Workgroups of the input's transform along z: over the elements of a line, lines and slabs.
    pub fn input_grid(&self, chunk: &Chunk, elements: usize) -> [u32; 3] {
        let line = (self.tiles[2] * TILE + 4) * elements;
        [line.div_ceil(64) as u32, (chunk.rows * TILE + 4) as u32, chunk.slabs as u32]
    }

    /// The same for the output or its gradient.
    pub fn output_grid(&self, chunk: &Chunk, elements: usize) -> [u32; 3] {
        let line = self.tiles[2] * TILE * elements;
        [line.div_ceil(64) as u32, (chunk.rows * TILE) as u32, chunk.slabs as u32]
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

    #[test]
    fn chunks_cover_every_row_of_tiles_once() {
        // The second and third leave a smaller chunk at the end, of slabs and of rows.
        for (batch, tiles) in [(2, [3, 6, 5]), (1, [5, 5, 2]), (1, [7, 11, 3])] {
            let [slabs, rows] = [batch * tiles[0], tiles[1]];
            let tiling = Tiling { batch, extents: tiles.map(|t| 4 * t - 3), tiles };
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
