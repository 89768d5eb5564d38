//! Pictures and pages that a person reads: training curves, overlays, Dice plots and a report in one HTML file.
//!
//! Plots are SVG; overlays, which are made of voxels, are PNG, drawn on a small anti-aliased canvas with a typeface inside
//! the program. A machine without fonts or display writes the same bytes. Colours are the colour-blind safe set of Okabe and Ito (2008,
//! <https://jfly.uni-koeln.de/color/>). Files are replaced in one step.

mod axes;
mod boxes;
mod canvas;
mod comparison_plot;
mod confusion_plot;
mod curves;
mod dice_plot;
mod metric_plot;
mod overlay;
mod page;
mod reliability_plot;
mod samples;
mod slice;
mod statistics;
mod svg;
mod viewer;

use crate::files::replace_file;
use crate::metrics::{MetricError, check_voxels};
use std::path::{Path, PathBuf};

pub use comparison_plot::write_comparison_plot;
pub use confusion_plot::write_confusion_plot;
pub use curves::{Curves, write_curves};
pub use dice_plot::write_dice_plot;
pub use metric_plot::write_metric_plot;
pub use overlay::{
    ComparisonCase, HEADER, MARGIN, OverlayCase, PANEL, first_colour, prediction_colour, reference_colour,
    second_colour, write_comparison_overlay, write_overlay,
};
pub use page::{Report, write_report};
pub use reliability_plot::write_reliability_plot;
pub use samples::{ChannelTile, MOST_SLICES, SampleGrid, SampleTile, write_samples};
pub use viewer::{MAX_VOXELS, ViewerCase};

/// Red, green, blue, 0 to 255.
pub type Rgb = [u8; 3];

/// The palette of Okabe and Ito without black and yellow (invisible on white), in the order of use for classes.
const OKABE_ITO: [Rgb; 6] =
    [[0, 114, 178], [213, 94, 0], [0, 158, 115], [230, 159, 0], [204, 121, 167], [86, 180, 233]];

/// Colours of two sets of predictions that are compared.
const FIRST: Rgb = OKABE_ITO[0];
const SECOND: Rgb = OKABE_ITO[1];

/// An error where there is nothing to draw, or one of the maps (what it is, its voxels) does not fill the extents.
fn check_maps(
    extents: [usize; 3],
    spacing: [f64; 3],
    maps: impl IntoIterator<Item = (&'static str, usize)>,
) -> Result<(), ReportError> {
    if extents.contains(&0) || !spacing.iter().all(|s| s.is_finite() && *s > 0.0) {
        return Err(ReportError::Grid { extents, spacing });
    }
    maps.into_iter().try_for_each(|(what, voxels)| Ok(check_voxels(what, voxels, extents)?))
}

/// Replaces a file in one step.
fn write(path: &Path, contents: &[u8]) -> Result<(), ReportError> {
    replace_file(path, contents).map_err(|source| ReportError::Io { path: path.to_owned(), action: "write", source })
}

/// What can go wrong while drawing or writing a report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file could not be written, or a picture for the report not be read.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `write`.
        action: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A picture for the report is in a format that browsers do not show.
    #[error("{}: expected a .png, .jpg or .svg picture", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// An image or label map does not have the voxel count of the grid.
    #[error(transparent)]
    Voxels(#[from] MetricError),
    /// There is nothing to draw.
    #[error("cannot draw a volume of extents {extents:?} (x, y, z) and spacing {spacing:?} mm")]
    Grid {
        /// Extents x, y, z in voxels.
        extents: [usize; 3],
        /// Spacing x, y, z in mm.
        spacing: [f64; 3],
    },
}
