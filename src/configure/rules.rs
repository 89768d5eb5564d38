//! From a fingerprint and a budget to a configuration: a pure function.

mod choices;
mod shape;
#[cfg(test)]
mod tests;

use super::fingerprint::Fingerprint;
use super::probe::{Measured, Nominal};
use super::{CANDIDATES, Trial, trials};
use crate::kernel::Target;
use crate::train::config::Patch;
use crate::train::{Config, Preset, TrainError};
use shape::choose_shape;

/// Steps of a training, at least and at most: fewer teach nothing, the most are the paper's.
const STEPS: [u64; 2] = [300, 30_000];
/// Validations of a training, at most.
const VALIDATIONS: u64 = 10;
/// Share of the budget for validations and test, at most, if there is more than one validation.
const CHECKING: f64 = 0.2;

/// Time and memory that a training may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Minutes.
    pub minutes: f64,
    /// Bytes of device memory, where that is known.
    pub memory: Option<u64>,
    /// Expected speed of the device.
    pub nominal: Nominal,
}

/// Why a key has its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// The key, e.g. `data.spacing`.
    pub key: &'static str,
    /// The reason, with the numbers that decided.
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
    fn because(&mut self, key: &'static str, text: impl Into<String>) {
        self.reasons.push(Reason { key, text: text.into() });
    }

    /// Takes the configuration of the best of the trials, with a reason for each key that it changes, and returns what was measured of it.
    ///
    /// # Panics
    /// When there are no trials: that of the rules is always the first.
    pub fn take_best(&mut self, tried: &[Trial]) -> Measured {
        let (rules, best) = (&tried[0], trials::best(tried));
        if let Some(candidate) = CANDIDATES.iter().find(|candidate| candidate.name == best.name) {
            let [mean, error] = best.gain(rules);
            let why = format!(
                "measured: in a trial of {:.0} s, {} gained {mean:.3} soft Dice (standard error {error:.3}) over the rules': {}.",
                best.seconds, best.name, candidate.why
            );
            let of_patch =
                if best.design.patch == rules.design.patch { [].as_slice() } else { &["data.patch", "data.sampling"] };
            for key in candidate.changes.iter().map(|change| change.0).chain(of_patch.iter().copied()) {
                match self.reasons.iter_mut().find(|reason| reason.key == key) {
                    Some(reason) => reason.text = format!("{why} The rules said: {}", reason.text),
                    None => self.because(key, why.clone()),
                }
            }
            (self.config, self.patch) = (best.design.config.clone(), best.design.patch);
        }
        best.measured.clone()
    }

    /// Chooses steps and validations from the times of a step, a validation and the test, so that the whole is within the
    /// budget.
    pub fn set_length(&mut self, measured: &Measured, budget: &Budget) {
        let all = budget.minutes * 60.0;
        let looking = |validations: u64| validations as f64 * measured.validation_seconds + measured.test_seconds;
        let validations = (1..=VALIDATIONS).rev().find(|&count| looking(count) <= CHECKING * all).unwrap_or(1);
        let possible = (all - looking(validations)).max(0.0) / measured.step_seconds;
        let steps = two_digits(possible as u64).clamp(STEPS[0], STEPS[1]);
        let training = &mut self.config.training;
        training.steps = steps;
        training.validate_every = steps.div_ceil(validations);
        training.checkpoint_every = steps.div_ceil(VALIDATIONS);
        let stepping = steps as f64 * measured.step_seconds;
        let taken = stepping + looking(validations);
        let over = if taken > 1.05 * all { ", which is over the budget: fewer steps teach nothing" } else { "" };
        let share = |seconds: f64| 100.0 * seconds / taken;
        self.because(
            "training.steps",
            format!(
                "measured: {:.3} s per step, so {steps} steps take {:.1} minutes ({:.0} % of the training), validations \
                 {:.1} ({:.0} %) and the test {:.1} ({:.0} %): {:.1} of the {} minutes of the budget{over}; {} steps at \
                 least, {} (the paper's) at most.",
                measured.step_seconds,
                stepping / 60.0,
                share(stepping),
                (taken - stepping - measured.test_seconds) / 60.0,
                share(taken - stepping - measured.test_seconds),
                measured.test_seconds / 60.0,
                share(measured.test_seconds),
                taken / 60.0,
                budget.minutes,
                STEPS[0],
                STEPS[1]
            ),
        );
        self.because(
            "training.validate_every",
            format!(
                "measured: a validation takes {:.1} s, so there are {validations}, of {VALIDATIONS} at most; with the test \
                 they are to take no more than a fifth of the time.",
                measured.validation_seconds
            ),
        );
        self.because("training.checkpoint_every", "measured: a tenth of the steps.");
    }
}

/// A number with all but its first two digits zero.
fn two_digits(value: u64) -> u64 {
    let scale = 10u64.pow(value.max(1).ilog10().saturating_sub(1));
    value / scale * scale
}

/// The configuration for a data set and a device, without the length of the training ([`Design::set_length`]).
///
/// # Errors
/// [`TrainError`] when nothing fits the device.
pub fn design(fingerprint: &Fingerprint, budget: &Budget, target: &Target) -> Result<Design, TrainError> {
    let crop = choices::crop(fingerprint);
    let seen = &*fingerprint.seen(crop.unwrap_or_default());
    let shape = choose_shape(seen, budget, target)?;
    let mut config = Preset::Small.config();
    shape.apply(&mut config);
    let mut design = Design { config, patch: shape.patch, reasons: Vec::new() };
    shape.explain(&mut design, seen, budget);
    choices::data(&mut design, (fingerprint, seen));
    choices::augmentation(&mut design, seen, budget, &shape);
    choices::training(&mut design);
    choices::optimiser(&mut design);
    debug_assert_eq!(design.config.data.patch, Patch::Fixed(design.patch));
    Ok(design)
}
