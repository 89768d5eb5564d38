//! Scores of a folder of predictions against a folder of labels.

use crate::data::dataset::{label_of, volumes_of};
use crate::data::io::read_label_map;
use crate::data::{DataError, Reorientation};
use crate::metrics::{Evaluation, LabelPair, MetricError, Region, score_case};
use rayon::prelude::*;
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
    // Probabilities lie beside the label maps that `segment` writes; they are not predictions of their own.
    let mut predicted = volumes_of(predictions)?;
    let names: Vec<String> = predicted.keys().cloned().collect();
    predicted.retain(|case, _| !names.iter().any(|n| is_probability_of(case, n)));
    let references = volumes_of(labels)?;
    let pairs = predicted
        .par_iter()
        .map(|(case, path)| {
            let reference = label_of(&references, case)
                .ok_or_else(|| EvaluateError::NoLabel { labels: labels.to_owned(), case: case.clone() })?;
            let (prediction, label) = (read_label_map(path)?, read_label_map(reference)?);
            if let Some(difference) = prediction.grid.difference(&label.grid) {
                let (label, image) = (path.clone(), reference.clone());
                return Err(DataError::GridMismatch { label, image, difference }.into());
            }
            Ok((case.clone(), prediction, label))
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
            // Regions are thirds along z, which must rise to the head; no voxel is interpolated.
            let upright = Reorientation::to_ras(&label.grid);
            let grid = upright.apply_to_grid(&label.grid);
            let pair = LabelPair {
                prediction: &upright.apply(&prediction.voxels),
                reference: &upright.apply(&label.voxels),
                extents: grid.extents,
                spacing: grid.spacing,
            };
            let scored = score_case(case, &pair, &class_names, regions);
            scored.map_err(|source| EvaluateError::Metric { case: case.clone(), source })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Evaluation::new(scores.into_iter().flatten().collect()))
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
