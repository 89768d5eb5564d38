//! `[data]`: how volumes become inputs.

use super::{AutoOr, ByteSize, CtWindow, Labels, Patch};
use crate::data::{Case, DataError, IntensityStatistics, Interpolation, Normalisation, Sampling, TargetSpacing};
use serde::{Deserialize, Serialize};

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataConfig {
    /// Extents x, y, z of the network's input, or `"auto"`: the training volumes' median, rounded up to the network's
    /// divisor and, where it exceeds `max_patch_voxels`, reduced along its longest axes.
    pub patch: Patch,
    /// Limit for an automatic patch.
    pub max_patch_voxels: usize,
    /// Intensities: `z_score_all`, `z_score_non_zero`, `percentile_clip`, `ct_window` or `none`.
    pub normalisation: Normalisation,
    /// For `ct_window`: `[lower, upper, mean, standard deviation]`, or `"auto"`: percentiles 0.5 and 99.5, mean and
    /// standard deviation of the training cases' foreground.
    pub ct_window: CtWindow,
    /// Bring volumes to the orientation nearest to RAS.
    pub canonical: bool,
    /// `"native"`, or the spacing x, y, z in mm to which volumes are resampled.
    pub spacing: TargetSpacing,
    /// `linear` or `cubic`, for images; labels are linear per class.
    pub interpolation: Interpolation,
    /// Shares of training, validation and test where there is no `split.json`.
    pub split: [f64; 3],
    /// `whole`: each sample is a volume, centred in the patch, as in the paper; `patch`: a patch at a random place.
    pub sampling: Sampling,
    /// For `patch`: share of the patches that are centred on a foreground voxel, every class equally often.
    pub foreground: f64,
    /// Memory for prepared volumes of training and validation, e.g. `"2GiB"`. Volumes that do not fit are read again for each
    /// sample and each validation.
    pub cache: ByteSize,
    /// `[data.labels]`: the classes by name, with the value or the list of values that label maps have for each, e.g.
    /// `prostate = 255`, `tumour = [2, 3]`. Empty: those of `dataset.json`, else 0 to the largest value.
    pub labels: Labels,
}

impl DataConfig {
    /// Finds an automatic CT window from the training cases, if one is needed.
    ///
    /// # Errors
    /// [`DataError`] that names the file.
    pub fn resolve(&mut self, training: &[Case]) -> Result<(), DataError> {
        if self.normalisation == Normalisation::CtWindow && self.ct_window == AutoOr::AUTO {
            self.ct_window = AutoOr::Fixed(IntensityStatistics::of_foreground(training, self.labels.0.as_ref())?);
        }
        Ok(())
    }
}
