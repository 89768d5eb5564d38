//! A training from a data set to a run folder.

mod recover;

pub use recover::train_on;

use super::board::Board;
use super::checkpoint::{self, Checkpoint, Origin, Position};
use super::folder::{choose_split, create, prepare, store_config};
use super::health::{Health, Reaction, Restorations, Trouble};
use super::history::History;
use super::profiler::StepProfiler;
use super::validation::{class_means, mean};
use super::{Config, Event, Log, StepResult, TrainError, Trainer, Validation, check_budget, choose_patch};
use crate::data::io::output_name;
use crate::data::{Batch, Case, Dataset, Loader, Preparation};
use crate::evaluate::{EvaluateError, evaluate_folders};
use crate::gpu::Gpu;
use crate::infer::{Predictor, Preprocessing, SegmentOptions, segment_file};
use crate::metrics::{Evaluation, Region};
use crate::nn::model::{fingerprint, initial_arena, tensors_from_arena};
use crate::nn::{Model, Network};
use crate::profile::Roof;
use crate::report::{OverlayCase, write_curves, write_overlay};
use crate::train::data_config::Patch;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a person asks of `train`.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// The data set.
    pub data: PathBuf,
    /// The run folder.
    pub out: PathBuf,
    /// The configuration; on resuming, that of the run folder.
    pub config: Config,
    /// Go on from the run folder's checkpoint.
    pub resume: bool,
    /// Fold `i` of `k` instead of the shares of the configuration.
    pub fold: Option<(usize, usize)>,
    /// Parameters to start from.
    pub init: Option<PathBuf>,
    /// Time every dispatch of one step, and write `profile.json` and `profile.txt`.
    pub profile: bool,
}

/// What a training tells while it runs.
pub trait Progress {
    /// Once, before the first step: the network, the input's extents x, y, z, device memory in bytes, and the steps.
    fn started(&mut self, run: &Started<'_>);
    /// The result of a step; results come a few steps late.
    fn step(&mut self, result: &StepResult);
    /// The validation cases were predicted.
    fn validated(&mut self, step: u64, dice: &[Option<f64>], mean_dice: Option<f64>, best: bool);
    /// Something that a person should know.
    fn note(&mut self, text: &str);
    /// Asked between steps and between cases: the number of a signal that asks the training to write a checkpoint and
    /// end.
    fn stop(&self) -> Option<i32> {
        None
    }
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
    /// Fingerprint of the parameters behind the last step.
    pub weights: String,
    /// Fingerprint of the kept model.
    pub model: String,
}

/// A run folder in use.
struct Run<'a, P: Progress> {
    settings: &'a RunSettings,
    progress: &'a mut P,
    trainer: Trainer,
    predictor: Predictor,
    validation: Validation,
    network: Network,
    preprocessing: Preprocessing,
    log: Log,
    history: History,
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
}

/// Trains, validates, keeps the best model and predicts the test cases with it.
///
/// # Errors
/// [`TrainError`] that names the file, key or shape; what was written before is kept.
pub fn train<P: Progress>(gpu: &Arc<Gpu>, settings: &RunSettings, progress: &mut P) -> Result<Summary, TrainError> {
    train_behind(gpu, settings, progress, None)
}

