use super::memory::lowest;
use super::{Config, MemoryMode, TrainError};
use crate::augment::{Augmenter, Extents};
use crate::data::Batch;
use crate::exec::Executor;
use crate::gpu::{Gpu, GpuError, Readback};
use crate::graph::Graph;
use crate::infer::Preprocessing;
use crate::kernel::{Arena, Operand, Target};
use crate::nn::model::initial_arena;
use crate::nn::{Model, Network, TrainingGraph};
use crate::optim::{Optimiser, OptimiserSettings, StepScalars, accumulate, average_weight, update};
use crate::plan::{ArenaLayout, Plan, PlanError, Request, Stage, Window, plan};
use crate::profile::ProgramTimings;
use crate::tensor::{ELEMENT_BYTES, ValueId};
use std::collections::VecDeque;
use std::sync::Arc;

/// Results that may be on their way to the host before a step waits for the oldest: enough to keep the device busy, few
/// enough that a failure is noticed soon.
const MOST_IN_FLIGHT: usize = 3;

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
/// use vnet_engine::nn::Network;
/// use vnet_engine::train::{Preset, Trainer};
///
/// let network = Network { in_channels: 1, classes: 2, base: 2, encoder: vec![1, 1], decoder: vec![1] };
/// let gpu = Arc::new(Gpu::open(&GpuOptions::default())?);
/// let mut trainer = Trainer::new(&gpu, &network, &Preset::Tiny.config(), [4, 6, 8])?;
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
    settings: OptimiserSettings,
    /// Decay of the parameters' moving average; `None`: there is none.
    ema_decay: Option<f64>,
    /// Samples of one pass.
    batch: usize,
    /// Passes of one step.
    passes: usize,
    step: u64,
    in_flight: VecDeque<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    step: u64,
    learning_rate: f64,
    cases: Vec<String>,
    /// One loss per pass, the last with the norm of the gradient behind it.
    readbacks: Vec<Readback>,
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
    /// [`TrainError`] when not even a single sample fits.
    pub fn new(gpu: &Arc<Gpu>, network: &Network, config: &Config, extents: [usize; 3]) -> Result<Self, TrainError> {
        Self::in_passes(gpu, network, config, extents, gpu.target())
    }

    /// Like [`Trainer::new`] under the limits of `target`, which may be narrower than the device's: a smaller binding
    /// limit gives more and smaller passes.
    ///
    /// # Errors
    /// [`TrainError`] when not even a single sample fits.
    pub fn in_passes(
        gpu: &Arc<Gpu>,
        network: &Network,
        config: &Config,
        extents: [usize; 3],
        target: &Target,
    ) -> Result<Self, TrainError> {
        let settings = config.optimiser_settings();
        let (Head { training, augmenter }, plan, passes) = fit(network, config, extents, target)?;
        let executor = Executor::new(Arc::clone(gpu), plan)?;
        let batch = config.training.batch / passes;
        let ema_decay = config.ema_decay();
        let in_flight = VecDeque::new();
        Ok(Self { training, augmenter, executor, settings, ema_decay, batch, passes, step: 0, in_flight })
    }

    /// The plan of a training, without a device: for `info` and for checks before anything is allocated.
    ///
    /// # Errors
    /// [`TrainError`] when not even a single sample fits the target.
    pub fn plan_for(
        network: &Network,
        config: &Config,
        extents: [usize; 3],
        target: &Target,
    ) -> Result<(TrainingGraph, Plan, usize), TrainError> {
        fit(network, config, extents, target).map(|(head, plan, passes)| (head.training, plan, passes))
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
        if self.ema_decay.is_some() {
            self.executor.write_arena(Arena::Average, arena);
        }
    }

    /// The arena that predictions are made with: the moving average, where there is one, else the parameters.
    pub fn best_arena(&self) -> Arena {
        if self.ema_decay.is_some() { Arena::Average } else { Arena::Parameters }
    }

    /// Reads the moving average of the parameters, where there is one.
    ///
    /// # Errors
    /// [`TrainError::Gpu`] when the device failed.
    pub fn average(&self) -> Result<Option<Vec<f32>>, TrainError> {
        Ok(self.ema_decay.map(|_| self.executor.read_arena(Arena::Average)).transpose()?)
    }

    /// Reads the parameters.
    ///
    /// # Errors
    /// [`TrainError::Gpu`] when the device failed.
    pub fn parameters(&self) -> Result<Vec<f32>, TrainError> {
        Ok(self.executor.read_arena(Arena::Parameters)?)
    }

    /// First and second moments; the second is absent for SGD.
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
        self.set_parameters(parameters);
        self.executor.write_arena(Arena::Moment1, moment1);
        if let Some(moment2) = moment2.filter(|_| self.has_second_moment()) {
            self.executor.write_arena(Arena::Moment2, moment2);
        }
    }

    /// Whether the optimiser has one.
    pub fn has_second_moment(&self) -> bool {
        !matches!(self.settings.optimiser, Optimiser::Sgd { .. })
    }

    /// One optimiser step on `passes` batches; returns results that have arrived, oldest first.
    ///
    /// # Errors
    /// [`TrainError::Batch`] when the batches are not those that [`Trainer::passes`] and [`Trainer::pass_batch`] ask for;
    /// [`TrainError::Gpu`] when the device failed.
    ///
    /// # Panics
    /// When the batches do not say of their samples what the configured augmentation needs.
    pub fn step(&mut self, batches: &[Batch], learning_rate: f64) -> Result<Vec<StepResult>, TrainError> {
        self.advance(batches, learning_rate, Executor::run)
    }

    /// Like [`Trainer::step`], with the same results, but times each dispatch.
    ///
    /// # Errors
    /// [`TrainError::Batch`] when the batches are not those that [`Trainer::passes`] and [`Trainer::pass_batch`] ask for;
    /// [`TrainError::Gpu`] when the device failed.
    ///
    /// # Panics
    /// When the batches do not say of their samples what the configured augmentation needs.
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

    /// A step whose programs are run by `run`.
    fn advance(
        &mut self,
        batches: &[Batch],
        learning_rate: f64,
        mut run: impl FnMut(&Executor, usize) -> Result<(), GpuError>,
    ) -> Result<Vec<StepResult>, TrainError> {
        self.check(batches)?;
        self.step += 1;
        let mut readbacks = Vec::new();
        let loss = self.executor.plan().places[&self.training.loss];
        for (pass, batch) in batches.iter().enumerate() {
            let scalars = StepScalars::new(&self.settings, self.step, learning_rate).in_micro_step(pass);
            let weight = self.ema_decay.map_or(0.0, |decay| average_weight(decay, self.step));
            let scalars = scalars.averaging(weight);
            self.executor.write_step_scalars(bytemuck::bytes_of(&scalars));
            self.write_batch(batch);
            run(&self.executor, GRADIENTS)?;
            if pass + 1 < self.passes {
                readbacks.push(self.executor.read_windows(&[loss])?);
            }
        }
        run(&self.executor, UPDATE)?;
        readbacks.push(self.executor.read_windows(&[loss, self.norm_window()])?);
        let cases = batches.iter().flat_map(|b| b.cases.iter().cloned()).collect();
        self.in_flight.push_back(InFlight { step: self.step, learning_rate, cases, readbacks });
        self.collect(MOST_IN_FLIGHT)
    }

    /// The values that a batch is written to.
    fn batch_inputs(&self) -> (ValueId, ValueId) {
        match &self.augmenter {
            Some(augmenter) => (augmenter.image, augmenter.labels),
            None => (self.training.image, self.training.labels),
        }
    }

    fn check(&self, batches: &[Batch]) -> Result<(), TrainError> {
        let same = |what, found, expected| match found == expected {
            true => Ok(()),
            false => Err(TrainError::Batch { what, found, expected }),
        };
        same("batches", batches.len(), self.passes)?;
        let (image, labels) = self.batch_inputs();
        let elements = |value| (self.executor.plan().places[&value].bytes / ELEMENT_BYTES) as usize;
        for batch in batches {
            same("voxels of the image", batch.image.len(), elements(image))?;
            same("labels", batch.label.len(), elements(labels))?;
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
            let last = oldest.readbacks.last().expect("every step reads its loss");
            let values = match last.poll(&gpu)? {
                Some(values) => values,
                None if self.in_flight.len() > keep => last.wait(&gpu)?,
                None => break,
            };
            let step = self.in_flight.pop_front().expect("the front was there");
            results.push(step.result(&gpu, &values)?);
        }
        Ok(results)
    }
}

