use super::fit::{Head, NORM_SCRATCH, fit};
use super::{TrainError, TrainerSettings};
use crate::augment::Augmenter;
use crate::data::{Batch, Sample};
use crate::exec::Executor;
use crate::gpu::{Gpu, GpuError, Readback};
use crate::infer::Preprocessing;
use crate::kernel::{Arena, Target};
use crate::nn::model::initial_arena;
use crate::nn::{Model, Network, TrainingGraph};
use crate::optim::{StepScalars, average_weight};
use crate::plan::{ArenaLayout, Plan, Window};
use crate::profile::ProgramTimings;
use crate::tensor::{ELEMENT_BYTES, ValueId};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Results that may be on their way to the host before a step waits for the oldest: enough to keep the device busy, few
/// enough that a failure is noticed soon.
const MOST_IN_FLIGHT: usize = 3;
/// From this time of a step on a single one is under way while the next is prepared: the device is busy all the same, and
/// an end that is asked for waits for two steps at most.
const LONG_STEP: Duration = Duration::from_millis(500);

/// What a batch may lack that augmentation needs.
const UNDESCRIBED: &str = "samples that are described for augmentation (a Loader describes them, Batch::of does not)";
const WITHOUT_INTENSITIES: &str = "samples with the intensities of their volume, which augmentation needs";
const WITHOUT_PARTNER: &str = "samples with the intensities of another volume, which histogram matching needs";

/// Program numbers of the plan.
const GRADIENTS: usize = 0;
const UPDATE: usize = 1;

/// The device's part of a training: gradients of batches and updates of the parameters.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # if vnet_engine::gpu::adapters().is_empty() && std::env::var_os("VNET_REQUIRE_GPU").is_none() {
/// #     println!("skipped: no GPU adapter");
/// #     return Ok(());
/// # }
/// use std::sync::Arc;
/// use vnet_engine::data::Batch;
/// use vnet_engine::gpu::{Gpu, GpuOptions};
/// use vnet_engine::nn::vnet::VNet;
/// use vnet_engine::nn::Network;
/// use vnet_engine::train::{Trainer, TrainerSettings};
///
/// let network = Network::new(1, 2, VNet { base: 2, encoder: vec![1, 1], decoder: vec![1] });
/// let gpu = Arc::new(Gpu::open(&GpuOptions::default())?);
/// let mut trainer = Trainer::new(&gpu, &network, &TrainerSettings::default(), [4, 6, 8])?;
/// trainer.initialise(0, 0.05);
/// let batch = Batch {
///     image: (0..192).map(|i| (i % 7) as f32 - 3.0).collect(),
///     label: (0..192).map(|i| u32::from(i % 7 > 3)).collect(),
///     ..Batch::default()
/// };
/// let mut results = Vec::new();
/// for _ in 0..30 {
///     results.extend(trainer.step(std::slice::from_ref(&batch), 1e-2)?); // those that have arrived
/// }
/// results.extend(trainer.finish()?);
/// assert!(results[29].loss < 0.8 * results[0].loss);
///
/// let error = trainer.step(&[Batch::default()], 1e-2).unwrap_err();
/// assert_eq!(error.to_string(), "a training step was given 0 voxels of the image, expected 192");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Trainer {
    training: TrainingGraph,
    augmenter: Option<Augmenter>,
    executor: Executor,
    settings: TrainerSettings,
    /// Samples of one pass.
    batch: usize,
    /// Passes of one step.
    passes: usize,
    step: u64,
    /// The passes since the last update.
    pending: Pending,
    in_flight: VecDeque<InFlight>,
    /// When the newest step was submitted.
    submitted: Option<Instant>,
}

/// Backward passes whose gradients are in the arena.
#[derive(Debug, Default)]
struct Pending {
    /// The loss of each.
    losses: Vec<Readback>,
    cases: Vec<String>,
}

#[derive(Debug)]
struct InFlight {
    step: u64,
    learning_rate: f64,
    passes: Pending,
    /// The norm of the gradient.
    norm: Readback,
}

