//! All scores of one case: one record per foreground class and region.
//!
//! Regions follow PROMISE12 (Litjens et al. 2014, Med Image Anal 18:359): the slices that hold the reference are cut
//! into three approximately equal parts along z; the caudal third is the apex, the cranial third the base. Both label
//! maps are cut at the same planes and scored as volumes of their own, so the cut is part of both surfaces. This needs
//! z to point to the head, as in volumes brought to RAS+.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::surface::Box3;
use super::{MetricError, Overlap, Presence, SurfaceDistances, check_spacing, check_voxels, surface_distances};

/// A part of the organ that is scored by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// The whole volume.
    Whole,
    /// The caudal third of the reference's slices.
    Apex,
    /// The cranial third of the reference's slices.
    Base,
}

impl Region {
    /// Every region, in the order of tables.
    pub const ALL: [Self; 3] = [Self::Whole, Self::Apex, Self::Base];

    /// Name in files and tables.
    pub fn key(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Apex => "apex",
            Self::Base => "base",
        }
    }

    /// The region's slices, when `reference` slices along z hold the class, out of `depth`.
    ///
    /// A third of n slices is n / 3 rounded to the nearest, at least one, so that apex and base are equally thick.
    fn slices(self, reference: &Range<usize>, depth: usize) -> Range<usize> {
        let third = if reference.is_empty() { 0 } else { ((reference.len() + 1) / 3).max(1) };
        match self {
            Self::Whole => 0..depth,
            Self::Apex => reference.start..reference.start + third,
            Self::Base => reference.end - third..reference.end,
        }
    }
}

/// One number of a [`CaseScores`], as named in CSV and JSON.
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
}

/// In the order of [`Metric`]: name in CSV and JSON; for people, name with unit, the factor that gives this unit, and decimals.
const METRICS: [(Metric, &str, &str, f64, usize); 13] = [
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
];

impl Metric {
    /// Every metric, in the order of the CSV columns.
    pub const ALL: [Self; 13] = {
        let mut all = [Self::Dice; 13];
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
}

impl CaseScores {
    /// The scores of a class, value and name, that neither prediction nor reference has.
    pub fn absent(case: &str, class: (u16, &str), region: Region) -> Self {
        Self::new(case, class, region, &Overlap::default(), None, [1.0; 3])
    }

    fn new(
        case: &str,
        (class, class_name): (u16, &str),
        region: Region,
        overlap: &Overlap,
        surface: Option<SurfaceDistances>,
        spacing: [f64; 3],
    ) -> Self {
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
        }
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
    score_values(case, pair, &classes, regions)
}

/// As [`score_case`], of classes given by their value in the label maps and their name, in this order.
///
/// # Errors
/// As [`score_case`].
pub fn score_values(
    case: &str,
    pair: &LabelPair<'_>,
    classes: &[(u16, String)],
    regions: &[Region],
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
            let surface = surface_distances(part.prediction, part.reference, class, part.extents, part.spacing)?;
            scores.push(CaseScores::new(case, (class, class_name), region, &overlap, surface, part.spacing));
        }
    }
    Ok(scores)
}
