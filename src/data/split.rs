//! Which cases train, validate and test: made from a seed, or read from `split.json`.
//!
//! ```json
//! {"train": ["case_02", "case_07"], "validation": ["case_01"], "test": ["case_05"]}
//! ```
//!
//! For cross-validation the file may hold `{"folds": [{"train": …, "validation": …, "test": …},
//! …]}`, or a list `[{"train": …, "val": …}, …]` as nnU-Net's `splits_final.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::DataError;
use super::dataset::case_name;
use super::io::bytes::write_whole;
use super::io::input::read_text;
use crate::random::{Purpose, Stream};

/// Shares of train, validation and test where the user says nothing.
pub const DEFAULT_FRACTIONS: [f64; 3] = [0.7, 0.1, 0.2];

/// Names of the cases for each purpose. Parts that are missing in a file are empty, except `train`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Cases whose gradients are followed.
    pub train: Vec<String>,
    /// Cases that choose the best model.
    #[serde(default)]
    pub validation: Vec<String>,
    /// Cases that are never looked at before the end.
    #[serde(default)]
    pub test: Vec<String>,
}

const SPLIT: &str = "split.json";
const NNUNET_SPLITS: &str = "splits_final.json";
const PREPROCESSED: &str = "nnUNet_preprocessed";

/// Bytes of a `split.json`, at most: a hundred thousand cases with names of a hundred letters, five times over.
const LONGEST_TEXT: u64 = 1 << 26;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Folds {
    folds: Vec<Split>,
}

/// A fold of nnU-Net.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NnunetFold {
    train: Vec<String>,
    val: Vec<String>,
}

impl From<NnunetFold> for Split {
    fn from(NnunetFold { train, val: validation }: NnunetFold) -> Split {
        Split { train, validation, test: Vec::new() }
    }
}

/// The splits of a file, and whether they are folds. A list is nnU-Net's; else the key `folds` decides, so that a mistake is
/// named for what it is and where.
fn parse(text: &str) -> serde_json::Result<(Vec<Split>, bool)> {
    if text.trim_start().starts_with('[') {
        let folds: Vec<NnunetFold> = serde_json::from_str(text)?;
        return Ok((folds.into_iter().map(Split::from).collect(), true));
    }
    match serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text)?.contains_key("folds") {
        true => Ok((serde_json::from_str::<Folds>(text)?.folds, true)),
        false => Ok((vec![serde_json::from_str(text)?], false)),
    }
}

impl Split {
    /// Divides cases at random, the same way for the same names and seed whatever their order.
    ///
    /// Shares are rounded to the nearest; of three cases and more, every part with a share above 0
    /// gets at least one. Two cases are one to train and one to validate; a single case only
    /// trains.
    pub fn from_seed(names: &[String], seed: u64, fractions: [f64; 3]) -> Result<Split, DataError> {
        Split::check_fractions(fractions)?;
        let mut shuffled = shuffle(names, seed);
        let [validation, test] = part_counts(shuffled.len(), fractions);
        let test = shuffled.split_off(shuffled.len() - test);
        let validation = shuffled.split_off(shuffled.len() - validation);
        Ok(Split { train: shuffled, validation, test }.sorted())
    }

    /// Whether shares of train, validation and test are such.
    pub fn check_fractions(fractions: [f64; 3]) -> Result<(), DataError> {
        let sum: f64 = fractions.iter().sum();
        let shares = fractions.iter().all(|share| (0.0..=1.0).contains(share));
        match shares && fractions[0] > 0.0 && (sum - 1.0).abs() <= 1e-6 {
            true => Ok(()),
            false => Err(DataError::Fractions { found: fractions }),
        }
    }

    /// Fold `index` (from 0) of `folds`: every case validates in exactly one fold and trains in the
    /// others; none tests.
    pub fn fold(names: &[String], seed: u64, index: usize, folds: usize) -> Result<Split, DataError> {
        if index >= folds || folds < 2 || folds > names.len() {
            return Err(DataError::Fold { index, folds, cases: names.len() });
        }
        let mut split = Split::default();
        for (position, name) in shuffle(names, seed).into_iter().enumerate() {
            let part = if position % folds == index { &mut split.validation } else { &mut split.train };
            part.push(name);
        }
        Ok(split.sorted())
    }

