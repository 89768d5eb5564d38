use super::TrainError;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A line of `log.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run starts or goes on.
    Start {
        /// Steps done before.
        step: u64,
        /// Version of the program.
        version: &'static str,
        /// Commit that it was built from, or `unknown`.
        commit: &'static str,
        /// Adapter.
        adapter: String,
        /// Driver.
        driver: String,
        /// Device memory of the plan in bytes.
        device_bytes: u64,
    },
    /// An optimiser step.
    Step {
        /// Counted from 1.
        step: u64,
        /// Mean loss of its samples.
        loss: f64,
        /// Learning rate.
        learning_rate: f64,
        /// Global norm of the gradient before clipping.
        gradient_norm: f64,
        /// Names of the samples' cases.
        cases: Vec<String>,
    },
    /// The validation cases were predicted.
    Validation {
        /// Steps done.
        step: u64,
        /// Mean Dice of each foreground class; null where it is undefined in every case.
        dice: Vec<Option<f64>>,
        /// Mean over cases and foreground classes.
        mean_dice: Option<f64>,
        /// Whether this is the best so far.
        best: bool,
    },
    /// How long steps waited for their batches.
    Loader {
        /// Steps done.
        step: u64,
        /// Over all steps since the event before.
        waited_seconds: f64,
    },
    /// The gradient was not finite and the step had no effect.
    Skipped {
        /// The step.
        step: u64,
        /// Its loss, as text since JSON has no NaN.
        loss: String,
    },
    /// Every validation case was predicted as one class throughout.
    Collapsed {
        /// Steps done.
        step: u64,
        /// What can be done.
        advice: &'static str,
    },
    /// The test cases were predicted with the best model.
    Test {
        /// Mean over cases and foreground classes.
        mean_dice: Option<f64>,
    },
}

/// `log.jsonl`, one JSON object per line.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens a log to append to.
    ///
    /// # Errors
    /// [`TrainError::Io`] when the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| TrainError::Io { path: path.to_owned(), action: "open the log", source })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// [`TrainError::Io`] when it cannot be written.
    pub fn write(&mut self, event: &Event) -> Result<(), TrainError> {
        let mut line = serde_json::to_string(event).expect("events are always JSON");
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|source| TrainError::Io {
            path: self.path.clone(),
            action: "write to the log",
            source,
        })
    }
}
