//! Confidence intervals by the bootstrap, bias-corrected and accelerated: BCa (Efron 1987, J Am Stat Assoc 82:171; Efron and
//! Tibshirani 1993, chapter 14).
//!
//! ```text
//! z0 = Φ⁻¹( part of the replicates below the estimate, ties by half )
//! a  = Σ (m - m_i)³ / 6 (Σ (m - m_i)²)^1.5        m_i without case i, m their mean
//! α' = Φ( z0 + (z0 + z_α) / (1 - a (z0 + z_α)) )  for z_α = Φ⁻¹(0.025) and Φ⁻¹(0.975)
//! ```
//!
//! The interval lies between the percentiles α' of the replicates, as in `scipy.stats.bootstrap`. Resample number b draws the
//! cases from a stream of (seed, b): intervals are the same on every machine. Samples of equal size are drawn alike, so
//! scores of the same cases are resampled together.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::percentile;
use crate::random::{Purpose, Stream};

/// Samples that are resampled together: their replicates are in memory at once.
const TOGETHER: usize = 64;

/// How intervals are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// `BCa`.
    pub method: String,
    /// Number of resamples.
    pub resamples: usize,
    /// Part of repetitions whose interval should hold the true value.
    pub confidence_level: f64,
    /// Seed of the resamples.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 9,999 resamples, as scipy has it, and 95 %.
    fn default() -> Self {
        Self { method: "BCa".to_owned(), resamples: 9_999, confidence_level: 0.95, seed: 0 }
    }
}

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The parts of a BCa interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bca {
    /// Bias correction z0.
    pub bias: f64,
    /// Acceleration a.
    pub acceleration: f64,
    /// Which parts of the replicates lie below the ends, 0 to 1.
    pub parts: [f64; 2],
    /// The ends.
    pub interval: Interval,
}

impl Bca {
    /// The interval of an estimate, with its replicates of resamples and those with one case left out. `None` where there is no
    /// such interval: all replicates lie on one side.
    pub fn new(estimate: f64, mut replicates: Vec<f64>, without_one: &[f64], confidence_level: f64) -> Option<Self> {
        // Values on a lattice have replicates that are the estimate but for the order of summation.
        let scale = replicates.iter().fold(estimate.abs(), |most, r| most.max(r.abs()));
        let rounding = without_one.len() as f64 * f64::EPSILON * scale;
        let below = replicates.iter().filter(|r| **r < estimate - rounding).count();
        let up_to = replicates.iter().filter(|r| **r <= estimate + rounding).count();
        let bias = normal_quantile((below + up_to) as f64 / (2 * replicates.len()) as f64);
        let acceleration = acceleration(without_one);
        let part = |z: f64| {
            let shifted = bias + z;
            normal_distribution(bias + shifted / (1.0 - acceleration * shifted))
        };
        let z = normal_quantile((1.0 - confidence_level) / 2.0);
        let parts = [part(z), part(-z)];
        if parts.iter().any(|part| !part.is_finite()) {
            return None;
        }
        replicates.sort_by(f64::total_cmp);
        let [low, high] = parts.map(|part| percentile(&replicates, 100.0 * part));
        Some(Self { bias, acceleration, parts, interval: Interval { low: low?, high: high? } })
    }
}

fn acceleration(without_one: &[f64]) -> f64 {
    let mean = without_one.iter().sum::<f64>() / without_one.len() as f64;
    let sum = |power: i32| without_one.iter().map(|value| (mean - value).powi(power)).sum::<f64>();
    sum(3) / (6.0 * sum(2).powf(1.5))
}

impl Bootstrap {
    /// The indexes 0 to `count` - 1 that resample number `resample` draws.
    pub fn draw(&self, resample: usize, count: usize) -> Vec<usize> {
        let mut stream = Stream::new(self.seed, Purpose::Bootstrap, resample as u64);
        (0..count).map(|_| stream.below(count)).collect()
    }

