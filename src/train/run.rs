//! A training from a data set to a run folder.

mod finish;
mod initial;
mod keep;
mod methods;
mod recover;
mod start;
mod steps;
mod validate;
mod waits;

pub(super) use initial::initial_model;
pub use recover::train_on;

use super::checkpoint::{Origin, Position};
use super::config::CacheDir;
use super::health::Health;
use super::log::{Event, Log};
use super::profiler::StepProfiler;
use super::{Config, StepResult, TrainError, Trainer, Validation};
use crate::data::{CacheBudget, Case, DiskCache, Notice, Preparation, Split, Warnings};
use crate::gpu::Gpu;
use crate::infer::{Predictor, Preprocessing};
use crate::metrics::Evaluation;
use crate::nn::{Model, Network};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The settings of a run: what `train` takes besides the device.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// The data set.
    pub data: PathBuf,
    /// The run folder.
    pub out: PathBuf,
    /// The configuration; that of the run folder when a run is resumed.
    pub config: Config,
    /// Text of the plan that the configuration follows, if any. The run folder keeps it.
    pub plan: Option<String>,
    /// Resume from the run folder's newest checkpoint.
    pub resume: bool,
    /// Fold `i` of `k` instead of the split of the configuration.
    pub fold: Option<(usize, usize)>,
    /// This split instead of the data's or the configuration's.
    pub split: Option<Split>,
    /// Folder that runs share for prepared volumes, where the configuration says `auto` ([`DiskCache::shared`]).
    pub cache: Option<PathBuf>,
    /// Model whose parameters the run starts from.
    pub init: Option<PathBuf>,
    /// Time every dispatch of one step into `profile.json` and `profile.txt`.
    pub profile: bool,
}

impl RunSettings {
    /// A new run with initial parameters and the configuration's split.
    pub fn new(data: impl Into<PathBuf>, out: impl Into<PathBuf>, config: Config) -> Self {
        let (data, out) = (data.into(), out.into());
        let (plan, fold, split, cache, init) = (None, None, None, None, None);
        Self { data, out, config, plan, resume: false, fold, split, cache, init, profile: false }
    }

    /// Where prepared volumes are kept on disk.
    pub(super) fn disk_cache(&self) -> DiskCache {
        match (&self.cache, &self.config.data.cache_dir) {
            (Some(shared), CacheDir::Auto) => DiskCache::shared(shared),
            (_, dir) => dir.of_run(&self.out),
        }
    }
}

/// Receives what happens in a run, and may stop it. By default it ignores everything; `()` does so, too.
pub trait Progress {
    /// Called once, before the first step.
    fn started(&mut self, run: &Started<'_>) {
        let _ = run;
    }
    /// The result of a step. Results arrive a few steps late.
    fn step(&mut self, result: &StepResult) {
        let _ = result;
    }
    /// The validation cases were predicted.
    fn validated(&mut self, step: u64, dice: &[Option<f64>], mean_dice: Option<f64>, best: bool) {
        let _ = (step, dice, mean_dice, best);
    }
    /// Wall-clock time of a part of the work.
    fn spent(&mut self, part: Part, time: Duration) {
        let _ = (part, time);
    }
    /// Something unusual about files of the data set; by default a note.
    fn warning(&mut self, notice: &Notice) {
        self.note(&notice.to_string());
    }
    /// A message for the user.
    fn note(&mut self, text: &str) {
        let _ = text;
    }
    /// The last step is done and its checkpoint written. Test and report follow; if the process ends before them, `--resume`
    /// does them.
    fn trained(&mut self) {}
    /// The number of a signal that asks the training to write a checkpoint and end. Called between steps, cases, and windows
    /// of a case: a step that has begun is finished first.
    fn stop(&self) -> Option<i32> {
        None
    }
}

impl Progress for () {}

/// A part of the work, for [`Progress::spent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Waiting for a batch.
    Loader,
    /// Steps: encoding, and waiting for the device.
    Device,
    /// Validations, with pictures and models.
    Validation,
    /// Checkpoints.
    Checkpoint,
}

/// What is about to be trained, for [`Progress::started`].
#[derive(Debug)]
pub struct Started<'a> {
    /// The network.
    pub network: &'a Network,
    /// Extents x, y, z of its input.
    pub patch: [usize; 3],
    /// Samples per step.
    pub batch: usize,
    /// Passes of a step.
    pub passes: usize,
    /// Device memory of the plan in bytes.
    pub device_bytes: u64,
    /// Cases of training, validation and test.
    pub cases: [usize; 3],
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
}

/// Result of a run.
#[derive(Debug)]
pub struct Summary {
    /// Best mean Dice on the validation cases, and its step.
    pub best: Option<(f64, u64)>,
    /// Scores of the test cases with the best model; `None` without test cases.
    pub test: Option<Evaluation>,
    /// Fingerprint of the parameters after the last step.
    pub weights: String,
    /// Fingerprint of the kept model.
    pub model: String,
    /// Share of the time of this process's steps that they waited for their batches, from 0 to 1.
    pub waited_share: f64,
    /// Seconds of that share.
    pub waited_seconds: f64,
    /// What is unusual about the files of the data set.
    pub warnings: Warnings,
}

/// A run folder in use.
struct Run<'a, P: Progress> {
    settings: &'a RunSettings,
    progress: &'a mut P,
    trainer: Trainer,
    predictor: Predictor,
    validation: Validation,
    /// Memory for prepared volumes of training and validation together.
    cache: CacheBudget,
    /// Where those are that memory has no room for.
    disk: DiskCache,
    waits: waits::Waits,
    network: Network,
    preprocessing: Preprocessing,
    log: Log,
    /// Progress of the run; what the newest validations predicted is in `health`.
    position: Position,
    /// Present until its step has been profiled.
    profiler: Option<StepProfiler>,
    origin: Origin,
    /// Step of the newest checkpoint.
    saved: Option<u64>,
    /// The best model, while it could not be written.
    unwritten: Option<Model>,
    health: Health,
    /// Training cases, and how they are prepared.
    training: Vec<Case>,
    preparation: Preparation,
    /// What is unusual about the files of the data set.
    warnings: Warnings,
}

/// Trains, validates, keeps the best model and predicts the test cases with it.
///
/// # Errors
/// [`TrainError`] that names the file, key or shape; what was written before is kept.
pub fn train<P: Progress>(gpu: &Arc<Gpu>, settings: &RunSettings, progress: &mut P) -> Result<Summary, TrainError> {
    train_after(gpu, settings, progress, None)
}

/// Like [`train`], after the loss of a device for the reason `lost`.
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
    let evaluation = run.test(&test)?;
    let [weights, model] = run.finish()?;
    run.report(gpu, evaluation.as_ref(), &test)?;
    run.methods(gpu, evaluation.as_ref())?;
    run.remove_cache();
    let (waited_share, waited_seconds) = run.waits.of_all();
    let best = run.position.best;
    Ok(Summary { best, test: evaluation, weights, model, waited_share, waited_seconds, warnings: run.warnings })
}
