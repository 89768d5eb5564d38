//! How workgroups cover matrices `[samples, rows, channels]`, and sums over their rows: the host side of
//! `shaders/common/{rows,reduce}.wgsl`.
//!
//! Sums are taken in a fixed order that depends on the shape alone: serially by each invocation over its rows, by halves
//! over the invocations of a workgroup, and the same again over the partial sums of the workgroups.

use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand, Pieces, Target, Tuning};
use crate::tensor::{DType, TensorSpec};

/// Invocations of a workgroup.
const WORKGROUP: usize = 256;

/// Channels that an invocation works on in shaders that import `element`: two where that pays and divides them.
pub(super) fn element_width(channels: usize, target: &Target) -> usize {
    if target.pairs() && channels.is_multiple_of(2) { 2 } else { 1 }
}

/// Least rows of one invocation of a sum, where there are that many.
const SUMMED_ROWS: usize = 16;

/// Least rows of one invocation of a sum whose order may depend on the device, for each row of an elementwise kernel's.
const SUMMED_ROWS_PER_ELEMENTWISE: usize = 4;

/// Most partial sums of one channel: enough workgroups for a large device, few enough to be summed by one.
const MAX_PARTIALS: usize = 512;

/// The division of a matrix among workgroups; see `Rows` in `rows.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows {
    samples: usize,
    rows: usize,
    channels: usize,
    block: usize,
    groups: usize,
    blocks: usize,
    tile: usize,
    tiles: usize,
}

impl Rows {
    /// For kernels that write every element.
    pub(crate) fn elementwise(samples: usize, rows: usize, channels: usize, target: &Target) -> Self {
        Self::new(samples, rows, channels, |groups| groups * target.tuning.elementwise_rows)
    }

    /// For kernels that sum over the rows of each sample.
    pub(crate) fn summed(samples: usize, rows: usize, channels: usize) -> Self {
        let per_sample = (MAX_PARTIALS / samples.max(1)).max(1);
        Self::new(samples, rows, channels, |groups| {
            rows.div_ceil(per_sample).max(groups * SUMMED_ROWS).next_multiple_of(groups)
        })
    }

    /// As [`Rows::summed`], with more rows to an invocation where a workgroup's start and barriers are dear: on llvmpipe, which runs
    /// its subgroups as coroutines, they cost as much as some hundred rows. The order of a sum depends on the class of device then.
    pub(super) fn summed_on(samples: usize, rows: usize, channels: usize, tuning: &Tuning) -> Self {
        let per_sample = (MAX_PARTIALS / samples.max(1)).max(1);
        let least = SUMMED_ROWS_PER_ELEMENTWISE * tuning.elementwise_rows;
        Self::new(samples, rows, channels, |groups| {
            rows.div_ceil(per_sample).max(groups * least).next_multiple_of(groups)
        })
    }

    /// The divisions that [`Rows::summed_on`] makes on any device, of floats and of pairs.
    pub(super) fn all_summed(samples: usize, rows: usize, channels: usize) -> Vec<Self> {
        let of = |tuning| [1, 2].map(|width| Self::summed_on(samples, rows, (channels / width).max(1), tuning));
        Tuning::ALL.iter().flat_map(of).collect()
    }

    /// The rest of a sum: one workgroup per sample and block of channels.
    fn whole(samples: usize, rows: usize, channels: usize) -> Self {
        Self::new(samples, rows, channels, |_| rows.max(1))
    }

    fn new(samples: usize, rows: usize, channels: usize, tile: impl FnOnce(usize) -> usize) -> Self {
        let blocks = channels.div_ceil(WORKGROUP).max(1);
        let block = channels.div_ceil(blocks).max(1);
        let groups = WORKGROUP / block;
        let tile = tile(groups);
        Self { samples, rows, channels, block, groups, blocks, tile, tiles: rows.div_ceil(tile).max(1) }
    }

    /// Tiles of one sample.
    pub(super) fn tiles(&self) -> usize {
        self.tiles
    }

    /// Rows of a tile; the last of a sample may have fewer.
    pub(super) fn tile(&self) -> usize {
        self.tile
    }

    /// Most rows that one invocation visits.
    pub(super) fn visited(&self) -> usize {
        self.tile.min(self.rows).div_ceil(self.groups)
    }

    /// A dispatch over the matrix: `rows` is the first member of the shader's uniform.
    pub(crate) fn dispatch(&self, shader: &'static str, target: &Target) -> Dispatch {
        let Self { samples, rows, channels, block, groups, blocks, tile, tiles } = *self;
        Dispatch::new(shader)
            .params(&[samples, rows, channels, block, groups, blocks, tile, tiles])
            .linear_grid(samples * tiles * blocks, target)
            .pieces(self.pieces())
    }

