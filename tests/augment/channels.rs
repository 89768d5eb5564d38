//! Images of several channels, and labels that number no classes.

use super::support::{self, gpu};
use super::{devices, numbers_of, on_device};
use std::sync::Arc;
use vnet_engine::augment::cases::{EXTENTS, always, image, labels, sample};
use vnet_engine::augment::{
    Augmentation, Augmenter, Blur, Draw, Extents, HistogramMatch, INTENSITY_PARAMETERS, Intensity, LowResolution,
    Probability, Resample,
};
use vnet_engine::data::{Batch, Intensities, QUANTILES, Sample};
use vnet_engine::graph::{Graph, Op};
use vnet_engine::nn::Network;
use vnet_engine::nn::vnet::VNet;
use vnet_engine::tensor::{HostTensor, TensorSpec, ValueId};
use vnet_engine::train::{Trainer, TrainerSettings};

/// Half a voxel further along x, y and z, with weights of exactly an eighth: the label of most corners, the lowest of equals,
/// whether it is a mask or says that a voxel is ignored, and background beyond the edge.
pub fn labels_are_taken_as_they_are() {
    const IGNORED: u32 = u32::MAX;
    const MASK: u32 = 0x7fff_ffff;
    let resampled = |extents: [usize; 3], values: &[u32], offset: [f64; 3]| -> Vec<u32> {
        let [d, h, w] = extents;
        let voxels = values.iter().map(|value| f64::from(*value)).collect();
        let labels = HostTensor::new(TensorSpec::u32([1, d, h, w]), voxels);
        let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let numbers = numbers_of(&[&identity[..], &offset, &[0.0; 375]].concat());
        let inputs = [image(1, extents, 2, 3), labels, numbers];
        let op = Resample { extents };
        let expected = op.reference(&inputs.iter().collect::<Vec<_>>()).swap_remove(1);
        for gpu in devices() {
            assert_eq!(on_device(gpu, std::sync::Arc::new(op), &inputs).swap_remove(1), expected);
        }
        expected.data.into_iter().map(|label| label as u32).collect()
    };
    // Along x between two voxels, the last one between a voxel and the outside.
    let row = [5, IGNORED, IGNORED, MASK, MASK, 0, IGNORED, 2, 2];
    let half = resampled([1, 1, 9], &row, [0.0, 0.0, 0.5]);
    assert_eq!(half, [5, IGNORED, MASK, MASK, 0, 0, 2, 2, 0]);
    // A quarter: the nearer one, be it ignored.
    let quarter = resampled([1, 1, 9], &row, [0.0, 0.0, 0.25]);
    assert_eq!(quarter, row);
    // Beyond the edge lies background, not what is ignored.
    assert_eq!(resampled([1, 1, 9], &[IGNORED; 9], [0.0, 0.0, 7.0]), [[IGNORED; 2].as_slice(), &[0; 7]].concat());
    // Eight corners: three are ignored, of two masks each has two, one is background.
    let cube = [IGNORED, 3, MASK, IGNORED, MASK, 3, 0, IGNORED];
    assert_eq!(resampled([2, 2, 2], &cube, [0.5; 3])[0], IGNORED);
    // Four and four: no class wins over the lower mask.
    let cube = [MASK, 3, MASK, 3, MASK, 3, 3, MASK];
    assert_eq!(resampled([2, 2, 2], &cube, [0.5; 3])[0], 3);
    // Many masks at random, with ties in most places.
    let extents = [5, 6, 7];
    let many = labels(1, extents, &[0, 1, 3, MASK, 1 << 30, IGNORED], 8);
    let values: Vec<u32> = many.data.iter().map(|label| *label as u32).collect();
    let found = resampled(extents, &values, [0.5; 3]);
    assert!(found.contains(&IGNORED) && found.contains(&MASK) && found.contains(&0));
}

