//! From a fingerprint and a budget to a configuration: no device, no chance, no clock.

mod choices;
mod shape;
#[cfg(test)]
mod tests;

use super::fingerprint::Fingerprint;
use super::probe::{Measured, Nominal};
use crate::kernel::Target;
use crate::train::config::Patch;
use crate::train::{Config, Preset, TrainError};
use shape::choose_shape;

/// Steps of a training, at least and at most: with fewer nothing is learnt; the most are the paper's.
const STEPS: [u64; 2] = [300, 30_000];
/// Validations of a training.
const VALIDATIONS: u64 = 10;

/// What a training may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Minutes.
    pub minutes: f64,
    /// Bytes of device memory, where that is known.
    pub memory: Option<u64>,
    /// Speed by the kind of the device.
    pub nominal: Nominal,
}

/// Why a key has its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// The key, e.g. `data.spacing`.
    pub key: &'static str,
    /// In words, with the numbers that decided.
    pub text: String,
}

impl Reason {
    /// Table, key in it, and words.
    pub(super) fn parts(&self) -> (&str, &str, &str) {
        let (table, key) = self.key.split_once('.').expect("plans choose keys of tables");
        (table, key, &self.text)
    }
}

/// A configuration with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// The configuration.
    pub config: Config,
    /// Extents x, y, z of the network's input.
    pub patch: [usize; 3],
    /// Reasons in the order of the keys in the file.
    pub reasons: Vec<Reason>,
}

impl Design {
    fn because(&mut self, key: &'static str, text: String) {
        self.reasons.push(Reason { key, text });
    }

    /// Length and rhythm from the time of a step.
    pub fn set_length(&mut self, measured: &Measured, budget: &Budget) {
        let possible = budget.minutes * 60.0 / measured.step_seconds;
        let steps = two_digits(possible as u64).clamp(STEPS[0], STEPS[1]);
        let training = &mut self.config.training;
        training.steps = steps;
        training.validate_every = steps.div_ceil(VALIDATIONS);
        training.checkpoint_every = training.validate_every;
        let minutes = steps as f64 * measured.step_seconds / 60.0;
        let over = if minutes > 1.05 * budget.minutes { ", which is over the budget: fewer teach nothing" } else { "" };
        self.because(
            "training.steps",
            format!(
                "measured: {:.3} s per step, so {steps} steps take {minutes:.1} of the {} minutes of the budget{over}; \
                 {} at least, {} (the paper's) at most. Validations and the test come on top.",
                measured.step_seconds, budget.minutes, STEPS[0], STEPS[1]
            ),
        );
        let every = format!("measured: a tenth of the steps, since a validation predicts {VALIDATIONS} times in all.");
        self.because("training.validate_every", every);
        self.because("training.checkpoint_every", "measured: with each validation.".to_owned());
    }
}

/// A number with all but its first two digits zero.
fn two_digits(value: u64) -> u64 {
    let scale = 10u64.pow(value.max(1).ilog10().saturating_sub(1));
    value / scale * scale
}

/// The configuration for a data set on a device with these limits, without the length of the training
/// ([`Design::set_length`]).
///
/// # Errors
/// [`TrainError`] when nothing fits the device.
pub fn design(fingerprint: &Fingerprint, budget: &Budget, target: &Target) -> Result<Design, TrainError> {
    let shape = choose_shape(fingerprint, budget, target)?;
    let mut config = Preset::Small.config();
    shape.apply(&mut config);
    let mut design = Design { config, patch: shape.patch, reasons: Vec::new() };
    shape.explain(&mut design, fingerprint, budget);
    choices::data(&mut design, fingerprint);
    choices::augmentation(&mut design, fingerprint, budget, &shape);
    choices::training(&mut design, &shape);
    choices::optimiser(&mut design, &shape);
    debug_assert_eq!(design.config.data.patch, Patch::Fixed(design.patch));
    Ok(design)
}