impl InFlight {
    fn result(self, gpu: &Gpu, last: &[u8]) -> Result<StepResult, TrainError> {
        let last: Vec<f32> = bytemuck::pod_collect_to_vec(last);
        let (loss, gradient_norm) = (f64::from(last[0]), f64::from(last[1]));
        let mut sum = loss;
        for earlier in &self.readbacks[..self.readbacks.len() - 1] {
            let loss: Vec<f32> = bytemuck::pod_collect_to_vec(&earlier.wait(gpu)?);
            sum += f64::from(loss[0]);
        }
        Ok(StepResult {
            step: self.step,
            loss: sum / self.readbacks.len() as f64,
            gradient_norm,
            learning_rate: self.learning_rate,
            cases: self.cases,
        })
    }
}

/// Position of the gradient's norm among the scratch buffers of the update.
const NORM_SCRATCH: usize = 1;

/// A training graph and the augmentation before it.
struct Head {
    training: TrainingGraph,
    augmenter: Option<Augmenter>,
}

impl Head {
    fn new(
        network: &Network,
        config: &Config,
        batch: usize,
        patch: [usize; 3],
        scale: f32,
    ) -> Result<Self, crate::tensor::ShapeError> {
        let loss = config.training.loss;
        if !config.augmentation.is_active() {
            let training = TrainingGraph::new(network, loss, batch, patch, scale)?;
            return Ok(Self { training, augmenter: None });
        }
        let mut graph = Graph::new();
        let extents = Extents { source: config.block(patch), patch };
        let augmenter = Augmenter::append(&mut graph, &config.augmentation, config.seed, batch, extents)?;
        let inputs = (augmenter.augmented_image, augmenter.augmented_labels);
        let training = TrainingGraph::on(graph, network, loss, inputs, scale)?;
        Ok(Self { training, augmenter: Some(augmenter) })
    }
}

