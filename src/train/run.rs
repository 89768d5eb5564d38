//! A training from a data set to a run folder.

use super::checkpoint::{self, State};
use super::history::History;
use super::profiler::StepProfiler;
use super::validation::{class_means, mean};
use super::{Config, Event, Log, StepResult, TrainError, Trainer, Validation, choose_patch};
use crate::data::io::output_name;
use crate::data::{Batch, Case, Dataset, Loader, Split};
use crate::evaluate::{EvaluateError, evaluate_folders};
use crate::gpu::Gpu;
use crate::infer::{Predictor, Preprocessing, SegmentOptions, segment_file};
use crate::metrics::{Evaluation, Region};
use crate::nn::model::initial_arena;
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
}

/// Trains, validates, keeps the best model and predicts the test cases with it.
///
/// # Errors
/// [`TrainError`] that names the file, key or shape; what was written before is kept.
pub fn train<P: Progress>(gpu: &Arc<Gpu>, settings: &RunSettings, progress: &mut P) -> Result<Summary, TrainError> {
    let dataset = Dataset::open(&settings.data)?;
    let classes = dataset.check(None)?.max(2);
    let network = settings.config.network(classes);
    network.validate().map_err(super::ConfigError::from)?;
    if settings.config.kernels != gpu.target().algorithms {
        let (expected, found) = (settings.config.kernels, gpu.target().algorithms);
        let reason = format!("key kernels is {expected}, but the device was opened for {found}");
        return Err(TrainError::RunFolder { path: settings.out.clone(), reason });
    }
    prepare_folder(settings)?;
    let split = choose_split(settings, &dataset)?;
    let [training, validation, test] = [&split.train, &split.validation, &split.test].map(|n| dataset.select(n));
    let loaded = settings.resume.then(|| checkpoint::read(&settings.out)).transpose()?;
    let patch = match &loaded {
        Some(loaded) => loaded.state.patch,
        None => choose_patch(&settings.config, &training, network.divisor())?,
    };
    let mut config = settings.config.clone();
    config.data.patch = Patch::Fixed(patch);
    config.data.resolve(&training)?;
    store_config(settings, &config)?;
    // Measured first, while the device has memory to spare.
    let roof = settings.profile.then(|| Roof::measure(gpu)).transpose()?;
    let [x, y, z] = patch;
    let mut trainer = Trainer::new(gpu, &network, &settings.config, [z, y, x])?;
    let mut best = None;
    match &loaded {
        Some(loaded) => {
            loaded.restore(&mut trainer)?;
            best = loaded.state.best;
        }
        None => trainer.set_parameters(&initial_parameters(settings, &network, &trainer)?),
    }
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
    let first = trainer.step_count() * config.training.batch as u64;
    let loader =
        Loader::start(training.clone(), preparation, config.loader_settings(patch, trainer.pass_batch(), first))?;
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
    };
    run.announce(gpu, cases)?;
    run.steps(loader)?;
    let test = run.test(gpu, &test)?;
    run.report(gpu, test.as_ref())?;
    Ok(Summary { best: run.best, test })
}