/// Each channel of a sample of five, with its numbers, in a graph for one channel.
pub fn a_channel_gets_the_bits_that_it_gets_alone() {
    const CHANNELS: usize = 5;
    let extents = Extents { source: [9, 12, 15], patch: EXTENTS };
    let pipeline = |channels| {
        let mut graph = Graph::new();
        let augmenter = Augmenter::append(&mut graph, &always(), 3, 1, channels, extents).expect("well-formed");
        (graph, augmenter)
    };
    let run = |graph: &Graph, augmenter: &Augmenter, feeds: &[(ValueId, HostTensor)]| {
        let wanted = [augmenter.augmented_image, augmenter.augmented_labels];
        support::run(gpu(), gpu().target(), graph, feeds, &wanted)
    };
    let (graph, augmenter) = pipeline(CHANNELS);
    let image = image(1, extents.source, CHANNELS, 4);
    let labels = labels(1, extents.source, &[0, 1, 2], 4);
    let numbers: Vec<(ValueId, HostTensor)> = augmenter
        .feeds(&[sample(4, CHANNELS)])
        .into_iter()
        .map(|(value, numbers)| {
            let data = numbers.into_iter().map(f64::from).collect();
            (value, HostTensor::new(graph.spec(value).clone(), data))
        })
        .collect();
    let feeds = [&[(augmenter.image, image.clone()), (augmenter.labels, labels.clone())], &numbers[..]].concat();
    let together = run(&graph, &augmenter, &feeds);
    let channel_of = |image: &HostTensor, channel: usize| -> Vec<f64> {
        image.data.iter().skip(channel).step_by(CHANNELS).copied().collect()
    };
    let (alone, of_one) = pipeline(1);
    let values: Vec<ValueId> = of_one.feeds(&[sample(4, 1)]).into_iter().map(|(value, _)| value).collect();
    for channel in 0..CHANNELS {
        let own = |(value, (_, all)): (&ValueId, &(ValueId, HostTensor))| {
            let spec = alone.spec(*value).clone();
            // Those of resampling are of all channels.
            let first = if spec.shape.len() == 3 { channel * spec.elements() } else { 0 };
            let data = all.data[first..][..spec.elements()].to_vec();
            (*value, HostTensor::new(spec, data))
        };
        let [d, h, w] = extents.source;
        let only = HostTensor::new(TensorSpec::f32([1, d, h, w, 1]), channel_of(&image, channel));
        let mut feeds = vec![(of_one.image, only), (of_one.labels, labels.clone())];
        feeds.extend(values.iter().zip(&numbers).map(own));
        let found = run(&alone, &of_one, &feeds);
        assert_eq!(found[0].data, channel_of(&together[0], channel), "channel {channel}");
        assert_eq!(found[1], together[1], "labels beside channel {channel}");
    }
    assert_ne!(channel_of(&together[0], 0), channel_of(&together[0], 1));
}

/// Three displacements; brightness, contrast, gamma, whether it is inverted, deviation and key of the noise; two coefficients of
/// the bias field. Of seed 7 and sample 11.
const PINNED: [u32; 14] = [
    0xbf4b7004, 0x3ee17f60, 0x3f11b862, 0x3f74c92f, 0x3f8d284d, 0x3f686131, 0x0, 0x3d12f603, 0x47529e00, 0x47474b00,
    0x47251000, 0x45073000, 0x3e0ca2bb, 0xbd6cede0,
];

/// Pinned: a stored seed must go on meaning the same samples. Only numbers that no function of the platform's went into.
pub fn draws_of_the_first_channel_are_pinned() {
    let extents = Extents { source: EXTENTS, patch: EXTENTS };
    let draw = Draw::new(&always(), 7, &sample(11, 1), 1, &extents);
    let bits: Vec<u32> = [&draw.resample[137..140], &draw.intensity[3..12], &draw.intensity[13..15]]
        .concat()
        .iter()
        .map(|number| number.to_bits())
        .collect();
    assert_eq!(bits, PINNED);
}

