//! Augmentation: the device against the f64 definitions with derived bounds, the definitions against SimpleITK, scipy and
//! scikit-image, and what a training relies on: the same numbers for the same seed and sample, whatever the threads.

#[path = "augment/channels.rs"]
mod channels;
mod support;

use serde_json::Value;
use std::sync::Arc;
use support::{GPU, U, WEBGPU, compare, gpu};
use vnet_engine::augment::cases::{EXTENTS, always, draws, image, labels, numbers, sample};
use vnet_engine::augment::{
    Augmentation, Augmenter, Blur, Draw, Extents, HistogramMatch, INTENSITY_PARAMETERS, LowResolution, Probability,
    Ranged, Resample, cases,
};
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::data::{
    Batch, CacheBudget, Dataset, Intensities, Loader, LoaderSettings, Normalisation, Preparation, QUANTILES, Sample,
    Sampling,
};
use vnet_engine::gpu::Gpu;
use vnet_engine::graph::{Graph, Op};
use vnet_engine::ops::case::Case;
use vnet_engine::tensor::{HostTensor, TensorSpec};

fn main() {
    support::run_trials(&[
        ("resampling_agrees_with_its_definition", true, resampling_agrees_with_its_definition),
        ("resampling_by_nothing_changes_no_bit", true, resampling_by_nothing_changes_no_bit),
        ("matching_agrees_with_its_definition", true, matching_agrees_with_its_definition),
        ("blur_agrees_with_its_definition", true, blur_agrees_with_its_definition),
        ("low_resolution_agrees_with_its_definition", true, low_resolution_agrees_with_its_definition),
        ("intensities_agree_with_their_definition", true, intensities_agree_with_their_definition),
        ("labels_are_taken_as_they_are", true, channels::labels_are_taken_as_they_are),
        ("what_is_off_changes_no_bit", true, what_is_off_changes_no_bit),
        ("a_channel_gets_the_bits_that_it_gets_alone", true, channels::a_channel_gets_the_bits_that_it_gets_alone),
        ("noise_does_not_depend_on_the_place_in_the_batch", true, noise_does_not_depend_on_the_place_in_the_batch),
        ("deformation_is_simpleitks", false, deformation_is_simpleitks),
        ("rotation_is_scipys", false, rotation_is_scipys),
        ("matching_is_scikit_images", false, matching_is_scikit_images),
        ("blur_is_scipys", false, blur_is_scipys),
        ("draws_are_a_function_of_seed_and_sample", false, draws_are_a_function_of_seed_and_sample),
        ("draws_of_the_first_channel_are_pinned", false, channels::draws_of_the_first_channel_are_pinned),
        ("channels_draw_for_themselves", false, channels::channels_draw_for_themselves),
        ("channels_are_chosen_independently", false, channels::channels_are_chosen_independently),
        (
            "histograms_of_all_channels_are_matched_to_one_volume",
            false,
            channels::histograms_of_all_channels_are_matched_to_one_volume,
        ),
        ("numbers_without_the_channels_are_refused", false, channels::numbers_without_the_channels_are_refused),
        ("a_flip_mirrors_and_a_scale_magnifies", false, a_flip_mirrors_and_a_scale_magnifies),
        ("probabilities_are_kept", false, probabilities_are_kept),
        ("batches_do_not_depend_on_threads_or_cache", false, batches_do_not_depend_on_threads_or_cache),
        ("augmented_batches_are_the_same_bits", true, augmented_batches_are_the_same_bits),
        ("two_channels_train", true, channels::two_channels_train),
        (
            "samples_that_describe_other_channels_are_refused",
            true,
            channels::samples_that_describe_other_channels_are_refused,
        ),
    ]);
}

/// The device's outputs of one operation.
fn on_device(gpu: &Arc<Gpu>, op: Arc<dyn Op>, inputs: &[HostTensor]) -> Vec<HostTensor> {
    let mut graph = Graph::new();
    let ids: Vec<_> = inputs.iter().map(|t| graph.input("input", t.spec.clone())).collect();
    let outputs = graph.append_shared(op, &ids).expect("well-formed");
    let feeds: Vec<_> = ids.into_iter().zip(inputs.iter().cloned()).collect();
    support::run(gpu, gpu.target(), &graph, &feeds, &outputs)
}

/// Both devices that a shader must be right on.
fn devices() -> [&'static Arc<Gpu>; 2] {
    [gpu(), WEBGPU.as_ref().expect("ignored without an adapter")]
}

