//! From a network's probabilities back to the file's grid, slab by slab. Only a few slices of every class are in memory at
//! once.

use std::ops::Range;
use std::path::Path;

use super::Geometry;
use super::resample::Resampling;
use super::spool::{Probabilities, Spool};
use super::{DataError, Decision};

/// Takes the slices of a prediction in the order of z and makes the label map, bit for bit that of
/// [`Geometry::restore_classes`]. On request it also makes the volume of probabilities of every foreground class or region, as
/// [`Geometry::restore_image`]; these wait in a temporary file, so that they are never in memory together.
#[derive(Debug)]
pub struct Restoration<'a> {
    geometry: &'a Geometry,
    decision: Decision,
    /// From the network's spacing to the file's.
    resampling: Resampling,
    /// Of each output, the slices that later outputs depend on, without padding.
    waiting: Vec<Vec<f32>>,
    /// Position of the first of these in the unpadded volume.
    first: usize,
    /// Next slice of the prediction.
    next: usize,
    /// Number of slices that are finished, in the network's orientation.
    finished: usize,
    labels: Vec<u16>,
    /// Of the foreground classes or regions, where they are wanted.
    probabilities: Option<Spool>,
}

impl<'a> Restoration<'a> {
    /// For predictions on the prepared grid that are decided so; a number of classes means the most probable one.
    ///
    /// # Panics
    /// If the volume was cropped to the patch: what was cropped has no probabilities.
    pub fn new(geometry: &'a Geometry, decision: impl Into<Decision>) -> Self {
        let (fit, decision) = (geometry.fit, decision.into());
        assert!((0..3).all(|axis| fit.from[axis] <= fit.to[axis]), "the prepared volume was cropped to the patch");
        let outputs = decision.outputs();
        Self {
            geometry,
            decision,
            resampling: geometry.resampling.inverse(),
            waiting: vec![Vec::new(); outputs],
            first: 0,
            next: 0,
            finished: 0,
            labels: Vec::with_capacity(geometry.input.voxel_count()),
            probabilities: None,
        }
    }

    /// Keeps the probabilities of the foreground classes or regions, in a temporary file in a folder that has room for them.
    ///
    /// # Errors
    /// [`DataError::Io`] when no file can be made there.
    pub fn keeping_probabilities(mut self, folder: &Path) -> Result<Self, DataError> {
        let [nx, ny, _] = self.resampling.to;
        let kept = self.waiting.len() - self.decision.first_kept();
        self.probabilities = Some(Spool::new(folder, kept, nx * ny)?);
        Ok(self)
    }

    /// Takes the next slices along z of the prediction: voxels x fastest, each with its outputs.
    ///
    /// # Panics
    /// If these are not whole slices.
    pub fn push(&mut self, probabilities: &[f32]) {
        let [nx, ny, _] = self.geometry.fit.to;
        let slice = nx * ny * self.waiting.len();
        assert_eq!(probabilities.len() % slice, 0, "whole slices of {nx} x {ny} voxels");
        // Slice by slice, so that no more of them wait than the next output depends on.
        for slice in probabilities.chunks_exact(slice) {
            self.take(slice);
            let ready = self.ready();
            if ready > self.finished {
                self.emit(self.finished..ready);
            }
        }
    }

    /// Puts one slice aside, without its padding.
    fn take(&mut self, slice: &[f32]) {
        let (fit, classes) = (self.geometry.fit, self.waiting.len());
        let inside = |axis: usize| {
            let start = usize::try_from(-fit.origin()[axis]).expect("padding is never negative");
            start..start + fit.from[axis]
        };
        let position = self.next;
        self.next += 1;
        if !inside(2).contains(&position) {
            return;
        }
        for y in inside(1) {
            let row = &slice[(y * fit.to[0] + inside(0).start) * classes..][..fit.from[0] * classes];
            for (class, waiting) in self.waiting.iter_mut().enumerate() {
                waiting.extend(row.iter().skip(class).step_by(classes));
            }
        }
    }

    /// Voxels of an unpadded slice.
    fn plane(&self) -> usize {
        self.geometry.fit.from[0] * self.geometry.fit.from[1]
    }

    /// Number of slices of the result whose sources are all there.
    fn ready(&self) -> usize {
        let available = self.first + self.waiting[0].len() / self.plane();
        let depth = self.resampling.to[2];
        (self.finished..depth).find(|&slice| self.resampling.sources(slice..slice + 1).end > available).unwrap_or(depth)
    }

    fn emit(&mut self, to: Range<usize>) {
        let (plane, from) = (self.plane(), self.resampling.sources(to.clone()));
        let voxels = (from.start - self.first) * plane..(from.end - self.first) * plane;
        let count = self.resampling.to[0] * self.resampling.to[1] * to.len();
        let (mut best, start) = (vec![f32::NEG_INFINITY; count], self.labels.len());
        self.labels.resize(start + count, 0);
        for (output, waiting) in self.waiting.iter().enumerate() {
            let image = self.resampling.slices(waiting[voxels.clone()].to_vec(), from.clone(), to.clone());
            self.decision.take(output, &image, &mut best, &mut self.labels[start..]);
            let kept = output.checked_sub(self.decision.first_kept());
            if let (Some(spool), Some(kept)) = (&mut self.probabilities, kept) {
                spool.push(kept, &image);
            }
        }
        self.finished = to.end;
        self.forget();
    }

