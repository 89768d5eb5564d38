//! The log's events for TensorBoard.

use super::Event;
use crate::tensorboard::{EventFile, scalar};
use crate::train::{Config, TrainError};
use std::path::Path;

/// An event file of a run folder.
#[derive(Debug)]
pub(in crate::train) struct Board {
    file: EventFile,
    class_names: Vec<String>,
}

impl Board {
    /// Opens an event file for the steps after `step` and writes the configuration into it.
    pub(in crate::train) fn open(
        run: &Path,
        step: u64,
        config: &Config,
        class_names: Vec<String>,
    ) -> Result<Self, TrainError> {
        let created = EventFile::create(run, step + 1);
        let mut file = created.map_err(TrainError::io("create a TensorBoard event file in", run))?;
        file.text(step, "configuration", &format!("```toml\n{}\n```", config.to_toml().trim_end()));
        Ok(Self { file, class_names })
    }

    /// Numbers become scalars, other events become text.
    pub(in crate::train) fn write(&mut self, event: &Event) {
        match event {
            Event::Step { step, loss, learning_rate, gradient_norm, .. } => self.file.scalars(
                *step,
                vec![
                    scalar("train/loss", *loss),
                    scalar("train/learning_rate", *learning_rate),
                    scalar("train/gradient_norm", *gradient_norm),
                ],
            ),
            Event::Validation { step, dice, mean_dice, .. } => {
                let class = |(name, dice): (&String, &Option<f64>)| {
                    dice.map(|dice| scalar(format!("validation/dice/{name}"), dice))
                };
                let mean = mean_dice.map(|dice| scalar("validation/mean_dice", dice));
                self.file.scalars(*step, self.class_names.iter().zip(dice).filter_map(class).chain(mean).collect());
            }
            Event::Loader { step, waited_seconds, .. } => {
                self.file.scalars(*step, vec![scalar("loader/waited_seconds", *waited_seconds)]);
            }
            Event::Restored { step, from, .. } => {
                self.tell(*from, event);
                self.file.restart(step + 1);
            }
            Event::Start { step, .. }
            | Event::Warning { step, .. }
            | Event::Initialised { step, .. }
            | Event::Skipped { step, .. }
            | Event::NonfiniteLoss { step, .. }
            | Event::EarlyStop { step, .. }
            | Event::Collapsed { step, .. }
            | Event::Unhealthy { step, .. }
            | Event::DeviceLost { step, .. }
            | Event::Finished { step, .. } => self.tell(*step, event),
            Event::Test { step, mean_dice } => {
                self.file.scalars(*step, mean_dice.map(|dice| scalar("test/mean_dice", dice)).into_iter().collect());
            }
            Event::Cache { .. } | Event::Unwritten { .. } => {}
        }
    }

    fn tell(&mut self, step: u64, event: &Event) {
        let json = serde_json::to_string_pretty(event).expect("events are always JSON");
        self.file.text(step, "events", &format!("```json\n{json}\n```"));
    }

    /// A picture of a case, from its file.
    pub(in crate::train) fn overlay(&mut self, step: u64, case: &str, path: &Path) -> Result<(), TrainError> {
        let png = std::fs::read(path).map_err(TrainError::io("read", path))?;
        self.file.image(step, &format!("overlay/{case}"), png);
        Ok(())
    }

    /// Tells whether all events are in the file.
    pub(in crate::train) fn flush(&mut self) -> Result<(), TrainError> {
        let written = self.file.flush();
        written.map_err(TrainError::io("write", self.file.path()))
    }
}