    /// Tiles one after the other, of a single sample.
    fn pieces(&self) -> Option<Pieces> {
        let pieces =
            Pieces { rows: self.rows, unit: self.tile, workgroups: self.blocks, rows_word: 1, units_word: Some(7) };
        (self.samples == 1 && self.rows > 0).then_some(pieces)
    }

    /// Tiles of all samples: the partial sums of a channel.
    pub(super) fn tile_count(&self) -> usize {
        self.samples * self.tiles
    }

    /// Roundings on the way to one element of a sum over rows: serial, by halves, and both once more over partial sums.
    pub(super) fn summed_roundings(&self) -> usize {
        let stage = |rows: usize| rows.div_ceil(self.groups) + self.groups.next_power_of_two().ilog2() as usize;
        stage(self.tile.min(self.rows)) + stage(self.tiles)
    }
}

/// Number of rows and channels of a tensor whose last axis is channels.
pub(super) fn matrix(spec: &TensorSpec) -> (usize, usize) {
    let channels = spec.channels();
    (spec.elements() / channels.max(1), channels)
}

/// Whether the elements are f32 and the last axis is channels.
pub(super) fn has_channels(spec: &TensorSpec) -> bool {
    spec.dtype == DType::F32 && !spec.shape.is_empty()
}

/// `spec` with another number of channels.
pub(super) fn with_channels(spec: &TensorSpec, channels: usize) -> TensorSpec {
    let mut shape = spec.shape.clone();
    shape.pop();
    shape.push(channels);
    TensorSpec { shape, dtype: spec.dtype }
}

/// The columns that a sum over rows leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    /// Sums per channel of the matrix, which may stand for several.
    pub(super) per_channel: usize,
    /// Sum over the samples too.
    pub(super) over_samples: bool,
}

/// Emits `partial`, which lacks its last bindings, to write rows of sums per tile of `rows`, and a `channel_sum` over these where a
/// sample has more than one tile. Each of `outputs` becomes `[samples, columns]`, or `[columns]` over all samples.
pub(super) fn emit_sums(at: &mut Lowering<'_>, rows: &Rows, columns: Columns, partial: Dispatch, outputs: &[Operand]) {
    let (samples, tiles) = match columns.over_samples {
        true => (1, rows.samples * rows.tiles),
        false => (rows.samples, rows.tiles),
    };
    let width = rows.channels * columns.per_channel;
    if tiles == 1 {
        at.emit(outputs.iter().fold(partial, |d, &output| d.write(output)));
        return;
    }
    let partials: Vec<Operand> = outputs.iter().map(|_| at.scratch(samples * tiles * width)).collect();
    at.emit(partials.iter().fold(partial, |d, &sums| d.write(sums)));
    for (sums, &output) in partials.into_iter().zip(outputs) {
        let rest = Rows::whole(samples, tiles, width).dispatch("channel_sum", at.target());
        at.emit(rest.read(sums).write(output));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `share` of `rows.wgsl` for every invocation of the grid: each element once, in the right sample.
    #[test]
    fn every_element_belongs_to_one_invocation() {
        let shapes = [(1, 1, 1), (2, 105, 3), (3, 7, 5), (1, 1000, 1), (2, 40, 257), (1, 3, 512), (2, 9, 130)];
        for (samples, rows, channels) in shapes {
            let elementwise =
                |tuning| Rows::elementwise(samples, rows, channels, &Target::webgpu().with_tuning(tuning));
            let [gpu, cpu] = [Tuning::GPU, Tuning::CPU].map(elementwise);
            let [of_gpu, of_cpu] = [Tuning::GPU, Tuning::CPU].map(|t| Rows::summed_on(samples, rows, channels, &t));
            for r in [gpu, cpu, Rows::summed(samples, rows, channels), of_gpu, of_cpu] {
                assert!(r.block * r.groups <= WORKGROUP);
                let mut visits = vec![0; samples * rows * channels];
                for workgroup in 0..samples * r.tiles * r.blocks {
                    for local in 0..WORKGROUP {
                        let tile = workgroup / r.blocks;
                        let sample = tile / r.tiles;
                        let channel = workgroup % r.blocks * r.block + local % r.block;
                        let group = local / r.block;
                        if channel >= channels || group >= r.groups {
                            continue;
                        }
                        let start = tile % r.tiles * r.tile;
                        for row in (start + group..(start + r.tile).min(rows)).step_by(r.groups) {
                            visits[(sample * rows + row) * channels + channel] += 1;
                        }
                    }
                }
                assert!(visits.iter().all(|&v| v == 1), "{r:?}");
            }
        }
    }

    #[test]
    fn sums_have_few_partials() {
        for (rows, channels) in [(2 << 20, 32), (100, 256), (1 << 24, 1), (512, 512)] {
            let r = Rows::summed(2, rows / 2, channels);
            assert!(2 * r.tiles <= MAX_PARTIALS, "{r:?}");
            assert!(r.samples * r.tiles * channels <= 1 << 18);
        }
    }
}
