//! Samples of a case as a training sees them.

use super::{Config, TrainError, choose_patch};
use crate::augment::{Augmenter, Extents};
use crate::data::{Batch, DataError, Dataset, Examined, IGNORED, Loader, Warnings};
use crate::exec::Executor;
use crate::gpu::Gpu;
use crate::graph::Graph;
use crate::plan::{Request, plan};
use crate::report::{ChannelTile, MOST_SLICES, SampleTile};
use crate::tensor::ValueId;
use std::sync::Arc;

/// Other cases whose histograms samples are matched to.
const PARTNERS: usize = 3;

/// Samples of one case.
#[derive(Debug)]
pub struct Preview {
    /// The first sample as it was loaded, then all samples augmented.
    pub tiles: Vec<SampleTile>,
    /// Numbers of the channels that are shown, counted from 0.
    pub channels: Vec<usize>,
    /// Channels of the images.
    pub channel_count: usize,
    /// Extents x, y, z.
    pub extents: [usize; 3],
    /// Spacing x, y, z in mm.
    pub spacing: [f64; 3],
    /// What is unusual about the files of the data set.
    pub warnings: Warnings,
}

/// Augments `count` samples of the case of this index and shows these channels of them; none: from the first one as many as a
/// picture holds ([`MOST_SLICES`]). The data set was opened with the configuration's classes.
///
/// # Errors
/// [`TrainError`] that names the file or key, or channels that there are not.
pub fn preview(
    gpu: &Arc<Gpu>,
    dataset: &Dataset,
    config: &Config,
    case: usize,
    count: usize,
    shown: &[usize],
) -> Result<Preview, TrainError> {
    let Examined { classes, channels, warnings, .. } = dataset.examine_sound()?;
    config.check_channels(channels)?;
    let shown = choose_channels(shown, channels, count + 1)?;
    let patch = choose_patch(config, &dataset.cases, config.network_of(channels, &classes)?.divisor())?;
    let config = config.resolved(patch, channels, dataset.classes_as(&classes), &dataset.cases)?;
    let cases: Vec<_> = (0..=PARTNERS.min(dataset.cases.len() - 1))
        .map(|i| dataset.cases[(case + i) % dataset.cases.len()].clone())
        .collect();
    let wanted = cases[0].name.clone();
    let preparation = config.preparation(patch, channels, classes.outputs());
    let loader = Loader::start(cases, preparation, config.loader_settings(patch, 1, 0))?;
    let device = Device::new(gpu, &config, channels, patch, classes.device_labels())?;
    let mut preview = Preview {
        tiles: Vec::new(),
        channels: shown,
        channel_count: channels,
        extents: patch,
        spacing: [1.0; 3],
        warnings,
    };
    preview.fill(&device, loader, &wanted, count)?;
    Ok(preview)
}

/// The channels to show of `samples` samples.
fn choose_channels(wanted: &[usize], channels: usize, samples: usize) -> Result<Vec<usize>, DataError> {
    let most = MOST_SLICES / samples;
    if let Some(other) = wanted.iter().find(|&&channel| channel >= channels) {
        let found = format!("{other}, counted from 0, of images with {channels}");
        return Err(DataError::Setting { key: "number of a channel", found, expected: "below that" });
    }
    if wanted.len() > most {
        let found = format!("{} of {samples} samples", wanted.len());
        let expected = "at most 200 slices in a picture: fewer channels or samples";
        return Err(DataError::Setting { key: "number of channels", found, expected });
    }
    Ok(if wanted.is_empty() { (0..channels.min(most)).collect() } else { wanted.to_vec() })
}

impl Preview {
    fn fill(&mut self, device: &Device, mut loader: Loader, case: &str, count: usize) -> Result<(), TrainError> {
        while self.tiles.len() <= count {
            let batch = loader.next()?;
            if batch.cases[0] != case {
                continue;
            }
            if self.tiles.is_empty() {
                self.spacing = batch.samples[0].spacing;
                self.tiles.push(device.original(&batch, &self.channels));
            }
            self.tiles.push(device.augmented(&batch, &self.channels)?);
        }
        Ok(())
    }
}

/// The augmentation alone, one sample at a time.
struct Device {
    executor: Executor,
    augmenter: Augmenter,
    graph: Graph,
    extents: Extents,
    /// The label of each class.
    labels: Vec<u32>,
}