impl<P: Progress> Run<'_, P> {
    fn announce(&mut self, gpu: &Gpu, cases: [usize; 3]) -> Result<(), TrainError> {
        let device_bytes = self.trainer.executor().plan().memory.total();
        self.log.write(&Event::Start {
            step: self.trainer.step_count(),
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("VNET_ENGINE_COMMIT"),
            adapter: gpu.description().name.clone(),
            driver: gpu.description().driver.clone(),
            device_bytes,
        })?;
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
        Ok(())
    }

    fn steps(&mut self, mut loader: Loader) -> Result<(), TrainError> {
        let training = &self.settings.config.training;
        let (steps, passes) = (training.steps, self.trainer.passes());
        let due = |every: u64, step: u64| step == steps || (every > 0 && step.is_multiple_of(every));
        let mut waited = Duration::ZERO;
        while self.trainer.step_count() < steps {
            let learning_rate = self.settings.config.learning_rate(self.trainer.step_count());
            let before = Instant::now();
            let batches = (0..passes).map(|_| loader.next()).collect::<Result<Vec<Batch>, _>>()?;
            waited += before.elapsed();
            let results = match self.profiler.take_if(|p| p.due(self.trainer.step_count())) {
                Some(profiler) => self.profile(&profiler, &batches, learning_rate)?,
                None => self.trainer.step(&batches, learning_rate)?,
            };
            self.record(results)?;
            let step = self.trainer.step_count();
            let (validate, keep) = (due(training.validate_every, step), due(training.checkpoint_every, step));
            if validate || keep {
                let seconds = std::mem::take(&mut waited).as_secs_f64();
                self.log.write(&Event::Loader { step, waited_seconds: seconds })?;
                let results = self.trainer.finish()?;
                self.record(results)?;
            }
            if validate {
                self.validate(step)?;
            }
            if keep {
                self.checkpoint(step)?;
            }
        }
        Ok(())
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

    fn record(&mut self, results: Vec<StepResult>) -> Result<(), TrainError> {
        for result in results {
            self.history.step(&result);
            self.progress.step(&result);
            if result.gradient_norm.is_finite() && result.loss.is_finite() {
                self.log.write(&Event::Step {
                    step: result.step,
                    loss: result.loss,
                    learning_rate: result.learning_rate,
                    gradient_norm: result.gradient_norm,
                    cases: result.cases,
                })?;
            } else {
                let text = format!("step {}: the gradient is not finite; the step had no effect", result.step);
                self.progress.note(&text);
                self.log.write(&Event::Skipped { step: result.step, loss: result.loss.to_string() })?;
            }
        }
        Ok(())
    }

    /// Predicts the validation cases, draws one of them, and keeps the model when it is the best so far. Without
    /// validation cases the latest model is kept.
    fn validate(&mut self, step: u64) -> Result<(), TrainError> {
        if self.validation.is_empty() {
            return self.keep_model();
        }
        let overlays = self.settings.out.join("overlays");
        let names = self.preprocessing.foreground_names(self.network.classes);
        let mut drawn = Ok(());
        let scores = self.validation.run(&self.predictor, |case, score, labels| {
            if case == 0 {
                let prepared = self.validation.prepared(case);
                drawn = write_overlay(
                    &overlays.join(format!("step_{step:06}_{}.png", score.case)),
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
        })?;
        drawn?;
        let dice = class_means(&scores);
        let mean_dice = mean(scores.iter().flat_map(|s| s.dice.iter().flatten().copied()));
        let best = mean_dice.is_some_and(|d| self.best.is_none_or(|(b, _)| d > b));
        self.log.write(&Event::Validation { step, dice: dice.clone(), mean_dice, best })?;
        self.history.validation(step, &dice);
        self.progress.validated(step, &dice, mean_dice, best);
        if scores.iter().all(|s| s.constant) && step > 1 {
            let advice = "start again with a lower learning rate, a smaller network.head_gain or another seed";
            self.log.write(&Event::Collapsed { step, advice })?;
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
        Ok(write_curves(&self.settings.out.join("curves.png"), &self.history.curves(names))?)
    }

    fn model_path(&self) -> PathBuf {
        self.settings.out.join("model.safetensors")
    }

    fn keep_model(&self) -> Result<(), TrainError> {
        let preprocessing = serde_json::to_value(&self.preprocessing).expect("preprocessing is always JSON");
        let (graph, layout) = (&self.trainer.training().graph, self.trainer.layout());
        let model = Model::from_arena(graph, layout, &self.trainer.parameters()?, &self.network, Some(preprocessing));
        Ok(model.write(&self.model_path())?)
    }

    fn checkpoint(&mut self, step: u64) -> Result<(), TrainError> {
        let state = State { format: 1, step, best: self.best, patch: self.preprocessing.patch };
        checkpoint::write(&self.settings.out, &self.trainer, &state)
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
            let output = predictions.join(output_name(&case.image));
            segment_file(&predictor, &preparation, &case.image, &output, SegmentOptions::default(), || ())?;
        }
        let labels = cases[0].label.parent().unwrap_or(Path::new("."));
        let names = self.preprocessing.foreground_names(self.network.classes);
        let evaluation =
            evaluate_folders(&predictions, labels, Some(&names), &[Region::Whole]).map_err(|e| match e {
                EvaluateError::Data(e) => TrainError::Data(e),
                EvaluateError::Metric { source, .. } => TrainError::Metric(source),
                e @ EvaluateError::NoLabel { .. } => {
                    TrainError::RunFolder { path: predictions.clone(), reason: e.to_string() }
                }
            })?;
        evaluation.write_csv(&folder.join("scores.csv"))?;
        evaluation.write_json(&folder.join("scores.json"))?;
        self.log.write(&Event::Test { mean_dice: crate::evaluate::mean_dice(&evaluation) })?;
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

fn create(folder: &Path) -> Result<(), TrainError> {
    std::fs::create_dir_all(folder).map_err(|source| TrainError::Io {
        path: folder.to_owned(),
        action: "create the folder",
        source,
    })
}

/// Creates the run folder; one that holds a run already is only taken to resume it.
fn prepare_folder(settings: &RunSettings) -> Result<(), TrainError> {
    let used = ["config.toml", "log.jsonl", "model.safetensors"].iter().any(|f| settings.out.join(f).exists());
    if used && !settings.resume {
        let reason = "holds a run already; give another --out, or --resume to go on with it".to_owned();
        return Err(TrainError::RunFolder { path: settings.out.clone(), reason });
    }
    for folder in ["checkpoint", "overlays"] {
        create(&settings.out.join(folder))?;
    }
    Ok(())
}

/// The run's split: the stored one on resuming, else the data set's, else made from the seed; then stored.
fn choose_split(settings: &RunSettings, dataset: &Dataset) -> Result<Split, TrainError> {
    let names = dataset.names();
    let stored = settings.out.join("split.json");
    if settings.resume && stored.exists() {
        return Ok(Split::load(&stored, &names, None)?);
    }
    let given = settings.data.join("split.json");
    let seed = settings.config.seed;
    let split = match settings.fold {
        _ if given.exists() => Split::load(&given, &names, settings.fold.map(|(i, _)| i))?,
        Some((i, k)) => Split::fold(&names, seed, i, k)?,
        None => Split::from_seed(&names, seed, settings.config.data.split)?,
    };
    split.store(&stored)?;
    Ok(split)
}

/// Stores the effective configuration, with what was chosen from the data.
fn store_config(settings: &RunSettings, config: &Config) -> Result<(), TrainError> {
    let path = settings.out.join("config.toml");
    std::fs::write(&path, config.to_toml()).map_err(|source| TrainError::Io { path, action: "write", source })
}

fn initial_parameters(settings: &RunSettings, network: &Network, trainer: &Trainer) -> Result<Vec<f32>, TrainError> {
    let (graph, layout) = (&trainer.training().graph, trainer.layout());
    let Some(path) = &settings.init else {
        return Ok(initial_arena(graph, layout, settings.config.seed, settings.config.network.head_gain));
    };
    let model = Model::read(path)?;
    if model.network != *network {
        let reason = format!("holds {:?}, but this training is of {network:?}", model.network);
        return Err(TrainError::RunFolder { path: path.clone(), reason });
    }
    Ok(model.to_arena(graph, layout))
}