/// Like [`train`]; `lost` is why the device before this one is gone.
fn train_behind<P: Progress>(
    gpu: &Arc<Gpu>,
    settings: &RunSettings,
    progress: &mut P,
    lost: Option<String>,
) -> Result<Summary, TrainError> {
    let (dataset, classes) = Dataset::open_checked(&settings.data, None)?;
    let network = settings.config.network(classes);
    network.validate().map_err(super::ConfigError::from)?;
    if settings.config.kernels != gpu.target().algorithms {
        let (expected, found) = (settings.config.kernels, gpu.target().algorithms);
        let reason = format!("key kernels is {expected}, but the device was opened for {found}");
        return Err(TrainError::RunFolder { path: settings.out.clone(), reason });
    }
    let (_lock, unlocked) = prepare(settings)?;
    unlocked.iter().for_each(|text| progress.note(text));
    let split = choose_split(settings, &dataset)?;
    split.store(&settings.out.join("split.json"))?;
    let [training, validation, test] = [&split.train, &split.validation, &split.test].map(|n| dataset.select(n));
    let loaded = settings.resume.then(|| load(settings, progress)).transpose()?;
    let patch = match &loaded {
        Some(loaded) => loaded.state.patch,
        None => choose_patch(&settings.config, &training, network.divisor())?,
    };
    let mut config = settings.config.clone();
    config.data.patch = Patch::Fixed(patch);
    config.data.resolve(&training)?;
    // Measured first, while the device has memory to spare.
    let roof = settings.profile.then(|| Roof::measure(gpu)).transpose()?;
    let [x, y, z] = patch;
    check_budget(gpu, &network, &settings.config, [z, y, x])?;
    let mut trainer = Trainer::new(gpu, &network, &settings.config, [z, y, x])?;
    let origin = Origin::new(&trainer, &config);
    match &loaded {
        Some(loaded) => {
            loaded.restore(&mut trainer)?;
            let differences = loaded.state.origin.differences(&origin);
            if !differences.is_empty() {
                let text = differences.join(", ");
                progress.note(&format!("not as in the checkpoint, so the bits may not be: {text}"));
            }
        }
        None => trainer.set_parameters(&initial_parameters(settings, &network, &trainer)?),
    }
    let best = loaded.as_ref().and_then(|l| l.state.best);
    let sample = loaded.as_ref().map_or(0, |l| l.state.sample);
    let validated = loaded.as_ref().is_none_or(|l| l.state.validated);
    let restorations = loaded.as_ref().map_or_else(Restorations::default, |l| l.state.restorations);
    if loaded.is_none() {
        // The folder becomes a run to resume by its configuration, so that a run can be resumed from its start on.
        let position = Position { validated, best, patch, sample, restorations };
        let start = Checkpoint::of(&trainer, &origin, position)?;
        checkpoint::write(&settings.out, &start, config.training.keep_checkpoints)?;
    }
    store_config(settings, &config)?;
    let saved = Some(trainer.step_count());
    let profiler = roof.map(|roof| StepProfiler::new(roof, trainer.step_count(), settings.config.training.steps));
    let (log, history) = History::open(&settings.out.join("log.jsonl"), trainer.step_count())?;
    let preparation = config.preparation(patch, classes);
    let predictor = Predictor::sharing(trainer.executor(), &network, patch)?;
    let preprocessing = Preprocessing {
        normalisation: preparation.normalisation,
        intensities: preparation.intensities,
        spacing: preparation.spacing,
        interpolation: preparation.interpolation,
        patch,
        canonical: preparation.canonical,
        class_names: dataset.class_names.clone(),
    };
    let validation = Validation::new(&validation, &preparation)?;
    let cases = [training.len(), split.validation.len(), test.len()];
    let mut run = Run {
        settings,
        progress,
        trainer,
        predictor,
        validation,
        network,
        preprocessing,
        log,
        history,
        best,
        profiler,
        origin,
        validated,
        saved,
        unwritten: None,
        sample,
        health: Health::new(&settings.config.health),
        restorations,
        training,
        preparation,
    };
    run.open_board(&config);
    run.announce(gpu, cases);
    if let Some(reason) = lost {
        run.log.write(&Event::DeviceLost { step: run.trainer.step_count(), reason });
    }
    run.healthy_steps()?;
    let test = run.test(gpu, &test)?;
    let [weights, model] = run.finish()?;
    run.report(gpu, test.as_ref())?;
    Ok(Summary { best: run.best, test, weights, model })
}

