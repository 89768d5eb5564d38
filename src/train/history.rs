use super::{Log, StepResult, TrainError};
use crate::report::Curves;
use serde_json::Value;
use std::path::Path;

/// What the curves show: kept in memory, and read back from the log when a run goes on.
#[derive(Debug, Default)]
pub(super) struct History {
    curves: Curves,
}

impl History {
    /// Opens the log of a run that has done `step` steps: lines of later steps, which a crash behind the checkpoint
    /// leaves, are dropped; those before are read.
    pub(super) fn open(path: &Path, step: u64) -> Result<(Log, Self), TrainError> {
        let mut history = Self::default();
        if path.exists() {
            let io = |action| move |source| TrainError::Io { path: path.to_owned(), action, source };
            let text = std::fs::read_to_string(path).map_err(io("read the log"))?;
            let mut kept = String::new();
            for line in text.lines() {
                // A line that is not JSON was cut short by a crash, so it is the last one.
                let Ok(event) = serde_json::from_str::<Value>(line) else { break };
                if event["step"].as_u64().is_some_and(|s| s <= step) && event["event"] != "test" {
                    history.replay(&event);
                    kept.push_str(line);
                    kept.push('\n');
                }
            }
            std::fs::write(path, kept).map_err(io("write the log"))?;
        }
        Ok((Log::open(path)?, history))
    }

    fn replay(&mut self, event: &Value) {
        let Some(step) = event["step"].as_u64() else { return };
        if let (Some(loss), Some(rate)) = (event["loss"].as_f64(), event["learning_rate"].as_f64()) {
            self.curves.train.push((step, loss));
            self.curves.learning_rate.push((step, rate));
        }
        if let Some(dice) = event["dice"].as_array() {
            self.curves.validation.push((step, dice.iter().map(|d| d.as_f64().unwrap_or(f64::NAN)).collect()));
        }
    }

    pub(super) fn step(&mut self, result: &StepResult) {
        self.curves.train.push((result.step, result.loss));
        self.curves.learning_rate.push((result.step, result.learning_rate));
    }

    pub(super) fn validation(&mut self, step: u64, dice: &[Option<f64>]) {
        self.curves.validation.push((step, dice.iter().map(|d| d.unwrap_or(f64::NAN)).collect()));
    }

    pub(super) fn curves(&self, class_names: Vec<String>) -> Curves {
        Curves { class_names, ..self.curves.clone() }
    }
}
