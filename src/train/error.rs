use crate::data::DataError;
use crate::gpu::GpuError;
use crate::infer::InferError;
use crate::metrics::MetricError;
use crate::nn::ModelError;
use crate::plan::{PlanError, human_bytes};
use crate::report::ReportError;
use crate::tensor::ShapeError;
use crate::tuning::KernelTableError;
use std::path::{Path, PathBuf};

/// A training cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] super::ConfigError),
    /// The data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network on this patch.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The network does not fit the device.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The training needs more memory than the device has.
    #[error(
        "the training needs {} of device memory, {} more than the {} there are; {ways}",
        human_bytes(*.needed), human_bytes(.needed - .budget), human_bytes(*.budget)
    )]
    Budget {
        /// Bytes of the forecast.
        needed: u64,
        /// Bytes of the device, or of `--memory-budget`.
        budget: u64,
        /// Settings that would fit.
        ways: String,
    },
    /// A setting of the trainer is out of range.
    #[error("trainer setting {name}: expected {expected}, found {found}")]
    Setting {
        /// Its name in [`super::TrainerSettings`].
        name: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A pattern of `freeze` or `groups` that does not fit the network.
    #[error("optimiser.{key}: expected {expected}, found {pattern:?}")]
    Pattern {
        /// The key.
        key: &'static str,
        /// The pattern, or all of them.
        pattern: String,
        /// What it takes.
        expected: String,
    },
    /// A batch has other extents than the step was planned for, or lacks what augmentation needs.
    #[error("a training step was given {found} {what}, expected {expected}")]
    Batch {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many the step takes.
        expected: usize,
    },
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A model file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A score.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A picture.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A prediction.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The table of kernels.
    #[error(transparent)]
    Kernels(#[from] KernelTableError),
    /// A file of the run folder.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// The run folder holds a run already, or lacks what is needed.
    #[error("{}: {reason}", .path.display())]
    RunFolder {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The training went wrong, and `[health]` says stop, or was restored as often as `[health]` allows.
    #[error(
        "{}: step {step}: {reason}; the last good checkpoint is kept: go on with --resume and a lower \
         optimiser.learning_rate, or look at the cases of these steps in log.jsonl", .path.display()
    )]
    Unhealthy {
        /// The run folder.
        path: PathBuf,
        /// Steps done.
        step: u64,
        /// What is wrong.
        reason: String,
    },
    /// A signal asked the training to stop; its checkpoint is written.
    #[error("{}: stopped by {} after step {step}; go on with --resume", .path.display(), signal_name(*.signal))]
    Interrupted {
        /// The run folder.
        path: PathBuf,
        /// Number of the signal.
        signal: i32,
        /// Steps done.
        step: u64,
    },
}

impl TrainError {
    /// For `map_err`: what was tried on which file or folder.
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> Self + Copy + 'a {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }

    pub(super) fn run_folder(path: &Path, reason: impl Into<String>) -> Self {
        Self::RunFolder { path: path.to_owned(), reason: reason.into() }
    }
}

fn signal_name(signal: i32) -> String {
    match signal {
        1 => "SIGHUP".to_owned(),
        2 => "Ctrl-C (SIGINT)".to_owned(),
        15 => "SIGTERM".to_owned(),
        other => format!("signal {other}"),
    }
}