/// What a step gave.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// Counted from 1.
    pub step: u64,
    /// Mean loss over the samples.
    pub loss: f64,
    /// Global norm of the gradient, before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Names of the samples' cases.
    pub cases: Vec<String>,
}

impl Trainer {
    /// Plans and allocates a training for inputs of `extents` `[D, H, W]`. Where the batch does not fit the device at
    /// once, the largest share of it that does is repeated and gradients are accumulated. Kernels are those that the device is
    /// asked for ([`Gpu::with_policy`]).
    ///
    /// # Errors
    /// [`TrainError`] when a setting is out of range, or not even a single sample fits.
    pub fn new(
        gpu: &Arc<Gpu>,
        network: &Network,
        settings: &TrainerSettings,
        extents: [usize; 3],
    ) -> Result<Self, TrainError> {
        Self::in_passes(gpu, network, settings, extents, gpu.target())
    }

    /// Like [`Trainer::new`] under the limits of `target`, which may be narrower than the device's: a smaller binding
    /// limit gives more and smaller passes.
    ///
    /// # Errors
    /// [`TrainError`] when a setting is out of range, or not even a single sample fits.
    pub fn in_passes(
        gpu: &Arc<Gpu>,
        network: &Network,
        settings: &TrainerSettings,
        extents: [usize; 3],
        target: &Target,
    ) -> Result<Self, TrainError> {
        let (Head { training, augmenter }, plan, passes) = fit(network, settings, extents, target)?;
        let executor = Executor::new(Arc::clone(gpu), plan)?;
        let (batch, settings) = (settings.batch / passes, settings.clone());
        let (pending, in_flight) = (Pending::default(), VecDeque::new());
        Ok(Self {
            training,
            augmenter,
            executor,
            settings,
            batch,
            passes,
            step: 0,
            pending,
            in_flight,
            submitted: None,
        })
    }

    /// The plan of a training, without a device: for `info` and for checks before anything is allocated.
    ///
    /// # Errors
    /// [`TrainError`] when a setting is out of range, or not even a single sample fits the target.
    pub fn plan_for(
        network: &Network,
        settings: &TrainerSettings,
        extents: [usize; 3],
        target: &Target,
    ) -> Result<(TrainingGraph, Plan, usize), TrainError> {
        fit(network, settings, extents, target).map(|(head, plan, passes)| (head.training, plan, passes))
    }

    /// The graph with loss and gradients.
    pub fn training(&self) -> &TrainingGraph {
        &self.training
    }

    /// The executor, whose parameters a [`crate::infer::Predictor`] can share.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Layout of the arenas.
    pub fn layout(&self) -> &ArenaLayout {
        &self.executor.plan().arena
    }

    /// Samples of one pass.
    pub fn pass_batch(&self) -> usize {
        self.batch
    }

    /// Passes of one step.
    pub fn passes(&self) -> usize {
        self.passes
    }

    /// Steps done.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// Sets the parameters to those of a new network ([`initial_arena`]).
    pub fn initialise(&mut self, seed: u64, head_gain: f32) {
        let arena = initial_arena(&self.training.graph, self.layout(), seed, head_gain);
        self.set_parameters(&arena);
    }

    /// The network with the parameters of an arena ([`Trainer::best_arena`], or [`Arena::Parameters`]). `network` is the one
    /// that is trained, `preprocessing` how volumes become its inputs.
    ///
    /// # Errors
    /// [`TrainError::Gpu`] when the device failed.
    pub fn model(&self, arena: Arena, network: &Network, preprocessing: &Preprocessing) -> Result<Model, TrainError> {
        let preprocessing = serde_json::to_value(preprocessing).expect("preprocessing is always JSON");
        let parameters = self.executor.read_arena(arena)?;
        Ok(Model::from_arena(&self.training.graph, self.layout(), &parameters, network, Some(preprocessing)))
    }

    /// Sets the parameters, and their average to the same.
    pub fn set_parameters(&mut self, arena: &[f32]) {
        self.executor.write_arena(Arena::Parameters, arena);
        self.set_average(arena);
    }

    /// Sets the moving average of the parameters, where there is one.
    pub fn set_average(&mut self, arena: &[f32]) {
        if self.settings.ema_decay.is_some() {
            self.executor.write_arena(Arena::Average, arena);
        }
    }