/// Channels leave one another's numbers alone, whatever their number.
pub fn channels_draw_for_themselves() {
    let extents = Extents { source: [9, 12, 15], patch: EXTENTS };
    let draw = |channels| Draw::new(&always(), 1, &sample(2, channels), channels, &extents);
    let parts = |draw: &Draw, channels: usize| -> Vec<[Vec<f32>; 3]> {
        // Low, high and mean are the sample's.
        let of = |numbers: &[f32], channel: usize, from: usize| {
            let count = numbers.len() / channels;
            numbers[channel * count + from..(channel + 1) * count].to_vec()
        };
        let channel = |c| [of(&draw.low_resolution, c, 0), of(&draw.blur, c, 0), of(&draw.intensity, c, 3)];
        (0..channels).map(channel).collect()
    };
    let (one, two, five) = (draw(1), draw(2), draw(5));
    let (of_one, of_two, of_five) = (parts(&one, 1), parts(&two, 2), parts(&five, 5));
    assert_eq!((&of_one[..], &of_two[..]), (&of_two[..1], &of_five[..2]));
    assert!(one.resample == two.resample && two.resample == five.resample);
    for (a, b) in (0..5).flat_map(|a| (0..a).map(move |b| (a, b))) {
        for (number, (a, b)) in of_five[a].iter().zip(&of_five[b]).enumerate() {
            assert_ne!(a, b, "part {number} of two channels");
        }
    }
    // What is true of all channels is said of each.
    assert_eq!(five.applied.len(), 5);
    let common = |name: &str| five.applied.iter().all(|names| names.iter().any(|n| n.starts_with(name)));
    assert!(["histogram", "rotation", "scale", "deformation", "blur"].into_iter().all(common));
    assert_ne!(five.applied[0], five.applied[1]);
}

/// Blur with probability 1/4: in each of two channels in a quarter of the samples, in both in a sixteenth.
pub fn channels_are_chosen_independently() {
    let mut settings = Augmentation::general();
    settings.blur.probability = 0.25;
    let extents = Extents { source: EXTENTS, patch: EXTENTS };
    let base = sample(1, 2);
    let samples = 4000;
    let mut counts = [0.0; 3];
    for number in 0..samples {
        let draw = Draw::new(&settings, 0, &Sample { number, ..base.clone() }, 2, &extents);
        let [first, second] = [0, 1].map(|channel| draw.blur[channel * 5] < 1.0);
        for (count, happens) in counts.iter_mut().zip([first, second, first && second]) {
            *count += f64::from(u8::from(happens));
        }
    }
    for (count, p) in counts.into_iter().zip([0.25, 0.25, 0.0625]) {
        let n = samples as f64;
        // Five standard errors.
        assert!((count - n * p).abs() < 5.0 * (n * p * (1.0f64 - p)).sqrt(), "{count} of {n} with probability {p}");
    }
}

pub fn histograms_of_all_channels_are_matched_to_one_volume() {
    let extents = Extents { source: EXTENTS, patch: EXTENTS };
    let mut settings = always();
    settings.histogram_matching.probability = 0.5;
    let base = sample(1, 3);
    let [own, partner] = [&base.intensities, &base.partner].map(|i| i.as_ref().expect("described"));
    let mut matched = 0;
    for number in 0..100 {
        let draw = Draw::new(&settings, 0, &Sample { number, ..base.clone() }, 3, &extents);
        let rows: Vec<&[f32]> = draw.matching.chunks_exact(1 + 2 * QUANTILES).collect();
        assert!(rows.len() == 3 && rows.iter().all(|row| row[0] == rows[0][0]), "one decision");
        for (channel, row) in rows.iter().enumerate() {
            let quantiles = [&own[channel].quantiles[..], &partner[channel].quantiles].concat();
            assert_eq!(row[1..], quantiles, "channel {channel}");
            // Contrast and gamma are relative to the volume whose intensities the channel has then.
            let volume = if row[0] == 1.0 { partner } else { own };
            let numbers = &draw.intensity[channel * INTENSITY_PARAMETERS..];
            assert_eq!(numbers[..3], [volume[channel].low(), volume[channel].high(), volume[channel].mean]);
        }
        matched += usize::from(rows[0][0] == 1.0);
    }
    // Five standard errors of a half of 100.
    assert!((25..=75).contains(&matched), "{matched}");
}

