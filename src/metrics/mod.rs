//! How good a segmentation is: overlap, surface distances and volumes, per case and over cases.
//!
//! ```text
//! label maps ──► Overlap  ┐
//!            └─► surface  ┴─► CaseScores (case, class, region) ──► Evaluation ──► CSV, JSON, table
//! ```
//!
//! Label maps are plain `&[u16]` with x fastest, their extents (x, y, z) in voxels and their spacing (x, y, z) in mm.
//! A score that does not exist (a distance to an empty surface, a ratio 0/0) is `None`, never 0, NaN or infinity, and
//! [`Presence`] says why; summaries count such cases instead of averaging them away.

mod bootstrap;
mod calibration;
mod comparison;
mod confusion;
mod criteria;
mod evaluation;
mod lesions;
mod metric;
mod overlap;
mod promise12;
mod region;
mod score;
mod summary;
mod surface;
mod surface_dice;
mod surfels;
mod table;
mod wilcoxon;

use std::path::PathBuf;

pub use bootstrap::{Bca, Bootstrap, Interval};
pub use calibration::{Bins, Calibration, CalibrationCase, CalibrationCounts, ClassCalibration};
pub(crate) use comparison::probability;
pub use comparison::{Comparison, PairedScore, PairedSummary};
pub use confusion::Confusion;
pub(crate) use confusion::PairCounts;
pub use criteria::Criteria;
pub use evaluation::{ClassSummary, Evaluation};
pub use lesions::{Lesion, Lesions};
pub use metric::Metric;
pub use overlap::{Overlap, Presence};
pub use promise12::{Observer, RegionMeans};
pub use region::Region;
pub use score::{CaseScores, LabelPair, score_case, score_values};
pub use summary::{Summary, percentile};
pub use surface::{SurfaceDistances, surface_distances};
pub use surface_dice::surface_dice;
pub(crate) use table::{COLUMNS, numbers};
pub use table::{render_short_table, render_table};
pub use wilcoxon::Wilcoxon;

/// Reference label of voxels that take no part in scores, and of no class.
pub const IGNORED: u16 = u16::MAX;

/// What can go wrong while scoring or writing scores.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// An image or label map does not have the voxel count of the grid.
    #[error("{what} has {found} voxels, but extents {extents:?} (x, y, z) hold {expected}")]
    VoxelCount {
        /// `image`, `prediction` or `reference`.
        what: &'static str,
        /// Voxels in the slice that was given.
        found: usize,
        /// Voxels that the extents hold.
        expected: usize,
        /// Extents x, y, z in voxels.
        extents: [usize; 3],
    },
    /// The spacing is not three positive finite lengths.
    #[error("voxel spacing {spacing:?} mm (x, y, z): expected three positive finite numbers")]
    Spacing {
        /// The spacing that was given, x, y, z in mm.
        spacing: [f64; 3],
    },
    /// A result could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Checks that a number of voxels fills a grid.
pub(crate) fn check_voxels(what: &'static str, found: usize, extents: [usize; 3]) -> Result<(), MetricError> {
    let expected = extents.iter().product();
    if found == expected { Ok(()) } else { Err(MetricError::VoxelCount { what, found, expected, extents }) }
}

/// Checks that a spacing is three lengths.
fn check_spacing(spacing: [f64; 3]) -> Result<(), MetricError> {
    if spacing.iter().all(|s| s.is_finite() && *s > 0.0) { Ok(()) } else { Err(MetricError::Spacing { spacing }) }
}
