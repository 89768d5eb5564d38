use crate::registry::{Entry, Hyperparameter, Registry};
use std::f64::consts::PI;

/// How the learning rate goes down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Schedule {
    /// It does not.
    Constant,
    /// Times `factor` every `every` steps; the paper's is 0.1 every 25,000.
    Step {
        /// Steps at one learning rate.
        every: u64,
        /// Factor at the end of each.
        factor: f64,
    },
    /// `base * (1 - step / total)^power`; nnU-Net's power is 0.9.
    Poly {
        /// Exponent.
        power: f64,
    },
    /// Half a cosine from the base to `minimum` (`torch.optim.lr_scheduler.CosineAnnealingLR`).
    Cosine {
        /// Learning rate at the end.
        minimum: f64,
    },
}

/// The table of schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedules;

/// Steps at one learning rate; the paper's by default.
static EVERY: Hyperparameter = Hyperparameter::whole("every", 25_000, "at least 1", |value| value >= 1);

/// Factor at the end of each.
static FACTOR: Hyperparameter = Hyperparameter::number("factor", 0.1, "0 to 1", |value| (0.0..=1.0).contains(&value));

/// Exponent of `poly`; nnU-Net's by default.
static POWER: Hyperparameter = Hyperparameter::number("power", 0.9, "0 to 100", |value| (0.0..=100.0).contains(&value));

impl Registry for Schedules {
    type Item = Schedule;
    const ENTRIES: &'static [Entry<Self>] = &[
        Entry { name: "constant", hyperparameters: &[], build: |_| Schedule::Constant, variants: &[] },
        Entry {
            name: "step",
            hyperparameters: &[&EVERY, &FACTOR],
            build: |values| Schedule::Step { every: values.whole("every"), factor: values.number("factor") },
            variants: &[],
        },
        Entry {
            name: "poly",
            hyperparameters: &[&POWER],
            build: |values| Schedule::Poly { power: values.number("power") },
            variants: &[],
        },
        Entry { name: "cosine", hyperparameters: &[], build: |_| Schedule::Cosine { minimum: 0.0 }, variants: &[] },
    ];
}

/// The learning rate of every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    /// Learning rate at the start of the schedule.
    pub base: f64,
    /// Steps of linear increase to `base`; the schedule covers what is left after them.
    pub warm_up: u64,
    /// How it goes on.
    pub schedule: Schedule,
}

impl Schedule {
    /// Learning rate of step `step`, counted from 0, of `total_steps`.
    pub fn learning_rate(&self, base: f64, step: u64, total_steps: u64) -> f64 {
        let done = (step as f64 / total_steps.max(1) as f64).min(1.0);
        match *self {
            Self::Constant => base,
            Self::Step { every, factor } => base * factor.powf((step / every.max(1)) as f64),
            Self::Poly { power } => base * (1.0 - done).powf(power),
            Self::Cosine { minimum } => minimum + 0.5 * (base - minimum) * (1.0 + (PI * done).cos()),
        }
    }
}

impl LearningRate {
    /// Learning rate of step `step`, counted from 0, of `total_steps`.
    pub fn at(&self, step: u64, total_steps: u64) -> f64 {
        match step.checked_sub(self.warm_up) {
            None => self.base * (step + 1) as f64 / self.warm_up as f64,
            Some(step) => self.schedule.learning_rate(self.base, step, total_steps.saturating_sub(self.warm_up)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    fn rate(schedule: Schedule, step: u64) -> f64 {
        schedule.learning_rate(1e-4, step, 1000)
    }

    #[test]
    fn the_paper_divides_by_ten_every_25000_steps() {
        let paper = Schedule::Step { every: 25_000, factor: 0.1 };
        for (step, expected) in [(0, 1e-4), (24_999, 1e-4), (25_000, 1e-5), (49_999, 1e-5), (50_000, 1e-6)] {
            assert_relative_eq!(rate(paper, step), expected, max_relative = 1e-12);
        }
    }

    #[test]
    fn poly_and_cosine_by_hand() {
        let poly = Schedule::Poly { power: 0.9 };
        assert_eq!(rate(poly, 0), 1e-4);
        // 0.5^0.9 = 0.535886731268...
        assert_relative_eq!(rate(poly, 500), 0.535_886_731_268_146_4e-4, max_relative = 1e-12);
        assert_eq!(rate(poly, 1000), 0.0);
        let cosine = Schedule::Cosine { minimum: 2e-5 };
        assert_relative_eq!(rate(cosine, 0), 1e-4, max_relative = 1e-12);
        assert_relative_eq!(rate(cosine, 500), 6e-5, max_relative = 1e-12);
        // cos 60 degrees is 1/2: 2e-5 + 8e-5 * 3/4.
        assert_relative_eq!(Schedule::learning_rate(&cosine, 1e-4, 1, 3), 8e-5, max_relative = 1e-12);
        assert_relative_eq!(rate(cosine, 1000), 2e-5, max_relative = 1e-12);
        assert_eq!(rate(Schedule::Constant, 999), 1e-4);
    }

    #[test]
    fn warm_up_reaches_the_base_and_shifts_the_schedule() {
        let learning_rate = LearningRate { base: 0.1, warm_up: 4, schedule: Schedule::Poly { power: 1.0 } };
        for (step, expected) in [(0, 0.025), (3, 0.1), (4, 0.1), (7, 0.05)] {
            assert_relative_eq!(learning_rate.at(step, 10), expected, max_relative = 1e-12);
        }
    }
}
