use super::super::geometry::Geometry;
use crate::kernel::Dispatch;
use crate::ops::matmul::{ROW_ALIGNMENT, padded_channels};

/// Frequencies of a tile: 8 x 8 x 8.
pub(super) const FREQUENCIES: usize = 512;

/// Outputs of a tile along each axis.
pub(super) const TILE: usize = 4;

/// Elements between the ends of a frequency and the start of the next: 64 bytes more than a power of two, so that the 64
/// frequencies which one invocation writes do not fall on one set of a cache.
const SKEW: usize = 16;

/// How tiles cover a batch of activations.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiling {
    batch: usize,
    extents: [usize; 3],
    tiles: [usize; 3],
}

/// Tiles of one set of dispatches: `rows` rows of tiles from `first_row` on, of each of `slabs` slabs from `first_slab`
/// on. A slab is all tiles of one sample and one position along z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub first_slab: usize,
    pub slabs: usize,
    pub first_row: usize,
    pub rows: usize,
}

/// One side's frequencies of a chunk, `[512, tiles, padded channels]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frequencies {
    pub channels: usize,
    pub padded: usize,
    /// Elements from one frequency to the next.
    pub step: usize,
}

impl Frequencies {
    /// Elements of the buffer.
    pub fn elements(&self) -> usize {
        FREQUENCIES * self.step
    }
}

impl Tiling {
    pub fn new(g: &Geometry) -> Self {
        Self { batch: g.batch, extents: g.fine, tiles: g.fine.map(|e| e.div_ceil(TILE)) }
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
    pub fn frequencies(&self, chunk: &Chunk, channels: usize) -> Frequencies {
        let padded = padded_channels(channels);
        let step = self.tiles_of(chunk).next_multiple_of(ROW_ALIGNMENT) * padded + SKEW;
        Frequencies { channels, padded, step }
    }

    /// Elements behind the transform along z: of the input, with the lines that neighbouring tiles share, or of the output.
    pub fn partial_elements(&self, chunk: &Chunk, source: usize, output: usize) -> usize {
        let line = self.tiles[2] * TILE;
        let [from, to] = [(chunk.rows * TILE + 4) * self.extents[2] * source, chunk.rows * TILE * line * output];
        chunk.slabs * 8 * from.max(to)
    }

    /// Appends `Tiles` of `shaders/common/winograd_tiles.wgsl`.
    pub fn write(&self, dispatch: Dispatch, chunk: &Chunk, f: &Frequencies, with_bias: bool) -> Dispatch {
        dispatch
            .params(&self.extents)
            .params(&[f.channels, f.padded, self.tiles[0], self.tiles[2]])
            .params(&[chunk.first_slab, chunk.first_row, chunk.rows, f.step])
            .param(usize::from(with_bias))
    }

    /// Workgroups of a transform along z: over the elements of a line, lines and slabs.
    pub fn depth_grid(&self, chunk: &Chunk, channels: usize, lines: usize) -> [u32; 3] {
        [(self.extents[2] * channels).div_ceil(64) as u32, lines as u32, chunk.slabs as u32]
    }

    /// Workgroups of a transform of planes: over the elements of a row of tiles, rows of tiles and frequencies along z.
    pub fn plane_grid(&self, chunk: &Chunk, channels: usize) -> [u32; 3] {
        [(self.tiles[2] * channels).div_ceil(64) as u32, (chunk.slabs * chunk.rows) as u32, 8]
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
        let tiling = Tiling { batch: 2, extents: [9, 21, 17], tiles: [3, 6, 5] };
        for most in [1, 5, 7, 10, 29, 30, 31, 60, 100, 1000] {
            let mut seen = vec![0; 6 * 6];
            for c in tiling.chunks(most) {
                assert!(tiling.tiles_of(&c) <= most.max(5), "{c:?}");
                for slab in c.first_slab..c.first_slab + c.slabs {
                    for row in c.first_row..c.first_row + c.rows {
                        seen[slab * 6 + row] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{most}: {seen:?}");
        }
    }
}
