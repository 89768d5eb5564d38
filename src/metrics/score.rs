//! All scores of one case: one record per foreground class and region.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::surface::Box3;
use super::{
    Criteria, Lesion, Lesions, Metric, MetricError, Overlap, Presence, Region, SurfaceDistances, check_spacing,
    check_voxels, surface_dice, surface_distances,
};

/// The scores of one class in one region of one case; `None` is undefined, for the reason in `presence`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseScores {
    /// Name of the case.
    pub case: String,
    /// Value of the class in the label maps.
    pub class: u16,
    /// Name of the class.
    pub class_name: String,
    /// Part of the organ.
    pub region: Region,
    /// Whether prediction and reference contain the class here.
    pub presence: Presence,
    /// Dice coefficient, 0 to 1.
    pub dice: Option<f64>,
    /// Intersection over union, 0 to 1.
    pub iou: Option<f64>,
    /// Precision, 0 to 1.
    pub precision: Option<f64>,
    /// Sensitivity, 0 to 1.
    pub sensitivity: Option<f64>,
    /// Hausdorff distance, mm.
    pub hausdorff_mm: Option<f64>,
    /// 95th-percentile Hausdorff distance, mm.
    pub hd95_mm: Option<f64>,
    /// Average symmetric surface distance, mm.
    pub assd_mm: Option<f64>,
    /// Volume of the reference, ml.
    pub volume_reference_ml: f64,
    /// Volume of the prediction, ml.
    pub volume_prediction_ml: f64,
    /// (Prediction - reference) / reference, signed.
    pub relative_volume_difference: Option<f64>,
    /// Surface Dice at the tolerance of the class, 0 to 1.
    #[serde(default)]
    pub surface_dice: Option<f64>,
    /// Volumetric similarity, 0 to 1.
    #[serde(default)]
    pub volumetric_similarity: Option<f64>,
    /// Lesions of the reference that were found.
    #[serde(default)]
    pub lesion_true_positives: u64,
    /// Predicted lesions that are none.
    #[serde(default)]
    pub lesion_false_positives: u64,
    /// Lesions of the reference that were missed.
    #[serde(default)]
    pub lesion_false_negatives: u64,
    /// F1 of the lesions, 0 to 1.
    #[serde(default)]
    pub lesion_f1: Option<f64>,
    /// Mean IoU of the lesions that were found, 0 to 1.
    #[serde(default)]
    pub lesion_sq: Option<f64>,
    /// Panoptic quality of the lesions, 0 to 1.
    #[serde(default)]
    pub lesion_pq: Option<f64>,
    /// The lesions one by one, in `lesions.csv` only.
    #[serde(skip)]
    pub lesions: Vec<Lesion>,
}

impl CaseScores {
    /// The scores of a class, value and name, that neither prediction nor reference has.
    pub fn absent(case: &str, class: (u16, &str), region: Region) -> Self {
        Self::new(case, class, region, &Overlap::default(), &Shapes::default(), [1.0; 3])
    }

    fn new(
        case: &str,
        (class, class_name): (u16, &str),
        region: Region,
        overlap: &Overlap,
        shapes: &Shapes,
        spacing: [f64; 3],
    ) -> Self {
        let Shapes { surface, surface_dice, lesions } = shapes;
        Self {
            case: case.to_owned(),
            class,
            class_name: class_name.to_owned(),
            region,
            presence: overlap.presence(),
            dice: overlap.dice(),
            iou: overlap.iou(),
            precision: overlap.precision(),
            sensitivity: overlap.sensitivity(),
            hausdorff_mm: surface.map(|s| s.hausdorff_mm),
            hd95_mm: surface.map(|s| s.hausdorff95_mm),
            assd_mm: surface.map(|s| s.average_mm),
            volume_reference_ml: overlap.referenced_ml(spacing),
            volume_prediction_ml: overlap.predicted_ml(spacing),
            relative_volume_difference: overlap.relative_volume_difference(),
            surface_dice: *surface_dice,
            volumetric_similarity: overlap.volumetric_similarity(),
            lesion_true_positives: lesions.true_positives(),
            lesion_false_positives: lesions.false_positives(),
            lesion_false_negatives: lesions.false_negatives(),
            lesion_f1: lesions.f1(),
            lesion_sq: lesions.segmentation_quality(),
            lesion_pq: lesions.panoptic_quality(),
            lesions: lesions.all.clone(),
        }
    }

    /// One score by name.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        let volume_difference = self.volume_prediction_ml - self.volume_reference_ml;
        match metric {
            Metric::Dice => self.dice,
            Metric::Iou => self.iou,
            Metric::Precision => self.precision,
            Metric::Sensitivity => self.sensitivity,
            Metric::HausdorffMm => self.hausdorff_mm,
            Metric::Hd95Mm => self.hd95_mm,
            Metric::AssdMm => self.assd_mm,
            Metric::VolumeReferenceMl => Some(self.volume_reference_ml),
            Metric::VolumePredictionMl => Some(self.volume_prediction_ml),
            Metric::VolumeDifferenceMl => Some(volume_difference),
            Metric::RelativeVolumeDifference => self.relative_volume_difference,
            Metric::AbsoluteVolumeDifferenceMl => Some(volume_difference.abs()),
            Metric::AbsoluteRelativeVolumeDifference => self.relative_volume_difference.map(f64::abs),
            Metric::SurfaceDice => self.surface_dice,
            Metric::VolumetricSimilarity => self.volumetric_similarity,
            Metric::LesionTruePositives => Some(self.lesion_true_positives as f64),
            Metric::LesionFalsePositives => Some(self.lesion_false_positives as f64),
            Metric::LesionFalseNegatives => Some(self.lesion_false_negatives as f64),
            Metric::LesionF1 => self.lesion_f1,
            Metric::LesionSq => self.lesion_sq,
            Metric::LesionPq => self.lesion_pq,
        }
    }
}