/// A case with its inputs, its outputs by the definition and their bounds.
struct Tried {
    case: Case,
    inputs: Vec<HostTensor>,
    expected: Vec<HostTensor>,
    bounds: Vec<Vec<f64>>,
}

/// Compares every case of an operation on both devices.
fn agreeing(op: &str) -> Vec<Tried> {
    let try_case = |case: Case| {
        let inputs = case.draw(1);
        let expected = case.op.reference(&inputs.iter().collect::<Vec<_>>());
        let bounds = expected.iter().enumerate().map(|(i, e)| case.bounds(i, &inputs, e)).collect();
        Tried { case, inputs, expected, bounds }
    };
    let tried: Vec<Tried> = cases().into_iter().filter(|case| case.op.name() == op).map(try_case).collect();
    assert!(tried.len() > 1, "cases of {op}");
    for gpu in devices() {
        for tried in &tried {
            let found = on_device(gpu, tried.case.op.clone(), &tried.inputs);
            for (i, (found, expected)) in found.iter().zip(&tried.expected).enumerate() {
                compare(found, expected, |at| tried.bounds[i][at])
                    .unwrap_or_else(|error| panic!("{} output {i}: {error}", tried.case.name));
            }
        }
    }
    tried
}

/// Nothing ever, with every step in the graph.
fn never() -> Augmentation {
    let mut none = always();
    // So small that no draw of 53 bits is below.
    let least = f64::MIN_POSITIVE;
    none.histogram_matching = Probability { probability: least };
    none.deformation.probability = least;
    none.rotation.probability = least;
    none.flip.probability = [least; 3];
    none.gamma.probability = least;
    for ranged in [
        &mut none.scaling,
        &mut none.low_resolution,
        &mut none.blur,
        &mut none.bias_field,
        &mut none.brightness,
        &mut none.contrast,
        &mut none.noise,
    ] {
        ranged.probability = least;
    }
    none
}

fn of(draws: &[Draw], field: fn(&Draw) -> &Vec<f32>) -> HostTensor {
    numbers(&draws.iter().map(|d| field(d).clone()).collect::<Vec<_>>())
}

fn resampling_agrees_with_its_definition() {
    for Tried { case, expected, bounds, .. } in agreeing("augment_resample") {
        // Where the heaviest label is not ahead by more than the weights may be wrong, any is right: nearly nowhere.
        let decided = bounds[1].iter().filter(|bound| **bound == 0.0).count();
        assert!(decided * 1000 > bounds[1].len() * 995, "{}: {decided} of {}", case.name, bounds[1].len());
        // Labels 0, 1 and 2, or masks of regions and voxels that are ignored.
        let values = if case.inputs[0].0.channels() == 1 { [0, 1, 2] } else { [0, 0x4000_0005, u32::MAX] };
        assert!(values.iter().all(|value| expected[1].data.contains(&f64::from(*value))), "{}", case.name);
        assert!(expected[1].data.iter().all(|label| values.iter().any(|value| f64::from(*value) == *label)));
    }
}

fn resampling_by_nothing_changes_no_bit() {
    for channels in [1, 3] {
        let draws = draws(&never(), Extents { source: EXTENTS, patch: EXTENTS }, channels, &[4, 9]);
        let image = image(2, EXTENTS, channels, 1);
        let labels = labels(2, EXTENTS, &[0, 3, 1 << 30, u32::MAX], 2);
        let inputs = [image, labels, of(&draws, |d| &d.resample)];
        let found = on_device(gpu(), Arc::new(Resample { extents: EXTENTS }), &inputs);
        assert_eq!(found, inputs[..2]);
    }
}

fn matching_agrees_with_its_definition() {
    for Tried { case, inputs, expected, bounds } in agreeing("augment_match") {
        let values = expected[0].data.iter().zip(&inputs[0].data).zip(&bounds[0]);
        let moved = values.filter(|((a, b), bound)| (*a - *b).abs() > 100.0 * **bound).count();
        assert!(moved * 2 > bounds[0].len(), "{}: {moved} voxels changed", case.name);
    }
}

