//! The device's part of a training. It needs no configuration: other programs train with it, too.

mod budget;
mod fit;
mod memory;
mod parameters;
mod settings;
mod step;

pub use budget::check_budget;
pub use memory::{Forecast, MemoryMode};
pub use settings::TrainerSettings;
pub use step::StepResult;

use super::TrainError;
use crate::augment::Augmenter;
use crate::exec::Executor;
use crate::gpu::Gpu;
use crate::infer::Preprocessing;
use crate::kernel::{Arena, Target};
use crate::nn::model::initial_arena;
use crate::nn::{Model, Network, TrainingGraph};
use crate::plan::{ArenaLayout, Plan};
use fit::{Head, fit};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use step::{InFlight, Pending};

/// Gradients of batches and updates of the parameters, on a device.
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

impl Trainer {
    /// Plans and allocates a training for inputs of `extents` `[D, H, W]`. If the batch does not fit the device at once, it is
    /// computed in several passes over which gradients are accumulated. The device's policy chooses the kernels
    /// ([`Gpu::with_policy`]).
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

    /// Like [`Trainer::new`], for a target other than the device's own: another kernel policy, or smaller limits, which give
    /// more and smaller passes.
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

    /// The graph, the plan and the passes of a training, without a device: for checks before anything is allocated.
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

    /// The arena to predict with: the moving average, where there is one, else the parameters.
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

    /// Reads the first moments, and the second ones if the optimiser has them.
    ///
    /// # Errors
    /// [`TrainError::Gpu`] when the device failed.
    pub fn moments(&self) -> Result<(Vec<f32>, Option<Vec<f32>>), TrainError> {
        let second = self.has_second_moment().then(|| self.executor.read_arena(Arena::Moment2)).transpose()?;
        Ok((self.executor.read_arena(Arena::Moment1)?, second))
    }

    /// Sets step, parameters and moments, as from a checkpoint. The average is set to the parameters; change it with
    /// [`Trainer::set_average`].
    pub fn restore(&mut self, step: u64, parameters: &[f32], moment1: &[f32], moment2: Option<&[f32]>) {
        self.step = step;
        self.pending = Pending::default();
        self.set_parameters(parameters);
        self.executor.write_arena(Arena::Moment1, moment1);
        if let Some(moment2) = moment2.filter(|_| self.has_second_moment()) {
            self.executor.write_arena(Arena::Moment2, moment2);
        }
    }

    /// Whether the optimiser has a second moment.
    pub fn has_second_moment(&self) -> bool {
        self.settings.optimiser.optimiser.moments() == 2
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
}