/// What is seen of a class beyond the counts of its voxels.
#[derive(Debug, Default)]
struct Shapes {
    surface: Option<SurfaceDistances>,
    surface_dice: Option<f64>,
    lesions: Lesions,
}

impl Shapes {
    fn of(pair: &LabelPair<'_>, class: u16, tolerance_mm: f64, iou: f64) -> Result<Self, MetricError> {
        let LabelPair { prediction, reference, extents, spacing } = *pair;
        Ok(Self {
            surface: surface_distances(prediction, reference, class, extents, spacing)?,
            surface_dice: surface_dice(pair, class, tolerance_mm)?,
            lesions: Lesions::of(pair, class, iou)?,
        })
    }
}

/// A prediction and its reference on one grid.
#[derive(Debug, Clone, Copy)]
pub struct LabelPair<'a> {
    /// Predicted labels, x fastest.
    pub prediction: &'a [u16],
    /// Reference labels, x fastest.
    pub reference: &'a [u16],
    /// Extents x, y, z in voxels.
    pub extents: [usize; 3],
    /// Spacing x, y, z in mm.
    pub spacing: [f64; 3],
}

impl<'a> LabelPair<'a> {
    /// Range of slices along z that hold `class` in the reference; empty when none does.
    fn reference_slices(&self, class: u16) -> Range<usize> {
        let slice = (self.extents[0] * self.extents[1]).max(1);
        let first = self.reference.iter().position(|&label| label == class);
        let last = self.reference.iter().rposition(|&label| label == class);
        first.zip(last).map_or(0..0, |(first, last)| first / slice..last / slice + 1)
    }

    /// The same pair, cut to a range of slices along z.
    fn cut(&self, slices: Range<usize>) -> Self {
        let slice = self.extents[0] * self.extents[1];
        let voxels = slices.start * slice..slices.end * slice;
        let cut = |labels: &'a [u16]| &labels[voxels.clone()];
        let extents = [self.extents[0], self.extents[1], slices.len()];
        Self { prediction: cut(self.prediction), reference: cut(self.reference), extents, ..*self }
    }
}

/// Scores one case: a record per class and region, classes first. `class_names[i]` names label `i + 1`.
///
/// # Errors
/// When a label map does not fill the extents, or the spacing is not positive.
pub fn score_case(
    case: &str,
    pair: &LabelPair<'_>,
    class_names: &[String],
    regions: &[Region],
) -> Result<Vec<CaseScores>, MetricError> {
    let classes: Vec<(u16, String)> = (1..=u16::MAX).zip(class_names.iter().cloned()).collect();
    score_values(case, pair, &classes, regions, &Criteria::DEFAULT)
}

/// As [`score_case`], of classes given by their value in the label maps and their name, in this order, with tolerances and the
/// threshold of lesions of one's own.
///
/// # Errors
/// As [`score_case`].
pub fn score_values(
    case: &str,
    pair: &LabelPair<'_>,
    classes: &[(u16, String)],
    regions: &[Region],
    criteria: &Criteria,
) -> Result<Vec<CaseScores>, MetricError> {
    check_voxels("prediction", pair.prediction.len(), pair.extents)?;
    check_voxels("reference", pair.reference.len(), pair.extents)?;
    check_spacing(pair.spacing)?;
    // Of each class only the box around it is looked at, as beyond it there is background alone: with a hundred classes, passes
    // over the whole maps would take most of the time.
    let mut boxes = vec![None; usize::from(u16::MAX) + 1];
    Box3::widen(&mut boxes, pair.prediction, pair.extents);
    Box3::widen(&mut boxes, pair.reference, pair.extents);
    let mut scores = Vec::with_capacity(classes.len() * regions.len());
    for &(class, ref class_name) in classes {
        let Some(around) = boxes[usize::from(class)] else {
            scores.extend(regions.iter().map(|&region| CaseScores::absent(case, (class, class_name), region)));
            continue;
        };
        let [prediction, reference] = [pair.prediction, pair.reference].map(|map| around.crop(map, pair.extents));
        let pair = LabelPair {
            prediction: &prediction,
            reference: &reference,
            extents: around.extents(),
            spacing: pair.spacing,
        };
        let reference_slices = pair.reference_slices(class);
        for &region in regions {
            let part = pair.cut(region.slices(&reference_slices, pair.extents[2]));
            let overlap = Overlap::count(part.prediction, part.reference, class)?;
            let shapes = Shapes::of(&part, class, criteria.tolerance_of(class, class_name), criteria.lesion_iou)?;
            scores.push(CaseScores::new(case, (class, class_name), region, &overlap, &shapes, part.spacing));
        }
    }
    Ok(scores)
}
