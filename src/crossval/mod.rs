//! Cross-validation: k trainings, each without the cases of its fold; the predictions of every case by the network that has not
//! seen it; what these say about mirroring and repairs; and one ensemble of all networks.
//!
//! | in the folder | what it is |
//! |---|---|
//! | `cross_validation.json` | folds and configuration, written once ([`Record`]) |
//! | `fold_0`, `fold_1`, … | run folders; `validation` has the fold's predictions, plain and mirrored |
//! | `predictions`, `evaluation` | final predictions of all cases; scores, choices and report |
//! | `ensemble` | the networks of all folds, for `segment --model` |
//!
//! Every file is whole or absent and follows from those before it, so a process may end anywhere.

mod choose;
mod collect;
mod fold;
mod folds;
mod record;
mod rule;

pub use choose::{Choices, Chosen};
pub use collect::Collected;
pub use fold::Predicting;
pub use folds::folds_of;
pub use record::Record;
pub use rule::Trial;

use crate::data::{Case, Dataset, Split};
use crate::files::{json, remove_leftovers, replace_file};
use crate::train::{Config, PLAN_FILE, RunLock, RunSettings, TrainError, choose_patch};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Folds where nothing else is asked for.
pub const DEFAULT_FOLDS: usize = 5;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The data set.
    pub data: PathBuf,
    /// The folder of the cross-validation.
    pub out: PathBuf,
    /// Number of folds; `None` for that of the folder, or [`DEFAULT_FOLDS`].
    pub folds: Option<usize>,
    /// The configuration of every fold, before anything is chosen from the data.
    pub config: Config,
    /// Text of the plan that it follows, if any.
    pub plan: Option<String>,
}

/// A cross-validation whose folder is set up.
#[derive(Debug)]
pub struct CrossValidation {
    out: PathBuf,
    data: PathBuf,
    dataset: Dataset,
    record: Record,
    config: Config,
}

/// Held while a folder is set up, so that processes that start together agree.
#[derive(Debug)]
pub struct SetUp {
    _lock: RunLock,
}

impl SetUp {
    /// Creates the folder and waits until no other process sets it up.
    ///
    /// # Errors
    /// [`TrainError`] when it cannot be made, or holds a single run.
    pub fn begin(out: &Path) -> Result<Self, TrainError> {
        if !out.join(record::FILE).exists() {
            crate::train::refuse_used(out, false)?;
        }
        create(out)?;
        Ok(Self { _lock: RunLock::wait(out, "setup.lock")? })
    }
}

impl CrossValidation {
    /// The cross-validation of the folder, which must be of these data, folds and configuration; a new one is set up first: the
    /// folds, and what the configuration leaves to the data (patch, classes, CT window), which is chosen from the cases of all
    /// folds together, as nnU-Net does, so that the networks can be averaged.
    ///
    /// # Errors
    /// [`TrainError`] that names the file or key, and what of it belongs to another cross-validation.
    pub fn open(asked: &Asked) -> Result<Self, TrainError> {
        let dataset = Dataset::open_as(&asked.data, asked.config.dataset_options()?)?;
        let record = match Record::read(&asked.out)? {
            Some(record) => {
                record.check(&asked.out, &dataset, asked.folds, &asked.config)?;
                record
            }
            None => {
                let record = Record::new(asked, &dataset)?;
                record.write(&asked.out)?;
                record
            }
        };
        let cross = Self {
            out: asked.out.clone(),
            data: asked.data.clone(),
            config: record.config(&asked.out)?,
            dataset,
            record,
        };
        cross.write_copies()?;
        Ok(cross)
    }

    /// What people look for in the folder; programs read the record.
    fn write_copies(&self) -> Result<(), TrainError> {
        remove_leftovers_in(&self.out, OLD)?;
        let missing = |name: &str| Some(self.out.join(name)).filter(|path| !path.exists());
        if let Some(path) = missing("config.toml") {
            write(&path, self.record.configuration.as_bytes())?;
        }
        if let (Some(path), Some(plan)) = (missing(PLAN_FILE), &self.record.plan) {
            write(&path, plan.as_bytes())?;
        }
        if let Some(path) = missing("split.json") {
            write(&path, json(&serde_json::json!({ "folds": self.record.folds })).as_slice())?;
        }
        Ok(())
    }

    /// Number of folds.
    pub fn folds(&self) -> usize {
        self.record.folds.len()
    }

    /// The split of a fold.
    pub fn split(&self, fold: usize) -> &Split {
        &self.record.folds[fold]
    }

    /// The run folder of a fold.
    pub fn run_folder(&self, fold: usize) -> PathBuf {
        self.out.join(format!("fold_{fold}"))
    }

    /// What the training of a fold takes. It goes on where there is a run.
    fn run_settings(&self, fold: usize) -> RunSettings {
        let out = self.run_folder(fold);
        RunSettings {
            resume: out.join("config.toml").exists(),
            split: Some(self.record.folds[fold].clone()),
            cache: Some(self.out.join("cache")),
            plan: self.record.plan.clone(),
            ..RunSettings::new(&self.data, out, self.config.clone())
        }
    }

    /// The cases that the network of a fold has not seen.
    fn cases(&self, fold: usize) -> Vec<Case> {
        self.dataset.select(&self.record.folds[fold].validation)
    }
}

/// The configuration of every fold, with what it leaves to the data, from the cases of all folds.
fn resolved(asked: &Asked, splits: &[Split]) -> Result<Config, TrainError> {
    let (dataset, examined) = Dataset::open_checked(&asked.data, asked.config.dataset_options()?)?;
    asked.config.check_channels(examined.channels)?;
    let network = asked.config.network_of(examined.channels, &examined.classes)?;
    let mut names: Vec<String> =
        splits.iter().flat_map(|split| split.train.iter().chain(&split.validation)).cloned().collect();
    names.sort();
    names.dedup();
    let cases = dataset.select(&names);
    let patch = choose_patch(&asked.config, &cases, network.divisor())?;
    Ok(asked.config.resolved(patch, examined.channels, dataset.classes.as_ref(), &cases)?)
}

fn create(folder: &Path) -> Result<(), TrainError> {
    std::fs::create_dir_all(folder).map_err(TrainError::io("create the folder", folder))
}

fn write(path: &Path, contents: &[u8]) -> Result<(), TrainError> {
    replace_file(path, contents).map_err(TrainError::io("write", path))
}

/// Age of a leftover in a folder in which other processes may be writing.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes what killed processes left in a folder and is as old as `age`.
fn remove_leftovers_in(folder: &Path, age: Duration) -> Result<(), TrainError> {
    remove_leftovers(folder, age).map_err(TrainError::io("remove what a killed process left in", folder))
}
