//! The fingerprint of a data set: sizes, spacings, intensities and classes of its volumes.

use crate::data::{
    Case, Classes, Crop, CropBox, DataError, Dataset, Fit, IGNORED, Intensities, Normalisation, Preparation,
    prepare_image, read_case_label,
};
use crate::metrics::percentile;
use crate::nn::{Activation, Network};
use crate::train::Config;
use crate::train::config::activation;
use std::borrow::Cow;

/// What a case is like, in the orientation nearest to RAS.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseFacts {
    /// Its name.
    pub name: String,
    /// Extents x, y, z in voxels.
    pub extents: [usize; 3],
    /// Spacing x, y, z in mm.
    pub spacing: [f64; 3],
    /// Intensities of each channel.
    pub channels: Vec<ChannelFacts>,
    /// Volume of each class in mm³, background first.
    pub class_mm3: Vec<f64>,
    /// Part of the voxels that are labelled.
    pub foreground: f64,
    /// First and last labelled voxel along x, y, z; `None` where nothing is labelled.
    pub labelled: Option<[[usize; 2]; 3]>,
    /// The box of the voxels that are not exactly 0 in some channel.
    pub inside: CropBox,
    /// Number of labelled voxels, and of those of them that lie outside of that box.
    pub lost: [usize; 2],
}

/// What the intensities of a channel of a case are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelFacts {
    /// Part of the volume within the box around the voxels that are not exactly 0.
    pub nonzero_box: f64,
    /// Intensity below which 0.4 % of the voxels lie (quantile 1/255).
    pub low: f64,
    /// Mean intensity.
    pub mean: f64,
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
    /// Channels of each image.
    pub channels: usize,
    /// What `dataset.json` says the channels are, e.g. `CT`; may be empty.
    pub channel_names: Vec<String>,
}

impl Fingerprint {
    /// Reads all cases, one in memory at a time.
    ///
    /// # Errors
    /// [`DataError`] that names the file.
    pub fn of(dataset: &Dataset, channels: usize, of: &Classes) -> Result<Self, DataError> {
        let (classes, labels, align) = (of.outputs(), dataset.classes_as(of).cloned(), dataset.align);
        let native = Preparation::native(Normalisation::None);
        let preparation = Preparation { channels, classes, labels, align, ..native };
        let cases = dataset.cases.iter().map(|case| CaseFacts::of(case, &preparation)).collect::<Result<_, _>>()?;
        let channel_names = dataset.channel_names.clone();
        Ok(Self { cases, classes, activation: activation(of), channels, channel_names })
    }

    /// The network of a configuration for these channels and outputs.
    pub fn network(&self, config: &Config) -> Network {
        config.network(self.channels, self.classes).with_activation(self.activation)
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

    /// The data set as a network sees it with this crop.
    #[must_use]
    pub fn seen(&self, crop: Crop) -> Cow<'_, Self> {
        match crop {
            Crop::None => Cow::Borrowed(self),
            Crop::Nonzero => {
                let cases = self.cases.iter().map(CaseFacts::cropped).collect();
                Cow::Owned(Self { cases, ..self.clone() })
            }
        }
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
        let whole = Preparation { canonical: true, ..preparation.clone() };
        let (prepared, header) = prepare_image(&case.image, &whole, Fit::Whole)?;
        let (channels, geometry) = (prepared.channels, prepared.geometry.clone());
        let labels = geometry.reorientation.apply(&read_case_label(case, &header, preparation)?.voxels);
        let grid = geometry.grid;
        let image = &prepared.image;
        let nonzero = |channel| CropBox::around(grid.extents, |at| image[at * channels + channel] != 0.0);
        let boxes: Vec<Option<CropBox>> = (0..channels).map(nonzero).collect();
        let inside = boxes.iter().flatten().copied().reduce(CropBox::union);
        let inside = inside.unwrap_or_else(|| CropBox::whole(grid.extents));
        let classes = preparation.labels.as_ref().map_or(preparation.classes, Classes::count);
        let mut counts = vec![0usize; classes];
        labels.iter().filter(|class| **class != IGNORED).for_each(|&class| counts[usize::from(class)] += 1);
        let voxel: f64 = grid.spacing.iter().product();
        let of_all = |count: usize| count as f64 / labels.len() as f64;
        let intensities = Intensities::of_channels(&prepared.image, channels);
        let of_channel = |(intensities, nonzero): (&Intensities, &Option<CropBox>)| ChannelFacts {
            nonzero_box: nonzero.map_or(0.0, |nonzero| nonzero.share()),
            low: f64::from(intensities.quantiles[1]),
            mean: f64::from(intensities.mean),
        };
        Ok(Self {
            name: case.name.clone(),
            extents: grid.extents,
            spacing: grid.spacing,
            channels: intensities.iter().zip(&boxes).map(of_channel).collect(),
            class_mm3: counts.iter().map(|&count| count as f64 * voxel).collect(),
            foreground: of_all(counts[1..].iter().sum()),
            labelled: CropBox::around(grid.extents, |at| ![0, IGNORED].contains(&labels[at])).map(ends),
            inside,
            lost: inside.labelled(&labels),
        })
    }

    /// The case as the network sees it that is cropped to the box of its non-zero voxels.
    fn cropped(&self) -> Self {
        let CropBox { start, extents, .. } = self.inside;
        let labelled = self.labelled.and_then(|labelled| {
            let within = |axis: usize| {
                let (first, end) = (start[axis], start[axis] + extents[axis]);
                let [low, high] = labelled[axis];
                (high >= first && low < end).then(|| [low.max(first) - first, high.min(end - 1) - first])
            };
            Some([within(0)?, within(1)?, within(2)?])
        });
        let share = self.inside.share();
        let channel = |channel: &ChannelFacts| ChannelFacts { nonzero_box: channel.nonzero_box / share, ..*channel };
        Self {
            extents,
            labelled,
            foreground: (self.foreground / share).min(1.0),
            channels: self.channels.iter().map(channel).collect(),
            inside: CropBox::whole(extents),
            ..self.clone()
        }
    }
}

/// First and last voxel of a box along x, y, z.
fn ends(of: CropBox) -> [[usize; 2]; 3] {
    std::array::from_fn(|axis| [of.start[axis], of.start[axis] + of.extents[axis] - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 10 x 8 x 6 voxels the box from (2, 1, 0) on of 5 x 4 x 6, a quarter; the labelled ones begin before it along x.
    #[test]
    fn a_cropped_case_by_hand() {
        let inside = CropBox { from: [10, 8, 6], start: [2, 1, 0], extents: [5, 4, 6] };
        let case = CaseFacts {
            name: "case".to_owned(),
            extents: [10, 8, 6],
            spacing: [1.0; 3],
            channels: vec![ChannelFacts { nonzero_box: 0.2, low: 0.0, mean: 1.0 }],
            class_mm3: vec![400.0, 80.0],
            foreground: 0.1,
            labelled: Some([[1, 4], [2, 3], [0, 5]]),
            inside,
            lost: [48, 3],
        };
        let found = case.cropped();
        assert_eq!((found.extents, found.labelled), ([5, 4, 6], Some([[0, 2], [1, 2], [0, 5]])));
        approx::assert_relative_eq!(found.foreground, 0.4, max_relative = 1e-12);
        approx::assert_relative_eq!(found.channels[0].nonzero_box, 0.8, max_relative = 1e-12);
        assert_eq!(CaseFacts { labelled: Some([[0, 1], [2, 3], [0, 5]]), ..case }.cropped().labelled, None);
        assert_eq!(ends(inside), [[2, 6], [1, 4], [0, 5]]);
    }
}
