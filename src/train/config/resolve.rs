//! Values that are chosen from the data.

use super::{AutoOr, Config};
use crate::data::io::read_header_of;
use crate::data::{
    Case, Classes, Crop, DataError, IntensityStatistics, Normalisation, PerChannel, Reorientation, Resampling,
};
use crate::train::TrainError;
use rayon::prelude::*;

impl Config {
    /// The effective configuration: with this patch, these classes (with the values that are ignored, and regions), and the CT window of the training cases where it is
    /// automatic.
    ///
    /// # Errors
    /// [`DataError`] that names the file.
    pub fn resolved(
        &self,
        patch: [usize; 3],
        channels: usize,
        classes: Option<&Classes>,
        training: &[Case],
    ) -> Result<Self, DataError> {
        let mut config = self.clone();
        let data = &mut config.data;
        data.patch = AutoOr::Fixed(patch);
        data.declare(classes);
        let (normalisation, windows) = (&data.normalisation, &data.ct_window);
        let needed = |c| *normalisation.of(c) == Normalisation::CtWindow && *windows.of(c) == AutoOr::AUTO;
        if (0..channels).any(needed) {
            let found = IntensityStatistics::of_foreground(training, classes, data.align)?;
            let window = |c| if needed(c) { AutoOr::Fixed(found[c]) } else { *windows.of(c) };
            data.ct_window = match channels {
                1 => window(0).into(),
                _ => PerChannel::each((0..channels).map(window).collect()),
            };
        }
        Ok(config)
    }
}

/// The extents x, y, z of the network's input: the configured ones, else the median of the training volumes at the training
/// spacing, rounded up to multiples of `divisor` `[D, H, W]`, with the longest axes reduced until `max_patch_voxels` holds.
///
/// # Errors
/// [`TrainError::Data`] when a header cannot be read.
pub fn choose_patch(config: &Config, cases: &[Case], divisor: [usize; 3]) -> Result<[usize; 3], TrainError> {
    if let Some(patch) = config.data.patch.fixed() {
        return Ok(patch);
    }
    let extents_of = |case: &Case| -> Result<[usize; 3], DataError> {
        let grid = match config.data.crop {
            Crop::None => {
                read_header_of(case.image.first(), case.image.series())?.grid_of_channels(case.image.first())?
            }
            crop => crop.grid_of(&case.image, config.data.align)?,
        };
        let oriented =
            if config.data.canonical { Reorientation::to_ras(&grid).apply_to_grid(&grid) } else { grid.clone() };
        Ok(Resampling::new(&oriented, &config.data.spacing).to)
    };
    // Of many cases on a file server most of the time is waiting.
    let extents = cases.par_iter().map(extents_of).collect::<Result<Vec<_>, _>>()?;
    let median_of = |axis: usize| median(extents.iter().map(|extents| extents[axis]).collect());
    let [d, h, w] = divisor;
    Ok(fit_patch(std::array::from_fn(median_of), [w, h, d], config.data.max_patch_voxels))
}

fn median(mut values: Vec<usize>) -> usize {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(1)
}

/// Rounds up to multiples of `divisor`, then shortens the longest axis step by step.
fn fit_patch(extents: [usize; 3], divisor: [usize; 3], max_voxels: usize) -> [usize; 3] {
    // Headers may say any number: longer axes would end there after as many steps.
    let rounded = |axis: usize| extents[axis].clamp(1, max_voxels.max(1)).next_multiple_of(divisor[axis]);
    let mut patch: [usize; 3] = std::array::from_fn(rounded);
    while patch.iter().fold(1, |product: usize, &axis| product.saturating_mul(axis)) > max_voxels {
        let longest = (0..3).max_by_key(|&axis| patch[axis]).expect("three axes");
        if patch[longest] <= divisor[longest] {
            break;
        }
        patch[longest] -= divisor[longest];
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_multiples_within_the_limit() {
        assert_eq!(fit_patch([36, 50, 35], [8; 3], 100_000), [40, 56, 40]);
        assert_eq!(fit_patch([64, 64, 24], [8; 3], 100_000), [64, 64, 24]);
        assert_eq!(fit_patch([320, 320, 30], [8; 3], 100_000), [56, 48, 32]);
        assert_eq!(fit_patch([9, 1, 1], [16; 3], 1), [16, 16, 16]);
        assert_eq!(fit_patch([usize::MAX, 1 << 40, 1 << 40], [8; 3], 100_000), [48, 48, 40]);
        assert_eq!(
            fit_patch([usize::MAX, 1 << 40, 24], [8; 3], 100_000),
            fit_patch([100_000, 100_000, 24], [8; 3], 100_000)
        );
        assert_eq!(median(vec![5, 1, 9]), 5);
    }
}