/// Plans with the largest share of the batch that fits the target, in as many passes as are asked for or more.
fn fit(
    network: &Network,
    config: &Config,
    extents: [usize; 3],
    target: &Target,
) -> Result<(Head, Plan, usize), TrainError> {
    let total = config.training.batch;
    let mut failure = None;
    for passes in (config.training.accumulation.min(total)..=total).filter(|p| total.is_multiple_of(*p)) {
        let scale = 1.0 / passes as f32;
        let head = Head::new(network, config, total / passes, extents, scale)?;
        let plan = |training: &TrainingGraph| plan_training(training, config, passes > 1, target);
        let planned = match config.training.memory {
            MemoryMode::Normal => plan(&head.training).map(|plan| (head.training, plan)),
            MemoryMode::Low => lowest(head.training, plan),
        };
        match planned {
            Ok((training, plan)) => return Ok((Head { training, augmenter: head.augmenter }, plan, passes)),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.expect("a batch of at least one sample was tried").into())
}

fn plan_training(
    training: &TrainingGraph,
    config: &Config,
    accumulating: bool,
    target: &Target,
) -> Result<Plan, PlanError> {
    let layout = ArenaLayout::new(&training.graph);
    let mut update = update(&config.optimiser_settings(), layout.elements, layout.decayed, target);
    if config.ema_decay().is_some() {
        update = update.averaged(layout.elements, target);
    }
    assert_eq!(update.grad_norm, Operand::Scratch(NORM_SCRATCH), "the norm lies where the trainer reads it");
    let stage = Stage { name: "update", dispatches: update.dispatches, scratch: update.scratch, cost: update.cost };
    let request = Request {
        graph: &training.graph,
        outputs: &[training.loss],
        keep_all: false,
        gradients: &training.gradients,
        accumulate: accumulating.then_some(accumulate as crate::plan::Accumulate),
        stages: vec![stage],
        arenas: &[],
    };
    plan(&request, target)
}
