//! The names of scores: in files, for people, and with which unit.

use serde::{Deserialize, Serialize};

/// One number of a [`CaseScores`](super::CaseScores), as named in CSV and JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Dice coefficient, 0 to 1.
    Dice,
    /// Intersection over union, 0 to 1.
    Iou,
    /// Precision, 0 to 1.
    Precision,
    /// Sensitivity, 0 to 1.
    Sensitivity,
    /// Hausdorff distance, mm.
    HausdorffMm,
    /// 95th-percentile Hausdorff distance, mm.
    Hd95Mm,
    /// Average symmetric surface distance, mm.
    AssdMm,
    /// Volume of the reference, ml.
    VolumeReferenceMl,
    /// Volume of the prediction, ml.
    VolumePredictionMl,
    /// Prediction minus reference, ml, signed.
    VolumeDifferenceMl,
    /// (Prediction - reference) / reference, signed.
    RelativeVolumeDifference,
    /// |prediction - reference|, ml.
    AbsoluteVolumeDifferenceMl,
    /// |prediction - reference| / reference: the aRVD of PROMISE12, as a fraction.
    AbsoluteRelativeVolumeDifference,
    /// Surface Dice at the tolerance of the class, 0 to 1.
    SurfaceDice,
    /// Volumetric similarity, 0 to 1.
    VolumetricSimilarity,
    /// Lesions of the reference that were found.
    LesionTruePositives,
    /// Predicted lesions that are none.
    LesionFalsePositives,
    /// Lesions of the reference that were missed.
    LesionFalseNegatives,
    /// F1 of the lesions, their recognition quality, 0 to 1.
    LesionF1,
    /// Mean IoU of the lesions that were found, their segmentation quality, 0 to 1.
    LesionSq,
    /// Panoptic quality of the lesions, 0 to 1.
    LesionPq,
}

/// In the order of [`Metric`]: name in CSV and JSON; for people, name with unit, the factor that gives this unit, and decimals.
const METRICS: [(Metric, &str, &str, f64, usize); 21] = [
    (Metric::Dice, "dice", "Dice", 1.0, 3),
    (Metric::Iou, "iou", "IoU", 1.0, 3),
    (Metric::Precision, "precision", "Precision", 1.0, 3),
    (Metric::Sensitivity, "sensitivity", "Sensitivity", 1.0, 3),
    (Metric::HausdorffMm, "hausdorff_mm", "Hausdorff distance (mm)", 1.0, 2),
    (Metric::Hd95Mm, "hd95_mm", "HD95 (mm)", 1.0, 2),
    (Metric::AssdMm, "assd_mm", "Average surface distance (mm)", 1.0, 2),
    (Metric::VolumeReferenceMl, "volume_reference_ml", "Reference volume (ml)", 1.0, 2),
    (Metric::VolumePredictionMl, "volume_prediction_ml", "Predicted volume (ml)", 1.0, 2),
    (Metric::VolumeDifferenceMl, "volume_difference_ml", "Volume difference (ml)", 1.0, 2),
    (Metric::RelativeVolumeDifference, "relative_volume_difference", "Relative volume difference (%)", 100.0, 1),
    (Metric::AbsoluteVolumeDifferenceMl, "absolute_volume_difference_ml", "Absolute volume difference (ml)", 1.0, 2),
    (
        Metric::AbsoluteRelativeVolumeDifference,
        "absolute_relative_volume_difference",
        "Absolute relative volume difference (%)",
        100.0,
        1,
    ),
    (Metric::SurfaceDice, "surface_dice", "Surface Dice", 1.0, 3),
    (Metric::VolumetricSimilarity, "volumetric_similarity", "Volumetric similarity", 1.0, 3),
    (Metric::LesionTruePositives, "lesion_true_positives", "Lesions found", 1.0, 2),
    (Metric::LesionFalsePositives, "lesion_false_positives", "Lesions invented", 1.0, 2),
    (Metric::LesionFalseNegatives, "lesion_false_negatives", "Lesions missed", 1.0, 2),
    (Metric::LesionF1, "lesion_f1", "Lesion F1", 1.0, 3),
    (Metric::LesionSq, "lesion_sq", "Lesion segmentation quality", 1.0, 3),
    (Metric::LesionPq, "lesion_pq", "Lesion panoptic quality", 1.0, 3),
];

impl Metric {
    /// Every metric, in the order of the CSV columns.
    pub const ALL: [Self; 21] = {
        let mut all = [Self::Dice; 21];
        let mut metric = 0;
        while metric < all.len() {
            all[metric] = METRICS[metric].0;
            metric += 1;
        }
        all
    };

    /// Name in CSV and JSON, with the unit.
    pub fn key(self) -> &'static str {
        METRICS[self as usize].1
    }

    /// For people: name with unit, the factor that gives this unit, and decimals.
    pub fn heading(self) -> (&'static str, f64, usize) {
        let (_, _, heading, factor, decimals) = METRICS[self as usize];
        (heading, factor, decimals)
    }
}