    /// The arena that predictions are made with: the moving average, where there is one, else the parameters.
    pub fn best_arena(&self) -> Arena {
        if self.settings.ema_decay.is_some() { Arena::Average } else { Arena::Parameters }
    }

    /// Reads the moving average of the parameters, where there is one.
    ///
    /// # Errors
    /// [`TrainError::Gpu`] when the device failed.
    pub fn average(&self) -> Result<Option<Vec<f32>>, TrainError> {
        Ok(self.settings.ema_decay.map(|_| self.executor.read_arena(Arena::Average)).transpose()?)
    }

    /// Reads the parameters.
    ///
    /// # Errors
    /// [`TrainError::Gpu`] when the device failed.
    pub fn parameters(&self) -> Result<Vec<f32>, TrainError> {
        Ok(self.executor.read_arena(Arena::Parameters)?)
    }

    /// First and second moments; the second is absent where the optimiser keeps one.
    ///
    /// # Errors
    /// [`TrainError::Gpu`] when the device failed.
    pub fn moments(&self) -> Result<(Vec<f32>, Option<Vec<f32>>), TrainError> {
        let second = self.has_second_moment().then(|| self.executor.read_arena(Arena::Moment2)).transpose()?;
        Ok((self.executor.read_arena(Arena::Moment1)?, second))
    }

    /// Puts the trainer into the state of a checkpoint; the average starts at the parameters ([`Trainer::set_average`]).
    pub fn restore(&mut self, step: u64, parameters: &[f32], moment1: &[f32], moment2: Option<&[f32]>) {
        self.step = step;
        self.pending = Pending::default();
        self.set_parameters(parameters);
        self.executor.write_arena(Arena::Moment1, moment1);
        if let Some(moment2) = moment2.filter(|_| self.has_second_moment()) {
            self.executor.write_arena(Arena::Moment2, moment2);
        }
    }

    /// Whether the optimiser has one.
    pub fn has_second_moment(&self) -> bool {
        self.settings.optimiser.optimiser.moments() == 2
    }

    /// One optimiser step on `passes` batches, [`Trainer::backward`] of each and then [`Trainer::update`]; returns results that
    /// have arrived, oldest first.
    ///
    /// # Errors
    /// [`TrainError::Batch`] when the batches are not those that [`Trainer::passes`] and [`Trainer::pass_batch`] ask for, or
    /// do not say of their samples what the configured augmentation needs;
    /// [`TrainError::Gpu`] when the device failed.
    pub fn step(&mut self, batches: &[Batch], learning_rate: f64) -> Result<Vec<StepResult>, TrainError> {
        self.advance(batches, learning_rate, Executor::run)
    }

    /// Like [`Trainer::step`], with the same results, but times each dispatch.
    ///
    /// # Errors
    /// [`TrainError::Batch`] when the batches are not those that [`Trainer::passes`] and [`Trainer::pass_batch`] ask for, or
    /// do not say of their samples what the configured augmentation needs;
    /// [`TrainError::Gpu`] when the device failed.
    pub fn profile_step(
        &mut self,
        batches: &[Batch],
        learning_rate: f64,
    ) -> Result<(Vec<StepResult>, ProgramTimings), TrainError> {
        let mut timings = Vec::new();
        let results = self.advance(batches, learning_rate, |executor, program| {
            timings.push((program, executor.profile(program)?));
            Ok(())
        })?;
        Ok((results, timings))
    }