fn blur_agrees_with_its_definition() {
    for Tried { inputs, expected, .. } in agreeing("augment_blur") {
        let voxels = inputs[0].data.len() / 3;
        let channels = inputs[0].spec.channels();
        // Channel c of sample n is left as it is where n + c = 1, 4, ….
        for (sample, channel) in (0..3).flat_map(|sample| (0..channels).map(move |channel| (sample, channel))) {
            let of = |image: &HostTensor| {
                let voxels = image.data[sample * voxels..][..voxels].iter().skip(channel).step_by(channels);
                voxels.copied().collect::<Vec<_>>()
            };
            assert_eq!(of(&expected[0]) == of(&inputs[0]), (sample + channel) % 3 == 1, "{sample}, {channel}");
        }
    }
}

fn low_resolution_agrees_with_its_definition() {
    agreeing("augment_low_resolution");
    // A linear ramp stays one, except where the last kept voxel lies before the edge.
    let ramp = HostTensor::from_fn([1, 2, 3, 9, 1], |i| (i % 9) as f64);
    let tables = [LowResolution::table(2, 1.0), LowResolution::table(3, 1.0), LowResolution::table(9, 2.0)].concat();
    let kept = LowResolution.reference(&[&ramp, &of_one_channel(&tables)]).swap_remove(0);
    assert_eq!(kept, ramp);
}

/// Numbers of the only channel of a sample.
fn of_one_channel(values: &[f64]) -> HostTensor {
    HostTensor::new(TensorSpec::f32([1, 1, values.len()]), values.to_vec())
}

fn numbers_of(values: &[f64]) -> HostTensor {
    HostTensor::new(TensorSpec::f32([1, values.len()]), values.to_vec())
}

fn intensities_agree_with_their_definition() {
    for Tried { case, inputs, expected, bounds } in agreeing("augment_intensity") {
        let rows = inputs[1].data.chunks_exact(INTENSITY_PARAMETERS);
        let (samples, inverted) = (rows.len(), rows.filter(|n| n[6] != 0.0).count());
        assert!((1..samples).contains(&inverted), "{}: both gammas are tried, {inverted} inverted", case.name);
        // The bound is far below what the transformations do.
        let values = expected[0].data.iter().zip(&inputs[0].data).zip(&bounds[0]);
        let typical = values.filter(|((after, before), bound)| **bound < 0.01 * (*after - *before).abs()).count();
        assert!(typical * 10 > bounds[0].len() * 8, "{}: {typical}", case.name);
    }
}

fn what_is_off_changes_no_bit() {
    let extents = Extents { source: EXTENTS, patch: EXTENTS };
    for channels in [1, 4] {
        let (augmented, original) = augmented(gpu(), &never(), extents, channels, &[1, 2]);
        assert_eq!(augmented, original);
    }
}

/// Image and labels after and before the whole pipeline.
fn augmented(
    gpu: &Arc<Gpu>,
    settings: &Augmentation,
    extents: Extents,
    channels: usize,
    samples: &[u64],
) -> ([HostTensor; 2], [HostTensor; 2]) {
    let mut graph = Graph::new();
    let augmenter = Augmenter::append(&mut graph, settings, 3, samples.len(), channels, extents).expect("well-formed");
    let join = |make: &dyn Fn(u64) -> HostTensor| {
        let parts: Vec<HostTensor> = samples.iter().map(|&s| make(s)).collect();
        let mut shape = parts[0].shape().to_vec();
        shape[0] = samples.len();
        let spec = TensorSpec { shape, dtype: parts[0].spec.dtype };
        HostTensor::new(spec, parts.iter().flat_map(|p| p.data.clone()).collect())
    };
    let labels = |s| labels(1, extents.source, &[0, 1, 2], s);
    let original = [join(&|s| image(1, extents.source, channels, s)), join(&labels)];
    let mut feeds = vec![(augmenter.image, original[0].clone()), (augmenter.labels, original[1].clone())];
    let described: Vec<Sample> = samples.iter().map(|&s| sample(s, channels)).collect();
    for (value, numbers) in augmenter.feeds(&described) {
        let data = numbers.into_iter().map(f64::from).collect();
        feeds.push((value, HostTensor::new(graph.spec(value).clone(), data)));
    }
    let wanted = [augmenter.augmented_image, augmenter.augmented_labels];
    let found = support::run(gpu, gpu.target(), &graph, &feeds, &wanted);
    (found.try_into().expect("two values"), original)
}

