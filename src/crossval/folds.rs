//! Which cases each fold leaves out.

use crate::data::{DataError, Dataset, Split};
use crate::train::TrainError;
use std::collections::BTreeMap;
use std::path::Path;

/// The folds of a data set: those of its file of folds, else its cases divided at random by `seed`. Of a table, cases whose
/// split is `test` are tested in every fold and left out of the others. No case is left out by two folds.
///
/// # Errors
/// [`DataError`] when there are fewer cases than folds, or that names the file of the folds and what it holds instead.
pub fn folds_of(dataset: &Dataset, seed: u64, folds: usize) -> Result<Vec<Split>, TrainError> {
    let names = dataset.names();
    let splits = match (&dataset.parts, &dataset.split_file) {
        (Some(parts), _) => (0..folds).map(|fold| parts.fold(&names, seed, fold, folds)).collect::<Result<_, _>>()?,
        (None, Some(file)) => of_file(file, &names, folds)?,
        (None, None) => (0..folds).map(|fold| Split::fold(&names, seed, fold, folds)).collect::<Result<_, _>>()?,
    };
    check(&splits, dataset.split_file.as_deref().unwrap_or(&dataset.dir))?;
    Ok(splits)
}

/// The folds of a file, which must be as many.
fn of_file(file: &Path, names: &[String], folds: usize) -> Result<Vec<Split>, TrainError> {
    let splits: Vec<Split> =
        (0..folds).map(|fold| Split::load(file, names, Some(fold))).collect::<Result<_, DataError>>()?;
    // One more fold is an error in a file of folds; a file with a single split gives that one for every number.
    if Split::load(file, names, Some(folds)).is_ok() {
        let problem = match splits.windows(2).all(|pair| pair[0] == pair[1]) {
            true => format!("holds a single split, expected {folds} folds; rename it to let the folds be drawn"),
            false => format!("holds more than {folds} folds; give their number by --folds"),
        };
        return Err(DataError::Split { path: file.to_owned(), problem }.into());
    }
    Ok(splits)
}

/// Every fold leaves out cases of its own.
fn check(splits: &[Split], path: &Path) -> Result<(), TrainError> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let wrong = |problem: String| Err(DataError::Split { path: path.to_owned(), problem }.into());
    for (fold, split) in splits.iter().enumerate() {
        if split.validation.is_empty() {
            return wrong(format!("fold {fold} has no case to validate on, expected at least one"));
        }
        for case in &split.validation {
            if let Some(first) = seen.insert(case, fold) {
                return wrong(format!("case {case:?} is validated in fold {first} and in fold {fold}, expected one"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Warnings;

    fn dataset(cases: usize, split_file: Option<&Path>) -> Dataset {
        let case = |number: usize| crate::data::Case {
            name: format!("case_{number}"),
            image: Path::new("image.nii").to_owned().into(),
            label: "label.nii".into(),
        };
        Dataset {
            dir: ".".into(),
            cases: (0..cases).map(case).collect(),
            classes: None,
            channel_names: Vec::new(),
            channel_files: Vec::new(),
            align: false,
            crop: crate::data::Crop::None,
            split_file: split_file.map(Path::to_owned),
            parts: None,
            warnings: Warnings::default(),
        }
    }

    #[test]
    fn every_case_is_left_out_once() {
        let splits = folds_of(&dataset(7, None), 3, 3).expect("folds");
        let mut left_out: Vec<&String> = splits.iter().flat_map(|split| &split.validation).collect();
        left_out.sort();
        left_out.dedup();
        assert_eq!(left_out.len(), 7);
        for split in &splits {
            assert_eq!(split.train.len() + split.validation.len(), 7);
            assert!(split.validation.iter().all(|case| !split.train.contains(case)));
        }
        assert!(folds_of(&dataset(2, None), 3, 3).is_err());
    }

    #[test]
    fn files_must_hold_folds_that_share_no_case() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("split.json");
        let message = |text: &str, folds| {
            std::fs::write(&path, text).expect("written");
            match folds_of(&dataset(4, Some(&path)), 0, folds) {
                Ok(splits) => format!("{} folds", splits.len()),
                Err(error) => error.to_string(),
            }
        };
        let two = r#"[{"train": ["case_1", "case_2"], "val": ["case_0"]}, {"train": ["case_0", "case_3"], "val": ["case_1"]}]"#;
        assert_eq!(message(two, 2), "2 folds");
        let three = message(two, 3);
        assert!(three.contains("fold") && three.contains('2'), "{three}");
        let twice = two.replace("\"val\": [\"case_1\"]", "\"val\": [\"case_1\", \"case_2\"]").replace(
            "\"train\": [\"case_1\", \"case_2\"], \"val\": [\"case_0\"]",
            "\"train\": [\"case_3\"], \"val\": [\"case_0\", \"case_2\"]",
        );
        assert!(
            message(&twice, 2).contains("\"case_2\" is validated in fold 0 and in fold 1"),
            "{}",
            message(&twice, 2)
        );
        let single = r#"{"train": ["case_0"], "validation": ["case_1"]}"#;
        assert!(message(single, 2).contains("a single split"), "{}", message(single, 2));
        let empty = r#"[{"train": ["case_1"], "val": ["case_0"]}, {"train": ["case_1"], "val": []}]"#;
        assert!(message(empty, 2).contains("fold 1 has no case"), "{}", message(empty, 2));
        let more = two.replace("}]", r#"}, {"train": ["case_0"], "val": ["case_3"]}]"#);
        assert!(message(&more, 2).contains("more than 2 folds"), "{}", message(&more, 2));
    }
}
