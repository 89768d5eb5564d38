//! Cropping to the box of the voxels that are not zero, and back.
//!
//! In brain MRI without the skull, and in volumes padded by another program, zeros are a mask: nothing is known there. The box of the
//! other voxels of all channels is what a network needs to see (nnU-Net's `crop_to_nonzero`). Voxels are cut, not interpolated, so
//! that the way back is exact.

use serde::{Deserialize, Serialize};

use super::classes::IGNORED;
use super::image::Image;
use super::sampling::crop;
use super::volume::{Grid, position_of};
use super::{DataError, ImageFiles};

/// What of a volume the network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crop {
    /// All of it.
    #[default]
    None,
    /// The box of the voxels that are not exactly 0 in some channel; all of a volume without such a voxel.
    Nonzero,
}

impl Crop {
    /// Whether volumes are taken whole.
    pub fn is_none(&self) -> bool {
        *self == Crop::None
    }

    /// The box of an image whose channels have these voxels, x fastest.
    pub fn of_channels<'a>(self, channels: impl IntoIterator<Item = &'a [f32]>, extents: [usize; 3]) -> CropBox {
        let whole = CropBox::whole(extents);
        if self.is_none() {
            return whole;
        }
        let boxes = channels.into_iter().filter_map(|voxels| CropBox::around(extents, |at| voxels[at] != 0.0));
        boxes.reduce(CropBox::union).unwrap_or(whole)
    }
}

impl Crop {
    /// The grid of what is looked at of an image, whose channels are read.
    ///
    /// # Errors
    /// [`DataError`] that names the file.
    pub fn grid_of(self, image: &ImageFiles, align: bool) -> Result<Grid, DataError> {
        let channels = Image::open(image, align)?.read()?;
        let grid = &channels[0].grid;
        let found = self.of_channels(channels.iter().map(|channel| &channel.voxels[..]), grid.extents);
        Ok(found.apply_to_grid(grid))
    }
}

/// A box of voxels within a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropBox {
    /// Extents of the volume, x, y, z.
    pub from: [usize; 3],
    /// First voxel of the box.
    pub start: [usize; 3],
    /// Extents of the box.
    pub extents: [usize; 3],
}

impl CropBox {
    /// All of a volume.
    pub fn whole(extents: [usize; 3]) -> CropBox {
        CropBox { from: extents, start: [0; 3], extents }
    }

    /// The smallest box with all voxels that are `wanted`, by their index (x fastest); none where none is.
    pub fn around(extents: [usize; 3], wanted: impl Fn(usize) -> bool) -> Option<CropBox> {
        let [nx, ny, nz] = extents;
        let (mut least, mut most) = (extents, [0; 3]);
        for (row, first) in (0..ny * nz).map(|row| (row, row * nx)) {
            let Some(left) = (0..nx).find(|x| wanted(first + x)) else { continue };
            let right = (left..nx).rfind(|x| wanted(first + x)).unwrap_or(left);
            for (axis, [low, high]) in [[left, right], [row % ny; 2], [row / ny; 2]].into_iter().enumerate() {
                least[axis] = least[axis].min(low);
                most[axis] = most[axis].max(high + 1);
            }
        }
        let found = (0..3).all(|axis| least[axis] < most[axis]);
        let size = || std::array::from_fn(|axis| most[axis] - least[axis]);
        found.then(|| CropBox { from: extents, start: least, extents: size() })
    }