fn noise_does_not_depend_on_the_place_in_the_batch() {
    let extents = Extents { source: [9, 12, 15], patch: EXTENTS };
    let voxels = EXTENTS.iter().product::<usize>();
    for channels in [1, 2] {
        let (both, _) = augmented(gpu(), &always(), extents, channels, &[4, 8]);
        let (second, _) = augmented(gpu(), &always(), extents, channels, &[8]);
        assert_eq!(both[0].data[channels * voxels..], second[0].data);
        assert_eq!(both[1].data[voxels..], second[1].data);
        assert_ne!(both[0].data[..channels * voxels], second[0].data);
    }
}

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/augment.json")).expect("JSON")
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn golden_extents(golden: &Value) -> [usize; 3] {
    list(&golden["extents"]).iter().map(|e| *e as usize).collect::<Vec<_>>().try_into().expect("three extents")
}

fn golden_image(golden: &Value, of: &Value) -> HostTensor {
    let [d, h, w] = golden_extents(golden);
    HostTensor::new(TensorSpec::f32([1, d, h, w, 1]), list(of))
}

fn deformation_is_simpleitks() {
    let golden = golden();
    let (extents, case) = (golden_extents(&golden), &golden["deformation"]);
    let [d, h, w] = extents;
    let image = golden_image(&golden, &case["image"]);
    let labels = HostTensor::new(TensorSpec::u32([1, d, h, w]), list(&case["labels"]));
    let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
    let numbers = numbers_of(&[&identity[..], &list(&case["displacements"])].concat());
    let op = Resample { extents };
    let points = list(&case["points"]);
    let margin = list(&case["margin"]);
    let expected = [list(&case["resampled"]), list(&case["resampled_labels"])];
    let found = op.reference(&[&image, &labels, &numbers]);
    // The mesh coordinate is a float32: 2^-24 of up to 2 cells, a slope of at most 4 times 10 voxels per cell, three axes.
    let apart = 3.0 * 2.0 * 40.0 * U + 1e-8;
    // Along each of three axes the image changes by at most the difference of two voxels, as a label's weight does by 1.
    let (image_apart, weight_apart) = (3.0 * apart * 2.0 * image.max_abs(), 3.0 * apart);
    let mut inside = 0;
    for (i, point) in points.chunks_exact(3).enumerate() {
        let own = op.source_point(&numbers.data, [i / (h * w), i / w % h, i % w]);
        let close = (0..3).all(|axis| (own[axis] - point[axis]).abs() < apart);
        assert!(close, "voxel {i}: {own:?}, SimpleITK {point:?}");
        // Beyond the outermost voxels SimpleITK repeats them for half a voxel.
        if (0..3).all(|axis| point[axis] >= 0.0 && point[axis] <= (extents[axis] - 1) as f64) {
            inside += 1;
            assert!((found[0].data[i] - expected[0][i]).abs() < image_apart, "voxel {i}");
            assert!(margin[i] < 2.0 * weight_apart || found[1].data[i] == expected[1][i], "label {i}");
        }
    }
    assert!(inside * 2 > d * h * w, "{inside} voxels come from inside");
}

fn rotation_is_scipys() {
    let golden = golden();
    let (extents, case) = (golden_extents(&golden), &golden["rotation"]);
    let image = golden_image(&golden, &case["image"]);
    let labels = HostTensor::zeros(TensorSpec::u32(&image.shape()[..4]));
    let numbers = numbers_of(&[list(&case["matrix"]), list(&case["offset"]), vec![0.0; 375]].concat());
    let found = Resample { extents }.reference(&[&image, &labels, &numbers]).swap_remove(0);
    let expected = list(&case["resampled"]);
    // Nine digits are written.
    let close = |(f, e): (&f64, &f64)| (f - e).abs() < 1e-8 * image.max_abs();
    assert!(found.data.iter().zip(&expected).all(close));
    assert!(expected.iter().filter(|v| **v == 0.0).count() > 50, "part of the output lies outside");
}