    /// Reads a split and checks it against the cases of the data set; `fold` chooses among the
    /// folds of a file that holds several (the first if none is asked for).
    pub fn load(path: &Path, names: &[String], fold: Option<usize>) -> Result<Split, DataError> {
        let text = read_text(path, LONGEST_TEXT).map_err(DataError::io(path, "read"))?;
        Split::from_text(path, &text, names, fold)
    }

    /// As [`Split::load`], of the text of the file `path`.
    pub fn from_text(path: &Path, text: &str, names: &[String], fold: Option<usize>) -> Result<Split, DataError> {
        let expected = "an object with the lists \"train\", \"validation\", \"test\", or \"folds\": a list of those, or nnU-Net's list of objects \
                        with \"train\" and \"val\"";
        let wrong = |source| DataError::Json { path: path.to_path_buf(), source, expected };
        let (mut folds, several) = parse(text).map_err(wrong)?;
        let index = fold.filter(|_| several).unwrap_or(0);
        if index >= folds.len() {
            return Err(DataError::Fold { index, folds: folds.len(), cases: names.len() });
        }
        let mut split = folds.swap_remove(index);
        // Names as those of cases.
        split.each_part(|names| names.iter_mut().for_each(|name| *name = case_name(name)));
        split.validate(path, names)?;
        Ok(split)
    }

    /// The file that splits the data set of a folder: `split.json` or nnU-Net's `splits_final.json` in it. nnU-Net itself keeps
    /// the latter in a folder of the same name under `nnUNet_preprocessed`: the one that the environment names, or the one beside
    /// `nnUNet_raw`.
    pub fn file_of(dir: &Path) -> Option<PathBuf> {
        let dir = dir.canonicalize().ok()?;
        let preprocessed = |root: &Path| Some(root.join(dir.file_name()?).join(NNUNET_SPLITS));
        let by_environment = || preprocessed(Path::new(&std::env::var_os(PREPROCESSED)?));
        let beside = || preprocessed(&dir.parent()?.parent()?.join(PREPROCESSED));
        let inside = [SPLIT, NNUNET_SPLITS].map(|name| dir.join(name));
        inside.into_iter().chain(by_environment()).chain(beside()).find(|file| file.exists())
    }

    /// Writes the split, whole or not at all.
    pub fn store(&self, path: &Path) -> Result<(), DataError> {
        let mut text = serde_json::to_string_pretty(self).expect("lists of names are always JSON");
        text.push('\n');
        write_whole(path, &[text.as_bytes()], false)
    }

