//! Volumes, data sets and the batches made of them.
//!
//! | module | what it answers |
//! |---|---|
//! | [`volume`], [`canonical`] | where a voxel lies in the patient |
//! | [`io`], [`inspect()`] | what is in a file, and how to write one that others read |
//! | [`warning`] | what a person should know of files that can be read all the same |
//! | [`dataset`], [`split`] | which cases there are, and which of them train |
//! | [`normalise`], [`resample`], [`patch`], [`prepare`], [`restore`] | from a file to the network's input, and the way back |
//! | [`sampling`], [`intensities`] | which part of a volume a sample is, and what its intensities are relative to |
//! | [`loader`] | batch number b, made in the background |
//! | [`phantom`] | a data set of prostate-like volumes when there is no other |
//!
//! Extents, spacing and patches are in the order x, y, z; voxels lie with x fastest, which is the
//! row-major order of (z, y, x) = (D, H, W). Everything random is a pure function of a seed and an
//! index (see [`crate::random`]).

mod cache;
pub mod canonical;
pub mod dataset;
mod error;
pub mod inspect;
pub mod intensities;
pub mod io;
pub mod loader;
pub mod normalise;
pub mod patch;
pub mod phantom;
pub mod prepare;
pub mod resample;
pub mod restore;
pub mod sampling;
pub mod split;
pub mod volume;
pub mod warning;

pub use cache::CacheBudget;
pub(crate) use cache::{Bytes, Cache};
pub use canonical::Reorientation;
pub use dataset::{Case, Dataset, Examined, images_only};
pub use error::DataError;
pub use inspect::inspect;
pub use intensities::{Intensities, QUANTILES};
pub use loader::{Batch, Loader, LoaderSettings, Sample};
pub use normalise::{IntensityStatistics, Normalisation};
pub use prepare::{Fit, Geometry, Preparation, Prepared, prepare_image, prepare_pair, read_case_label};
pub use resample::{Interpolation, Resampling, TargetSpacing};
pub use restore::Restoration;
pub use sampling::Sampling;
pub use split::Split;
pub use volume::{Grid, LabelMap, Volume};
pub use warning::{Notice, Warning, Warnings};
