//! What a run does when something goes wrong: it goes back to a good checkpoint, or on with a new device.

use super::{Progress, Run, RunSettings, Summary, train_after};
use crate::data::{Loader, LoaderSettings};
use crate::gpu::{Gpu, GpuError};
use crate::infer::InferError;
use crate::train::health::{Restorations, Trouble};
use crate::train::{Event, Reaction, TrainError, checkpoint};
use std::sync::Arc;

/// Trains on the device that `open` opens. If the device is lost, the run goes on from its newest checkpoint on a new device,
/// once.
///
/// # Errors
/// [`TrainError`] that names the file, key or shape; what was written before is kept.
pub fn train_on<P: Progress>(
    open: impl Fn() -> Result<Arc<Gpu>, GpuError>,
    settings: &RunSettings,
    progress: &mut P,
) -> Result<Summary, TrainError> {
    let gpu = open()?;
    let end = train_after(&gpu, settings, progress, None);
    let Some(reason) = end.as_ref().err().and_then(loss_of_the_device) else { return end };
    if checkpoint::steps(&settings.out)?.is_empty() {
        return end;
    }
    drop(gpu);
    progress.note(&format!("{reason}; the run goes on from its newest checkpoint on a new device"));
    let again = RunSettings { resume: true, init: None, ..settings.clone() };
    train_after(&open()?, &again, progress, Some(reason))
}

fn loss_of_the_device(error: &TrainError) -> Option<String> {
    match error {
        TrainError::Gpu(gpu @ GpuError::Lost { .. })
        | TrainError::Infer(InferError::Gpu(gpu @ GpuError::Lost { .. })) => Some(gpu.to_string()),
        _ => None,
    }
}

impl<P: Progress> Run<'_, P> {
    /// All steps, with the reactions of `[health]`.
    pub(super) fn healthy_steps(&mut self) -> Result<(), TrainError> {
        loop {
            let loader = self.loader()?;
            match self.steps_or_checkpoint(loader)? {
                None => return Ok(()),
                Some((trouble, Reaction::Stop)) => return Err(self.unhealthy(trouble, "health says stop")),
                Some((trouble, _)) => self.restore(trouble)?,
            }
        }
    }

    /// Batches from the next sample on.
    fn loader(&self) -> Result<Loader, TrainError> {
        let settings =
            self.settings.config.loader_settings(self.position.patch, self.trainer.pass_batch(), self.position.sample);
        let settings = LoaderSettings { cache: self.cache.clone(), disk: self.disk.clone(), ..settings };
        Ok(Loader::start(self.training.clone(), self.preparation.clone(), settings)?)
    }

    fn unhealthy(&mut self, trouble: Trouble, end: &str) -> TrainError {
        match self.trainer.finish() {
            Ok(results) => self.record(results),
            Err(error) => return error,
        }
        let step = self.trainer.step_count();
        let reason = format!("{trouble}; {end}");
        self.log.write(&Event::Unhealthy { step, reason: reason.clone() });
        TrainError::Unhealthy { path: self.settings.out.clone(), step, reason }
    }

    /// Goes back to the last good checkpoint with a smaller learning rate. That checkpoint is rewritten before later ones are
    /// removed: a process that dies in between resumes from one of those and meets the trouble again.
    fn restore(&mut self, trouble: Trouble) -> Result<(), TrainError> {
        let health = &self.settings.config.health;
        if self.position.restorations.count >= health.most_restorations {
            return Err(self.unhealthy(trouble, "it was restored as often as health.most_restorations allows"));
        }
        let results = self.trainer.finish()?;
        self.record(results);
        let from = self.trainer.step_count();
        let out = &self.settings.out;
        let good = checkpoint::newest_until(out, self.health.good_until(trouble))?.checkpoint;
        good.restore(&mut self.trainer)?;
        // The best model so far stays the best.
        (self.position.sample, self.position.validated) = (good.state.sample, good.state.validated);
        self.position.restorations = Restorations {
            count: self.position.restorations.count + 1,
            learning_rate: self.position.restorations.learning_rate * health.learning_rate_factor,
        };
        self.health.recovered();
        let step = self.trainer.step_count();
        let learning_rate_factor = self.position.restorations.learning_rate;
        self.log.write(&Event::Restored { step, from, reason: trouble.to_string(), learning_rate_factor });
        self.write_checkpoint(true)?;
        checkpoint::remove_after(out, step)?;
        self.progress.note(&format!(
            "step {from}: {trouble}; back to the checkpoint of step {step}, with {learning_rate_factor} times the \
             scheduled learning rate"
        ));
        Ok(())
    }
}