/// The newest checkpoint that is whole; damaged ones are told of and set aside.
fn load<P: Progress>(settings: &RunSettings, progress: &mut P) -> Result<Checkpoint, TrainError> {
    let found = checkpoint::newest(&settings.out)?;
    let step = found.checkpoint.state.step;
    for (path, reason) in &found.rejected {
        progress.note(&format!("{}: {reason}; going on from the one before, step {step}", path.display()));
    }
    checkpoint::set_aside(&found.rejected)?;
    Ok(found.checkpoint)
}

impl<P: Progress> Run<'_, P> {
    /// Opens an event file for TensorBoard, where that is wanted.
    fn open_board(&mut self, config: &Config) {
        if !config.training.tensorboard {
            return;
        }
        let names = self.preprocessing.foreground_names(self.network.classes);
        let board = Board::open(&self.settings.out, self.trainer.step_count(), config, names);
        let opened = board.map(|board| self.log.show_on(board));
        self.warn_unwritten(opened);
    }

    fn announce(&mut self, gpu: &Gpu, cases: [usize; 3]) {
        let device_bytes = self.trainer.executor().plan().memory.total();
        self.log.write(&Event::Start {
            step: self.trainer.step_count(),
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("VNET_ENGINE_COMMIT"),
            adapter: gpu.description().name.clone(),
            driver: gpu.description().driver.clone(),
            device_bytes,
        });
        self.progress.started(&Started {
            network: &self.network,
            patch: self.preprocessing.patch,
            batch: self.settings.config.training.batch,
            passes: self.trainer.passes(),
            device_bytes,
            cases,
            step: self.trainer.step_count(),
            steps: self.settings.config.training.steps,
        });
    }

    /// All steps, or those up to the first trouble; when a signal ends them before, the checkpoint is written first.
    fn steps_or_checkpoint(&mut self, loader: Loader) -> Result<Option<(Trouble, Reaction)>, TrainError> {
        let end = self.steps(loader);
        if matches!(end, Err(TrainError::Interrupted { .. })) && self.saved != Some(self.trainer.step_count()) {
            let results = self.trainer.finish()?;
            self.record(results);
            self.write_checkpoint()?;
        }
        end
    }

    fn steps(&mut self, mut loader: Loader) -> Result<Option<(Trouble, Reaction)>, TrainError> {
        let training = &self.settings.config.training;
        let (steps, passes, batch) = (training.steps, self.trainer.passes(), training.batch as u64);
        let due = |every: u64, step: u64| step == steps || (every > 0 && step.is_multiple_of(every));
        if !self.validated {
            let step = self.trainer.step_count();
            self.validate(step)?;
            self.checkpoint(step == steps)?;
        }
        let mut waited = Duration::ZERO;
        while self.trainer.step_count() < steps {
            self.go_on()?;
            let scheduled = self.settings.config.learning_rate(self.trainer.step_count());
            let learning_rate = scheduled * self.restorations.learning_rate;
            let before = Instant::now();
            let batches = (0..passes).map(|_| loader.next()).collect::<Result<Vec<Batch>, _>>()?;
            waited += before.elapsed();
            let results = match self.profiler.take_if(|p| p.due(self.trainer.step_count())) {
                Some(profiler) => self.profile(&profiler, &batches, learning_rate)?,
                None => self.trainer.step(&batches, learning_rate)?,
            };
            self.sample += batch;
            self.record(results);
            let step = self.trainer.step_count();
            let (validate, keep) = (due(training.validate_every, step), due(training.checkpoint_every, step));
            self.validated = !validate;
            if validate || keep {
                let results = self.trainer.finish()?;
                self.record(results);
                let waited_seconds = std::mem::take(&mut waited).as_secs_f64();
                self.log.write(&Event::Loader { step, waited_seconds });
            }
            if validate {
                self.validate(step)?;
            }
            if keep {
                self.checkpoint(step == steps)?;
            }
            let trouble = self.health.trouble();
            if trouble.is_some() {
                return Ok(trouble);
            }
        }
        Ok(None)
    }

    /// An error when a signal has asked the training to stop.
    fn go_on(&self) -> Result<(), TrainError> {
        let step = self.trainer.step_count();
        match self.progress.stop() {
            Some(signal) => Err(TrainError::Interrupted { path: self.settings.out.clone(), signal, step }),
            None => Ok(()),
        }
    }

    /// Tells of a file that could not be written, as on a full disk. What was there before is there still.
    fn warn_unwritten(&mut self, result: Result<(), TrainError>) {
        if let Err(error) = result {
            let step = self.trainer.step_count();
            self.progress.note(&format!("step {step}: {error}; the training goes on and tries again when it is due"));
            self.log.write(&Event::Unwritten { step, reason: error.to_string() });
        }
    }

    fn profile(
        &mut self,
        profiler: &StepProfiler,
        batches: &[Batch],
        learning_rate: f64,
    ) -> Result<Vec<StepResult>, TrainError> {
        // The device is idle before, so that nothing else is in the times.
        let mut results = self.trainer.finish()?;
        let (newer, timings) = self.trainer.profile_step(batches, learning_rate)?;
        results.extend(newer);
        profiler.write(&self.settings.out, self.trainer.executor(), self.trainer.step_count(), &timings)?;
        self.progress.note(&format!("step {} is profiled in profile.json and profile.txt", self.trainer.step_count()));
        Ok(results)
    }

    fn record(&mut self, results: Vec<StepResult>) {
        for result in results {
            self.history.step(&result);
            self.progress.step(&result);
            let finite = result.gradient_norm.is_finite() && result.loss.is_finite();
            self.health.step(finite);
            if finite {
                self.log.write(&Event::Step {
                    step: result.step,
                    loss: result.loss,
                    learning_rate: result.learning_rate,
                    gradient_norm: result.gradient_norm,
                    cases: result.cases,
                });
            } else {
                let text = format!("step {}: the gradient is not finite; the step had no effect", result.step);
                self.progress.note(&text);
                self.log.write(&Event::Skipped { step: result.step, loss: result.loss.to_string() });
            }
        }
    }

    /// Predicts the validation cases, draws one of them, and keeps the model when it is the best so far. Without
    /// validation cases the latest model is kept.
    fn validate(&mut self, step: u64) -> Result<(), TrainError> {
        if self.validation.is_empty() {
            self.keep_model()?;
            self.validated = true;
            return Ok(());
        }
        let overlays = self.settings.out.join("overlays");
        let names = self.preprocessing.foreground_names(self.network.classes);
        let mut drawn = Ok(());
        let scores = self.validation.run(&self.predictor, |case, score, labels| {
            if case == 0 {
                let prepared = self.validation.prepared(case);
                drawn = write_overlay(
                    &overlays.join(overlay_name(step, &score.case)),
                    &OverlayCase {
                        title: &format!("{} after {step} steps", score.case),
                        image: &prepared.image,
                        reference: prepared.label.as_deref(),
                        prediction: labels,
                        extents: prepared.geometry.grid.extents,
                        spacing: prepared.geometry.grid.spacing,
                        class_names: &names,
                    },
                );
            }
            self.go_on()
        })?;
        let drawn = drawn.map_err(TrainError::from).and_then(|()| self.show_overlay(step, &scores[0].case));
        self.warn_unwritten(drawn);
        let dice = class_means(&scores);
        let mean_dice = mean(scores.iter().flat_map(|s| s.dice.iter().flatten().copied()));
        let best = mean_dice.is_some_and(|d| self.best.is_none_or(|(b, _)| d > b));
        self.log.write(&Event::Validation { step, dice: dice.clone(), mean_dice, best });
        self.history.validation(step, &dice);
        self.progress.validated(step, &dice, mean_dice, best);
        let constant = scores.iter().all(|s| s.constant);
        self.health.validation(step, constant);
        if constant && step > 1 {
            let advice = "start again with a lower learning rate, a smaller network.head_gain or another seed";
            self.log.write(&Event::Collapsed { step, advice });
            self.progress.note(&format!(
                "step {step}: every validation case is predicted as one class; if this lasts, {advice}"
            ));
        }
        if best {
            self.best = mean_dice.map(|d| (d, step));
        }
        if best || !self.model_path().exists() {
            self.keep_model()?;
        }
        self.validated = true;
        let curves = write_curves(&self.settings.out.join("curves.png"), &self.history.curves(names));
        self.warn_unwritten(curves.map_err(TrainError::from));
        Ok(())
    }

    /// Shows a case's picture in TensorBoard.
    fn show_overlay(&mut self, step: u64, case: &str) -> Result<(), TrainError> {
        let path = self.settings.out.join("overlays").join(overlay_name(step, case));
        self.log.board().map_or(Ok(()), |board| board.overlay(step, case, &path))
    }

    fn model_path(&self) -> PathBuf {
        self.settings.out.join("model.safetensors")
    }

    /// Keeps the model as it is now; where it cannot be written, in memory until it can.
    fn keep_model(&mut self) -> Result<(), TrainError> {
        let preprocessing = serde_json::to_value(&self.preprocessing).expect("preprocessing is always JSON");
        let (graph, layout) = (&self.trainer.training().graph, self.trainer.layout());
        let parameters = self.trainer.parameters()?;
        let model = Model::from_arena(graph, layout, &parameters, &self.network, Some(preprocessing));
        let finite = parameters.iter().all(|p| p.is_finite());
        self.health.parameters(finite);
        if !finite {
            return Ok(());
        }
        self.unwritten = Some(model);
        let written = self.write_model();
        self.warn_unwritten(written);
        Ok(())
    }

    fn write_model(&mut self) -> Result<(), TrainError> {
        if let Some(model) = &self.unwritten {
            model.write(&self.model_path())?;
            self.unwritten = None;
        }
        Ok(())
    }

    /// Writes a checkpoint; a failure is an error only of the last one.
    fn checkpoint(&mut self, last: bool) -> Result<(), TrainError> {
        match self.write_checkpoint() {
            Err(error) if !last && !matches!(error, TrainError::Gpu(_)) => self.warn_unwritten(Err(error)),
            result => return result,
        }
        Ok(())
    }

    /// Writes model and log first: a run that goes on from a checkpoint finds both as they were. A state that is not worth
    /// going back to is not written.
    fn write_checkpoint(&mut self) -> Result<(), TrainError> {
        self.write_model()?;
        self.log.flush()?;
        let shown = self.log.board().map_or(Ok(()), Board::flush);
        self.warn_unwritten(shown);
        let (validated, best, patch, sample) = (self.validated, self.best, self.preprocessing.patch, self.sample);
        let restorations = self.restorations;
        let position = Position { validated, best, patch, sample, restorations };
        let checkpoint = Checkpoint::of(&self.trainer, &self.origin, position)?;
        self.health.parameters(checkpoint.is_finite());
        if !self.health.is_well() {
            return Ok(());
        }
        checkpoint::write(&self.settings.out, &checkpoint, self.settings.config.training.keep_checkpoints)?;
        self.saved = Some(self.trainer.step_count());
        Ok(())
    }

    /// Logs the fingerprints of the last parameters and of the kept model, and returns them.
    fn finish(&mut self) -> Result<[String; 2], TrainError> {
        let tensors =
            tensors_from_arena(&self.trainer.training().graph, self.trainer.layout(), &self.trainer.parameters()?);
        let fingerprints = [fingerprint(&tensors), Model::read(&self.model_path())?.fingerprint()];
        let [weights, model] = fingerprints.clone();
        self.log.write(&Event::Finished { step: self.trainer.step_count(), weights, model });
        self.log.flush()?;
        Ok(fingerprints)
    }

    /// Predicts the test cases with the best model and scores them in `test/`.
    fn test(&mut self, gpu: &Arc<Gpu>, cases: &[Case]) -> Result<Option<Evaluation>, TrainError> {
        if cases.is_empty() {
            return Ok(None);
        }
        let folder = self.settings.out.join("test");
        let predictions = folder.join("predictions");
        create(&predictions)?;
        let model = Model::read(&self.model_path())?;
        let predictor = Predictor::new(gpu, &model, self.preprocessing.patch)?;
        let preparation = self.preprocessing.preparation(self.network.classes);
        for case in cases {
            self.go_on()?;
            let output = predictions.join(output_name(&case.image));
            segment_file(&predictor, &preparation, &case.image, &output, SegmentOptions::default(), |_, _| ())?;
        }
        let labels = cases[0].label.parent().unwrap_or(Path::new("."));
        let names = self.preprocessing.foreground_names(self.network.classes);
        let evaluation =
            evaluate_folders(&predictions, labels, Some(&names), &[Region::Whole]).map_err(|e| match e {
                EvaluateError::Data(e) => TrainError::Data(e),
                EvaluateError::Metric { source, .. } => TrainError::Metric(source),
                e => TrainError::RunFolder { path: predictions.clone(), reason: e.to_string() },
            })?;
        evaluation.write_csv(&folder.join("scores.csv"))?;
        evaluation.write_json(&folder.join("scores.json"))?;
        let mean_dice = crate::evaluate::mean_dice(&evaluation);
        self.log.write(&Event::Test { mean_dice });
        if let (Some(board), Some(dice)) = (self.log.board(), mean_dice) {
            board.test(self.trainer.step_count(), dice);
        }
        Ok(Some(evaluation))
    }

    /// `report.html`: configuration, curves, the last overlay and the test scores in one file.
    fn report(&self, gpu: &Gpu, evaluation: Option<&Evaluation>) -> Result<(), TrainError> {
        let out = &self.settings.out;
        let mut facts = vec![
            (
                "Program".to_owned(),
                format!("vnet-engine {} ({})", env!("CARGO_PKG_VERSION"), env!("VNET_ENGINE_COMMIT")),
            ),
            ("Device".to_owned(), format!("{}, {}", gpu.description().name, gpu.description().driver)),
            ("Steps".to_owned(), self.trainer.step_count().to_string()),
            ("Patch".to_owned(), format!("{:?} voxels", self.preprocessing.patch)),
        ];
        facts.extend(self.settings.config.facts());
        let mut overlays: Vec<PathBuf> = std::fs::read_dir(out.join("overlays"))
            .map_err(|source| TrainError::Io { path: out.join("overlays"), action: "list", source })?
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .collect();
        overlays.sort();
        let mut images = Vec::new();
        if out.join("curves.png").exists() {
            images.push(("Loss, learning rate and validation Dice".to_owned(), out.join("curves.png")));
        }
        images.extend(overlays.pop().map(|last| ("First validation case after the last validation".to_owned(), last)));
        let report = crate::report::Report { title: "V-Net training", facts: &facts, images: &images, evaluation };
        Ok(crate::report::write_report(&out.join("report.html"), &report)?)
    }
}

fn overlay_name(step: u64, case: &str) -> String {
    format!("step_{step:06}_{case}.png")
}

fn initial_parameters(settings: &RunSettings, network: &Network, trainer: &Trainer) -> Result<Vec<f32>, TrainError> {
    let (graph, layout) = (&trainer.training().graph, trainer.layout());
    let Some(path) = &settings.init else {
        return Ok(initial_arena(graph, layout, settings.config.seed, settings.config.network.head_gain));
    };
    let model = initial_model(path, network)?;
    Ok(model.to_arena(graph, layout))
}

/// The model to start from, which must be of the network that is trained.
pub(super) fn initial_model(path: &Path, network: &Network) -> Result<Model, TrainError> {
    let model = Model::read(path)?;
    if model.network != *network {
        let reason = format!("holds {:?}, but this training is of {network:?}", model.network);
        return Err(TrainError::RunFolder { path: path.to_owned(), reason });
    }
    Ok(model)
}
