//! The start of a run: data, device, network, and the state to start or resume from.

use super::initial::initial_parameters;
use super::{Progress, Run, RunSettings, Started};
use crate::data::{Case, Classes, Dataset, Examined};
use crate::gpu::Gpu;
use crate::infer::{Predictor, Preprocessing};
use crate::profile::Roofline;
use crate::train::checkpoint::{self, Checkpoint, Origin, Position};
use crate::train::folder::{choose_split, prepare, store_config};
use crate::train::health::Health;
use crate::train::kernels::choose_kernels;
use crate::train::lock::RunLock;
use crate::train::log::{Board, Log};
use crate::train::profiler::StepProfiler;
use crate::train::{Config, Event, TrainError, Trainer, Validation, check_budget, choose_patch};
use std::sync::Arc;

impl<'a, P: Progress> Run<'a, P> {
    /// Prepares everything before the first step. Returns the lock to hold during the run, the run, and its test cases.
    pub(super) fn start(
        gpu: &Arc<Gpu>,
        settings: &'a RunSettings,
        progress: &'a mut P,
    ) -> Result<(RunLock, Self, Vec<Case>), TrainError> {
        let (dataset, Examined { classes, channels, warnings, .. }) =
            Dataset::open_checked(&settings.data, settings.config.dataset_options()?)?;
        warnings.notices().iter().for_each(|notice| progress.warning(notice));
        settings.config.check_channels(channels)?;
        let network = settings.config.network_of(channels, &classes)?;
        settings.config.trainer_settings().frozen(&network)?;
        let classes = network.classes;
        let (lock, unlocked) = prepare(settings)?;
        unlocked.iter().for_each(|text| progress.note(text));
        let split = choose_split(settings, &dataset)?;
        split.store(&settings.out.join("split.json"))?;
        let [training, validation, test] = [&split.train, &split.validation, &split.test].map(|n| dataset.select(n));
        let loaded = settings.resume.then(|| load(settings, progress)).transpose()?;
        let patch = match &loaded {
            Some(loaded) => loaded.state.patch,
            None => choose_patch(&settings.config, &training, network.divisor())?,
        };
        let config = settings.config.resolved(patch, channels, dataset.classes.as_ref(), &training)?;
        // Before the training takes the device's memory.
        let roofline = settings.profile.then(|| Roofline::measure(gpu)).transpose()?;
        let gpu = &choose_kernels(gpu, settings, &network, patch, progress)?;
        let (trainer_settings, [x, y, z]) = (settings.config.trainer_settings(), patch);
        check_budget(gpu, &network, &trainer_settings, [z, y, x])?;
        let mut trainer = Trainer::new(gpu, &network, &trainer_settings, [z, y, x])?;
        let origin = Origin::new(&trainer, &config);
        let position = loaded.as_ref().map_or_else(|| Position::start(patch), Checkpoint::position);
        let mut initialised = None;
        match &loaded {
            Some(loaded) => {
                loaded.check(&network)?;
                resume(loaded, &mut trainer, &origin, progress)?;
            }
            None => {
                let (parameters, origin_of_them) = initial_parameters(settings, &network, &trainer, progress)?;
                trainer.set_parameters(&parameters);
                initialised = origin_of_them;
                // Before the configuration, with which the folder becomes a run to resume.
                let start = Checkpoint::of(&trainer, &origin, position)?;
                checkpoint::write(&settings.out, &start, config.training.keep_checkpoints)?;
            }
        }
        store_config(settings, &config)?;
        let profiler =
            roofline.map(|roofline| StepProfiler::new(roofline, trainer.step_count(), settings.config.training.steps));
        let log = Log::open(&settings.out.join("log.jsonl"), trainer.step_count(), position.restorations.count)?;
        let preparation = config.preparation(patch, channels, classes);
        let (cache, disk) = (config.cache_budget(), config.data.cache_dir.of_run(&settings.out));
        let cases = [training.len(), split.validation.len(), test.len()];
        let mut run = Self {
            settings,
            progress,
            predictor: Predictor::sharing(trainer.executor(), trainer.best_arena(), &network, patch)?,
            validation: Validation::with_disk(&validation, &preparation, &cache, &disk),
            cache,
            disk,
            waits: Default::default(),
            preprocessing: Preprocessing::new(
                &preparation,
                dataset.classes.as_ref().map(Classes::names).unwrap_or_default(),
            )
            .with_channels_of(&dataset, channels),
            position,
            saved: Some(trainer.step_count()),
            trainer,
            network,
            log,
            profiler,
            origin,
            unwritten: None,
            health: Health::new(&settings.config.health, position.predictions),
            training,
            preparation,
            warnings,
        };
        run.open_board(&config);
        run.announce(gpu, cases);
        if let Some(with) = initialised {
            run.log.write(&Event::Initialised { step: 0, with });
        }
        Ok((lock, run, test))
    }

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
        for notice in self.warnings.notices() {
            self.log.write(&Event::Warning { step: self.trainer.step_count(), notice: notice.clone() });
        }
        self.progress.started(&Started {
            network: &self.network,
            patch: self.position.patch,
            batch: self.settings.config.training.batch,
            passes: self.trainer.passes(),
            device_bytes,
            cases,
            step: self.trainer.step_count(),
            steps: self.settings.config.training.steps,
        });
    }
}

/// The newest intact checkpoint. Damaged ones are renamed, with a note.
fn load<P: Progress>(settings: &RunSettings, progress: &mut P) -> Result<Checkpoint, TrainError> {
    let found = checkpoint::newest(&settings.out)?;
    let step = found.checkpoint.state.step;
    for rejected in &found.rejected {
        let (path, reason) = (&rejected.path, &rejected.reason);
        progress.note(&format!("{}: {reason}; going on from the one before, step {step}", path.display()));
    }
    checkpoint::set_aside(&found.rejected)?;
    Ok(found.checkpoint)
}

/// Goes on from a checkpoint, and notes what may change the bits of the weights.
fn resume<P: Progress>(
    loaded: &Checkpoint,
    trainer: &mut Trainer,
    origin: &Origin,
    progress: &mut P,
) -> Result<(), TrainError> {
    loaded.restore(trainer)?;
    let differences = loaded.state.origin.differences(origin);
    if !differences.is_empty() {
        let text = differences.join(", ");
        progress.note(&format!("not as in the checkpoint: {text}; the weights may differ in their last bits"));
    }
    Ok(())
}
