//! Volumes in files: which format a file has, and what every format has in common.
//!
//! | format | names | read | written |
//! |---|---|---|---|
//! | NIfTI-1, NIfTI-2 ([`nifti`]) | `.nii`, `.nii.gz`, `.hdr` + `.img` | yes | yes |
//! | MetaImage ([`metaimage`]) | `.mha`, `.mhd` + voxel file | yes | yes, compressed |
//! | NRRD ([`nrrd`]) | `.nrrd`, `.nhdr` + voxel files; segmentations of 3D Slicer, `.seg.nrrd` | yes | yes, compressed |
//! | DICOM ([`dicom`]) | a folder that holds one series | yes | no |
//!
//! A format (`format`) turns a file into a [`Header`] and pieces of stored voxels; this module makes volumes and label maps
//! of them, so that the rules (three axes, finite intensities, whole labels) are the same for every
//! format. The file name decides the format; a folder is a DICOM series, whose files are recognised by their content.
//!
//! Images with NaN or infinite voxels are refused: no replacement is right for all of them, and one
//! NaN ends a training. [`crate::data::inspect()`] counts them instead.

mod axes;
pub mod bytes;
pub(crate) mod content;
pub mod dicom;
pub(crate) mod format;
mod gzip;
mod header;
pub(crate) mod input;
pub mod metaimage;
pub mod nifti;
pub mod nrrd;
mod read;
pub mod scalar;
mod series;
mod write;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub use axes::{OtherAffine, Statement};
pub use bytes::ByteOrder;
pub use format::{case_of, check_output, files_written, is_series, output_name, output_name_of, with_ending};
pub use header::{Header, MOST_CHANNELS, Segment};
pub use read::{
    check_channels, check_volume, label_values, read_header, read_header_of, read_label_map, read_volume,
    read_volume_of, read_volumes,
};
pub use scalar::{Scalar, Scaling};
pub use series::SeriesChoice;
pub use write::{
    Uncertainty, probability_path, write_label_map, write_probabilities, write_segmentation, write_uncertainty,
    write_volume, write_volume_as,
};

#[cfg(test)]
pub(crate) use read::PARSED_HEADERS;
pub(crate) use read::read_channels;
pub(crate) use read::{files_of, header_of, read_labels, read_voxels, visit_channels, visit_voxels};

use super::DataError;
use format::Format;
use header::{Native, Pieces};
use write::{Output, is_of_map};

/// All formats. A new one is its module and a line here.
static FORMATS: [&dyn Format; 4] = [&nifti::Nifti, &metaimage::MetaImage, &nrrd::Nrrd, &dicom::Dicom];

/// The name of a file or folder.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Where a symbolic link points, if the path is one and nothing is there.
pub(crate) fn missing_link(path: &Path) -> Option<PathBuf> {
    std::fs::read_link(path).ok().filter(|_| std::fs::metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound))
}

/// The entries of a folder, sorted: the system lists them in any order, and messages should not depend on it.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = || DataError::io(dir, "list");
    let entries = std::fs::read_dir(dir).map_err(failed())?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}