    /// The interval of the mean of each sample; `None` of fewer than two values.
    pub fn means(&self, samples: &[Vec<f64>]) -> Vec<Option<Interval>> {
        let mut found = vec![None; samples.len()];
        let mut by_count: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, sample) in samples.iter().enumerate() {
            let constant = sample.iter().all(|value| *value == sample[0]);
            match sample.len() {
                0 | 1 => {}
                // Means of equal numbers are that number, up to rounding, which is no spread.
                _ if constant => found[number] = Some(Interval { low: sample[0], high: sample[0] }),
                count => by_count.entry(count).or_default().push(number),
            }
        }
        for (count, numbers) in by_count {
            for numbers in numbers.chunks(TOGETHER) {
                let replicate = |resample: usize| {
                    let drawn = self.draw(resample, count);
                    numbers.iter().map(|&n| drawn.iter().map(|&i| samples[n][i]).sum::<f64>() / count as f64).collect()
                };
                let replicates: Vec<Vec<f64>> = (0..self.resamples).into_par_iter().map(replicate).collect();
                for (position, &number) in numbers.iter().enumerate() {
                    let of_one = replicates.iter().map(|means| means[position]).collect();
                    found[number] = self.of_mean(&samples[number], of_one).map(|bca| bca.interval);
                }
            }
        }
        found
    }

    /// The interval of the mean of a sample of at least two values, from the means of its resamples.
    pub fn of_mean(&self, sample: &[f64], replicates: Vec<f64>) -> Option<Bca> {
        let (count, sum) = (sample.len() as f64, sample.iter().sum::<f64>());
        let without_one: Vec<f64> = sample.iter().map(|value| (sum - value) / (count - 1.0)).collect();
        Bca::new(sum / count, replicates, &without_one, self.confidence_level)
    }
}

/// Φ, the distribution of the normal law.
fn normal_distribution(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

/// Φ⁻¹: Abramowitz and Stegun 26.2.23, which is good to 4.5e-4, then three steps of Halley's method, each of which triples the
/// digits. Infinite at 0 and 1.
fn normal_quantile(part: f64) -> f64 {
    if part > 0.5 {
        return -normal_quantile(1.0 - part);
    }
    if part <= 0.0 {
        return f64::NEG_INFINITY;
    }
    let t = (-2.0 * libm::log(part)).sqrt();
    let ratio =
        (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    let mut z = ratio - t;
    for _ in 0..3 {
        let density = libm::exp(-0.5 * z * z) / (2.0 * std::f64::consts::PI).sqrt();
        let step = (normal_distribution(z) - part) / density;
        z -= step / (1.0 + 0.5 * z * step);
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six of the 27 resamples have the mean of the sample, 0 but for rounding, which depends on the order.
    #[test]
    fn a_mean_of_zero_has_ties() {
        let sample = [0.1, 0.2, -0.3];
        let means = (0..27).map(|i| [i / 9, i / 3 % 3, i % 3].map(|at: usize| sample[at]).iter().sum::<f64>() / 3.0);
        let bca = Bootstrap::default().of_mean(&sample, means.collect()).expect("an interval");
        // Ten are below: (10 + 16) / 54.
        approx::assert_abs_diff_eq!(bca.bias, normal_quantile(26.0 / 54.0), epsilon = 1e-12);
    }

    /// Quantiles as published (Abramowitz and Stegun, table 26.5, and scipy's `ndtri`).
    #[test]
    fn quantiles_of_the_normal_law() {
        for (part, quantile) in [
            (0.975, 1.959_963_984_540_054),
            (0.025, -1.959_963_984_540_054),
            (0.995, 2.575_829_303_548_900_4),
            (1e-9, -5.997_807_015_007_687),
            (0.3, -0.524_400_512_708_041),
        ] {
            // Φ is good to a few units in the last place, which the density at 6 sigma leaves so.
            assert!((normal_quantile(part) / quantile - 1.0).abs() < 1e-13, "{part}: {}", normal_quantile(part));
        }
        assert!(normal_quantile(0.5).abs() < 1e-16, "{}", normal_quantile(0.5));
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
    }
}
