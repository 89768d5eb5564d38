//! `cross_validation.json`: what a cross-validation is of. It is written once, in one step, before anything else.

use super::{Asked, DEFAULT_FOLDS, folds_of, resolved, write};
use crate::data::{Dataset, Split};
use crate::files::{json, read_text};
use crate::train::{Config, Preset, TrainError};
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::{Table, Value};

/// Its name in the folder.
pub(super) const FILE: &str = "cross_validation.json";
/// Version of the format.
const FORMAT: u32 = 1;
/// Bytes of the file, at most.
const LONGEST_TEXT: u64 = 1 << 26;

/// What a cross-validation is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: u32,
    /// BLAKE3 of the names of all cases and the sizes of their files: the same for a copy of the data on another machine.
    data_blake3: String,
    /// The split of each fold.
    pub(super) folds: Vec<Split>,
    /// The configuration that was asked for, as TOML.
    pub asked: String,
    /// The same with what was chosen from the data.
    pub(super) configuration: String,
    /// The plan that it follows, if any, as TOML.
    pub(super) plan: Option<String>,
}

impl Record {
    /// The record of a folder; none where nothing is set up yet.
    ///
    /// # Errors
    /// [`TrainError`] when it cannot be read.
    pub fn read(out: &Path) -> Result<Option<Self>, TrainError> {
        let path = out.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = read_text(&path, LONGEST_TEXT).map_err(TrainError::io("read", &path))?;
        let record: Self =
            serde_json::from_str(&text).map_err(|error| TrainError::run_folder(&path, error.to_string()))?;
        match (record.format, record.folds.len()) {
            (FORMAT, 2..) => Ok(Some(record)),
            (FORMAT, _) => Err(TrainError::run_folder(&path, "key folds: expected at least two")),
            (other, _) => Err(TrainError::run_folder(&path, format!("key format: expected {FORMAT}, found {other}"))),
        }
    }

    /// Number of folds.
    pub fn folds(&self) -> usize {
        self.folds.len()
    }

    /// A new one.
    pub(super) fn new(asked: &Asked, dataset: &Dataset) -> Result<Self, TrainError> {
        let folds = folds_of(dataset, asked.config.seed, asked.folds.unwrap_or(DEFAULT_FOLDS))?;
        let configuration = resolved(asked, &folds)?.to_toml();
        let (data_blake3, plan) = (digest(dataset)?, asked.plan.clone());
        Ok(Self { format: FORMAT, data_blake3, folds, asked: asked.config.to_toml(), configuration, plan })
    }

    pub(super) fn write(&self, out: &Path) -> Result<(), TrainError> {
        write(&out.join(FILE), &json(self))
    }

    /// The configuration of every fold.
    pub(super) fn config(&self, out: &Path) -> Result<Config, TrainError> {
        let origin = out.join(FILE).display().to_string();
        Ok(Config::from_text(Preset::Tiny, Some((&origin, &self.configuration)), &[])?)
    }

    /// Checks that this record of the folder `out` is of these data, folds and configuration.
    ///
    /// # Errors
    /// [`TrainError::RunFolder`] that says what belongs to another cross-validation.
    pub fn check(&self, out: &Path, dataset: &Dataset, folds: Option<usize>, asked: &Config) -> Result<(), TrainError> {
        let other = |text: String| {
            let reason = format!("belongs to another cross-validation: {text}; give another --out");
            Err(TrainError::run_folder(out, reason))
        };
        if digest(dataset)? != self.data_blake3 {
            let cases = self.folds[0].train.len() + self.folds[0].validation.len() + self.folds[0].test.len();
            let found = dataset.cases.len();
            return other(format!(
                "its data set of {cases} cases is not that of --data, which has {found}, or files of it have changed"
            ));
        }
        if let Some(folds) = folds.filter(|folds| *folds != self.folds.len()) {
            return other(format!("it has {} folds instead of {folds}", self.folds.len()));
        }
        let stored: Table = self.asked.parse().map_err(|_| TrainError::run_folder(out, "the key asked is no TOML"))?;
        match difference(&stored, &table(asked), "") {
            Some((key, stored, wanted)) => other(format!("{key} is {stored} there and {wanted} here")),
            None => Ok(()),
        }
    }

    /// Checks that a fold was trained with the configuration of all, as one that was copied from elsewhere may not be.
    pub(super) fn check_fold(&self, config: &Config, run: &Path) -> Result<(), TrainError> {
        let trained = Config::read(&run.join("config.toml"))?;
        match difference(&table(&trained), &table(config), "") {
            Some((key, trained, wanted)) => {
                let reason = format!(
                    "was trained with {key} = {trained}, and this cross-validation has {wanted}; remove it to train the \
                     fold again"
                );
                Err(TrainError::run_folder(run, reason))
            }
            None => Ok(()),
        }
    }
}

/// The keys of a configuration as files have them: its own table has more digits of 32-bit numbers.
fn table(config: &Config) -> Table {
    config.to_toml().parse().expect("it was written as TOML")
}

/// The first key of two tables whose values differ, with both.
fn difference(one: &Table, other: &Table, prefix: &str) -> Option<(String, String, String)> {
    let shown = |value: Option<&Value>| value.map_or_else(|| "not set".to_owned(), ToString::to_string);
    let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
    keys.into_iter().find_map(|key| match (one.get(key), other.get(key)) {
        (Some(Value::Table(one)), Some(Value::Table(other))) => difference(one, other, &format!("{prefix}{key}.")),
        (a, b) if a == b => None,
        (a, b) => Some((format!("{prefix}{key}"), shown(a), shown(b))),
    })
}

/// Names of the cases, and the sizes of their files. Of a folder, such as a DICOM series, the number of its entries.
fn digest(dataset: &Dataset) -> Result<String, TrainError> {
    let mut hasher = blake3::Hasher::new();
    for case in &dataset.cases {
        hasher.update(&(case.name.len() as u64).to_le_bytes()).update(case.name.as_bytes());
        for path in case.image.files().iter().chain([&case.label]) {
            let failed = TrainError::io("read", path);
            let size = match path.is_dir() {
                true => std::fs::read_dir(path).map_err(failed)?.count() as u64,
                false => std::fs::metadata(path).map_err(failed)?.len(),
            };
            hasher.update(&size.to_le_bytes());
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Setting;

    #[test]
    fn the_first_key_that_differs_is_named() {
        let table =
            |settings: &[&str]| table(&Config::load(Preset::Tiny, None, &Setting::parse_all(settings)).expect("valid"));
        // 0.05 in 32 bits stays 0.05.
        assert_eq!(table(&["network.head_gain=0.05"])["network"]["head_gain"].as_float(), Some(0.05));
        assert_eq!(difference(&table(&[]), &table(&[]), ""), None);
        let found = difference(&table(&["training.steps=7"]), &table(&["training.steps=8"]), "");
        assert_eq!(found, Some(("training.steps".to_owned(), "7".to_owned(), "8".to_owned())));
        // A class brings the background, which is first.
        let found = difference(&table(&[]), &table(&["data.labels.organ=7"]), "");
        assert_eq!(found, Some(("data.labels.background".to_owned(), "not set".to_owned(), "0".to_owned())));
    }
}
