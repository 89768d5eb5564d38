//! Volumes, data sets and the batches made of them.
//!
//! | module | what it is about |
//! |---|---|
//! | [`volume`], [`canonical`], [`alignment`] | where a voxel lies in the patient and on the grid of another volume |
//! | [`io`], [`inspect()`] | what is in a file, and how to write one that others read |
//! | [`warning`] | oddities of files that can be read |
//! | [`folder`] | which volumes a folder holds, and what is passed over |
//! | [`dataset`], `examine`, [`manifest`], [`split`], [`parts`] | which cases there are, what is in them, and which of them train |
//! | [`classes`], [`description`] | which label values are which classes and regions, and which are ignored |
//! | [`normalise`], [`crop`], [`resample`], [`patch`], [`prepare`], `geometry`, [`restore`] | from a file to the network's input, and the way back |
//! | [`sampling`], [`intensities`] | which part of a volume a sample is, and the quantiles of its intensities |
//! | [`loader`] | batches, made in the background |
//! | `cache`, `voxels` | prepared volumes in memory and on disk |
//! | [`phantom`] | a synthetic data set that looks like the prostate in MR |
//!
//! Extents, spacing and patches are in the order x, y, z; voxels lie with x fastest, which is the
//! row-major order of (z, y, x) = (D, H, W). Everything random is a pure function of a seed and an
//! index (see [`crate::random`]).

pub mod alignment;
mod cache;
pub mod canonical;
mod channels;
pub mod classes;
pub mod crop;
pub mod dataset;
mod decision;
pub mod description;
pub(crate) mod error;
mod examine;
pub mod folder;
mod found;
mod geometry;
mod image;
pub mod inspect;
pub mod intensities;
pub mod io;
pub(crate) mod layout;
pub mod loader;
pub mod manifest;
pub mod normalise;
mod onto;
pub mod parts;
pub mod patch;
pub mod phantom;
pub mod prepare;
mod proof;
pub(crate) mod regions;
pub mod resample;
pub mod restore;
pub mod sampling;
mod shelf;
pub mod split;
mod spool;
mod values;
pub mod volume;
mod voxels;
pub mod warning;

pub use alignment::{Placed, read_label_map_on, read_volume_on, reordering};
#[cfg(feature = "fuzzing")]
pub(crate) use cache::fuzz_entry;
pub use cache::{CacheBudget, DiskCache, DiskUse, training_bytes, validation_bytes};
pub(crate) use cache::{PreparedCases, Use};
pub use canonical::Reorientation;
pub use channels::{ImageFiles, PerChannel};
pub use classes::{Classes, IGNORED};
pub use crop::{Crop, CropBox};
pub use dataset::{
    Case, Dataset, DatasetOptions, Examined, images_in, images_only, images_to_segment, output_of_image,
};
pub use decision::Decision;
pub use description::declared_classes;
pub use error::DataError;
pub(crate) use examine::lost_foreground;
pub use folder::Folder;
pub use geometry::Geometry;
pub use image::read_channels_on;
pub use inspect::{inspect, inspect_series};
pub use intensities::{Intensities, QUANTILES};
pub use loader::{Batch, Loader, LoaderSettings, Sample};
pub use manifest::Manifest;
pub use normalise::{IntensityStatistics, Normalisation};
pub use parts::{Part, Parts};
pub use prepare::{Fit, Preparation, Prepared, check_image, prepare_image, prepare_pair, read_case_label};
pub use regions::{MOST_REGIONS, Region, Target};
pub use resample::{Interpolation, Resampling, TargetSpacing};
pub use restore::Restoration;
pub use sampling::{ForegroundBy, Sampling};
pub use split::Split;
pub use spool::Probabilities;
pub use volume::{Grid, LabelMap, Volume};
pub use voxels::Voxels;
pub use warning::{Notice, Severity, Warning, Warnings};