    /// The forward and backward pass of one batch: the first half of a step. The gradient of its loss divided by
    /// [`Trainer::passes`] replaces the contents of the gradient arena in the first pass after an update, and is added to them in
    /// the others. After [`Trainer::passes`] passes the arena holds the gradient of the mean loss, and [`Trainer::update`] is
    /// due; before that the gradients can be read and changed ([`Trainer::gradients`], [`Trainer::set_gradients`]).
    ///
    /// ```no_run
    /// # use vnet_engine::data::Batch;
    /// # use vnet_engine::train::{TrainError, Trainer};
    /// # fn step(trainer: &mut Trainer, batches: &[Batch], mean_over_processes: fn(&mut [f32])) -> Result<(), TrainError> {
    /// for batch in batches {
    ///     trainer.backward(batch)?;
    /// }
    /// let mut gradients = trainer.gradients()?;
    /// mean_over_processes(&mut gradients);
    /// trainer.set_gradients(&gradients);
    /// trainer.update(1e-3)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TrainError::Batch`] when the batch is not what [`Trainer::pass_batch`] asks for, does not say of its samples what the
    /// configured augmentation needs, or is one more than an update takes; [`TrainError::Gpu`] when the device failed.
    pub fn backward(&mut self, batch: &Batch) -> Result<(), TrainError> {
        self.check(batch)?;
        self.backward_by(batch, Executor::run)
    }

    /// The optimiser's step with the gradients in the arena: the second half of a step. Returns results that have arrived, oldest
    /// first.
    ///
    /// # Errors
    /// [`TrainError::Batch`] when there were not [`Trainer::passes`] passes since the last update; [`TrainError::Gpu`] when the
    /// device failed.
    pub fn update(&mut self, learning_rate: f64) -> Result<Vec<StepResult>, TrainError> {
        self.update_by(learning_rate, Executor::run)
    }

    /// Reads the gradient arena, which is laid out like the parameters ([`Trainer::layout`]).
    ///
    /// # Errors
    /// [`TrainError::Gpu`] when the device failed.
    pub fn gradients(&self) -> Result<Vec<f32>, TrainError> {
        Ok(self.executor.read_arena(Arena::Gradients)?)
    }

    /// Writes the gradient arena, between [`Trainer::backward`] and [`Trainer::update`].
    ///
    /// # Panics
    /// When there are not as many elements as the arena has.
    pub fn set_gradients(&mut self, arena: &[f32]) {
        self.executor.write_arena(Arena::Gradients, arena);
    }

    /// A step whose programs are run by `run`.
    fn advance(
        &mut self,
        batches: &[Batch],
        learning_rate: f64,
        mut run: impl FnMut(&Executor, usize) -> Result<(), GpuError>,
    ) -> Result<Vec<StepResult>, TrainError> {
        same("batches", self.pending.losses.len() + batches.len(), self.passes)?;
        batches.iter().try_for_each(|batch| self.check(batch))?;
        for batch in batches {
            self.backward_by(batch, &mut run)?;
        }
        self.update_by(learning_rate, run)
    }

    fn backward_by(
        &mut self,
        batch: &Batch,
        mut run: impl FnMut(&Executor, usize) -> Result<(), GpuError>,
    ) -> Result<(), TrainError> {
        let pass = self.pending.losses.len();
        if pass >= self.passes {
            return same("backward passes before an update", pass + 1, self.passes);
        }
        self.write_scalars(0.0, pass);
        self.write_batch(batch);
        run(&self.executor, GRADIENTS)?;
        let loss = self.executor.plan().places[&self.training.loss];
        self.pending.losses.push(self.executor.read_windows(&[loss])?);
        self.pending.cases.extend(batch.cases.iter().cloned());
        Ok(())
    }

    fn update_by(
        &mut self,
        learning_rate: f64,
        mut run: impl FnMut(&Executor, usize) -> Result<(), GpuError>,
    ) -> Result<Vec<StepResult>, TrainError> {
        same("backward passes before an update", self.pending.losses.len(), self.passes)?;
        self.write_scalars(learning_rate, 0);
        run(&self.executor, UPDATE)?;
        self.step += 1;
        let norm = self.executor.read_windows(&[self.norm_window()])?;
        let passes = std::mem::take(&mut self.pending);
        self.in_flight.push_back(InFlight { step: self.step, learning_rate, passes, norm });
        let since = self.submitted.replace(Instant::now()).map_or(Duration::ZERO, |before| before.elapsed());
        self.collect(if since >= LONG_STEP { 1 } else { MOST_IN_FLIGHT })
    }

