//! Lesions: the connected components of a class in the reference, and which of them a prediction has found.
//!
//! Components are connected by faces, edges and corners (26 neighbours). Pairs that overlap are taken in descending order of
//! their IoU, and matched if it reaches the threshold and neither was matched before: the naive threshold matching of
//! panoptica (Kofler et al. 2023, arXiv:2312.02608). From 0.5 on no component can have two partners, but for ties at 0.5.
//!
//! | score | formula | undefined when |
//! |---|---|---|
//! | F1, recognition quality | 2 TP / (2 TP + FP + FN) | there is no component at all |
//! | segmentation quality | mean IoU of the matched pairs | none is matched |
//! | panoptic quality | F1 times segmentation quality, 0 where none is matched | there is no component at all |
//!
//! Panoptic quality: Kirillov et al. 2019, CVPR, 9404.

use std::collections::BTreeMap;

use super::{LabelPair, MetricError, check_spacing, check_voxels};

/// A component of the reference, of the prediction, or a matched pair of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lesion {
    /// Volume in the reference in ml; `None` of a component that was invented.
    pub reference_ml: Option<f64>,
    /// Volume in the prediction in ml; `None` of a component that was missed.
    pub prediction_ml: Option<f64>,
    /// Intersection over union of a pair.
    pub iou: Option<f64>,
}

impl Lesion {
    /// `found`, `missed` or `invented`.
    pub fn outcome(&self) -> &'static str {
        match (self.reference_ml, self.prediction_ml) {
            (Some(_), Some(_)) => "found",
            (Some(_), None) => "missed",
            _ => "invented",
        }
    }
}

/// The lesions of a class in a case: those of the reference in the order of their first voxels, then those invented.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lesions {
    /// One by one.
    pub all: Vec<Lesion>,
}

impl Lesions {
    /// Matches the components of a class. `threshold` is the least IoU of a pair, above 0 and up to 1.
    ///
    /// # Errors
    /// When a label map does not fill the extents, or the spacing is not positive.
    pub fn of(pair: &LabelPair<'_>, class: u16, threshold: f64) -> Result<Self, MetricError> {
        check_voxels("prediction", pair.prediction.len(), pair.extents)?;
        check_voxels("reference", pair.reference.len(), pair.extents)?;
        check_spacing(pair.spacing)?;
        let reference = Components::of(pair.reference, class, pair.extents);
        let prediction = Components::of(pair.prediction, class, pair.extents);
        let partners = matched(&reference, &prediction, threshold);
        let voxel = pair.spacing.iter().product::<f64>() / 1000.0;
        let ml = |size: u64| Some(size as f64 * voxel);
        let mut taken = vec![false; prediction.sizes.len()];
        let mut all = Vec::new();
        for (number, &size) in reference.sizes.iter().enumerate() {
            let partner = partners.get(&number);
            let prediction_ml = partner.and_then(|&(other, _)| {
                taken[other] = true;
                ml(prediction.sizes[other])
            });
            all.push(Lesion { reference_ml: ml(size), prediction_ml, iou: partner.map(|&(_, iou)| iou) });
        }
        let invented = prediction.sizes.iter().zip(taken).filter(|(_, taken)| !taken);
        all.extend(invented.map(|(&size, _)| Lesion { reference_ml: None, prediction_ml: ml(size), iou: None }));
        Ok(Self { all })
    }

    fn count(&self, outcome: &str) -> u64 {
        self.all.iter().filter(|lesion| lesion.outcome() == outcome).count() as u64
    }

    /// Lesions of the reference that were found.
    pub fn true_positives(&self) -> u64 {
        self.count("found")
    }

    /// Predicted lesions that are none.
    pub fn false_positives(&self) -> u64 {
        self.count("invented")
    }

    /// Lesions of the reference that were missed.
    pub fn false_negatives(&self) -> u64 {
        self.count("missed")
    }

    /// F1, the recognition quality.
    pub fn f1(&self) -> Option<f64> {
        let found = 2 * self.true_positives();
        let all = found + self.false_positives() + self.false_negatives();
        (all > 0).then(|| found as f64 / all as f64)
    }

    /// Mean IoU of the lesions that were found.
    pub fn segmentation_quality(&self) -> Option<f64> {
        let overlaps: Vec<f64> = self.all.iter().filter_map(|lesion| lesion.iou).collect();
        (!overlaps.is_empty()).then(|| overlaps.iter().sum::<f64>() / overlaps.len() as f64)
    }

    /// Panoptic quality.
    pub fn panoptic_quality(&self) -> Option<f64> {
        self.f1().map(|f1| f1 * self.segmentation_quality().unwrap_or(0.0))
    }
}

/// For each matched component of the reference its partner and their IoU.
fn matched(reference: &Components, prediction: &Components, threshold: f64) -> BTreeMap<usize, (usize, f64)> {
    let mut shared: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for (&r, &p) in reference.of_voxel.iter().zip(&prediction.of_voxel) {
        if r != NONE && p != NONE {
            *shared.entry((r as usize, p as usize)).or_default() += 1;
        }
    }
    let iou = |(&(r, p), &both): (&(usize, usize), &u64)| {
        (both as f64 / (reference.sizes[r] + prediction.sizes[p] - both) as f64, r, p)
    };
    let mut pairs: Vec<(f64, usize, usize)> = shared.iter().map(iou).filter(|(iou, ..)| *iou >= threshold).collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut partners = BTreeMap::new();
    let mut taken = vec![false; prediction.sizes.len()];
    for (iou, r, p) in pairs {
        if !taken[p] && !partners.contains_key(&r) {
            taken[p] = true;
            partners.insert(r, (p, iou));
        }
    }
    partners
}

/// The number of a voxel that is of no component.
const NONE: u32 = u32::MAX;

/// Connected components of a class.
struct Components {
    /// Of each voxel, the number of its component.
    of_voxel: Vec<u32>,
    /// Voxels of each component.
    sizes: Vec<u64>,
}

impl Components {
    fn of(labels: &[u16], class: u16, [nx, ny, nz]: [usize; 3]) -> Self {
        let mut of_voxel = vec![NONE; labels.len()];
        let (mut sizes, mut waiting) = (Vec::new(), Vec::new());
        let around = |at: usize, extent: usize| at.saturating_sub(1)..(at + 2).min(extent);
        for start in 0..labels.len() {
            if labels[start] != class || of_voxel[start] != NONE {
                continue;
            }
            let number = u32::try_from(sizes.len()).expect("a volume has fewer than 2^32 voxels");
            let mut size = 0;
            of_voxel[start] = number;
            waiting.push(start);
            while let Some(voxel) = waiting.pop() {
                size += 1;
                let (x, y, z) = (voxel % nx, voxel / nx % ny, voxel / (nx * ny));
                for z in around(z, nz) {
                    for row in around(y, ny).map(|y| (z * ny + y) * nx) {
                        for next in around(x, nx).map(|x| row + x) {
                            if labels[next] == class && of_voxel[next] == NONE {
                                of_voxel[next] = number;
                                waiting.push(next);
                            }
                        }
                    }
                }
            }
            sizes.push(size);
        }
        Self { of_voxel, sizes }
    }
}
