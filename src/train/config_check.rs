//! The ranges of the configuration's numbers.

use super::config::Config;
use crate::registry::Value;
use std::borrow::Cow;

/// A key, what it takes, and what was given.
pub(super) type Mistake = (&'static str, &'static str, String);

/// Notes a mistake unless the value is good.
fn expect(mistakes: &mut Vec<Mistake>, good: bool, key: &'static str, expected: &'static str, found: impl ToString) {
    if !good {
        mistakes.push((key, expected, found.to_string()));
    }
}

impl Config {
    /// All values out of range. Comparisons are such that NaN is in none.
    pub(super) fn mistakes(&self) -> Vec<(Cow<'static, str>, &'static str, String)> {
        let of_table = |table: &'static str| {
            move |(key, expected, found): (&str, _, Value)| {
                (Cow::from(format!("{table}.{key}")), expected, found.to_string())
            }
        };
        let fixed = self.fixed_mistakes().into_iter().map(|(key, expected, found)| (Cow::from(key), expected, found));
        let of_optimisers = self.optimiser.hyperparameters.mistakes().into_iter().map(of_table("optimiser"));
        let of_schedules = self.schedule.hyperparameters.mistakes().into_iter().map(of_table("schedule"));
        let of_networks = self.network.architecture.values.mistakes().into_iter().map(of_table("network"));
        let of_losses = self.training.loss.values.mistakes().into_iter().map(of_table("training"));
        fixed.chain(of_networks).chain(of_losses).chain(of_optimisers).chain(of_schedules).collect()
    }

    /// Those of the keys that every configuration has.
    fn fixed_mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = self.data.mistakes();
        mistakes.extend(self.augmentation.mistakes());
        let t = &self.training;
        expect(&mut mistakes, t.steps >= 1, "training.steps", "at least 1", t.steps);
        for (key, value) in [("training.batch", t.batch), ("training.loader_threads", t.loader_threads)] {
            expect(&mut mistakes, (1..=64).contains(&value), key, "1 to 64", value);
        }
        let good = t.accumulation >= 1 && t.batch.is_multiple_of(t.accumulation);
        expect(&mut mistakes, good, "training.accumulation", "a divisor of training.batch", t.accumulation);
        let kept = t.keep_checkpoints;
        expect(&mut mistakes, (1..=1000).contains(&kept), "training.keep_checkpoints", "1 to 1000", kept);
        let decay = t.ema_decay;
        let expected = "0 (no average) up to, not including, 1";
        expect(&mut mistakes, (0.0..1.0).contains(&decay), "training.ema_decay", expected, decay);
        let patience = t.patience;
        expect(&mut mistakes, patience <= 1_000_000, "training.patience", "0 (never) to 1000000", patience);
        let gain = self.network.head_gain;
        expect(&mut mistakes, (0.0..=100.0).contains(&gain), "network.head_gain", "0 to 100", gain);
        self.optimiser_mistakes(&mut mistakes);
        let factor = self.health.learning_rate_factor;
        let good = factor > 0.0 && factor <= 1.0;
        expect(&mut mistakes, good, "health.learning_rate_factor", "above 0, at most 1", factor);
        mistakes
    }

    fn optimiser_mistakes(&self, mistakes: &mut Vec<Mistake>) {
        let o = &self.optimiser;
        // The kernels compute in float32.
        let positive = |value: f64, most: f64| value as f32 > 0.0 && value <= most;
        let rate = o.learning_rate;
        expect(mistakes, positive(rate, 1e3), "optimiser.learning_rate", "a positive number up to 1000", rate);
        let (decay, clip) = (o.weight_decay, o.clip_norm);
        expect(mistakes, (0.0..=1e3).contains(&decay), "optimiser.weight_decay", "0 to 1000", decay);
        expect(mistakes, (0.0..=1e30).contains(&clip), "optimiser.clip_norm", "0 (no clipping) to 1e30", clip);
    }
}