    /// Writes the scalars of the step after those that are done, of which the backward passes read the number of the pass, and the
    /// update the rest.
    fn write_scalars(&self, learning_rate: f64, pass: usize) {
        let step = self.step + 1;
        let weight = self.settings.ema_decay.map_or(0.0, |decay| average_weight(decay, step));
        let scalars =
            StepScalars::new(&self.settings.optimiser, step, learning_rate).in_micro_step(pass).averaging(weight);
        self.executor.write_step_scalars(bytemuck::bytes_of(&scalars));
    }

    /// The values that a batch is written to.
    fn batch_inputs(&self) -> (ValueId, ValueId) {
        match &self.augmenter {
            Some(augmenter) => (augmenter.image, augmenter.labels),
            None => (self.training.image, self.training.labels),
        }
    }

    fn check(&self, batch: &Batch) -> Result<(), TrainError> {
        let (image, labels) = self.batch_inputs();
        let elements = |value| (self.executor.plan().places[&value].bytes / ELEMENT_BYTES) as usize;
        same("voxels of the image", batch.image.len(), elements(image))?;
        same("labels", batch.label.len(), elements(labels))?;
        if let Some(augmenter) = &self.augmenter {
            let described = |known: fn(&Sample) -> bool| batch.samples.iter().filter(|s| known(s)).count();
            let settings = augmenter.settings();
            same(UNDESCRIBED, described(|_| true), self.batch)?;
            if settings.needs_intensities() {
                same(WITHOUT_INTENSITIES, described(|s| s.intensities.is_some()), self.batch)?;
            }
            if settings.matches_histograms() {
                same(WITHOUT_PARTNER, described(|s| s.partner.is_some()), self.batch)?;
            }
        }
        Ok(())
    }

    fn write_batch(&self, batch: &Batch) {
        let (image, labels) = self.batch_inputs();
        self.executor.write(image, bytemuck::cast_slice(&batch.image));
        self.executor.write(labels, bytemuck::cast_slice(&batch.label));
        for (value, numbers) in self.augmenter.iter().flat_map(|a| a.feeds(&batch.samples)) {
            self.executor.write(value, bytemuck::cast_slice(&numbers));
        }
    }

    /// Results of all steps so far, after waiting for them.
    ///
    /// # Errors
    /// [`TrainError::Gpu`] when the device failed.
    pub fn finish(&mut self) -> Result<Vec<StepResult>, TrainError> {
        self.collect(0)
    }

    fn norm_window(&self) -> Window {
        self.executor.plan().stage_scratch[0][NORM_SCRATCH]
    }

    /// Takes results from the front: waits while more than `keep` are in flight, then takes what has arrived.
    fn collect(&mut self, keep: usize) -> Result<Vec<StepResult>, TrainError> {
        let gpu = Arc::clone(self.executor.gpu());
        let mut results = Vec::new();
        while let Some(oldest) = self.in_flight.front() {
            let norm = match oldest.norm.poll(&gpu)? {
                Some(norm) => norm,
                None if self.in_flight.len() > keep => oldest.norm.wait(&gpu)?,
                None => break,
            };
            let step = self.in_flight.pop_front().expect("the front was there");
            results.push(step.result(&gpu, &norm)?);
        }
        Ok(results)
    }
}

impl InFlight {
    /// What the step gave; its norm has arrived, and so have the losses, which were read before.
    fn result(self, gpu: &Gpu, norm: &[u8]) -> Result<StepResult, TrainError> {
        let number = |bytes: &[u8]| f64::from(bytemuck::pod_read_unaligned::<f32>(bytes));
        let Pending { losses, cases } = self.passes;
        let mut sum = 0.0;
        for loss in &losses {
            // Without waiting for later steps, which the device is at.
            let loss = match loss.poll(gpu)? {
                Some(loss) => loss,
                None => loss.wait(gpu)?,
            };
            sum += number(&loss);
        }
        Ok(StepResult {
            step: self.step,
            loss: sum / losses.len() as f64,
            gradient_norm: number(norm),
            learning_rate: self.learning_rate,
            cases,
        })
    }
}

/// That a step was given as many as it takes.
fn same(what: &'static str, found: usize, expected: usize) -> Result<(), TrainError> {
    match found == expected {
        true => Ok(()),
        false => Err(TrainError::Batch { what, found, expected }),
    }
}