    fn parts(&self) -> [(&'static str, &Vec<String>); 3] {
        [("train", &self.train), ("validation", &self.validation), ("test", &self.test)]
    }

    fn validate(&self, path: &Path, names: &[String]) -> Result<(), DataError> {
        let wrong = |problem| Err(DataError::Split { path: path.to_path_buf(), problem });
        let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let mut seen: BTreeMap<&str, &'static str> = BTreeMap::new();
        for (part, cases) in self.parts() {
            for case in cases {
                if !known.contains(case.as_str()) {
                    return wrong(format!("{part} names case {case:?}, which the data set does not have"));
                }
                if let Some(first) = seen.insert(case, part) {
                    return wrong(format!("case {case:?} is in {first} and in {part}, expected once"));
                }
            }
        }
        if self.train.is_empty() {
            return wrong("train is empty, expected at least one case".to_owned());
        }
        Ok(())
    }

    fn each_part(&mut self, change: impl FnMut(&mut Vec<String>)) {
        [&mut self.train, &mut self.validation, &mut self.test].into_iter().for_each(change);
    }

    pub(super) fn sorted(mut self) -> Split {
        self.each_part(|names| names.sort());
        self
    }
}

pub(super) fn shuffle(names: &[String], seed: u64) -> Vec<String> {
    let mut sorted = names.to_vec();
    sorted.sort();
    let order = Stream::new(seed, Purpose::Split, 0).permutation(sorted.len());
    order.into_iter().map(|index| std::mem::take(&mut sorted[index])).collect()
}

/// How many of `cases` validate and test.
fn part_counts(cases: usize, fractions: [f64; 3]) -> [usize; 2] {
    match cases {
        0 | 1 => [0, 0],
        2 => [1, 0],
        _ => {
            let mut counts = [1, 2].map(|part| {
                let nearest = (fractions[part] * cases as f64).round() as usize;
                if fractions[part] > 0.0 { nearest.max(1) } else { 0 }
            });
            // Rounding up both must leave one to train; three cases always can.
            while counts[0] + counts[1] >= cases {
                counts[usize::from(counts[1] >= counts[0])] -= 1;
            }
            counts
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("case_{index:02}")).collect()
    }

    #[test]
    fn parts_cover_every_case_once() {
        for count in 1..40 {
            for fractions in [DEFAULT_FRACTIONS, [0.2, 0.4, 0.4], [0.01, 0.495, 0.495]] {
                let split = Split::from_seed(&names(count), 3, fractions).expect("valid fractions");
                let mut all: Vec<String> = split.parts().iter().flat_map(|(_, cases)| cases.iter().cloned()).collect();
                all.sort();
                assert_eq!(all, names(count));
                assert!(!split.train.is_empty(), "{count} cases");
                assert!(count < 2 || !split.validation.is_empty(), "{count} cases");
                assert!(count < 3 || !split.test.is_empty(), "{count} cases");
            }
        }
        let split = Split::from_seed(&names(20), 3, DEFAULT_FRACTIONS).expect("valid fractions");
        assert_eq!(split.parts().map(|(_, cases)| cases.len()), [14, 2, 4]);
    }

    #[test]
    fn seed_decides_and_order_of_names_does_not() {
        let made = |names: &[String], seed| Split::from_seed(names, seed, DEFAULT_FRACTIONS).expect("valid fractions");
        let reversed: Vec<String> = names(20).into_iter().rev().collect();
        assert_eq!(made(&names(20), 3), made(&reversed, 3));
        assert_ne!(made(&names(20), 3), made(&names(20), 4));
    }

    #[test]
    fn every_case_validates_in_one_fold() {
        let mut validated = Vec::new();
        for index in 0..3 {
            let split = Split::fold(&names(11), 8, index, 3).expect("a fold");
            assert_eq!(split.train.len() + split.validation.len(), 11);
            assert!(split.validation.iter().all(|name| !split.train.contains(name)));
            validated.extend(split.validation);
        }
        validated.sort();
        assert_eq!(validated, names(11));
        for (index, folds) in [(3, 3), (0, 1), (0, 12)] {
            assert!(matches!(Split::fold(&names(11), 8, index, folds), Err(DataError::Fold { .. })));
        }
    }

    #[test]
    fn shares_must_be_shares() {
        for fractions in [[0.5, 0.1, 0.1], [0.0, 0.5, 0.5], [1.2, -0.1, -0.1], [f64::NAN, 0.5, 0.5]] {
            assert!(matches!(Split::from_seed(&names(9), 0, fractions), Err(DataError::Fractions { .. })));
        }
    }

    #[test]
    fn files_are_checked() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("split.json");
        let made = Split::from_seed(&names(9), 2, DEFAULT_FRACTIONS).expect("valid fractions");
        made.store(&path).expect("stored");
        assert_eq!(Split::load(&path, &names(9), None).expect("loaded"), made);

        let load = |text: &str, fold| {
            std::fs::write(&path, text).expect("written");
            Split::load(&path, &names(9), fold).map_err(|error| error.to_string())
        };
        for (text, words) in [
            (r#"{"train": ["case_01"], "test": ["case_99"]}"#, "test names case \"case_99\""),
            (r#"{"train": ["case_01"], "test": ["case_02", "case_01"]}"#, "\"case_01\" is in train and in test"),
            (r#"{"train": []}"#, "train is empty"),
            (r#"{"trian": []}"#, "\"train\""),
        ] {
            let message = load(text, None).expect_err(words);
            assert!(message.contains(words), "{message}");
        }
        let folds = r#"{"folds": [{"train": ["case_01"]}, {"train": ["case_02"], "validation": ["case_01"]}]}"#;
        assert_eq!(load(folds, Some(1)).expect("second fold").train, ["case_02"]);
        assert!(load(folds, Some(2)).is_err());
    }
}
