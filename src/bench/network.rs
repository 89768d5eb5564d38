use super::{Repeated, cost};
use crate::data::Batch;
use crate::exec::Executor;
use crate::gpu::Gpu;
use crate::graph::Graph;
use crate::infer::Predictor;
use crate::kernel::Arena;
use crate::nn::model::initial_arena;
use crate::nn::{Model, Network};
use crate::plan::{ArenaLayout, Plan};
use crate::profile::{Measure, Profile, ProgramTimings, Roofline};
use crate::train::{Config, TrainError, Trainer, TrainerSettings};
use crate::tuning::{normal, timed_run};
use std::sync::Arc;
use std::time::Instant;

/// A network to time.
#[derive(Debug)]
pub struct NetworkBench<'a> {
    /// Its shape.
    pub network: &'a Network,
    /// Batch, loss and optimiser.
    pub config: &'a Config,
    /// Parameters; those of a new network where there are none.
    pub model: Option<&'a Model>,
    /// Extents `[D, H, W]` of the input.
    pub extents: [usize; 3],
    /// Runs that count.
    pub repetitions: usize,
    /// Also time every dispatch, in as many runs again.
    pub profiled: bool,
}

/// Times of one kind of run.
#[derive(Debug)]
pub struct NetworkTimes {
    /// Whole runs.
    pub whole: Repeated,
    /// The median run beside the roofline.
    pub measure: Measure,
    /// Voxels of the input of one run.
    pub voxels: usize,
    /// Device memory of the plan.
    pub memory_bytes: u64,
    /// Passes over which a step accumulates gradients.
    pub passes: usize,
    /// Medians of every dispatch, where they were asked for.
    pub profile: Option<Profile>,
}

impl NetworkTimes {
    /// Voxels per second.
    pub fn voxels_per_s(&self) -> f64 {
        self.voxels as f64 / self.measure.seconds
    }
}

impl NetworkBench<'_> {
    /// Predicts a batch, from the image on the device to the probabilities there.
    ///
    /// # Errors
    /// [`TrainError`] when the network does not fit the device, or the device failed.
    pub fn forward(&self, gpu: &Arc<Gpu>, roofline: &Roofline) -> Result<NetworkTimes, TrainError> {
        let batch = self.config.training.batch;
        let (inference, plan) = Predictor::plan_for(self.network, batch, self.extents, gpu.target())?;
        let executor = Executor::new(Arc::clone(gpu), plan)?;
        executor.write_arena(Arena::Parameters, &self.parameters(&inference.graph, &executor.plan().arena));
        let image = normal(inference.graph.spec(inference.image).elements(), 1.0, 1);
        executor.write(inference.image, bytemuck::cast_slice(&image));
        timed_run(&executor)?;
        let seconds = (0..self.repetitions).map(|_| timed_run(&executor)).collect::<Result<_, _>>()?;
        let mut profiles: Vec<ProgramTimings> = Vec::new();
        for _ in 0..self.profiles() {
            profiles.push(vec![(0, executor.profile(0)?)]);
        }
        Ok(self.times(roofline, executor.plan(), seconds, &[0], &profiles))
    }

    /// Optimiser steps without augmentation on a batch, from the image on the host to the loss there.
    ///
    /// # Errors
    /// [`TrainError`] when the network does not fit the device, or the device failed.
    pub fn training_step(&self, gpu: &Arc<Gpu>, roofline: &Roofline) -> Result<NetworkTimes, TrainError> {
        let settings = TrainerSettings { augmentation: None, ..self.config.trainer_settings() };
        let mut trainer = Trainer::new(gpu, self.network, &settings, self.extents)?;
        trainer.set_parameters(&self.parameters(&trainer.training().graph, trainer.layout()));
        let batches: Vec<Batch> = (0..trainer.passes()).map(|pass| self.batch(&trainer, pass)).collect();
        let learning_rate = self.config.optimiser.learning_rate;
        let mut seconds = Vec::new();
        for repetition in 0..=self.repetitions {
            let start = Instant::now();
            trainer.step(&batches, learning_rate)?;
            trainer.finish()?;
            if repetition > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        let mut profiles: Vec<ProgramTimings> = Vec::new();
        for _ in 0..self.profiles() {
            profiles.push(trainer.profile_step(&batches, learning_rate)?.1);
            trainer.finish()?;
        }
        let mut programs = vec![0; trainer.passes()];
        programs.push(1);
        Ok(self.times(roofline, trainer.executor().plan(), seconds, &programs, &profiles))
    }

    fn parameters(&self, graph: &Graph, layout: &ArenaLayout) -> Vec<f32> {
        match self.model {
            Some(model) => model.to_arena(graph, layout),
            None => initial_arena(graph, layout, self.config.seed, self.config.network.head_gain),
        }
    }

    fn batch(&self, trainer: &Trainer, pass: usize) -> Batch {
        let voxels = trainer.pass_batch() * self.extents.iter().product::<usize>();
        let classes = self.network.classes as u32;
        // A class follows the sign and size of a normal number, so none is rare.
        let class = |x: f32| ((x.abs() * classes as f32) as u32).min(classes - 1);
        Batch {
            image: normal(voxels * self.network.in_channels, 1.0, 2 + pass as u64),
            label: normal(voxels, 0.5, 1000 + pass as u64).into_iter().map(class).collect(),
            cases: vec!["random".to_owned(); trainer.pass_batch()],
            ..Batch::default()
        }
    }

    fn profiles(&self) -> usize {
        if self.profiled { self.repetitions } else { 0 }
    }

    fn times(
        &self,
        roofline: &Roofline,
        plan: &Plan,
        seconds: Vec<f64>,
        programs: &[usize],
        profiles: &[ProgramTimings],
    ) -> NetworkTimes {
        let whole = Repeated { seconds, cost: cost(plan, programs) };
        NetworkTimes {
            measure: whole.measure(roofline, plan, programs),
            whole,
            voxels: self.config.training.batch * self.extents.iter().product::<usize>(),
            memory_bytes: plan.memory.total(),
            passes: programs.iter().filter(|&&p| p == 0).count(),
            profile: (!profiles.is_empty()).then(|| Profile::median(plan, profiles)),
        }
    }
}
