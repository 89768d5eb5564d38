//! A training from a data set to a run folder.

mod finish;
mod initial;
mod keep;
mod recover;
mod start;
mod steps;
mod validate;

pub(super) use initial::initial_model;
pub use recover::train_on;

use super::checkpoint::Origin;
use super::health::{Health, Restorations};
use super::log::{Event, Log};
use super::profiler::StepProfiler;
use super::{Config, StepResult, TrainError, Trainer, Validation};
use crate::data::{CacheBudget, Case, Notice, Preparation, Warnings};
use crate::gpu::Gpu;
use crate::infer::{Predictor, Preprocessing};
use crate::metrics::Evaluation;
use crate::nn::{Model, Network};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a person asks of `train`.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// The data set.
    pub data: PathBuf,
    /// The run folder.
    pub out: PathBuf,
    /// The configuration; on resuming, that of the run folder.
    pub config: Config,
    /// The text of the plan that the configuration follows, which the run folder keeps.
    pub plan: Option<String>,
    /// Go on from the run folder's checkpoint.
    pub resume: bool,
    /// Fold `i` of `k` instead of the shares of the configuration.
    pub fold: Option<(usize, usize)>,
    /// Parameters to start from.
    pub init: Option<PathBuf>,
    /// Time every dispatch of one step, and write `profile.json` and `profile.txt`.
    pub profile: bool,
}

impl RunSettings {
    /// A new run from initial parameters, on the configuration's split, without a plan or a profile.
    pub fn new(data: impl Into<PathBuf>, out: impl Into<PathBuf>, config: Config) -> Self {
        let (data, out) = (data.into(), out.into());
        Self { data, out, config, plan: None, resume: false, fold: None, init: None, profile: false }
    }
}

/// What a training tells while it runs.
pub trait Progress {
    /// Once, before the first step: the network, the input's extents x, y, z, device memory in bytes, and the steps.
    fn started(&mut self, run: &Started<'_>);
    /// The result of a step; results come a few steps late.
    fn step(&mut self, result: &StepResult);
    /// The validation cases were predicted.
    fn validated(&mut self, step: u64, dice: &[Option<f64>], mean_dice: Option<f64>, best: bool);
    /// Wall-clock time that a part of the work has taken.
    fn spent(&mut self, part: Part, time: Duration) {
        let _ = (part, time);
    }
    /// Files of the data set have an oddity; by default a note.
    fn warning(&mut self, notice: &Notice) {
        self.note(&notice.to_string());
    }
    /// Something that a person should know.
    fn note(&mut self, text: &str);
    /// The last step is done and its checkpoint written. What is still to come are the test and the report; a process that
    /// ends before loses no step, and `--resume` makes up for them.
    fn trained(&mut self) {}
    /// Asked between steps, between cases, and between the windows of a case: the number of a signal that asks the training
    /// to write a checkpoint and end.
    fn stop(&self) -> Option<i32> {
        None
    }
}

/// Where the time of a training goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Waiting for a batch.
    Loader,
    /// Steps: encoding, and waiting for the device.
    Device,
    /// Validations, with their pictures and models.
    Validation,
    /// Checkpoints.
    Checkpoint,
}

/// See [`Progress::started`].
#[derive(Debug)]
pub struct Started<'a> {
    /// The network.
    pub network: &'a Network,
    /// Extents x, y, z of its input.
    pub patch: [usize; 3],
    /// Samples per step.
    pub batch: usize,
    /// Passes per step over which gradients are accumulated.
    pub passes: usize,
    /// Device memory.
    pub device_bytes: u64,
    /// Cases of training, validation and test.
    pub cases: [usize; 3],
    /// Steps done before.
    pub step: u64,
    /// Steps at the end.
    pub steps: u64,
}

/// What a training came to.
#[derive(Debug)]
pub struct Summary {
    /// Best mean Dice on the validation cases and its step.
    pub best: Option<(f64, u64)>,
    /// Scores of the test cases with the best model; `None` without test cases.
    pub test: Option<Evaluation>,
    /// Fingerprint of the parameters after the last step.
    pub weights: String,
    /// Fingerprint of the kept model.
    pub model: String,
    /// What a person should know of the files of the data set.
    pub warnings: Warnings,
}

/// A run folder in use.
struct Run<'a, P: Progress> {
    settings: &'a RunSettings,
    progress: &'a mut P,
    trainer: Trainer,
    predictor: Predictor,
    validation: Validation,
    /// For the volumes of training and validation together.
    cache: CacheBudget,
    network: Network,
    preprocessing: Preprocessing,
    /// Extents x, y, z of the network's input.
    patch: [usize; 3],
    log: Log,
    best: Option<(f64, u64)>,
    /// Until its step has been profiled.
    profiler: Option<StepProfiler>,
    origin: Origin,
    /// Whether the validation that is due after the last step, if one is, has been done.
    validated: bool,
    /// First sample of the next step.
    sample: u64,
    /// Step of the newest checkpoint.
    saved: Option<u64>,
    /// A model that is to be kept and could not be written yet.
    unwritten: Option<Model>,
    health: Health,
    restorations: Restorations,
    /// Cases that are trained on, and how they are prepared.
    training: Vec<Case>,
    preparation: Preparation,
    /// What a person should know of the files of the data set.
    warnings: Warnings,
}

/// Trains, validates, keeps the best model and predicts the test cases with it.
///
/// # Errors
/// [`TrainError`] that names the file, key or shape; what was written before is kept.
pub fn train<P: Progress>(gpu: &Arc<Gpu>, settings: &RunSettings, progress: &mut P) -> Result<Summary, TrainError> {
    train_after(gpu, settings, progress, None)
}

/// Like [`train`]; `lost` is why the device before this one is gone.
fn train_after<P: Progress>(
    gpu: &Arc<Gpu>,
    settings: &RunSettings,
    progress: &mut P,
    lost: Option<String>,
) -> Result<Summary, TrainError> {
    let (_lock, mut run, test) = Run::start(gpu, settings, progress)?;
    if let Some(reason) = lost {
        run.log.write(&Event::DeviceLost { step: run.trainer.step_count(), reason });
    }
    let gpu = &Arc::clone(run.trainer.executor().gpu());
    run.healthy_steps()?;
    run.progress.trained();
    let evaluation = run.test(gpu, &test)?;
    let [weights, model] = run.finish()?;
    run.report(gpu, evaluation.as_ref(), &test)?;
    Ok(Summary { best: run.best, test: evaluation, weights, model, warnings: run.warnings })
}
