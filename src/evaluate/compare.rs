//! Two folders of predictions of the same cases.

use super::pairs::{Declared, pairs_of};
use super::{EvaluateError, Scoring};
use crate::metrics::{Comparison, Evaluation};
use std::collections::BTreeSet;
use std::path::Path;

/// Scores both folders as [`super::evaluate_folders`] does and pairs them. With [`Scoring::partial`], cases that only one of
/// them has are left out of both.
///
/// # Errors
/// [`EvaluateError`] that names the file, or the cases that a folder lacks.
pub fn compare_folders(
    predictions: [&Path; 2],
    names: [String; 2],
    labels: &Path,
    scoring: &Scoring<'_>,
) -> Result<(Comparison, [Evaluation; 2]), EvaluateError> {
    let [mut first, mut second] = [pairs_of(predictions[0], labels)?, pairs_of(predictions[1], labels)?];
    let missing: BTreeSet<String> = first.missing.iter().chain(&second.missing).cloned().collect();
    for folder in [&mut first, &mut second] {
        folder.pairs.retain(|pair| !missing.contains(&pair.case));
    }
    let problems = [&first, &second].into_iter().flat_map(|folder| folder.problems(scoring.partial));
    EvaluateError::one_or_many(problems.collect())?;
    let declared = Declared::of(labels, scoring)?;
    let evaluations = [declared.evaluate(&first.pairs)?, declared.evaluate(&second.pairs)?];
    let mut comparison = Comparison::new(names, &evaluations[0], &evaluations[1]);
    let told = evaluations.iter().flat_map(|evaluation| evaluation.warnings.iter().cloned());
    for warning in told.chain(first.note()).chain(second.note()) {
        if !comparison.warnings.contains(&warning) {
            comparison.warnings.push(warning);
        }
    }
    Ok((comparison, evaluations))
}
