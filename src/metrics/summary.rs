//! Statistics over the cases in which a score is defined, with the number of those in which it is not.

use serde::{Deserialize, Serialize};

use super::Interval;

/// Mean, spread and range of one score over cases.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Cases in which the score is defined; all statistics are over these.
    pub defined: usize,
    /// Cases in which it is not (empty prediction or reference).
    pub undefined: usize,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Sample standard deviation (divisor n - 1); needs two cases.
    pub standard_deviation: Option<f64>,
    /// Median; the mean of the middle two for an even count.
    pub median: Option<f64>,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Confidence interval of the mean, where it was asked for: see [`super::Bootstrap`].
    #[serde(default)]
    pub interval: Option<Interval>,
}

impl Summary {
    /// Summarises one score over cases; `None` is a case in which it is undefined.
    pub fn of(values: impl IntoIterator<Item = Option<f64>>) -> Self {
        let (mut defined, mut undefined) = (Vec::new(), 0);
        for value in values {
            match value {
                Some(value) => defined.push(value),
                None => undefined += 1,
            }
        }
        defined.sort_by(f64::total_cmp);
        let count = defined.len() as f64;
        let mean = (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / count);
        let standard_deviation = mean.filter(|_| defined.len() > 1).map(|mean| {
            let squares: f64 = defined.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (count - 1.0)).sqrt()
        });
        Self {
            defined: defined.len(),
            undefined,
            mean,
            standard_deviation,
            median: percentile(&defined, 50.0),
            min: defined.first().copied(),
            max: defined.last().copied(),
            interval: None,
        }
    }
}

/// The `percent`-th percentile (0 to 100) of ascending values, linearly interpolated between the closest ranks:
/// rank `percent / 100 * (n - 1)`, as `numpy.percentile` by default (Hyndman and Fan 1996, type 7). None when empty.
pub fn percentile(ascending: &[f64], percent: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    let rank = (percent / 100.0).clamp(0.0, 1.0) * last as f64;
    let below = ascending[rank.floor() as usize];
    let above = ascending[rank.ceil() as usize];
    Some(below + (above - below) * rank.fract())
}
