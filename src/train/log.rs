use super::board::Board;
use super::{StepResult, TrainError};
use crate::data::Notice;
use crate::files::Appender;
use serde::Serialize;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

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
    /// Files of the data set have an oddity.
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
    /// The training ended before its last step, since the mean Dice had not risen for `training.patience` validations.
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
    /// A file of the run folder could not be written; the training goes on and writes it when it is due again.
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
        /// Fingerprint of the parameters behind the last step.
        weights: String,
        /// Fingerprint of the kept model.
        model: String,
    },
}

impl Event {
    /// What came of a step. The device applies a gradient if and only if its norm is finite, whatever the loss.
    pub(super) fn of(result: StepResult) -> Self {
        let StepResult { step, loss, gradient_norm, learning_rate, cases } = result;
        match (gradient_norm.is_finite(), loss.is_finite()) {
            (true, true) => Self::Step { step, loss, learning_rate, gradient_norm, cases },
            (true, false) => Self::NonfiniteLoss { step, loss: loss.to_string(), learning_rate, gradient_norm, cases },
            (false, _) => Self::Skipped { step, loss: loss.to_string(), learning_rate, cases },
        }
    }
}

/// A line: the event and when it happened.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    event: &'a Event,
    /// Seconds since 1970.
    time: f64,
}

/// `log.jsonl`, one JSON object per line. A line that cannot be written, as on a full disk, waits in memory for the next.
/// TensorBoard gets the same events, where that is wanted.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Appender,
    board: Option<Board>,
}

impl Log {
    /// Opens a log to append to, behind its first `length` bytes; what follows them is dropped.
    ///
    /// # Errors
    /// [`TrainError::Io`] when the file cannot be opened.
    pub fn open(path: &Path, length: u64) -> Result<Self, TrainError> {
        let io = |source| TrainError::Io { path: path.to_owned(), action: "open the log", source };
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(io)?;
        file.set_len(length).map_err(io)?;
        Ok(Self { path: path.to_owned(), file: Appender::new(file, length), board: None })
    }

    /// Sends the events from here on to TensorBoard too.
    pub(super) fn show_on(&mut self, board: Board) {
        self.board = Some(board);
    }

    /// TensorBoard's event file, if there is one.
    pub(super) fn board(&mut self) -> Option<&mut Board> {
        self.board.as_mut()
    }

    /// Appends a line, now or with a later one: [`Log::flush`] tells whether all are in the file.
    pub fn write(&mut self, event: &Event) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_millis() as f64 / 1e3);
        serde_json::to_writer(self.file.waiting(), &Line { event, time }).expect("events are always JSON");
        self.file.waiting().push(b'\n');
        // A failure is flush's to tell.
        let _ = self.file.append();
        if let Some(board) = &mut self.board {
            board.write(event);
        }
    }

    /// Writes what waits, and flushes the file to disk.
    ///
    /// # Errors
    /// [`TrainError::Io`] when lines still wait.
    pub fn flush(&mut self) -> Result<(), TrainError> {
        let (path, action) = (self.path.clone(), "write to the log");
        self.file.sync().map_err(|source| TrainError::Io { path, action, source })
    }
}
