//! Overlap of a predicted with a reference label, from one pass of counting.
//!
//! | score | formula | undefined when |
//! |---|---|---|
//! | Dice | 2 TP / (2 TP + FP + FN) | both are empty |
//! | IoU (Jaccard) | TP / (TP + FP + FN) | both are empty |
//! | precision | TP / (TP + FP) | the prediction is empty |
//! | sensitivity | TP / (TP + FN) | the reference is empty |
//! | volumetric similarity | 1 - \|FP - FN\| / (2 TP + FP + FN) | both are empty |
//!
//! Where only one of the two is empty, Dice and IoU are 0: everything was missed or invented (as nnU-Net scores it).
//! Definitions: Taha and Hanbury 2015, BMC Medical Imaging 15:29.

use serde::{Deserialize, Serialize};

use super::{IGNORED, MetricError, check_voxels};

/// Voxel counts of one class: true positives, false positives, false negatives, and the volume's total.
///
/// ```
/// use vnet_engine::metrics::Overlap;
///
/// let (prediction, reference) = ([0, 1, 1, 1, 2, 0], [0, 1, 1, 0, 2, 1]);
/// let overlap = Overlap::count(&prediction, &reference, 1)?;
/// assert_eq!((overlap.true_positives, overlap.dice()), (2, Some(4.0 / 6.0)));
/// assert_eq!(Overlap::count(&prediction, &reference, 3)?.dice(), None);
/// # Ok::<(), vnet_engine::metrics::MetricError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overlap {
    /// Voxels of the class in both.
    pub true_positives: u64,
    /// Voxels of the class in the prediction only.
    pub false_positives: u64,
    /// Voxels of the class in the reference only.
    pub false_negatives: u64,
    /// Voxels of the class in neither.
    pub true_negatives: u64,
}

/// Which of prediction and reference contain the class at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// The class is in both; every score is defined.
    Both,
    /// Nothing was predicted: precision and surface distances are undefined, Dice is 0.
    EmptyPrediction,
    /// There is nothing to find: sensitivity, relative volume difference and surface distances are undefined, Dice is 0.
    EmptyReference,
    /// The class is in neither: only the volumes are defined.
    BothEmpty,
}

impl Presence {
    /// The reason for undefined scores in words; empty for [`Presence::Both`].
    pub fn note(self) -> &'static str {
        match self {
            Self::Both => "",
            Self::EmptyPrediction => "empty prediction",
            Self::EmptyReference => "empty reference",
            Self::BothEmpty => "empty prediction and reference",
        }
    }
}

impl Overlap {
    /// Counts the voxels of each of the classes 0 to `classes` - 1 in one pass, without those whose reference is [`IGNORED`];
    /// labels of other classes are of none of them.
    ///
    /// # Errors
    /// [`MetricError::VoxelCount`] when the two differ in length.
    pub fn of_classes(prediction: &[u16], reference: &[u16], classes: usize) -> Result<Vec<Self>, MetricError> {
        check_voxels("prediction", prediction.len(), [reference.len(), 1, 1])?;
        let mut overlaps = vec![Self::default(); classes];
        let mut counted = 0;
        for (&p, &r) in prediction.iter().zip(reference).filter(|(_, reference)| **reference != IGNORED) {
            counted += 1;
            if p == r {
                if let Some(both) = overlaps.get_mut(usize::from(p)) {
                    both.true_positives += 1;
                }
                continue;
            }
            if let Some(predicted) = overlaps.get_mut(usize::from(p)) {
                predicted.false_positives += 1;
            }
            if let Some(missed) = overlaps.get_mut(usize::from(r)) {
                missed.false_negatives += 1;
            }
        }
        for o in &mut overlaps {
            o.true_negatives = counted - o.true_positives - o.false_positives - o.false_negatives;
        }
        Ok(overlaps)
    }