impl Device {
    fn new(
        gpu: &Arc<Gpu>,
        config: &Config,
        channels: usize,
        [x, y, z]: [usize; 3],
        labels: Vec<u32>,
    ) -> Result<Self, TrainError> {
        let patch = [z, y, x];
        let extents = Extents { source: config.trainer_settings().block(patch), patch };
        let mut graph = Graph::new();
        let augmenter = Augmenter::append(&mut graph, &config.augmentation, config.seed, 1, channels, extents)?;
        let outputs = [augmenter.augmented_image, augmenter.augmented_labels];
        let plan = plan(&Request::inference(&graph, &outputs), gpu.target())?;
        Ok(Self { executor: Executor::new(Arc::clone(gpu), plan)?, augmenter, graph, extents, labels })
    }

    /// A class of a label on the device; of classes that are part of the same regions the first.
    fn class(&self, label: u32) -> u16 {
        self.labels.iter().position(|of| *of == label).map_or(IGNORED, |class| class as u16)
    }

    /// The middle of a sample as it was loaded.
    fn original(&self, batch: &Batch, channels: &[usize]) -> SampleTile {
        let [from, to] = [self.extents.source, self.extents.patch].map(|[z, y, x]| [x, y, z]);
        let fit = crate::data::patch::CenterFit { from, to };
        let labels: Vec<u16> = batch.label.iter().map(|&l| self.class(l)).collect();
        let channel = |&channel: &usize| ChannelTile {
            caption: vec!["as loaded".to_owned()],
            image: fit.apply(&self.channel(&batch.image, channel), 0.0),
        };
        SampleTile { channels: channels.iter().map(channel).collect(), labels: fit.apply(&labels, 0) }
    }

    fn augmented(&self, batch: &Batch, channels: &[usize]) -> Result<SampleTile, TrainError> {
        self.executor.write(self.augmenter.image, bytemuck::cast_slice(&batch.image));
        self.executor.write(self.augmenter.labels, bytemuck::cast_slice(&batch.label));
        for (value, numbers) in self.augmenter.feeds(&batch.samples) {
            self.executor.write(value, bytemuck::cast_slice(&numbers));
        }
        self.executor.run(0)?;
        let read = |value: ValueId| self.executor.read(value, self.graph.spec(value));
        let image: Vec<f32> = read(self.augmenter.augmented_image)?.data.into_iter().map(|v| v as f32).collect();
        let labels = read(self.augmenter.augmented_labels)?.data;
        let applied = self.augmenter.draw(&batch.samples[0]).applied;
        let channel = |&channel: &usize| {
            let nothing = || vec!["nothing".to_owned()];
            let caption = Some(applied[channel].clone()).filter(|names| !names.is_empty()).unwrap_or_else(nothing);
            ChannelTile { caption, image: self.channel(&image, channel) }
        };
        let labels = labels.into_iter().map(|label| self.class(label as u32)).collect();
        Ok(SampleTile { channels: channels.iter().map(channel).collect(), labels })
    }

    /// A channel of an image whose channels lie together.
    fn channel(&self, image: &[f32], channel: usize) -> Vec<f32> {
        image.iter().skip(channel).step_by(self.augmenter.channels()).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_those_that_are_wanted_or_as_many_as_fit() {
        let chosen = |wanted: &[usize], channels, samples| choose_channels(wanted, channels, samples);
        assert_eq!(chosen(&[], 3, 12).expect("they fit"), [0, 1, 2]);
        assert_eq!(chosen(&[], 64, 50).expect("as many as fit"), [0, 1, 2, 3]);
        assert_eq!(chosen(&[2, 0], 3, 100).expect("they fit"), [2, 0]);
        let refused = |wanted: &[usize], channels, samples| {
            chosen(wanted, channels, samples).expect_err("too many, or none of this number").to_string()
        };
        assert_eq!(
            refused(&[1, 3], 3, 12),
            "number of a channel is 3, counted from 0, of images with 3, expected below that"
        );
        let text = refused(&[0, 1, 2], 64, 100);
        assert_eq!(
            text,
            "number of channels is 3 of 100 samples, expected at most 200 slices in a picture: fewer channels or samples"
        );
        assert!(text.contains(&MOST_SLICES.to_string()));
    }
}
