//! The fingerprint of a data set: sizes, spacings, intensities and classes of its volumes.

use crate::data::description::description;
use crate::data::volume::position_of;
use crate::data::{
    Case, Classes, DataError, Dataset, IGNORED, Intensities, Normalisation, Preparation, Reorientation, io,
    read_case_label,
};
use crate::metrics::percentile;
use crate::nn::{Activation, Network};
use crate::train::Config;
use crate::train::config::activation;
use std::path::Path;

/// What a case is like, in the orientation nearest to RAS.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseFacts {
    /// Its name.
    pub name: String,
    /// Extents x, y, z in voxels.
    pub extents: [usize; 3],
    /// Spacing x, y, z in mm.
    pub spacing: [f64; 3],
    /// Part of the volume within the box around the voxels that are not exactly 0.
    pub nonzero_box: f64,
    /// Intensity below which 0.4 % of the voxels lie (quantile 1/255).
    pub low: f64,
    /// Mean intensity.
    pub mean: f64,
    /// Volume of each class in mm³, background first.
    pub class_mm3: Vec<f64>,
    /// Part of the voxels that are labelled.
    pub foreground: f64,
    /// First and last labelled voxel along x, y, z; `None` where nothing is labelled.
    pub labelled: Option<[[usize; 2]; 3]>,
}

/// What a data set is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Fingerprint {
    /// The cases, in their order.
    pub cases: Vec<CaseFacts>,
    /// Outputs of a network: classes, background included, or regions.
    pub classes: usize,
    /// What these are.
    pub activation: Activation,
    /// What `dataset.json` says the images are, e.g. `CT`.
    pub modality: Option<String>,
}

impl Fingerprint {
    /// Reads all cases, one in memory at a time.
    ///
    /// # Errors
    /// [`DataError`] that names the file.
    pub fn of(dataset: &Dataset, of: &Classes) -> Result<Self, DataError> {
        let (classes, labels) = (of.outputs(), dataset.classes_as(of).cloned());
        let preparation = Preparation { classes, labels, ..Preparation::native(Normalisation::None) };
        let cases = dataset.cases.iter().map(|case| CaseFacts::of(case, &preparation)).collect::<Result<_, _>>()?;
        Ok(Self { cases, classes, activation: activation(of), modality: modality(&dataset.dir)? })
    }

    /// The network of a configuration for these outputs.
    pub fn network(&self, config: &Config) -> Network {
        config.network(1, self.classes).with_activation(self.activation)
    }

    /// Percentile (0 to 100) over the cases, by linear interpolation; 0 without cases.
    pub fn percentile(&self, percent: f64, of: impl Fn(&CaseFacts) -> f64) -> f64 {
        let mut values: Vec<f64> = self.cases.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        percentile(&values, percent).unwrap_or(0.0)
    }

    /// Median over the cases.
    pub fn median(&self, of: impl Fn(&CaseFacts) -> f64) -> f64 {
        self.percentile(50.0, of)
    }

    /// Median extents x, y, z of the volumes at a spacing in mm.
    pub fn median_extents(&self, spacing: [f64; 3]) -> [usize; 3] {
        std::array::from_fn(|axis| {
            let extent = |case: &CaseFacts| (case.extents[axis] as f64 * case.spacing[axis] / spacing[axis]).round();
            self.median(extent).round().max(1.0) as usize
        })
    }
}

impl CaseFacts {
    fn of(case: &Case, preparation: &Preparation) -> Result<Self, DataError> {
        let header = io::read_header(case.image.first())?;
        let image = io::read_voxels(io::input::Input::file(case.image.first()), &header)?;
        let label = read_case_label(case, &header, preparation)?;
        let reorientation = Reorientation::to_ras(&image.grid);
        let grid = reorientation.apply_to_grid(&image.grid);
        let voxels = reorientation.apply(&image.voxels);
        let labels = reorientation.apply(&label.voxels);
        let intensities = &Intensities::of_channels(&voxels, 1)[0];
        let classes = preparation.labels.as_ref().map_or(preparation.classes, Classes::count);
        let mut counts = vec![0usize; classes];
        labels.iter().filter(|class| **class != IGNORED).for_each(|&class| counts[usize::from(class)] += 1);
        let voxel: f64 = grid.spacing.iter().product();
        let nonzero = bounding_box(grid.extents, |at| voxels[at] != 0.0);
        let inside = |[first, last]: [usize; 2]| last - first + 1;
        let of_all = |count: usize| count as f64 / labels.len() as f64;
        Ok(Self {
            name: case.name.clone(),
            extents: grid.extents,
            spacing: grid.spacing,
            nonzero_box: nonzero.map_or(0.0, |b| of_all(b.map(inside).iter().product())),
            low: f64::from(intensities.quantiles[1]),
            mean: f64::from(intensities.mean),
            class_mm3: counts.iter().map(|&count| count as f64 * voxel).collect(),
            foreground: of_all(counts[1..].iter().sum()),
            labelled: bounding_box(grid.extents, |at| ![0, IGNORED].contains(&labels[at])),
        })
    }
}

/// First and last voxel along x, y, z of those that are `wanted`.
fn bounding_box(extents: [usize; 3], wanted: impl Fn(usize) -> bool) -> Option<[[usize; 2]; 3]> {
    let mut found: Option<[[usize; 2]; 3]> = None;
    for at in (0..extents.iter().product()).filter(|&at| wanted(at)) {
        let position = position_of(at, extents);
        let so_far = found.get_or_insert(position.map(|p| [p, p]));
        for ([first, last], p) in so_far.iter_mut().zip(position) {
            (*first, *last) = ((*first).min(p), (*last).max(p));
        }
    }
    found
}

/// The first entry of `modality` (Decathlon) or `channel_names` (nnU-Net) of `dataset.json`.
fn modality(dir: &Path) -> Result<Option<String>, DataError> {
    let description = description(dir)?.unwrap_or_default();
    let first = |key: &str| description.get(key)?.get("0")?.as_str().map(str::to_owned);
    Ok(first("modality").or_else(|| first("channel_names")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_by_hand() {
        let wanted = [7, 16, 23];
        // Of 3 x 4 x 2: (1, 2, 0), (1, 1, 1), (2, 3, 1).
        assert_eq!(bounding_box([3, 4, 2], |at| wanted.contains(&at)), Some([[1, 2], [1, 3], [0, 1]]));
        assert_eq!(bounding_box([3, 4, 2], |_| false), None);
    }
}
