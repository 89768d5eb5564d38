//! The notes of a run.

use vnet_engine::train::Progress;

/// The notes of a run.
#[derive(Default)]
pub struct Notes(pub Vec<String>);

impl Progress for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}
