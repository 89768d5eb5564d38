//! The steps of a run, and what is recorded of them.

use super::{Part, Progress, Run};
use crate::data::{Batch, Loader};
use crate::train::health::Trouble;
use crate::train::profiler::StepProfiler;
use crate::train::{Event, Reaction, StepResult, TrainError};
use std::time::{Duration, Instant};

impl<P: Progress> Run<'_, P> {
    /// All steps, or those up to the first trouble. If a signal ends them, a checkpoint is written first.
    pub(super) fn steps_or_checkpoint(&mut self, loader: Loader) -> Result<Option<(Trouble, Reaction)>, TrainError> {
        let end = self.steps(loader);
        if matches!(end, Err(TrainError::Interrupted { .. })) && self.saved != Some(self.trainer.step_count()) {
            let results = self.trainer.finish()?;
            self.record(results);
            self.write_checkpoint(true)?;
        }
        end
    }

    fn steps(&mut self, mut loader: Loader) -> Result<Option<(Trouble, Reaction)>, TrainError> {
        let training = &self.settings.config.training;
        let (steps, passes, batch) = (training.steps, self.trainer.passes(), training.batch as u64);
        let due = |every: u64, step: u64| step == steps || (every > 0 && step.is_multiple_of(every));
        let step = self.trainer.step_count();
        // The second case: a run was shortened to the steps that it had done before its first validation.
        if !self.position.validated || (step >= steps && !self.model_path().exists()) {
            self.validate(step)?;
            self.checkpoint(step >= steps)?;
        }
        while self.trainer.step_count() < steps {
            self.go_on()?;
            if self.is_exhausted() {
                return self.stop_early().map(|()| None);
            }
            let scheduled = self.settings.config.learning_rate(self.trainer.step_count());
            let learning_rate = scheduled * self.position.restorations.learning_rate;
            let before = Instant::now();
            let batches = (0..passes).map(|_| loader.next()).collect::<Result<Vec<Batch>, _>>()?;
            let waited = self.told(Part::Loader, before);
            self.waits.waited(waited);
            self.note_cache();
            let before = Instant::now();
            let results = match self.profiler.take_if(|p| p.due(self.trainer.step_count())) {
                Some(profiler) => self.profile(&profiler, &batches, learning_rate)?,
                None => self.trainer.step(&batches, learning_rate)?,
            };
            let worked = self.told(Part::Device, before);
            self.waits.worked(worked);
            self.position.sample += batch;
            self.record(results);
            let step = self.trainer.step_count();
            let (validate, keep) = (due(training.validate_every, step), due(training.checkpoint_every, step));
            self.position.validated = !validate;
            if validate || keep {
                let before = Instant::now();
                let results = self.trainer.finish()?;
                let worked = self.told(Part::Device, before);
                self.waits.worked(worked);
                self.record(results);
                self.log_loader(step);
            }
            let before = Instant::now();
            if validate {
                self.validate(step)?;
                self.note_cache();
                self.told(Part::Validation, before);
            }
            let before = Instant::now();
            if keep {
                self.checkpoint(step == steps)?;
                self.told(Part::Checkpoint, before);
            }
            let trouble = self.health.trouble();
            if trouble.is_some() {
                return Ok(trouble);
            }
        }
        Ok(None)
    }

    /// Whether `training.patience` validations have passed without a better mean Dice.
    fn is_exhausted(&self) -> bool {
        let training = &self.settings.config.training;
        let waited = training.patience.saturating_mul(training.validate_every);
        waited > 0
            && self.position.best.is_some_and(|(_, step)| self.trainer.step_count() >= step.saturating_add(waited))
    }

    /// Ends a training that no longer improves. It can still be resumed.
    fn stop_early(&mut self) -> Result<(), TrainError> {
        let (step, best_step) = (self.trainer.step_count(), self.position.best.map_or(0, |(_, step)| step));
        let patience = self.settings.config.training.patience;
        self.progress.note(&format!(
            "step {step}: no better mean Dice in {patience} validations since step {best_step}; the training stops early \
             (training.patience)"
        ));
        self.log.write(&Event::EarlyStop { step, best_step });
        if self.saved != Some(step) {
            let results = self.trainer.finish()?;
            self.record(results);
            self.checkpoint(true)?;
        }
        Ok(())
    }

    /// Reports the time since `before`, and returns it.
    fn told(&mut self, part: Part, before: Instant) -> Duration {
        let time = before.elapsed();
        self.progress.spent(part, time);
        time
    }

    /// An error when a signal has asked the training to stop.
    pub(super) fn go_on(&self) -> Result<(), TrainError> {
        let step = self.trainer.step_count();
        match self.progress.stop() {
            Some(signal) => Err(TrainError::Interrupted { path: self.settings.out.clone(), signal, step }),
            None => Ok(()),
        }
    }

    fn profile(
        &mut self,
        profiler: &StepProfiler,
        batches: &[Batch],
        learning_rate: f64,
    ) -> Result<Vec<StepResult>, TrainError> {
        // The device finishes first, so that nothing else is timed.
        let mut results = self.trainer.finish()?;
        let (newer, timings) = self.trainer.profile_step(batches, learning_rate)?;
        results.extend(newer);
        profiler.write(
            &self.settings.out,
            self.trainer.executor(),
            self.trainer.step_count(),
            &timings,
            self.waits.of_all(),
        )?;
        self.progress.note(&format!("step {} is profiled in profile.json and profile.txt", self.trainer.step_count()));
        Ok(results)
    }

    pub(super) fn record(&mut self, results: Vec<StepResult>) {
        for result in results {
            self.progress.step(&result);
            self.health.step(result.gradient_norm.is_finite() && result.loss.is_finite());
            let step = result.step;
            if !result.gradient_norm.is_finite() {
                self.progress.note(&format!("step {step}: the gradient is not finite; the step had no effect"));
            } else if !result.loss.is_finite() {
                self.progress
                    .note(&format!("step {step}: the loss is not finite; the gradient is finite and was applied"));
            }
            self.log.write(&Event::of(result));
        }
    }
}
