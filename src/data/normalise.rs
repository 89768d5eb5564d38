//! Intensities of MR images have no unit: two scans of one patient may differ by a factor of a
//! thousand. Each volume is brought to a common scale by its own statistics.

use serde::{Deserialize, Serialize};

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
    /// Values as they are.
    None,
}

impl Normalisation {
    /// Normalises voxels in place. Where there is no contrast (standard deviation 0, as in a
    /// constant volume) all normalised voxels become 0.
    pub fn apply(self, voxels: &mut [f32]) {
        match self {
            Normalisation::ZScoreAll => z_score(voxels, |_| true),
            Normalisation::ZScoreNonZero => z_score(voxels, |value| value != 0.0),
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
    fn over_all_voxels() {
        // Mean 4, squared deviations 16 + 1 + 25 + 4 + 4 = 50, variance 10.
        let mut voxels = [0.0f32, 3.0, 9.0, 2.0, 6.0];
        Normalisation::ZScoreAll.apply(&mut voxels);
        for (got, deviation) in voxels.iter().zip([-4.0f64, -1.0, 5.0, -2.0, 2.0]) {
            assert!((f64::from(*got) - deviation / 10f64.sqrt()).abs() < 1e-6, "{got}");
        }
    }

    #[test]
    fn zeros_stay_zero_and_do_not_count() {
        // Non-zero: mean 3, variance (4 + 1 + 9) / 3.
        let mut voxels = [0.0f32, 1.0, 2.0, 0.0, 6.0];
        Normalisation::ZScoreNonZero.apply(&mut voxels);
        let deviation = (14f64 / 3.0).sqrt();
        for (got, expected) in voxels.iter().zip([0.0, -2.0, -1.0, 0.0, 3.0]) {
            assert!((f64::from(*got) - expected / deviation).abs() < 1e-6, "{got}");
        }
    }

    #[test]
    fn without_contrast_everything_is_zero() {
        let mut constant = [0.1f32; 7];
        Normalisation::ZScoreAll.apply(&mut constant);
        assert_eq!(constant, [0.0; 7]);
        let mut empty = [0.0f32; 3];
        Normalisation::ZScoreNonZero.apply(&mut empty);
        assert_eq!(empty, [0.0; 3]);
    }

    #[test]
    fn names_in_configurations() {
        let names: Vec<String> = [Normalisation::ZScoreAll, Normalisation::ZScoreNonZero, Normalisation::None]
            .iter()
            .map(|n| serde_json::to_string(n).expect("a name"))
            .collect();
        assert_eq!(names, ["\"z_score_all\"", "\"z_score_non_zero\"", "\"none\""]);
    }
}
