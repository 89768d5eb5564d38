//! Two folders of predictions of the same cases.

use super::{EvaluateError, evaluate_folders};
use crate::metrics::{Comparison, Evaluation, Region};
use std::path::Path;

/// Scores both folders as [`evaluate_folders`] does and pairs them; both must have the same cases.
///
/// # Errors
/// [`EvaluateError`] that names the file, or the case that one folder lacks.
pub fn compare_folders(
    predictions: [&Path; 2],
    names: [String; 2],
    labels: &Path,
    regions: &[Region],
) -> Result<(Comparison, [Evaluation; 2]), EvaluateError> {
    let first = evaluate_folders(predictions[0], labels, None, regions)?;
    let second = evaluate_folders(predictions[1], labels, None, regions)?;
    for (here, there, folder) in [(&first, &second, predictions[1]), (&second, &first, predictions[0])] {
        let has = |case: &str| there.cases.iter().any(|scores| scores.case == case);
        if let Some(missing) = here.cases.iter().find(|scores| !has(&scores.case)) {
            return Err(EvaluateError::NoPrediction { predictions: folder.to_owned(), case: missing.case.clone() });
        }
    }
    Ok((Comparison::new(names, &first, &second), [first, second]))
}
