use crate::data::Notice;
use crate::train::StepResult;
use serde::Serialize;

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
    /// Something unusual about files of the data set.
    Warning {
        /// Steps done.
        step: u64,
        /// `kind`, `detail` and `files`.
        #[serde(flatten)]
        notice: Notice,
    },
    /// The run started from a model.
    Initialised {
        /// 0.
        step: u64,
        /// What was taken from which file.
        with: String,
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
    /// The loss was not finite but the gradient was: the step took place.
    NonfiniteLoss {
        /// The step.
        step: u64,
        /// Its loss, as text since JSON has no NaN.
        loss: String,
        /// Learning rate.
        learning_rate: f64,
        /// Global norm of the gradient before clipping.
        gradient_norm: f64,
        /// Names of the samples' cases.
        cases: Vec<String>,
    },
    /// The gradient was not finite and the step had no effect.
    Skipped {
        /// The step.
        step: u64,
        /// Its loss, as text since JSON has no NaN.
        loss: String,
        /// Learning rate.
        learning_rate: f64,
        /// Names of the samples' cases.
        cases: Vec<String>,
    },
    /// Every validation case was predicted as one class throughout.
    Collapsed {
        /// Steps done.
        step: u64,
        /// What can be done.
        advice: &'static str,
    },
    /// The training went back to its last good checkpoint.
    Restored {
        /// The step that it went back to.
        step: u64,
        /// The step that it came from.
        from: u64,
        /// What was wrong.
        reason: String,
        /// Factor on the scheduled learning rate from here on.
        learning_rate_factor: f64,
    },
    /// The training ends because something is wrong with it.
    Unhealthy {
        /// Steps done.
        step: u64,
        /// What is wrong.
        reason: String,
    },
    /// The device was lost; the run goes on from its checkpoint on another.
    DeviceLost {
        /// The step that it goes on from.
        step: u64,
        /// The driver's words.
        reason: String,
    },
    /// The training stopped early: `training.patience` validations were no better than the best.
    EarlyStop {
        /// Steps done.
        step: u64,
        /// The step of the best validation.
        best_step: u64,
    },
    /// The test cases were predicted with the best model.
    Test {
        /// Steps done.
        step: u64,
        /// Mean over cases and foreground classes.
        mean_dice: Option<f64>,
    },
    /// A file of the run folder could not be written. The training goes on and tries again when the file is due.
    Unwritten {
        /// Steps done.
        step: u64,
        /// The file and the system's words.
        reason: String,
    },
    /// The training has done all its steps.
    Finished {
        /// Steps done.
        step: u64,
        /// Fingerprint of the parameters after the last step.
        weights: String,
        /// Fingerprint of the kept model.
        model: String,
    },
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