    /// Drops the slices that no later output depends on.
    fn forget(&mut self) {
        let (plane, end) = (self.plane(), self.waiting[0].len() / self.plane() + self.first);
        let needed = match self.finished < self.resampling.to[2] {
            true => self.resampling.sources(self.finished..self.finished + 1).start,
            false => end,
        };
        // Sources may begin with a slice that is still to come.
        let needed = needed.min(end);
        for waiting in &mut self.waiting {
            waiting.drain(..(needed - self.first) * plane);
        }
        self.first = needed;
    }

    /// The label map, and the probabilities of every foreground class or region where they were wanted, on the file's grid.
    ///
    /// # Panics
    /// If slices are missing.
    pub fn finish(self) -> (Vec<u16>, Option<Probabilities<'a>>) {
        assert_eq!(self.finished, self.resampling.to[2], "slices of the result");
        let geometry = self.geometry;
        (geometry.uncropped(&self.labels, 0), self.probabilities.map(|spool| Probabilities { spool, geometry }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Crop, Fit, Grid, Interpolation, Normalisation, Preparation, Prepared, TargetSpacing, Volume};
    use proptest::prelude::*;

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let value = |index: usize| {
            let mixed = (index as u64 + 1).wrapping_mul(seed | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            mixed as f32 / (1u32 << 24) as f32
        };
        (0..count).map(value).collect()
    }

    proptest! {
        /// Slabs of any thickness give the bits of the whole volume, at its own spacing, finer and coarser.
        #[test]
        fn slabs_are_the_whole(
            extents in proptest::array::uniform3(1usize..9),
            patch in proptest::array::uniform3(1usize..12),
            spacing in proptest::array::uniform3(0.5f64..3.0),
            native in any::<bool>(),
            cut in proptest::array::uniform3(0usize..4),
            thickness in proptest::collection::vec(1usize..4, 32),
            seed in any::<u64>(),
        ) {
            let mut grid = Grid::axis_aligned(extents, [1.1, 0.7, 1.9]);
            // x to the left, y to the head, z to the front.
            grid.affine = [[-1.1, 0.0, 0.0, 3.0], [0.0, 0.0, 1.9, 1.0], [0.0, 0.7, 0.0, 0.0]];
            // Zeros before `cut` along each axis, or everywhere.
            let inside = |at| (0..3).all(|axis| crate::data::volume::position_of(at, extents)[axis] >= cut[axis]);
            let voxels = (0..grid.voxel_count()).map(|at| f32::from(inside(at))).collect();
            let volume = Volume { voxels, grid };
            let spacing = if native { TargetSpacing::default() } else { TargetSpacing::Millimetres(spacing) };
            let preparation = Preparation {
                spacing, patch, classes: 3, canonical: true, crop: if seed % 3 == 0 { Crop::None } else { Crop::Nonzero }, interpolation: Interpolation::Cubic,
                ..Preparation::native(Normalisation::None)
            };
            let geometry = Prepared::from_volume(volume, &preparation, Fit::Whole).geometry;
            let [nx, ny, nz] = geometry.grid.extents;
            let probabilities = random(nx * ny * nz * 3, seed);
            let regions = Decision::Painted(vec![2, 5, 1]);
            let decision = if seed % 2 == 0 { Decision::Largest(3) } else { regions };
            let first = decision.first_kept();
            let folder = tempfile::tempdir().expect("a folder");
            let restoration = Restoration::new(&geometry, decision.clone()).keeping_probabilities(folder.path());
            let mut restoration = restoration.expect("a temporary file");
            let mut rest = probabilities.as_slice();
            for slices in thickness.iter().cycle() {
                let (slab, later) = rest.split_at((slices * nx * ny * 3).min(rest.len()));
                restoration.push(slab);
                rest = later;
                if rest.is_empty() { break }
            }
            let (labels, kept) = restoration.finish();
            prop_assert_eq!(&labels, &geometry.restore_classes(&probabilities, decision));
            let cropped = seed % 3 > 0 && (0..3).all(|axis| cut[axis] < extents[axis]);
            prop_assert_eq!(geometry.crop.start, if cropped { cut } else { [0; 3] });
            prop_assert!(!cropped || labels.iter().enumerate().all(|(at, label)| inside(at) || *label == 0));
            let mut kept = kept.expect("they were asked for");
            prop_assert_eq!(kept.count(), 3 - first);
            for output in first..3 {
                let values: Vec<f32> = probabilities.iter().skip(output).step_by(3).copied().collect();
                let found = kept.of_class(output - first).expect("it was written");
                prop_assert_eq!(found, geometry.restore_image(&values, 0.0));
            }
        }
    }
}