    /// A box that was stored as its first voxel and its extents.
    ///
    /// # Errors
    /// Where it is none within such a volume.
    pub(super) fn of_numbers(from: [usize; 3], numbers: &[u32]) -> Result<CropBox, String> {
        let numbers: [usize; 6] = numbers
            .iter()
            .map(|&number| number as usize)
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|found: Vec<usize>| format!("{} numbers of a box, expected 6", found.len()))?;
        let [a, b, c, d, e, f] = numbers;
        let found = CropBox { from, start: [a, b, c], extents: [d, e, f] };
        let inside = |axis: usize| {
            let end = found.start[axis].checked_add(found.extents[axis]);
            found.extents[axis] > 0 && end.is_some_and(|end| end <= from[axis])
        };
        if (0..3).all(inside) { Ok(found) } else { Err(format!("a box {numbers:?} beyond the volume {from:?}")) }
    }

    /// First voxel and extents, as they are stored.
    pub(super) fn numbers(&self) -> Vec<u32> {
        let number = |&number: &usize| u32::try_from(number).expect("extents of a volume have 32 bits");
        self.start.iter().chain(&self.extents).map(number).collect()
    }

    /// The smallest box that holds both, of one volume.
    #[must_use]
    pub fn union(self, other: CropBox) -> CropBox {
        let start = std::array::from_fn(|axis| self.start[axis].min(other.start[axis]));
        let end = |of: &CropBox, axis: usize| of.start[axis] + of.extents[axis];
        let extents = std::array::from_fn(|axis| end(&self, axis).max(end(&other, axis)) - start[axis]);
        CropBox { from: self.from, start, extents }
    }

    /// Whether nothing is cut away.
    pub fn is_whole(&self) -> bool {
        self.extents == self.from
    }

    /// Part of the volume that is in the box.
    pub fn share(&self) -> f64 {
        let voxels = |extents: [usize; 3]| extents.iter().map(|&extent| extent as f64).product::<f64>();
        voxels(self.extents) / voxels(self.from).max(1.0)
    }

    /// Whether a voxel x, y, z of the volume is in the box.
    pub fn contains(&self, at: [usize; 3]) -> bool {
        (0..3).all(|axis| (self.start[axis]..self.start[axis] + self.extents[axis]).contains(&at[axis]))
    }

    /// The voxels of the box (x fastest), of those of the volume.
    pub fn apply<T: Copy>(&self, voxels: &[T]) -> Vec<T> {
        // The fill is never used: the box lies within the volume.
        let Some(&fill) = voxels.first() else { return Vec::new() };
        crop(voxels, self.from, self.start.map(|start| start as i64), self.extents, fill)
    }

    /// As [`CropBox::apply`], of voxels that are not needed any more: none is copied where nothing is cut away.
    pub fn applied<T: Copy>(&self, voxels: Vec<T>) -> Vec<T> {
        if self.is_whole() { voxels } else { self.apply(&voxels) }
    }

    /// Puts the voxels of the box back into the volume; those outside have the value `fill`.
    pub fn invert<T: Copy>(&self, voxels: Vec<T>, fill: T) -> Vec<T> {
        if self.is_whole() {
            return voxels;
        }
        crop(&voxels, self.extents, self.start.map(|start| -(start as i64)), self.from, fill)
    }

    /// The grid of the box: every voxel stays where it is in the patient.
    pub fn apply_to_grid(&self, grid: &Grid) -> Grid {
        let mut out = Grid { extents: self.extents, ..grid.clone() };
        if self.start != [0; 3] {
            let origin = grid.to_world(self.start.map(|start| start as f64));
            for (row, position) in out.affine.iter_mut().zip(origin) {
                row[3] = position;
            }
        }
        out
    }

    /// Number of labelled voxels of a label map, and of those of them that are outside of the box.
    pub fn labelled(&self, labels: &[u16]) -> [usize; 2] {
        let labelled = labels.iter().enumerate().filter(|(_, label)| ![0, IGNORED].contains(*label));
        labelled.fold([0, 0], |[all, outside], (at, _)| {
            [all + 1, outside + usize::from(!self.contains(position_of(at, self.from)))]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn boxes_by_hand() {
        // Of 3 x 4 x 2: (1, 2, 0), (1, 1, 1), (2, 3, 1).
        let found = CropBox::around([3, 4, 2], |at| [7, 16, 23].contains(&at)).expect("three voxels");
        assert_eq!((found.start, found.extents), ([1, 1, 0], [2, 3, 2]));
        assert_eq!(CropBox::around([3, 4, 2], |_| false), None);
        let (mut one, mut two) = (vec![0.0; 24], vec![0.0; 24]);
        (one[7], two[16], two[0]) = (-1.0, f32::MIN_POSITIVE, -0.0);
        let union = Crop::Nonzero.of_channels([&one[..], &two], [3, 4, 2]);
        assert_eq!((union.start, union.extents), ([1, 1, 0], [1, 2, 2]));
        assert!(Crop::None.of_channels([&one[..]], [3, 4, 2]).is_whole());
        assert!(Crop::Nonzero.of_channels([&[0.0; 24][..]], [3, 4, 2]).is_whole(), "nothing but zeros");
        // Labelled: voxel 7 within, voxel 0 outside; 12 is ignored.
        let mut labels = vec![0; 24];
        (labels[7], labels[0], labels[12]) = (1, 2, IGNORED);
        assert_eq!(union.labelled(&labels), [2, 1]);
    }

    #[test]
    fn stored_boxes_lie_within_the_volume() {
        let whole = CropBox::whole([3, 4, 2]);
        assert_eq!(CropBox::of_numbers([3, 4, 2], &whole.numbers()), Ok(whole));
        for wrong in [&[0, 0, 0, 3, 4][..], &[0, 0, 0, 3, 4, 3], &[0, 0, 0, 3, 0, 2], &[u32::MAX, 0, 0, 1, 1, 1]] {
            assert!(CropBox::of_numbers([3, 4, 2], wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        /// What was in the box comes back to its place, on a grid that says so.
        #[test]
        fn the_way_back_is_exact(
            extents in proptest::array::uniform3(1usize..7),
            ends in proptest::array::uniform6(0usize..7),
        ) {
            let span = |axis: usize| {
                let (a, b) = (ends[axis] % extents[axis], ends[axis + 3] % extents[axis]);
                (a.min(b), a.abs_diff(b) + 1)
            };
            let part = CropBox {
                from: extents,
                start: std::array::from_fn(|axis| span(axis).0),
                extents: std::array::from_fn(|axis| span(axis).1),
            };
            let voxels: Vec<u32> = (1..=extents.iter().product::<usize>() as u32).collect();
            let cut = part.apply(&voxels);
            let back = part.invert(cut.clone(), 0);
            for (at, (&back, &voxel)) in back.iter().zip(&voxels).enumerate() {
                prop_assert_eq!(back, if part.contains(position_of(at, extents)) { voxel } else { 0 });
            }
            prop_assert_eq!(CropBox::around(extents, |at| back[at] != 0), Some(part));
            let mut grid = Grid::axis_aligned(extents, [1.5, 0.75, 3.0]);
            grid.affine[0][3] = -20.0;
            let first = part.apply_to_grid(&grid).to_world([0.0; 3]);
            prop_assert_eq!(first, grid.to_world(part.start.map(|start| start as f64)));
            prop_assert!(cut.len() as f64 == (part.share() * voxels.len() as f64).round());
        }
    }
}
