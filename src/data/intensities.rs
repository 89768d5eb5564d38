//! The distribution of a volume's intensities in a few numbers, for histogram matching, contrast and gamma.

/// Quantiles that describe a volume, from its lowest intensity to its highest.
pub const QUANTILES: usize = 256;

/// Distribution of the intensities of one channel of a prepared volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Intensities {
    /// Intensities at the [`QUANTILES`] quantiles 0, 1/255, … 1, each that of a voxel.
    pub quantiles: Vec<f32>,
    /// Arithmetic mean.
    pub mean: f32,
}

impl Intensities {
    /// Those of each channel of an image `[.., channels]` of at least one voxel.
    pub fn of_channels(image: &[f32], channels: usize) -> Vec<Intensities> {
        let channel = |c| Intensities::of(image.iter().skip(c).step_by(channels).copied().collect());
        (0..channels).map(channel).collect()
    }

    fn of(mut sorted: Vec<f32>) -> Intensities {
        let sum: f64 = sorted.iter().map(|v| f64::from(*v)).sum();
        sorted.sort_unstable_by(f32::total_cmp);
        let last = sorted.len() - 1;
        let at = |k: usize| sorted[(last * k + (QUANTILES - 1) / 2) / (QUANTILES - 1)];
        Intensities { quantiles: (0..QUANTILES).map(at).collect(), mean: (sum / sorted.len() as f64) as f32 }
    }

    /// The lowest.
    pub fn low(&self) -> f32 {
        self.quantiles[0]
    }

    /// The highest.
    pub fn high(&self) -> f32 {
        self.quantiles[QUANTILES - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_run_from_the_lowest_to_the_highest() {
        let image: Vec<f32> = (0..=510u16).map(|i| f32::from((i * 5) % 511)).collect();
        let found = Intensities::of(image);
        assert_eq!((found.low(), found.high(), found.mean), (0.0, 510.0, 255.0));
        assert!(found.quantiles.iter().enumerate().all(|(k, q)| *q == 2.0 * k as f32));
        assert_eq!(Intensities::of(vec![3.0]).quantiles, [3.0; QUANTILES]);
        let [first, second] = &Intensities::of_channels(&[1.0, 5.0, 3.0, 7.0], 2)[..] else { panic!("two channels") };
        assert_eq!([first.low(), first.mean, second.low(), second.mean], [1.0, 2.0, 5.0, 6.0]);
    }
}
