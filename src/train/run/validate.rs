//! Validations of a run.

use super::{Progress, Run};
use crate::report::{OverlayCase, write_curves, write_overlay};
use crate::train::validation::{class_means, mean};
use crate::train::{Event, Predicted, TrainError};

impl<P: Progress> Run<'_, P> {
    /// Predicts the validation cases, draws the first, and keeps the model if it is the best so far. Without validation cases
    /// the newest model is kept.
    pub(super) fn validate(&mut self, step: u64) -> Result<(), TrainError> {
        if self.validation.is_empty() {
            self.keep_model()?;
            self.position.validated = true;
            return Ok(());
        }
        let overlays = self.settings.out.join("overlays");
        let names = self.preprocessing.foreground_names(self.network.classes);
        let mut drawn = Ok(());
        let scores = self.validation.run(
            &self.predictor,
            || self.go_on(),
            |predicted| {
                if predicted.number == 0 {
                    let Predicted { prepared, score, labels, .. } = *predicted;
                    drawn = write_overlay(
                        &overlays.join(overlay_name(step, &score.case)),
                        &OverlayCase {
                            title: &format!("{} after {step} steps", score.case),
                            image: &prepared.channel(0),
                            reference: prepared.label.as_deref(),
                            prediction: labels,
                            extents: prepared.geometry.grid.extents,
                            spacing: prepared.geometry.grid.spacing,
                            class_names: &names,
                        },
                    );
                }
            },
        )?;
        let drawn = drawn.map_err(TrainError::from).and_then(|()| self.show_overlay(step, &scores[0].case));
        self.warn_unwritten(drawn);
        let dice = class_means(&scores);
        let mean_dice = mean(scores.iter().flat_map(|s| s.dice.iter().flatten().copied()));
        let best = mean_dice.is_some_and(|d| self.position.best.is_none_or(|(b, _)| d > b));
        self.log.write(&Event::Validation { step, dice: dice.clone(), mean_dice, best });
        self.progress.validated(step, &dice, mean_dice, best);
        let constant = scores.iter().all(|s| s.constant);
        self.health.validation(step, constant);
        if constant && step > 1 {
            let advice = "start again with a lower learning rate, a smaller network.head_gain or another seed";
            self.log.write(&Event::Collapsed { step, advice });
            self.progress.note(&format!(
                "step {step}: every validation case is predicted as one class; if this lasts, {advice}"
            ));
        }
        let kept = (best || !self.model_path().exists()) && self.keep_model()?;
        if best && kept {
            self.position.best = mean_dice.map(|d| (d, step));
        }
        self.position.validated = true;
        let curves = self.log.curves(names);
        for file in ["curves.svg", "curves.png"] {
            let written = write_curves(&self.settings.out.join(file), &curves);
            self.warn_unwritten(written.map_err(TrainError::from));
        }
        Ok(())
    }

    /// Shows a case's picture in TensorBoard.
    fn show_overlay(&mut self, step: u64, case: &str) -> Result<(), TrainError> {
        let path = self.settings.out.join("overlays").join(overlay_name(step, case));
        self.log.board().map_or(Ok(()), |board| board.overlay(step, case, &path))
    }
}

fn overlay_name(step: u64, case: &str) -> String {
    format!("step_{step:06}_{case}.png")
}
