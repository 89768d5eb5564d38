//! Scores of a folder of predictions against a folder of labels, comparisons of two such folders, and their pictures.

mod compare;
pub mod figures;

pub use compare::compare_folders;

use crate::data::dataset::{self, volumes_of};
use crate::data::io::{read_header, read_label_map};
use crate::data::{DataError, Grid, LabelMap, Placed, Reorientation, Volume, read_label_map_on, read_volume_on};
use crate::metrics::{Evaluation, LabelPair, MetricError, Region, score_case};
use crate::report::ReportError;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Predictions that cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A volume.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A score.
    #[error("{case}: {source}")]
    Metric {
        /// Name of the case.
        case: String,
        /// What is wrong.
        source: MetricError,
    },
    /// A prediction without a label.
    #[error("{}: no label for {}; expected a file of the same name", .labels.display(), .case)]
    NoLabel {
        /// Folder of the labels.
        labels: PathBuf,
        /// Name of the case.
        case: String,
    },
    /// A case that is to be drawn without an image.
    #[error("{}: no image for {}; expected a file of the same name", .images.display(), .case)]
    NoImage {
        /// Folder of the images.
        images: PathBuf,
        /// Name of the case.
        case: String,
    },
    /// A case that only one of two sets has.
    #[error("{}: no prediction of {}; both folders need the same cases", .predictions.display(), .case)]
    NoPrediction {
        /// Folder that lacks it.
        predictions: PathBuf,
        /// Name of the case.
        case: String,
    },
    /// A picture.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// Scores every prediction against the label of the same name (or `NAME_segmentation`, as in PROMISE12), for each foreground class: those named, else all that
/// occur in a label or a prediction. Apex and base are along the axis that rises to the head, whichever that is in the
/// file.
///
/// # Errors
/// [`EvaluateError`] that names the file.
pub fn evaluate_folders(
    predictions: &Path,
    labels: &Path,
    class_names: Option<&[String]>,
    regions: &[Region],
) -> Result<Evaluation, EvaluateError> {
    let predicted = predictions_in(predictions)?;
    let references = volumes_of(labels)?;
    let pairs = predicted
        .par_iter()
        .map(|(case, path)| {
            let reference = label_of(&references, case, labels)?;
            Ok((case.clone(), read_labels(path, reference)?, read_label_map(reference)?))
        })
        .collect::<Result<Vec<_>, EvaluateError>>()?;
    let largest = pairs.iter().flat_map(|(_, p, l)| p.voxels.iter().chain(&l.voxels)).max().copied().unwrap_or(0);
    let class_names: Vec<String> = match class_names {
        Some(names) => names.to_vec(),
        None => (1..=largest.max(1)).map(|c| format!("class {c}")).collect(),
    };
    let scores = pairs
        .par_iter()
        .map(|(case, prediction, label)| {
            // Regions are thirds along z, which must rise to the head.
            let (grid, reference) = upright(&label.grid, &label.voxels);
            let pair = LabelPair {
                prediction: &upright(&label.grid, &prediction.voxels).1,
                reference: &reference,
                extents: grid.extents,
                spacing: grid.spacing,
            };
            let scored = score_case(case, &pair, &class_names, regions);
            scored.map_err(|source| EvaluateError::Metric { case: case.clone(), source })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Evaluation::new(scores.into_iter().flatten().collect()))
}

/// Label maps of a folder by case. Probabilities lie beside those that `segment` writes; they are no predictions of
/// their own.
fn predictions_in(folder: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let mut predicted = volumes_of(folder)?;
    let names: Vec<String> = predicted.keys().cloned().collect();
    predicted.retain(|case, _| !names.iter().any(|n| is_probability_of(case, n)));
    Ok(predicted)
}

fn label_of<'a>(
    references: &'a BTreeMap<String, PathBuf>,
    case: &str,
    labels: &Path,
) -> Result<&'a PathBuf, EvaluateError> {
    let no_label = || EvaluateError::NoLabel { labels: labels.to_owned(), case: case.to_owned() };
    dataset::label_of(references, case).ok_or_else(no_label)
}

/// Reads labels that must lie on the grid of another volume, into the order of its voxels.
fn read_labels(path: &Path, on: &Path) -> Result<LabelMap, DataError> {
    read_label_map_on(path, Placed { path: on, header: &read_header(on)? })
}

/// Reads an image that must lie on the grid of another volume, into the order of its voxels.
fn read_image(path: &Path, on: &Path) -> Result<Volume, DataError> {
    read_volume_on(path, Placed { path: on, header: &read_header(on)? })
}

/// Voxels in the orientation nearest to RAS, with their grid; none is interpolated.
fn upright<T: Copy>(grid: &Grid, voxels: &[T]) -> (Grid, Vec<T>) {
    let reorientation = Reorientation::to_ras(grid);
    (reorientation.apply_to_grid(grid), reorientation.apply(voxels))
}

fn is_probability_of(case: &str, name: &str) -> bool {
    let rest = case.strip_prefix(name).and_then(|r| r.strip_prefix("_prob"));
    rest.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Mean Dice over cases and foreground classes, where it is defined.
pub fn mean_dice(evaluation: &Evaluation) -> Option<f64> {
    let dice: Vec<f64> = evaluation.cases.iter().filter_map(|c| c.dice).collect();
    (!dice.is_empty()).then(|| dice.iter().sum::<f64>() / dice.len() as f64)
}