pub fn numbers_without_the_channels_are_refused() {
    let image = TensorSpec::f32([2, 3, 4, 5, 3]);
    let labels = TensorSpec::u32([2, 3, 4, 5]);
    let refused = |op: &dyn Op, inputs: &[&TensorSpec], words: &str| {
        let error = op.infer(inputs).expect_err("numbers of other channels").to_string();
        assert!(error.contains(words), "{error}");
    };
    for op in [&Blur as &dyn Op, &HistogramMatch, &LowResolution, &Intensity] {
        refused(op, &[&image, &TensorSpec::f32([2, 1, 5])], "[N, C, ");
        refused(op, &[&image, &TensorSpec::f32([2, 5])], "found f32[2, 3, 4, 5, 3] and f32[2, 5]");
    }
    assert!(Blur.infer(&[&image, &TensorSpec::f32([2, 3, 5])]).is_ok());
    refused(&Resample { extents: [3, 4, 5] }, &[&image, &labels, &TensorSpec::f32([2, 3, 387])], "f32 [N, 387]");
}

/// Extents `[D, H, W]` of the trainings.
const PATCH: [usize; 3] = [4, 6, 8];

fn two_channel_trainer() -> Trainer {
    let network = Network::new(2, 2, VNet { base: 2, encoder: vec![1, 1], decoder: vec![1] });
    let augmentation = Augmentation { histogram_matching: Probability { probability: 0.5 }, ..Augmentation::general() };
    let settings = TrainerSettings { augmentation: Some(augmentation), ..TrainerSettings::default() };
    let mut trainer = Trainer::new(gpu(), &network, &settings, PATCH).expect("it fits");
    trainer.initialise(0, 0.05);
    trainer
}

/// A sample whose class shows in the second channel alone, described for `channels` channels and with those of a partner.
fn two_channel_batch(number: u64, channels: [usize; 2]) -> Batch {
    let image = image(1, PATCH, 2, 9).data;
    let organ: Vec<bool> = (0..image.len() / 2).map(|voxel| voxel % PATCH[2] < PATCH[2] / 2).collect();
    let of = |(i, value): (usize, &f64)| (0.3 * value + if i % 2 == 1 && organ[i / 2] { 2.0 } else { 0.0 }) as f32;
    let image: Vec<f32> = image.iter().enumerate().map(of).collect();
    let [intensities, partner] = channels.map(|c| Some(Arc::new(Intensities::of_channels(&image, c))));
    let samples = vec![Sample { number, spacing: [1.0, 1.1, 2.0], intensities, partner }];
    Batch { label: organ.into_iter().map(u32::from).collect(), image, samples, cases: vec!["organ".to_owned()] }
}

pub fn two_channels_train() {
    let run = || {
        let mut trainer = two_channel_trainer();
        let mut results = Vec::new();
        for number in 0..40 {
            results.extend(trainer.step(&[two_channel_batch(number, [2, 2])], 1e-2).expect("a step"));
        }
        results.extend(trainer.finish().expect("the results"));
        results.iter().map(|result| result.loss).collect::<Vec<f64>>()
    };
    let losses = run();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[30..]) < 0.8 * mean(&losses[..5]), "{losses:?}");
    assert_eq!(losses, run());
}

pub fn samples_that_describe_other_channels_are_refused() {
    let mut trainer = two_channel_trainer();
    let mut refused = |batch: &Batch, words: &str| {
        let error = trainer.step(std::slice::from_ref(batch), 1e-3).expect_err("one channel is missing").to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(&two_channel_batch(0, [1, 2]), "given 0 samples with the intensities of each channel of their volume");
    refused(&two_channel_batch(0, [2, 1]), "given 0 samples with the intensities of each channel of another volume");
    let mut first_alone = two_channel_batch(0, [2, 2]);
    first_alone.image.truncate(192);
    refused(&first_alone, "192 intensities of the image (its voxels times its channels), expected 384");
    assert!(trainer.step(&[two_channel_batch(0, [2, 2])], 1e-3).is_ok());
}
