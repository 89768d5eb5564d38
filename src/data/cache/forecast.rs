//! What prepared cases take, before they are made.

use std::path::{Path, PathBuf};

use super::disk::DiskCache;
use crate::data::dataset::Case;
use crate::data::prepare::{Fit, Preparation, check_image};
use crate::data::{CropBox, DataError, Geometry, Sampling};

/// Bytes of prepared training cases, without the index of foreground, of which only the labels tell. Headers are read, no voxels.
///
/// # Errors
/// [`DataError`] that names the file.
pub fn training_bytes(cases: &[Case], preparation: &Preparation, sampling: Sampling) -> Result<u64, DataError> {
    sum(cases, preparation, Fit::of_training(sampling), |_| 0)
}

/// Bytes of prepared validation cases. Headers are read, no voxels.
///
/// # Errors
/// [`DataError`] that names the file.
pub fn validation_bytes(cases: &[Case], preparation: &Preparation) -> Result<u64, DataError> {
    // The label of the file, which is scored, besides that on the network's grid.
    sum(cases, preparation, Fit::Whole, |geometry| geometry.input.voxel_count() * size_of::<u16>())
}

fn sum(
    cases: &[Case],
    preparation: &Preparation,
    fit: Fit,
    more: impl Fn(&Geometry) -> usize,
) -> Result<u64, DataError> {
    let voxel = preparation.channels * size_of::<f32>() + size_of::<u16>();
    let bytes = cases.iter().map(|case| {
        let header = check_image(&case.image, preparation)?;
        let grid = header.grid(case.image.first())?;
        // Boxes follow from voxels: at most all of a volume.
        let geometry = Geometry::new(&grid, CropBox::whole(grid.extents), preparation, fit);
        Ok((geometry.grid.voxel_count() * voxel + more(&geometry)) as u64)
    });
    bytes.sum()
}

impl DiskCache {
    /// Bytes that are free where the folder is or will be; none where that is not known.
    pub fn free_bytes(&self) -> Option<u64> {
        let there = std::path::absolute(self.folder()?).ok()?;
        let there: PathBuf = there.ancestors().find(|folder| folder.exists()).map(Path::to_path_buf)?;
        fs4::available_space(there).ok()
    }
}
