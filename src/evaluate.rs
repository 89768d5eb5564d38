//! Scores of a folder of predictions against a folder of labels, comparisons of two such folders, and their pictures.

mod compare;
pub mod figures;
mod pairs;
mod probabilities;
mod score;

pub use compare::compare_folders;
pub use score::{CaseFiles, Scoring, evaluate_pairs};

use crate::data::error::{also, some_of};
use crate::data::{DataError, Grid, Notice, Reorientation};
use crate::metrics::{Evaluation, MetricError};
use crate::report::ReportError;
use pairs::{Declared, pairs_of};
use std::path::{Path, PathBuf};

// What the labels of `data` say is ignored, scores and pictures take to be so.
const _: () = assert!(crate::data::IGNORED == crate::metrics::IGNORED);

/// Predictions that cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A volume cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A case cannot be scored.
    #[error("{case}: {source}")]
    Metric {
        /// Name of the case.
        case: String,
        /// What is wrong.
        source: MetricError,
    },
    /// Cases without an image, a label or a prediction.
    #[error("{}: no {what} for {}; expected a file of the same name{for_what}{}", .folder.display(), some_of(.cases), also(.passed_over))]
    Missing {
        /// Folder in which they are missing.
        folder: PathBuf,
        /// `image`, `label` or `prediction`.
        what: &'static str,
        /// Names of the cases.
        cases: Vec<String>,
        /// For what a file is expected, as the end of a sentence.
        for_what: &'static str,
        /// Files of the folder that are not read.
        passed_over: Vec<Notice>,
    },
    /// A tolerance of a class that is none.
    #[error("--tolerance {name}: no such class; the classes are {}", .classes.join(", "))]
    Tolerance {
        /// Name that was given.
        name: String,
        /// Names of the classes.
        classes: Vec<String>,
    },
    /// A picture cannot be drawn or written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Several problems, found in one pass.
    #[error("{} problems{}", .0.len(), .0.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
    Many(Vec<EvaluateError>),
}

impl EvaluateError {
    /// An error if there are problems: the only one, or all of them.
    fn one_or_many(mut problems: Vec<EvaluateError>) -> Result<(), EvaluateError> {
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.remove(0)),
            _ => Err(EvaluateError::Many(problems)),
        }
    }
}

/// Scores the prediction of every label: the file of the same name (`NAME` for `NAME_segmentation`, as in PROMISE12). Files
/// that `segment --probabilities` has written are no predictions.
///
/// Classes are those of `scoring`; without them, all values that occur in a label or a prediction, or that the
/// `dataset.json` of the labels declares. Apex and base are along the axis that rises to the head, whichever that is in
/// the file. Few pairs are in memory at once, however many there are.
///
/// # Errors
/// [`EvaluateError`] that names the file; all broken files, and all cases that lack a file.
pub fn evaluate_folders(predictions: &Path, labels: &Path, scoring: &Scoring<'_>) -> Result<Evaluation, EvaluateError> {
    let found = pairs_of(predictions, labels)?;
    EvaluateError::one_or_many(found.problems(scoring.partial))?;
    let mut evaluation = Declared::of(labels, scoring)?.evaluate(&found.pairs)?;
    evaluation.warnings.splice(..0, found.warnings.notices().iter().map(ToString::to_string));
    evaluation.warnings.extend(found.note());
    Ok(evaluation)
}

/// Voxels in the orientation nearest to RAS, with their grid; none is interpolated.
fn upright<T: Copy>(grid: &Grid, voxels: Vec<T>) -> (Grid, Vec<T>) {
    let reorientation = Reorientation::to_ras(grid);
    if reorientation == Reorientation::identity(grid.extents) {
        return (grid.clone(), voxels);
    }
    (reorientation.apply_to_grid(grid), reorientation.apply(&voxels))
}

/// Mean Dice over cases and foreground classes, where it is defined.
pub fn mean_dice(evaluation: &Evaluation) -> Option<f64> {
    let dice: Vec<f64> = evaluation.cases.iter().filter_map(|c| c.dice).collect();
    (!dice.is_empty()).then(|| dice.iter().sum::<f64>() / dice.len() as f64)
}