fn matching_is_scikit_images() {
    let golden = golden();
    let case = &golden["matching"];
    let described = |key: &str| {
        let image: Vec<f32> = list(&case[key]).iter().map(|v| *v as f32).collect();
        Intensities::of_channels(&image, 1)[0].quantiles.iter().map(|q| f64::from(*q)).collect::<Vec<_>>()
    };
    let (from, to) = (described("image"), described("other"));
    let mut total = 0.0;
    let (image, expected) = (list(&case["image"]), list(&case["matched"]));
    for (value, expected) in image.iter().zip(&expected) {
        let found = HistogramMatch::map(*value, &from, &to);
        // Both lie between the other volume's quantiles around the value's own; one more on either side for the rank of a
        // quantile, which is rounded to a voxel.
        let k = from.partition_point(|q| q <= value).clamp(1, QUANTILES - 1) - 1;
        let (low, high) = (to[k.saturating_sub(1)], to[(k + 2).min(QUANTILES - 1)]);
        // scikit-image's result is written with nine digits.
        let digits = 1e-8 * expected.abs();
        let fine = (low..=high).contains(&found) && (low - digits..=high + digits).contains(expected);
        assert!(fine, "{value}: {found}, {expected}");
        total += (found - expected).abs();
    }
    // From one quantile to the next ours rises linearly and scikit-image's monotonically, so that on average they are apart
    // by half of the step or less; as many voxels are in every step, and the mean step is the spread / 255.
    let spread = to[QUANTILES - 1] - to[0];
    let bound = 0.5 / (QUANTILES - 1) as f64 * spread;
    assert!(total / (image.len() as f64) < bound, "{}", total / image.len() as f64 / spread);
}

fn blur_is_scipys() {
    let golden = golden();
    let case = &golden["blur"];
    let image = golden_image(&golden, &case["image"]);
    let weights = of_one_channel(&Blur::weights(case["sigma"].as_f64().expect("a number")));
    let found = Blur.reference(&[&image, &weights]).swap_remove(0);
    let close = |(f, e): (&f64, &f64)| (f - e).abs() < 1e-8 * image.max_abs();
    assert!(found.data.iter().zip(&list(&case["blurred"])).all(close));
}

fn draws_are_a_function_of_seed_and_sample() {
    let extents = Extents { source: EXTENTS, patch: EXTENTS };
    let draw = |seed, number, settings: &Augmentation| Draw::new(settings, seed, &sample(number, 1), 1, &extents);
    let settings = always();
    assert_eq!(draw(1, 2, &settings), draw(1, 2, &settings));
    assert_ne!(draw(1, 2, &settings).resample, draw(1, 3, &settings).resample);
    assert_ne!(draw(1, 2, &settings).resample, draw(2, 2, &settings).resample);
    let mut without = settings;
    without.rotation.probability = 0.0;
    without.noise = Ranged { probability: 0.0, range: [0.0, 0.1] };
    let (with, without) = (draw(1, 2, &settings), draw(1, 2, &without));
    assert_eq!(with.resample[12..], without.resample[12..], "one setting leaves what others draw");
    assert_eq!((with.blur, with.low_resolution), (without.blur, without.low_resolution));
    assert_ne!(with.resample[..12], without.resample[..12]);
}

fn a_flip_mirrors_and_a_scale_magnifies() {
    let mut settings = never();
    settings.flip.probability = [1.0, f64::MIN_POSITIVE, f64::MIN_POSITIVE];
    let extents = Extents { source: EXTENTS, patch: EXTENTS };
    let draw = &draws(&settings, extents, 2, &[1])[0];
    assert_eq!(draw.applied, [["flip x"]; 2]);
    let (image, labels) = (image(1, EXTENTS, 1, 1), labels(1, EXTENTS, &[0, 1, 2], 1));
    let found =
        Resample { extents: EXTENTS }.reference(&[&image, &labels, &numbers(std::slice::from_ref(&draw.resample))]);
    let width = EXTENTS[2];
    let mirrored = |data: &[f64]| data.chunks(width).flat_map(|row| row.iter().rev().copied()).collect::<Vec<_>>();
    assert_eq!((&found[0].data, &found[1].data), (&mirrored(&image.data), &mirrored(&labels.data)));
    settings.flip.probability = [f64::MIN_POSITIVE; 3];
    settings.scaling = Ranged { probability: 1.0, range: [2.0, 2.0] };
    let draw = &draws(&settings, extents, 1, &[1])[0];
    let numbers: Vec<f64> = draw.resample.iter().map(|n| f64::from(*n)).collect();
    let point = Resample { extents: EXTENTS }.source_point(&numbers, [3, 8, 2]);
    // Half as far from the centre (3, 4.5, 6).
    assert_eq!(point, [3.0, 6.25, 4.0]);
}

