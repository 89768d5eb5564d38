//! What a run tells people.

use vnet_engine::train::{Progress, Started, StepResult};

/// The notes of a run.
#[derive(Default)]
pub struct Notes(pub Vec<String>);

impl Progress for Notes {
    fn started(&mut self, _run: &Started<'_>) {}
    fn step(&mut self, _result: &StepResult) {}
    fn validated(&mut self, _step: u64, _dice: &[Option<f64>], _mean: Option<f64>, _best: bool) {}
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}