    /// Counts the voxels of `class` in two label maps on the same grid.
    ///
    /// # Errors
    /// [`MetricError::VoxelCount`] when the two differ in length.
    pub fn count(prediction: &[u16], reference: &[u16], class: u16) -> Result<Self, MetricError> {
        check_voxels("prediction", prediction.len(), [reference.len(), 1, 1])?;
        let mut counts = [0u64; 4];
        for (&p, &r) in prediction.iter().zip(reference) {
            counts[usize::from(p == class) + 2 * usize::from(r == class)] += 1;
        }
        let [true_negatives, false_positives, false_negatives, true_positives] = counts;
        Ok(Self { true_positives, false_positives, false_negatives, true_negatives })
    }

    /// Counts the voxels of what `contains` says of labels, in two label maps on the same grid, without those whose reference
    /// is [`IGNORED`].
    ///
    /// # Errors
    /// As [`Overlap::count`].
    pub fn count_where(
        prediction: &[u16],
        reference: &[u16],
        contains: impl Fn(u16) -> bool,
    ) -> Result<Self, MetricError> {
        check_voxels("prediction", prediction.len(), [reference.len(), 1, 1])?;
        let table: Vec<bool> = (0..=u16::MAX).map(contains).collect();
        let mut counts = [0u64; 4];
        for (&p, &r) in prediction.iter().zip(reference).filter(|(_, reference)| **reference != IGNORED) {
            counts[usize::from(table[usize::from(p)]) + 2 * usize::from(table[usize::from(r)])] += 1;
        }
        let [true_negatives, false_positives, false_negatives, true_positives] = counts;
        Ok(Self { true_positives, false_positives, false_negatives, true_negatives })
    }

    /// Voxels of the class in the prediction.
    pub fn predicted(&self) -> u64 {
        self.true_positives + self.false_positives
    }

    /// Voxels of the class in the reference.
    pub fn referenced(&self) -> u64 {
        self.true_positives + self.false_negatives
    }

    /// Which of the two contain the class.
    pub fn presence(&self) -> Presence {
        match (self.predicted() > 0, self.referenced() > 0) {
            (true, true) => Presence::Both,
            (false, true) => Presence::EmptyPrediction,
            (true, false) => Presence::EmptyReference,
            (false, false) => Presence::BothEmpty,
        }
    }

    /// Dice coefficient, 0 to 1.
    pub fn dice(&self) -> Option<f64> {
        ratio(2 * self.true_positives, self.predicted() + self.referenced())
    }

    /// Intersection over union, 0 to 1.
    pub fn iou(&self) -> Option<f64> {
        ratio(self.true_positives, self.predicted() + self.false_negatives)
    }

    /// Part of the prediction that is right, 0 to 1.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.predicted())
    }

    /// Part of the reference that was found, 0 to 1 (recall).
    pub fn sensitivity(&self) -> Option<f64> {
        ratio(self.true_positives, self.referenced())
    }

    /// 1 - |predicted - reference| / (predicted + reference), 0 to 1: it sees volumes only, not where they lie.
    pub fn volumetric_similarity(&self) -> Option<f64> {
        let (predicted, reference) = (self.predicted(), self.referenced());
        ratio(predicted.abs_diff(reference), predicted + reference).map(|difference| 1.0 - difference)
    }

    /// Volume of the class in the prediction, in ml, for a spacing x, y, z in mm.
    pub fn predicted_ml(&self, spacing: [f64; 3]) -> f64 {
        volume_ml(self.predicted(), spacing)
    }

    /// Volume of the class in the reference, in ml, for a spacing x, y, z in mm.
    pub fn referenced_ml(&self, spacing: [f64; 3]) -> f64 {
        volume_ml(self.referenced(), spacing)
    }

    /// (predicted - reference) / reference, signed: positive when too much was predicted. None for an empty reference.
    pub fn relative_volume_difference(&self) -> Option<f64> {
        let reference = self.referenced();
        (reference > 0).then(|| self.predicted() as f64 / reference as f64 - 1.0)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// 1 ml = 1000 mm³.
fn volume_ml(voxels: u64, spacing: [f64; 3]) -> f64 {
    voxels as f64 * spacing.iter().product::<f64>() / 1000.0
}
