//! Is a training still learning? Counts steps that are not finite and validations of one class, and says when to react.

use super::{HealthConfig, Reaction};
use serde::{Deserialize, Serialize};

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// This many steps in a row were not finite.
    Nonfinite(u64),
    /// This many validations in a row predicted one class throughout.
    Collapsed(u64),
    /// Parameters or moments are not finite.
    Parameters,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nonfinite(steps) => write!(f, "{steps} steps in a row whose loss or gradient is not finite"),
            Self::Collapsed(times) => write!(f, "{times} validations in a row that predict one class throughout"),
            Self::Parameters => f.write_str("parameters or moments that are not finite"),
        }
    }
}

/// Restorations of a run so far; part of its checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Restorations {
    pub(super) count: u32,
    /// Factor on the scheduled learning rate.
    pub(super) learning_rate: f64,
}

impl Default for Restorations {
    fn default() -> Self {
        Self { count: 0, learning_rate: 1.0 }
    }
}

/// What the newest validations predicted; part of a run's checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Predictions {
    /// Consecutive validations that predicted one class throughout.
    pub(super) collapsed: u64,
    /// Step of the newest that predicted more than one.
    pub(super) structured: Option<u64>,
}

/// Counts of consecutive reports.
#[derive(Debug)]
pub(super) struct Health {
    config: HealthConfig,
    nonfinite: u64,
    parameters_lost: bool,
    predictions: Predictions,
}

impl Health {
    /// The health of a run whose newest validations predicted this.
    pub(super) fn new(config: &HealthConfig, predictions: Predictions) -> Self {
        Self { config: config.clone(), nonfinite: 0, parameters_lost: false, predictions }
    }

    pub(super) fn predictions(&self) -> Predictions {
        self.predictions
    }

    pub(super) fn step(&mut self, finite: bool) {
        self.nonfinite = if finite { 0 } else { self.nonfinite + 1 };
    }

    pub(super) fn validation(&mut self, step: u64, constant: bool) {
        let Predictions { collapsed, structured } = self.predictions;
        self.predictions = match constant {
            true => Predictions { collapsed: collapsed + 1, structured },
            false => Predictions { collapsed: 0, structured: Some(step) },
        };
    }

    pub(super) fn parameters(&mut self, finite: bool) {
        self.parameters_lost |= !finite;
    }

    /// Whether the state is good enough for a checkpoint: no while steps have no effect, or while a network that knew several
    /// classes predicts only one.
    pub(super) fn is_well(&self) -> bool {
        let Predictions { collapsed, structured } = self.predictions;
        self.nonfinite == 0 && !self.parameters_lost && (collapsed == 0 || structured.is_none())
    }

    /// The newest step whose checkpoint is good, if that is known.
    pub(super) fn good_until(&self, trouble: Trouble) -> Option<u64> {
        self.predictions.structured.filter(|_| matches!(trouble, Trouble::Collapsed(_)))
    }

    /// What is wrong and how to react, if anything is.
    pub(super) fn trouble(&self) -> Option<(Trouble, Reaction)> {
        let config = &self.config;
        let reached = |count: u64, limit: u64| limit > 0 && count >= limit;
        if self.parameters_lost {
            // No step can repair them.
            let reaction = if config.nonfinite == Reaction::Stop { Reaction::Stop } else { Reaction::Restore };
            return Some((Trouble::Parameters, reaction));
        }
        let nonfinite = reached(self.nonfinite, config.nonfinite_steps)
            .then_some((Trouble::Nonfinite(self.nonfinite), config.nonfinite));
        let times = self.predictions.collapsed;
        let collapsed =
            reached(times, config.collapsed_validations).then_some((Trouble::Collapsed(times), config.collapsed));
        nonfinite.into_iter().chain(collapsed).find(|(_, reaction)| *reaction != Reaction::Continue)
    }

    /// Starts to count anew, after a restoration.
    pub(super) fn recovered(&mut self) {
        *self = Self::new(&self.config, Predictions { collapsed: 0, ..self.predictions });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(nonfinite: Reaction, collapsed: Reaction) -> Health {
        let config =
            HealthConfig { nonfinite_steps: 3, collapsed_validations: 2, nonfinite, collapsed, ..Default::default() };
        Health::new(&config, Predictions::default())
    }

    #[test]
    fn only_consecutive_steps_count() {
        let mut h = health(Reaction::Restore, Reaction::Continue);
        for finite in [false, false, true, false, false] {
            h.step(finite);
            assert_eq!((h.trouble(), h.is_well()), (None, finite));
        }
        h.step(false);
        assert_eq!(h.trouble(), Some((Trouble::Nonfinite(3), Reaction::Restore)));
        h.recovered();
        assert!(h.trouble().is_none() && h.is_well());
    }

    #[test]
    fn a_network_that_never_knew_two_classes_is_no_reason_to_withhold_checkpoints() {
        let mut h = health(Reaction::Restore, Reaction::Stop);
        h.validation(10, true);
        assert!(h.is_well() && h.trouble().is_none());
        h.validation(20, false);
        h.validation(30, true);
        assert!(!h.is_well());
        h.validation(40, true);
        assert_eq!(h.trouble(), Some((Trouble::Collapsed(2), Reaction::Stop)));
        assert_eq!(h.good_until(Trouble::Collapsed(2)), Some(20));
        assert_eq!(h.good_until(Trouble::Parameters), None);
    }

    #[test]
    fn what_is_to_be_continued_is_no_trouble_except_lost_parameters() {
        let mut h = health(Reaction::Continue, Reaction::Continue);
        (0..9).for_each(|_| h.step(false));
        (0..9).for_each(|step| h.validation(step, true));
        assert_eq!(h.trouble(), None);
        h.parameters(false);
        assert_eq!(h.trouble(), Some((Trouble::Parameters, Reaction::Restore)));
    }
}
