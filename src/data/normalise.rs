//! Brings intensities to a common scale.
//!
//! Intensities of MR have no unit: two scans of one patient may differ by a factor of a thousand. Each volume is normalised by
//! its own statistics. CT has a unit, so there the statistics are those of the organ in all training volumes.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::alignment::read_label_map_on;
use super::dataset::Case;
use super::image::Image;
use super::{Classes, DataError, Volume};

/// Percentiles between which intensities are kept, as in nnU-Net.
const PERCENTILES: [f64; 2] = [0.5, 99.5];
/// Largest number of foreground voxels of a volume that go into the statistics of a data set.
const SAMPLED: usize = 50_000;

/// How the intensities of a volume are brought to a common scale. Standard deviations divide by the
/// count (not by count - 1), as numpy, MONAI and nnU-Net do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    /// (value - mean) / standard deviation over all voxels.
    #[default]
    ZScoreAll,
    /// The same over the voxels that are not exactly 0, which stay 0: for volumes with a masked
    /// background.
    ZScoreNonZero,
    /// Clipped to the volume's percentiles 0.5 and 99.5, then as `z_score_all`: a few very bright voxels do not set the
    /// scale.
    PercentileClip,
    /// Clipped to the window of [`IntensityStatistics`], then (value - mean) / standard deviation of these.
    CtWindow,
    /// Values as they are.
    None,
}

/// Statistics of the foreground of a data set; four numbers `[lower, upper, mean, standard deviation]` in files.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 4]", into = "[f64; 4]")]
pub struct IntensityStatistics {
    /// Lower end of the window.
    pub lower: f64,
    /// Upper end of the window.
    pub upper: f64,
    /// Mean of the foreground.
    pub mean: f64,
    /// Standard deviation of the foreground.
    pub deviation: f64,
}

impl From<[f64; 4]> for IntensityStatistics {
    fn from([lower, upper, mean, deviation]: [f64; 4]) -> Self {
        Self { lower, upper, mean, deviation }
    }
}

impl From<IntensityStatistics> for [f64; 4] {
    fn from(s: IntensityStatistics) -> Self {
        [s.lower, s.upper, s.mean, s.deviation]
    }
}

impl IntensityStatistics {
    /// Of the labelled voxels of cases (of `labels`, those of a class above 0; without them of a value above 0), for each
    /// channel: percentiles 0.5 and 99.5, mean and standard deviation. Of a volume with more than 50,000 of them, every k-th
    /// counts. Channels on another grid are resampled onto the first one's if `align` says so.
    ///
    /// # Errors
    /// [`DataError`] that names the file, or [`DataError::Setting`] when no voxel is labelled.
    pub fn of_foreground(
        cases: &[Case],
        labels: Option<&Classes>,
        align: bool,
    ) -> Result<Vec<IntensityStatistics>, DataError> {
        let of_case = |case| foreground_of(case, labels, align);
        let per_case = cases.par_iter().map(of_case).collect::<Result<Vec<_>, _>>()?;
        let channels = per_case.first().map_or(1, Vec::len);
        let of_channel = |channel: usize| {
            let values = per_case.iter().filter_map(|case| case.get(channel)).flatten().copied().collect();
            Self::of(values).ok_or(DataError::Setting {
                key: "data.normalisation",
                found: "ct_window, but no training label has foreground".into(),
                expected: "labelled voxels, or data.ct_window = [lower, upper, mean, standard deviation]",
            })
        };
        (0..channels).map(of_channel).collect()
    }

    /// Whether these are the numbers of a window.
    pub fn is_sensible(&self) -> bool {
        let finite = [self.lower, self.upper, self.mean, self.deviation].iter().all(|value| value.is_finite());
        finite && self.lower < self.upper && self.deviation > 0.0
    }

    /// Of values; none if there are no values.
    fn of(mut values: Vec<f32>) -> Option<IntensityStatistics> {
        values.sort_unstable_by(f32::total_cmp);
        let [lower, upper] = PERCENTILES.map(|percent| percentile(&values, percent));
        let count = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
        Some(Self { lower: lower?, upper: upper?, mean, deviation: variance.sqrt() })
    }
}

/// Labelled voxels of each channel of a case.
fn foreground_of(case: &Case, labels: Option<&Classes>, align: bool) -> Result<Vec<Vec<f32>>, DataError> {
    let image = Image::open(&case.image, align)?;
    let label = read_label_map_on(&case.label, image.first())?;
    let is_foreground = |value: u16| match labels {
        Some(classes) => classes.class_of(value).is_some_and(|class| class > 0),
        None => value > 0,
    };
    let count = label.voxels.iter().filter(|&&value| is_foreground(value)).count();
    let of_channel = |channel: Volume| {
        let labelled = channel.voxels.iter().zip(&label.voxels).filter(|(_, value)| is_foreground(**value));
        labelled.map(|(value, _)| *value).step_by(count.div_ceil(SAMPLED).max(1)).collect()
    };
    Ok(image.read()?.into_iter().map(of_channel).collect())
}

/// Percentile of ascending values by linear interpolation, as numpy's.
fn percentile(ascending: &[f32], percent: f64) -> Option<f64> {
    let rank = percent / 100.0 * ascending.len().checked_sub(1)? as f64;
    let (lower, upper) = (ascending[rank.floor() as usize], ascending[rank.ceil() as usize]);
    Some(f64::from(lower) + (f64::from(upper) - f64::from(lower)) * rank.fract())
}

