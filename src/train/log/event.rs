use crate::data::Notice;
use crate::train::StepResult;
use serde::Serialize;
use std::path::PathBuf;

/// A line of `log.jsonl`. `step` is the number of steps done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run starts or goes on; `device_bytes` is the memory of its plan.
    Start { step: u64, version: &'static str, commit: &'static str, adapter: String, driver: String, device_bytes: u64 },
    /// Something unusual about files of the data set: `kind`, `detail` and `files`.
    Warning {
        step: u64,
        #[serde(flatten)]
        notice: Notice,
    },
    /// The run started from a model; `with` says what was taken from which file.
    Initialised { step: u64, with: String },
    /// An optimiser step: the mean loss of its samples, the norm of the gradient before clipping, and the samples' cases.
    Step { step: u64, loss: f64, learning_rate: f64, gradient_norm: f64, cases: Vec<String> },
    /// The validation cases were predicted: mean Dice of each foreground class, null where no case defines it, and the mean
    /// over cases and classes.
    Validation { step: u64, dice: Vec<Option<f64>>, mean_dice: Option<f64>, best: bool },
    /// How long the steps since the event before waited for their batches, of how many seconds in all, and the share of these.
    Loader { step: u64, waited_seconds: f64, seconds: f64, waited_share: f64 },
    /// What the run has in its cache on disk: files, their bytes, and how many of them it made.
    Cache { step: u64, folder: PathBuf, entries: u64, bytes: u64, made: u64 },
    /// The loss was not finite (text, since JSON has no NaN) but the gradient was: the step took place.
    NonfiniteLoss { step: u64, loss: String, learning_rate: f64, gradient_norm: f64, cases: Vec<String> },
    /// The gradient was not finite and the step had no effect.
    Skipped { step: u64, loss: String, learning_rate: f64, cases: Vec<String> },
    /// Every validation case was predicted as one class throughout; `advice` says what can be done.
    Collapsed { step: u64, advice: &'static str },
    /// The training went back to the last good checkpoint, of `step`, with another factor on the scheduled learning rate.
    Restored { step: u64, from: u64, reason: String, learning_rate_factor: f64 },
    /// The training ends because something is wrong with it.
    Unhealthy { step: u64, reason: String },
    /// The device was lost, in the driver's words; the run goes on from its checkpoint on another.
    DeviceLost { step: u64, reason: String },
    /// The training stopped early: `training.patience` validations were no better than the best, of `best_step`.
    EarlyStop { step: u64, best_step: u64 },
    /// The test cases were predicted with the best model: the mean Dice over cases and foreground classes.
    Test { step: u64, mean_dice: Option<f64> },
    /// A file of the run folder could not be written. The training goes on and tries again when the file is due.
    Unwritten { step: u64, reason: String },
    /// The training has done all its steps: fingerprints of the last parameters and of the best model.
    Finished { step: u64, weights: String, model: String },
}

impl Event {
    /// What came of a step. The device applies a gradient if and only if its norm is finite, whatever the loss.
    pub(in crate::train) fn of(result: StepResult) -> Self {
        let StepResult { step, loss, gradient_norm, learning_rate, cases } = result;
        match (gradient_norm.is_finite(), loss.is_finite()) {
            (true, true) => Self::Step { step, loss, learning_rate, gradient_norm, cases },
            (true, false) => Self::NonfiniteLoss { step, loss: loss.to_string(), learning_rate, gradient_norm, cases },
            (false, _) => Self::Skipped { step, loss: loss.to_string(), learning_rate, cases },
        }
    }
}
