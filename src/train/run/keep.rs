//! What a run writes on the way: its best model and checkpoints.

use super::{Progress, Run};
use crate::kernel::Arena;
use crate::nn::Model;
use crate::train::TrainError;
use crate::train::checkpoint::{self, Checkpoint, Position};
use crate::train::log::{Board, Event};
use std::path::PathBuf;

impl<P: Progress> Run<'_, P> {
    pub(super) fn model_path(&self) -> PathBuf {
        self.settings.out.join("model.safetensors")
    }

    /// Keeps the model as it is now, with averaged parameters where there are some; where it cannot be written, in
    /// memory until it can. False where it is not finite, and not kept.
    pub(super) fn keep_model(&mut self) -> Result<bool, TrainError> {
        let model = self.model(self.trainer.best_arena())?;
        let finite = model.tensors.values().flat_map(|tensor| &tensor.data).all(|p| p.is_finite());
        self.health.parameters(finite);
        if finite {
            self.unwritten = Some(model);
            let written = self.write_model();
            self.warn_unwritten(written);
        }
        Ok(finite)
    }

    fn model(&self, arena: Arena) -> Result<Model, TrainError> {
        self.trainer.model(arena, &self.network, &self.preprocessing)
    }

    /// Writes the parameters behind the last step, `model_last.safetensors`, and their average where there is one,
    /// `model_ema.safetensors`; returns the first.
    pub(super) fn write_last_models(&self) -> Result<Model, TrainError> {
        let last = self.model(Arena::Parameters)?;
        last.write(&self.settings.out.join("model_last.safetensors"))?;
        if self.trainer.best_arena() == Arena::Average {
            self.model(Arena::Average)?.write(&self.settings.out.join("model_ema.safetensors"))?;
        }
        Ok(last)
    }

    fn write_model(&mut self) -> Result<(), TrainError> {
        if let Some(model) = &self.unwritten {
            model.write(&self.model_path())?;
            self.unwritten = None;
        }
        Ok(())
    }

    /// Writes a checkpoint; a failure is an error only of the last one.
    pub(super) fn checkpoint(&mut self, last: bool) -> Result<(), TrainError> {
        match self.write_checkpoint(last) {
            Err(error) if !last && !matches!(error, TrainError::Gpu(_)) => self.warn_unwritten(Err(error)),
            result => return result,
        }
        Ok(())
    }

    /// Writes model and log first: a run that goes on from a checkpoint finds both as they were. A state that is not worth
    /// going back to is not written, unless the run ends here: then it is, beside those that are, if it is finite.
    pub(super) fn write_checkpoint(&mut self, ends: bool) -> Result<(), TrainError> {
        self.write_model()?;
        self.log.flush()?;
        let shown = self.log.board().map_or(Ok(()), Board::flush);
        self.warn_unwritten(shown);
        let (validated, best, patch, sample) = (self.validated, self.best, self.patch, self.sample);
        let (restorations, predictions) = (self.restorations, self.health.predictions());
        let position = Position { validated, best, patch, sample, restorations, predictions };
        let checkpoint = Checkpoint::of(&self.trainer, &self.origin, position)?;
        let (finite, step) = (checkpoint.is_finite(), self.trainer.step_count());
        self.health.parameters(finite);
        let well = self.health.is_well();
        if !finite && ends {
            self.progress.note(&format!(
                "step {step}: parameters or moments are not finite, so no checkpoint is written; --resume goes on from \
                 the newest one"
            ));
        }
        if !finite || !(well || ends) {
            return Ok(());
        }
        let keep = if well { self.settings.config.training.keep_checkpoints } else { usize::MAX };
        checkpoint::write(&self.settings.out, &checkpoint, keep)?;
        self.saved = Some(step);
        Ok(())
    }

    /// Tells of a file that could not be written, as on a full disk. What was there before is there still.
    pub(super) fn warn_unwritten(&mut self, result: Result<(), TrainError>) {
        if let Err(error) = result {
            let step = self.trainer.step_count();
            self.progress.note(&format!("step {step}: {error}; the training goes on and tries again when it is due"));
            self.log.write(&Event::Unwritten { step, reason: error.to_string() });
        }
    }
}
