//! A step: backward passes, the update, and results that arrive later.

use super::Trainer;
use super::fit::NORM_SCRATCH;
use crate::data::{Batch, Intensities, Sample};
use crate::exec::Executor;
use crate::gpu::{Gpu, GpuError, Readback};
use crate::nn::dropout_key;
use crate::optim::{StepScalars, average_weight};
use crate::plan::Window;
use crate::profile::ProgramTimings;
use crate::tensor::{ELEMENT_BYTES, ValueId};
use crate::train::TrainError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Steps in flight before the next one waits for the oldest: enough to keep the device busy, few enough to notice a failure
/// soon.
const MOST_IN_FLIGHT: usize = 3;
/// Steps that take this long are in flight one at a time while the next is prepared. The device stays busy, and a signal
/// waits for two steps at most.
const LONG_STEP: Duration = Duration::from_millis(500);

/// What augmentation needs and a batch may lack.
const UNDESCRIBED: &str = "samples that are described for augmentation (a Loader describes them, Batch::of does not)";
const WITHOUT_INTENSITIES: &str =
    "samples with the intensities of each channel of their volume, which augmentation needs";
const WITHOUT_PARTNER: &str =
    "samples with the intensities of each channel of another volume, which histogram matching needs";

/// What an image has, by its number of channels.
const VOXELS: &str = "voxels of the image";
const VOXELS_OF_CHANNELS: &str = "intensities of the image (its voxels times its channels)";

/// Program numbers of the plan.
const GRADIENTS: usize = 0;
const UPDATE: usize = 1;

/// The intensities of each channel of a volume, where they are known.
type Described = Option<Arc<Vec<Intensities>>>;

/// Backward passes whose gradients are in the arena.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The loss of each.
    losses: Vec<Readback>,
    cases: Vec<String>,
}

#[derive(Debug)]
pub(super) struct InFlight {
    step: u64,
    learning_rate: f64,
    passes: Pending,
    /// The norm of the gradient.
    norm: Readback,
}

/// Result of a step.
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
    /// One optimiser step on [`Trainer::passes`] batches: [`Trainer::backward`] of each, then [`Trainer::update`]. Returns the
    /// results that have arrived, oldest first.
    ///
    /// # Errors
    /// [`TrainError::Batch`] when number or size of the batches is not [`Trainer::passes`] or [`Trainer::pass_batch`], or when
    /// samples lack what augmentation needs; [`TrainError::Gpu`] when the device failed.
    pub fn step(&mut self, batches: &[Batch], learning_rate: f64) -> Result<Vec<StepResult>, TrainError> {
        self.advance(batches, learning_rate, Executor::run)
    }

    /// Like [`Trainer::step`], with the same results, but times each dispatch.
    ///
    /// # Errors
    /// [`TrainError::Batch`] when number or size of the batches is not [`Trainer::passes`] or [`Trainer::pass_batch`], or when
    /// samples lack what augmentation needs; [`TrainError::Gpu`] when the device failed.
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
    /// [`TrainError::Batch`] when the size of the batch is not [`Trainer::pass_batch`], when samples lack what augmentation
    /// needs, or when an update is due; [`TrainError::Gpu`] when the device failed.
    pub fn backward(&mut self, batch: &Batch) -> Result<(), TrainError> {
        self.check(batch)?;
        self.backward_by(batch, Executor::run)
    }

    /// Updates the parameters with the gradients in the arena: the second half of a step. Returns the results that have arrived,
    /// oldest first.
    ///
    /// # Errors
    /// [`TrainError::Batch`] when there were not [`Trainer::passes`] passes since the last update; [`TrainError::Gpu`] when the
    /// device failed.
    pub fn update(&mut self, learning_rate: f64) -> Result<Vec<StepResult>, TrainError> {
        self.update_by(learning_rate, Executor::run)
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
        self.write_dropout(pass);
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

    /// Writes the scalars of the next step. Backward passes read the number of the pass, the update reads the rest.
    fn write_scalars(&self, learning_rate: f64, pass: usize) {
        let step = self.step + 1;
        let weight = self.settings.ema_decay.map_or(0.0, |decay| average_weight(decay, step));
        let scalars =
            StepScalars::new(&self.settings.optimiser, step, learning_rate).in_micro_step(pass).averaging(weight);
        self.executor.write_step_scalars(bytemuck::bytes_of(&scalars));
        for (at, group) in self.settings.groups.iter().enumerate() {
            let rate = group.learning_rate_factor * learning_rate;
            let scalars = StepScalars::new(&self.settings.optimiser, step, rate);
            self.executor.write_group_scalars(at + 1, bytemuck::bytes_of(&scalars));
        }
    }

    /// Image and labels that a batch is written to.
    fn batch_inputs(&self) -> (ValueId, ValueId) {
        match &self.augmenter {
            Some(augmenter) => (augmenter.image, augmenter.labels),
            None => (self.training.image, self.training.labels),
        }
    }

    fn check(&self, batch: &Batch) -> Result<(), TrainError> {
        let (image, labels) = self.batch_inputs();
        let elements = |value| (self.executor.plan().places[&value].bytes / ELEMENT_BYTES) as usize;
        let channels = self.training.graph.spec(image).channels();
        same(if channels == 1 { VOXELS } else { VOXELS_OF_CHANNELS }, batch.image.len(), elements(image))?;
        same("labels", batch.label.len(), elements(labels))?;
        if let Some(augmenter) = &self.augmenter {
            let described = |of: fn(&Sample) -> &Described| {
                batch.samples.iter().filter(|s| of(s).as_ref().is_some_and(|i| i.len() == channels)).count()
            };
            let settings = augmenter.settings();
            same(UNDESCRIBED, batch.samples.len(), self.batch)?;
            if settings.needs_intensities() {
                same(WITHOUT_INTENSITIES, described(|s| &s.intensities), self.batch)?;
            }
            if settings.matches_histograms() {
                same(WITHOUT_PARTNER, described(|s| &s.partner), self.batch)?;
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

    /// Writes the keys from which dropout draws in a pass of the next step.
    fn write_dropout(&self, pass: usize) {
        let Some(keys) = self.training.dropout else { return };
        let first = self.step * self.settings.batch as u64 + (pass * self.batch) as u64;
        let numbers = (first..).take(self.batch);
        let words: Vec<[u32; 2]> = numbers.map(|sample| dropout_key(self.settings.seed, sample)).collect();
        self.executor.write(keys, bytemuck::cast_slice(&words));
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

    /// Results of the oldest steps: waits until `keep` steps are in flight, then takes what has arrived.
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
    /// The result. The norm has arrived, and so have the losses, which were read earlier.
    fn result(self, gpu: &Gpu, norm: &[u8]) -> Result<StepResult, TrainError> {
        let number = |bytes: &[u8]| f64::from(bytemuck::pod_read_unaligned::<f32>(bytes));
        let Pending { losses, cases } = self.passes;
        let mut sum = 0.0;
        for loss in &losses {
            // A wait would also wait for later steps.
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

/// Checks a count.
fn same(what: &'static str, found: usize, expected: usize) -> Result<(), TrainError> {
    match found == expected {
        true => Ok(()),
        false => Err(TrainError::Batch { what, found, expected }),
    }
}