fn probabilities_are_kept() {
    let settings = Augmentation::paper();
    let extents = Extents { source: EXTENTS, patch: EXTENTS };
    let base = sample(1, 1);
    let draw = |number| Draw::new(&settings, 0, &Sample { number, ..base.clone() }, 1, &extents);
    let draws: Vec<Draw> = (0..2000).map(draw).collect();
    let deformed = draws.iter().filter(|d| d.applied[0].contains(&"deformation".to_owned())).count() as f64;
    // Five standard errors of a half of 2000.
    assert!((deformed - 1000.0).abs() < 112.0, "{deformed}");
    assert!(draws.iter().all(|d| d.matching[0] == 1.0));
    let displaced: Vec<f64> = draws.iter().flat_map(|d| d.resample[137..].iter().map(|v| f64::from(*v))).collect();
    assert!(draws.iter().all(|d| d.resample[12..137].iter().all(|v| *v == 0.0)), "z stays");
    let variance = displaced.iter().map(|v| v * v).sum::<f64>() / (deformed * 250.0);
    // Five standard errors of a variance: sqrt(2 / 250000) each.
    assert!((variance / 225.0 - 1.0).abs() < 5.0 * (2.0 / (deformed * 250.0)).sqrt(), "{variance}");
}

fn dataset(folder: &std::path::Path) -> Dataset {
    let settings = PhantomSettings { cases: 5, seed: 9, extents: [26, 23, 14], spacing: [4.0, 4.5, 5.0] };
    write_dataset(folder, &settings, |_| ()).expect("written");
    Dataset::open(folder).expect("a data set")
}

fn batches(dataset: &Dataset, sampling: Sampling, threads: usize, cache_bytes: usize, start: u64) -> Vec<Batch> {
    let patch = if sampling == Sampling::Whole { [26, 23, 14] } else { [16, 13, 10] };
    let preparation = Preparation { patch, ..Preparation::native(Normalisation::ZScoreAll) };
    let settings = LoaderSettings {
        threads,
        cache: CacheBudget::new(cache_bytes),
        sampling,
        start_sample: start,
        foreground: 0.33,
        block: patch.map(|e| if sampling == Sampling::Patch { e + 4 } else { e }),
        intensities: true,
        partners: true,
        ..LoaderSettings::whole(patch, 2, 5)
    };
    let mut loader = Loader::start(dataset.cases.clone(), preparation, settings).expect("a loader");
    (0..9).map(|_| loader.next().expect("a batch")).collect()
}

fn batches_do_not_depend_on_threads_or_cache() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = dataset(folder.path());
    for sampling in [Sampling::Whole, Sampling::Patch] {
        let expected = batches(&dataset, sampling, 1, usize::MAX, 0);
        for (threads, cache) in [(2, usize::MAX), (3, 0), (5, 40_000)] {
            assert!(batches(&dataset, sampling, threads, cache, 0) == expected, "{threads} threads, {cache} bytes");
        }
        // A resumed training goes on with the same samples.
        assert!(batches(&dataset, sampling, 2, 0, 6)[..6] == expected[3..]);
        let samples: Vec<&Sample> = expected.iter().flat_map(|b| &b.samples).collect();
        assert!(samples.iter().all(|s| s.intensities != s.partner), "another volume's histogram");
        assert!(samples.iter().zip(0..).all(|(s, number)| s.number == number));
    }
}

/// Loader and device together, for one and for three threads.
fn augmented_batches_are_the_same_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = dataset(folder.path());
    let gpu = GPU.as_ref().expect("ignored without an adapter");
    let extents = Extents { source: [14, 17, 20], patch: [10, 13, 16] };
    let mut graph = Graph::new();
    let augmenter = Augmenter::append(&mut graph, &always(), 5, 2, 1, extents).expect("well-formed");
    let wanted = [augmenter.augmented_image, augmenter.augmented_labels];
    let executor = support::executor(gpu, gpu.target(), &graph, &wanted);
    let run = |threads: usize| -> Vec<Vec<HostTensor>> {
        let on_device = |batch: &Batch| {
            executor.write(augmenter.image, bytemuck::cast_slice(&batch.image));
            executor.write(augmenter.labels, bytemuck::cast_slice(&batch.label));
            for (value, numbers) in augmenter.feeds(&batch.samples) {
                executor.write(value, bytemuck::cast_slice(&numbers));
            }
            executor.run(0).expect("the device runs");
            wanted.iter().map(|&v| executor.read(v, graph.spec(v)).expect("the device answers")).collect()
        };
        batches(&dataset, Sampling::Patch, threads, usize::MAX, 0).iter().map(on_device).collect()
    };
    let (one, three) = (run(1), run(3));
    assert!(one == three);
    assert!(one[0][0].data.iter().all(|v| v.is_finite()) && one.iter().any(|b| b[1].data.contains(&1.0)));
}