impl Normalisation {
    /// Normalises voxels in place. Where there is no contrast (standard deviation 0, as in a
    /// constant volume) all normalised voxels become 0.
    ///
    /// # Panics
    /// If `statistics` are missing for [`Normalisation::CtWindow`].
    pub fn apply(self, voxels: &mut [f32], statistics: Option<&IntensityStatistics>) {
        match self {
            Normalisation::ZScoreAll => z_score(voxels, |_| true),
            Normalisation::ZScoreNonZero => z_score(voxels, |value| value != 0.0),
            Normalisation::PercentileClip => {
                let mut ascending = voxels.to_vec();
                ascending.sort_unstable_by(f32::total_cmp);
                let [lower, upper] = PERCENTILES.map(|percent| percentile(&ascending, percent));
                if let (Some(lower), Some(upper)) = (lower, upper) {
                    voxels.iter_mut().for_each(|value| *value = value.clamp(lower as f32, upper as f32));
                }
                z_score(voxels, |_| true);
            }
            Normalisation::CtWindow => {
                let s = statistics.expect("a CT window comes with its statistics");
                let factor = if s.deviation > 0.0 { 1.0 / s.deviation } else { 0.0 };
                for value in voxels {
                    *value = ((f64::from(*value).clamp(s.lower, s.upper) - s.mean) * factor) as f32;
                }
            }
            Normalisation::None => {}
        }
    }
}

fn z_score(voxels: &mut [f32], counts: impl Fn(f32) -> bool) {
    let chosen = || voxels.iter().copied().filter(|&value| counts(value)).map(f64::from);
    let count = chosen().count() as f64;
    if count == 0.0 {
        return;
    }
    let mean = chosen().sum::<f64>() / count;
    let deviation = (chosen().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count).sqrt();
    // A constant volume has a mean that differs from its value by rounding alone.
    let smallest = 1e-12 * mean.abs();
    let factor = if deviation > smallest { 1.0 / deviation } else { 0.0 };
    for value in voxels.iter_mut().filter(|value| counts(**value)) {
        *value = ((f64::from(*value) - mean) * factor) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voxels_by_hand() {
        use Normalisation::{CtWindow, ZScoreAll, ZScoreNonZero};
        let statistics = IntensityStatistics::from([-100.0, 200.0, 50.0, 20.0]);
        for (normalisation, voxels, expected, deviation) in [
            // Mean 4, squared deviations 16 + 1 + 25 + 4 + 4 = 50, variance 10.
            (ZScoreAll, [0.0, 3.0, 9.0, 2.0, 6.0], [-4.0, -1.0, 5.0, -2.0, 2.0], 10f64.sqrt()),
            // Zeros stay and do not count: mean 3, variance (4 + 1 + 9) / 3.
            (ZScoreNonZero, [0.0, 1.0, 2.0, 0.0, 6.0], [0.0, -2.0, -1.0, 0.0, 3.0], (14f64 / 3.0).sqrt()),
            // Without contrast everything is zero.
            (ZScoreAll, [0.1; 5], [0.0; 5], 1.0),
            (ZScoreNonZero, [0.0; 5], [0.0; 5], 1.0),
            (CtWindow, [-1000.0, -100.0, 50.0, 90.0, 3000.0], [-7.5, -7.5, 0.0, 2.0, 7.5], 1.0),
        ] {
            let mut found: [f32; 5] = voxels;
            normalisation.apply(&mut found, Some(&statistics));
            for (found, expected) in found.iter().zip(expected) {
                let error = (f64::from(*found) - expected / deviation).abs();
                assert!(error <= if deviation == 1.0 { 0.0 } else { 1e-6 }, "{found} of {normalisation:?}");
            }
        }
    }

    #[test]
    fn few_bright_voxels_do_not_set_the_scale() {
        let mut voxels: Vec<f32> = (0..1000).map(|v| ((v * 37) % 100) as f32).collect();
        (voxels[13], voxels[500]) = (1e6, -1e6);
        Normalisation::PercentileClip.apply(&mut voxels, None);
        // Uniform on 0..100: standard deviation 29, so nothing lies beyond 1.8.
        assert!(
            voxels.iter().all(|v| v.abs() < 1.8),
            "{:?}",
            voxels.iter().copied().fold(0.0f32, |a, v| a.max(v.abs()))
        );
        // numpy.percentile([1, 2, 4, 8], [0.5, 99.5])
        let ascending = [1.0, 2.0, 4.0, 8.0];
        let found = PERCENTILES.map(|percent| percentile(&ascending, percent).expect("values"));
        for (found, expected) in found.iter().zip([1.015, 7.94]) {
            assert!((found - expected).abs() < 1e-12, "{found}");
        }
    }

    #[test]
    fn statistics_of_a_data_set_by_hand() {
        let found = IntensityStatistics::of(vec![8.0, 1.0, 4.0, 2.0]).expect("values");
        assert!((found.lower - 1.015).abs() < 1e-12 && (found.upper - 7.94).abs() < 1e-12, "{found:?}");
        // Mean 3.75; squared deviations 7.5625 + 3.0625 + 0.0625 + 18.0625.
        assert_eq!((found.mean, found.deviation), (3.75, (28.75f64 / 4.0).sqrt()));
        assert_eq!(IntensityStatistics::of(Vec::new()), None);
    }

    #[test]
    fn names_in_configurations() {
        use Normalisation::{CtWindow, None, PercentileClip, ZScoreAll, ZScoreNonZero};
        let names = serde_json::to_value([ZScoreAll, ZScoreNonZero, PercentileClip, CtWindow, None]).expect("names");
        let expected = ["z_score_all", "z_score_non_zero", "percentile_clip", "ct_window", "none"];
        assert_eq!(names, serde_json::json!(expected));
    }
}
