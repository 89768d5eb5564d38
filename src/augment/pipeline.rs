use super::blur::BLUR_RADIUS;
use super::resample::RESAMPLE_PARAMETERS;
use super::{Augmentation, Blur, Draw, HistogramMatch, INTENSITY_PARAMETERS, Intensity, LowResolution, Resample};
use crate::data::Sample;
use crate::graph::Graph;
use crate::tensor::{ShapeError, TensorSpec, ValueId};

/// Extents `[D, H, W]` before and after; they differ only where voxels move ([`Augmentation::is_spatial`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extents {
    /// Of the samples that the loader gives.
    pub source: [usize; 3],
    /// Of the network's input.
    pub patch: [usize; 3],
}

/// The part of a draw that an operation reads.
type Numbers = fn(&Draw) -> &[f32];

/// Augmentation at the start of a graph, and its inputs for each batch.
#[derive(Debug)]
pub struct Augmenter {
    settings: Augmentation,
    seed: u64,
    channels: usize,
    extents: Extents,
    /// Input: image `[N, source, C]`.
    pub image: ValueId,
    /// Input: labels `[N, source]`.
    pub labels: ValueId,
    /// Augmented image `[N, patch, C]`.
    pub augmented_image: ValueId,
    /// Augmented labels `[N, patch]`.
    pub augmented_labels: ValueId,
    numbers: Vec<(ValueId, Numbers)>,
}

impl Augmenter {
    /// Appends the inputs, for images of `channels` channels, and the steps that the settings ask for.
    ///
    /// # Errors
    /// [`ShapeError`] when an operation is not defined on these extents.
    pub fn append(
        graph: &mut Graph,
        settings: &Augmentation,
        seed: u64,
        batch: usize,
        channels: usize,
        extents: Extents,
    ) -> Result<Self, ShapeError> {
        let [d, h, w] = extents.source;
        let image = graph.input("image", TensorSpec::f32([batch, d, h, w, channels]));
        let labels = graph.input("labels", TensorSpec::u32([batch, d, h, w]));
        let mut augmenter = Self {
            settings: *settings,
            seed,
            channels,
            extents,
            image,
            labels,
            augmented_image: image,
            augmented_labels: labels,
            numbers: Vec::new(),
        };
        augmenter.append_steps(graph, batch)?;
        Ok(augmenter)
    }

    fn append_steps(&mut self, graph: &mut Graph, batch: usize) -> Result<(), ShapeError> {
        let settings = self.settings;
        graph.set_scope("augmentation");
        if settings.matches_histograms() {
            let numbers = self.of_channels(graph, batch, HistogramMatch::PARAMETERS, |draw| &draw.matching);
            self.augmented_image = graph.add(HistogramMatch, &[self.augmented_image, numbers])?;
        }
        if settings.is_spatial() {
            let numbers = self.input(graph, &[batch, RESAMPLE_PARAMETERS], |draw| &draw.resample);
            let resample = Resample { extents: self.extents.patch };
            let inputs = [self.augmented_image, self.augmented_labels, numbers];
            let outputs = graph.append(Box::new(resample), &inputs)?;
            (self.augmented_image, self.augmented_labels) = (outputs[0], outputs[1]);
        }
        if settings.enabled && settings.low_resolution.probability > 0.0 {
            let count = 3 * self.extents.patch.iter().sum::<usize>();
            let numbers = self.of_channels(graph, batch, count, |draw| &draw.low_resolution);
            self.augmented_image = graph.add(LowResolution, &[self.augmented_image, numbers])?;
        }
        if settings.enabled && settings.blur.probability > 0.0 {
            let numbers = self.of_channels(graph, batch, BLUR_RADIUS + 1, |draw| &draw.blur);
            self.augmented_image = graph.add(Blur, &[self.augmented_image, numbers])?;
        }
        if settings.is_pointwise() {
            let numbers = self.of_channels(graph, batch, INTENSITY_PARAMETERS, |draw| &draw.intensity);
            self.augmented_image = graph.add(Intensity, &[self.augmented_image, numbers])?;
        }
        Ok(())
    }

    /// An input of `count` numbers for each channel of each sample.
    fn of_channels(&mut self, graph: &mut Graph, batch: usize, count: usize, of: Numbers) -> ValueId {
        self.input(graph, &[batch, self.channels, count], of)
    }

    fn input(&mut self, graph: &mut Graph, shape: &[usize], of: Numbers) -> ValueId {
        let value = graph.input("augmentation", TensorSpec::f32(shape));
        self.numbers.push((value, of));
        value
    }

    /// The settings.
    pub fn settings(&self) -> &Augmentation {
        &self.settings
    }

    /// Channels of an image.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// What happens to a sample.
    pub fn draw(&self, sample: &Sample) -> Draw {
        Draw::new(&self.settings, self.seed, sample, self.channels, &self.extents)
    }

    /// The inputs of a batch besides image and labels.
    ///
    /// # Panics
    /// When the settings need intensities that the samples were not given for each channel.
    pub fn feeds(&self, samples: &[Sample]) -> Vec<(ValueId, Vec<f32>)> {
        let draws: Vec<Draw> = samples.iter().map(|sample| self.draw(sample)).collect();
        self.numbers.iter().map(|&(value, of)| (value, draws.iter().flat_map(of).copied().collect())).collect()
    }
}
