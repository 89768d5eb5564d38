//! Files that a run writes: models and checkpoints.

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

    /// Keeps the present model as the best one, with averaged parameters if there are any. If it cannot be written it waits in
    /// memory. False for a model that is not finite, which is not kept.
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

    /// Writes the parameters after the last step, `model_last.safetensors`, and their average if there is one,
    /// `model_ema.safetensors`. Returns the former.
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

    /// Writes a checkpoint. Only for the last one a failure is an error.
    pub(super) fn checkpoint(&mut self, last: bool) -> Result<(), TrainError> {
        match self.write_checkpoint(last) {
            Err(error) if !last && !matches!(error, TrainError::Gpu(_)) => self.warn_unwritten(Err(error)),
            result => return result,
        }
        Ok(())
    }

    /// Writes the model and the log, then the checkpoint: a run that resumes from it finds both as they were. A state that is
    /// not good is only written where the run ends, if it is finite, and then removes no good one.
    pub(super) fn write_checkpoint(&mut self, ends: bool) -> Result<(), TrainError> {
        self.write_model()?;
        self.log.flush()?;
        let shown = self.log.board().map_or(Ok(()), Board::flush);
        self.warn_unwritten(shown);
        let position = Position { predictions: self.health.predictions(), ..self.position };
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

    /// Notes a file that could not be written, as on a full disk. The old file is still there.
    pub(super) fn warn_unwritten(&mut self, result: Result<(), TrainError>) {
        if let Err(error) = result {
            let step = self.trainer.step_count();
            self.progress
                .note(&format!("step {step}: {error}; the training goes on and tries again when the file is due"));
            self.log.write(&Event::Unwritten { step, reason: error.to_string() });
        }
    }
}
