//! Augmentation: the device against the f64 definitions with derived bounds, the definitions against SimpleITK, scipy and
//! scikit-image, and what a training relies on: the same numbers for the same seed and sample, whatever the threads.

mod support;

use serde_json::Value;
use support::{GPU, U, WEBGPU, compare, gpu};
use vnet_engine::augment::{
    Augmentation, Augmenter, Blur, Draw, Extents, HistogramMatch, INTENSITY_PARAMETERS, Intensity, LowResolution,
    Probability, Ranged, Resample, standard_normal,
};
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::data::random::{Purpose, Stream};
use vnet_engine::data::{
    Batch, Dataset, Intensities, Loader, LoaderSettings, Normalisation, Preparation, QUANTILES, Sample, Sampling,
};
use vnet_engine::gpu::Gpu;
use vnet_engine::graph::{Graph, Op};
use vnet_engine::tensor::{HostTensor, TensorSpec};

fn main() {
    support::run_trials(&[
        ("resampling_agrees_with_its_definition", true, resampling_agrees_with_its_definition),
        ("resampling_by_nothing_changes_no_bit", true, resampling_by_nothing_changes_no_bit),
        ("matching_agrees_with_its_definition", true, matching_agrees_with_its_definition),
        ("blur_agrees_with_its_definition", true, blur_agrees_with_its_definition),
        ("low_resolution_agrees_with_its_definition", true, low_resolution_agrees_with_its_definition),
        ("intensities_agree_with_their_definition", true, intensities_agree_with_their_definition),
        ("what_is_off_changes_no_bit", true, what_is_off_changes_no_bit),
        ("noise_does_not_depend_on_the_place_in_the_batch", true, noise_does_not_depend_on_the_place_in_the_batch),
        ("deformation_is_simpleitks", false, deformation_is_simpleitks),
        ("rotation_is_scipys", false, rotation_is_scipys),
        ("matching_is_scikit_images", false, matching_is_scikit_images),
        ("blur_is_scipys", false, blur_is_scipys),
        ("draws_are_a_function_of_seed_and_sample", false, draws_are_a_function_of_seed_and_sample),
        ("a_flip_mirrors_and_a_scale_magnifies", false, a_flip_mirrors_and_a_scale_magnifies),
        ("probabilities_are_kept", false, probabilities_are_kept),
        ("batches_do_not_depend_on_threads_or_cache", false, batches_do_not_depend_on_threads_or_cache),
        ("augmented_batches_are_the_same_bits", true, augmented_batches_are_the_same_bits),
    ]);
}

const EXTENTS: [usize; 3] = [7, 10, 13];

/// The device's outputs of one operation.
fn on_device(gpu: &std::sync::Arc<Gpu>, op: impl Op + 'static, inputs: &[&HostTensor]) -> Vec<HostTensor> {
    let mut graph = Graph::new();
    let ids: Vec<_> = inputs.iter().map(|t| graph.input("input", t.spec.clone())).collect();
    let outputs = graph.append(Box::new(op), &ids).expect("well-formed");
    let feeds: Vec<_> = ids.into_iter().zip(inputs.iter().map(|t| (*t).clone())).collect();
    support::run(gpu, gpu.target(), &graph, &feeds, &outputs)
}

/// Both devices that a shader must be right on.
fn devices() -> [&'static std::sync::Arc<Gpu>; 2] {
    [gpu(), WEBGPU.as_ref().expect("ignored without an adapter")]
}

fn image(samples: usize, [d, h, w]: [usize; 3], seed: u64) -> HostTensor {
    let mut stream = Stream::new(seed, Purpose::PhantomSignal, 1);
    HostTensor::from_fn([samples, d, h, w, 1], |_| f64::from((1.7 * stream.normal()) as f32))
}

fn labels(samples: usize, [d, h, w]: [usize; 3], seed: u64) -> HostTensor {
    let mut stream = Stream::new(seed, Purpose::PhantomShape, 1);
    let spec = TensorSpec::u32([samples, d, h, w]);
    let data = (0..spec.elements()).map(|_| stream.below(3) as f64).collect();
    HostTensor::new(spec, data)
}

fn numbers(rows: &[Vec<f32>]) -> HostTensor {
    let data = rows.iter().flatten().map(|n| f64::from(*n)).collect();
    HostTensor::new(TensorSpec::f32([rows.len(), rows[0].len()]), data)
}

fn sample(number: u64) -> Sample {
    let described = |seed: u64| Some(std::sync::Arc::new(Intensities::of(&single(&image(1, EXTENTS, seed)))));
    Sample { number, spacing: [0.6, 0.8, 1.7], intensities: described(number), partner: described(number + 100) }
}

fn single(tensor: &HostTensor) -> Vec<f32> {
    tensor.data.iter().map(|v| *v as f32).collect()
}

/// Everything always.
fn always() -> Augmentation {
    let mut all = Augmentation::general();
    all.histogram_matching = Probability { probability: 1.0 };
    (all.deformation.probability, all.deformation.sigma, all.deformation.z) = (1.0, 2.0, true);
    all.rotation.probability = 1.0;
    all.flip.probability = [0.5; 3];
    all.gamma.probability = 1.0;
    for ranged in [
        &mut all.scaling,
        &mut all.low_resolution,
        &mut all.blur,
        &mut all.bias_field,
        &mut all.brightness,
        &mut all.contrast,
        &mut all.noise,
    ] {
        ranged.probability = 1.0;
    }
    all
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

fn draws(settings: &Augmentation, extents: Extents, samples: &[u64]) -> Vec<Draw> {
    samples.iter().map(|&n| Draw::new(settings, 3, &sample(n), &extents)).collect()
}

fn of(draws: &[Draw], field: fn(&Draw) -> &Vec<f32>) -> HostTensor {
    numbers(&draws.iter().map(|d| field(d).clone()).collect::<Vec<_>>())
}

/// How far a source coordinate in f32 may be from the exact one: 16 products per axis of the spline (with weights of at
/// most 10 roundings each, sum 1), 3 of the matrix, and the sum; the mesh coordinate itself has two roundings, and a spline
/// changes by at most 4 times its largest displacement per cell.
fn coordinate_error(numbers: &[f64], extents: [usize; 3]) -> f64 {
    let largest = |values: &[f64]| values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let displacement = largest(&numbers[12..]);
    let reach = largest(&numbers[..9]) * extents.iter().sum::<usize>() as f64 + largest(&numbers[9..12]);
    U * ((28.0 + 4.0 * 2.0 * 3.0) * displacement + 6.0 * (reach + displacement))
}

fn resampling_agrees_with_its_definition() {
    for source in [EXTENTS, [9, 14, 15]] {
        let draws = draws(&always(), Extents { source, patch: EXTENTS }, &[1, 2, 5]);
        let numbers = of(&draws, |d| &d.resample);
        let (image, labels) = (image(3, source, 1), labels(3, source, 2));
        let op = Resample { extents: EXTENTS };
        let expected = op.reference(&[&image, &labels, &numbers]);
        let error = (0..3)
            .map(|s| coordinate_error(&numbers.data[s * numbers.shape()[1]..][..numbers.shape()[1]], EXTENTS))
            .fold(0.0, f64::max);
        // Along each axis the image changes by at most the difference of two voxels, or of a voxel and the 0 outside.
        let steepest = 2.0 * image.max_abs();
        let bound = 3.0 * error * steepest + 12.0 * U * image.max_abs();
        for gpu in devices() {
            let found = on_device(gpu, op, &[&image, &labels, &numbers]);
            compare(&found[0], &expected[0], |_| bound).expect("images agree");
            labels_agree(&found[1], &expected[1], &image_free_weights(&labels, &numbers, op), 12.0 * error);
        }
    }
}

/// For each output voxel the distance of the largest weight of a label from the second.
fn image_free_weights(labels: &HostTensor, numbers: &HostTensor, op: Resample) -> Vec<f64> {
    let weight = |class: f64| {
        let data = labels.data.iter().map(|l| f64::from(u8::from(*l == class))).collect();
        let shape = [labels.shape(), &[1]].concat();
        let indicator = HostTensor::new(TensorSpec::f32(shape), data);
        op.reference(&[&indicator, labels, numbers]).swap_remove(0).data
    };
    let (one, two) = (weight(1.0), weight(2.0));
    let margin = |i: usize| {
        // What is neither class 1 nor class 2 is class 0, inside or outside.
        let mut weights = [1.0 - one[i] - two[i], one[i], two[i]];
        weights.sort_by(f64::total_cmp);
        weights[2] - weights[1]
    };
    (0..one.len()).map(margin).collect()
}

/// Labels are equal wherever the heaviest is ahead by more than the weights may be wrong; nearly everywhere it is.
fn labels_agree(found: &HostTensor, expected: &HostTensor, margin: &[f64], error: f64) {
    let decided: Vec<usize> = (0..margin.len()).filter(|&i| margin[i] > error).collect();
    assert!(decided.len() * 1000 > margin.len() * 995, "{} of {} are decided", decided.len(), margin.len());
    for i in decided {
        assert_eq!(found.data[i], expected.data[i], "label {i}, margin {}", margin[i]);
    }
    assert!((0..3).all(|class| expected.data.contains(&f64::from(class))));
}

fn resampling_by_nothing_changes_no_bit() {
    let draws = draws(&never(), Extents { source: EXTENTS, patch: EXTENTS }, &[4, 9]);
    let (image, labels) = (image(2, EXTENTS, 1), labels(2, EXTENTS, 2));
    let found = on_device(gpu(), Resample { extents: EXTENTS }, &[&image, &labels, &of(&draws, |d| &d.resample)]);
    assert_eq!(found, [image, labels]);
}

fn matching_agrees_with_its_definition() {
    let draws = draws(&always(), Extents { source: EXTENTS, patch: EXTENTS }, &[1, 2]);
    let numbers = of(&draws, |d| &d.matching);
    // Of the first sample's volume, and of another, which is partly beyond the quantiles.
    let image = HostTensor::new(
        TensorSpec::f32([2, 7, 10, 13, 1]),
        [image(1, EXTENTS, 1).data, image(1, EXTENTS, 7).data].concat(),
    );
    let expected = HistogramMatch.reference(&[&image, &numbers]).swap_remove(0);
    // Position: two differences, a quotient of 2.5 ULP; then a difference, a product and a sum.
    let bound = 10.0 * U * 2.0 * numbers.max_abs();
    for gpu in devices() {
        let found = on_device(gpu, HistogramMatch, &[&image, &numbers]).swap_remove(0);
        compare(&found, &expected, |_| bound).expect("matched images agree");
    }
    let moved = expected.data.iter().zip(&image.data).filter(|(a, b)| (*a - *b).abs() > 100.0 * bound).count();
    assert!(moved * 2 > image.data.len(), "{moved} voxels changed");
}

fn blur_agrees_with_its_definition() {
    let rows: Vec<Vec<f32>> = [0.9, 0.0, 0.5].iter().map(|s| Blur::weights(*s).map(|w| w as f32).to_vec()).collect();
    let (image, numbers) = (image(3, EXTENTS, 5), numbers(&rows));
    let expected = Blur.reference(&[&image, &numbers]).swap_remove(0);
    // Three passes of 9 products with weights that sum to 1 up to 9 roundings.
    let bound = 3.0 * 20.0 * U * image.max_abs();
    for gpu in devices() {
        let found = on_device(gpu, Blur, &[&image, &numbers]).swap_remove(0);
        compare(&found, &expected, |_| bound).expect("blurred images agree");
    }
    let voxels = EXTENTS.iter().product::<usize>();
    assert_eq!(expected.data[voxels..2 * voxels], image.data[voxels..2 * voxels]);
    assert_ne!(expected.data[..voxels], image.data[..voxels]);
}

fn low_resolution_agrees_with_its_definition() {
    let draws = draws(&always(), Extents { source: EXTENTS, patch: EXTENTS }, &[1, 2]);
    let (image, numbers) = (image(2, EXTENTS, 5), of(&draws, |d| &d.low_resolution));
    let expected = LowResolution.reference(&[&image, &numbers]).swap_remove(0);
    // Three times a difference, a product and a sum, of values of at most this size.
    let bound = 3.0 * 5.0 * U * image.max_abs();
    for gpu in devices() {
        let found = on_device(gpu, LowResolution, &[&image, &numbers]).swap_remove(0);
        compare(&found, &expected, |_| bound).expect("coarse images agree");
    }
    // A linear ramp stays one, except where the last kept voxel lies before the edge.
    let ramp = HostTensor::from_fn([1, 2, 3, 9, 1], |i| (i % 9) as f64);
    let tables = [LowResolution::table(2, 1.0), LowResolution::table(3, 1.0), LowResolution::table(9, 2.0)].concat();
    let kept = LowResolution.reference(&[&ramp, &numbers_of(&tables)]).swap_remove(0);
    assert_eq!(kept, ramp);
}

fn numbers_of(values: &[f64]) -> HostTensor {
    HostTensor::new(TensorSpec::f32([1, values.len()]), values.to_vec())
}

/// The largest error of one voxel: the accuracy that WGSL promises for exp, log2, exp2, log and cos, carried through the
/// formulas; where a function is monotone, through its values at both ends.
fn intensity_bound(numbers: &[f64], value: f64, at: [usize; 3], extents: [usize; 3]) -> f64 {
    let [low, high, mean, brightness, contrast, gamma] = [0, 1, 2, 3, 4, 5].map(|i| numbers[i]);
    let mut v = value;
    let mut error = 0.0;
    if numbers[12] != 0.0 {
        let exponent = Intensity::bias(numbers, at, extents);
        // Nineteen terms of at most six roundings each, and as many additions.
        let exponent_error = 25.0 * U * numbers[13..].iter().map(|c| c.abs()).sum::<f64>();
        let factor = exponent.exp();
        let relative = exponent_error + 2.0 * U * (3.0 + 2.0 * exponent.abs()) + 3.0 * U;
        v = low + (v - low) * factor;
        error = (value - low).abs() * factor * relative + U * v.abs();
    }
    v *= brightness;
    error = error * brightness + U * v.abs();
    let centred = v - mean;
    v = mean + centred * contrast;
    error = error * contrast + U * (3.0 * (centred * contrast).abs() + v.abs());
    if gamma != 1.0 {
        let range = high - low;
        let t = (v - low) / range;
        let t_error = error / range + 9.0 * U * t.abs() + U;
        let g = |t: f64| Intensity::curve(numbers, t.clamp(0.0, 1.0));
        let spread = (g(t + t_error) - g(t)).abs().max((g(t - t_error) - g(t)).abs());
        let base = if numbers[6] == 0.0 { t } else { 1.0 - t }.clamp(1e-30, 1.0);
        let exponent = gamma * base.log2();
        let log_error = (2.0f64).powi(-21).max(6.0 * U * base.log2().abs());
        let power_error = gamma * log_error + 2.0 * U * exponent.abs() + 2.0 * U * (3.0 + 2.0 * exponent.abs());
        v = low + range * g(t);
        error = range * (spread + power_error * base.powf(gamma)) + 4.0 * U * (range + low.abs() + v.abs());
    }
    let deviation = numbers[7];
    let voxel = (at[0] * extents[1] + at[1]) * extents[2] + at[2];
    let (radius, cosine) = standard_normal(voxel, &numbers[8..12]);
    // -2 log u is off by 2^-20 or 3 ULP, the root by what that makes of it and its own 3 ULP, the cosine by 2^-11.
    let square = radius * radius;
    let square_error = (2.0f64).powi(-20).max(8.0 * U * square);
    let radius_error = (square + square_error).sqrt() - (square - square_error).max(0.0).sqrt() + 8.0 * U * radius;
    let noise_error = radius_error * cosine.abs() + (radius + radius_error) * (2.0f64).powi(-11);
    error + deviation * noise_error + 3.0 * U * (v.abs() + deviation * radius)
}

fn intensities_agree_with_their_definition() {
    let draws = draws(&always(), Extents { source: EXTENTS, patch: EXTENTS }, &[1, 2, 5, 6]);
    let (image, numbers) = (image(4, EXTENTS, 5), of(&draws, |d| &d.intensity));
    let inverted = numbers.data.chunks_exact(INTENSITY_PARAMETERS).filter(|n| n[6] != 0.0).count();
    assert!((1..4).contains(&inverted), "both gammas are tried, {inverted} of 4 inverted");
    let expected = Intensity.reference(&[&image, &numbers]).swap_remove(0);
    let voxels = EXTENTS.iter().product::<usize>();
    let bound = |i: usize| {
        let (s, v) = (i / voxels, i % voxels);
        let at = [v / (EXTENTS[1] * EXTENTS[2]), v / EXTENTS[2] % EXTENTS[1], v % EXTENTS[2]];
        intensity_bound(&numbers.data[s * INTENSITY_PARAMETERS..][..INTENSITY_PARAMETERS], image.data[i], at, EXTENTS)
    };
    for gpu in devices() {
        let found = on_device(gpu, Intensity, &[&image, &numbers]).swap_remove(0);
        compare(&found, &expected, bound).expect("intensities agree");
    }
    // The bound is far below what the transformations do.
    let typical = (0..image.data.len()).filter(|&i| bound(i) < 0.01 * (expected.data[i] - image.data[i]).abs()).count();
    assert!(typical * 10 > image.data.len() * 8, "{typical}");
}

fn what_is_off_changes_no_bit() {
    let extents = Extents { source: EXTENTS, patch: EXTENTS };
    let (augmented, original) = augmented(gpu(), &never(), extents, &[1, 2]);
    assert_eq!(augmented, original);
}

/// Image and labels behind and before the whole pipeline.
fn augmented(
    gpu: &std::sync::Arc<Gpu>,
    settings: &Augmentation,
    extents: Extents,
    samples: &[u64],
) -> ([HostTensor; 2], [HostTensor; 2]) {
    let mut graph = Graph::new();
    let augmenter = Augmenter::append(&mut graph, settings, 3, samples.len(), extents).expect("well-formed");
    let join = |make: &dyn Fn(u64) -> HostTensor| {
        let parts: Vec<HostTensor> = samples.iter().map(|&s| make(s)).collect();
        let mut shape = parts[0].shape().to_vec();
        shape[0] = samples.len();
        let spec = TensorSpec { shape, dtype: parts[0].spec.dtype };
        HostTensor::new(spec, parts.iter().flat_map(|p| p.data.clone()).collect())
    };
    let original = [join(&|s| image(1, extents.source, s)), join(&|s| labels(1, extents.source, s))];
    let mut feeds = vec![(augmenter.image, original[0].clone()), (augmenter.labels, original[1].clone())];
    let described: Vec<Sample> = samples.iter().map(|&s| sample(s)).collect();
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
    let (both, _) = augmented(gpu(), &always(), extents, &[4, 8]);
    let (second, _) = augmented(gpu(), &always(), extents, &[8]);
    let voxels = EXTENTS.iter().product::<usize>();
    assert_eq!(both[0].data[voxels..], second[0].data);
    assert_eq!(both[1].data[voxels..], second[1].data);
    assert_ne!(both[0].data[..voxels], second[0].data);
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
        Intensities::of(&image).quantiles.iter().map(|q| f64::from(*q)).collect::<Vec<_>>()
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
    let weights = numbers_of(&Blur::weights(case["sigma"].as_f64().expect("a number")));
    let found = Blur.reference(&[&image, &weights]).swap_remove(0);
    let close = |(f, e): (&f64, &f64)| (f - e).abs() < 1e-8 * image.max_abs();
    assert!(found.data.iter().zip(&list(&case["blurred"])).all(close));
}

fn draws_are_a_function_of_seed_and_sample() {
    let extents = Extents { source: EXTENTS, patch: EXTENTS };
    let draw = |seed, number, settings: &Augmentation| Draw::new(settings, seed, &sample(number), &extents);
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
    let draw = &draws(&settings, extents, &[1])[0];
    assert_eq!(draw.applied, ["flip x"]);
    let (image, labels) = (image(1, EXTENTS, 1), labels(1, EXTENTS, 1));
    let found =
        Resample { extents: EXTENTS }.reference(&[&image, &labels, &numbers(std::slice::from_ref(&draw.resample))]);
    let width = EXTENTS[2];
    let mirrored = |data: &[f64]| data.chunks(width).flat_map(|row| row.iter().rev().copied()).collect::<Vec<_>>();
    assert_eq!((&found[0].data, &found[1].data), (&mirrored(&image.data), &mirrored(&labels.data)));
    settings.flip.probability = [f64::MIN_POSITIVE; 3];
    settings.scaling = Ranged { probability: 1.0, range: [2.0, 2.0] };
    let draw = &draws(&settings, extents, &[1])[0];
    let numbers: Vec<f64> = draw.resample.iter().map(|n| f64::from(*n)).collect();
    let point = Resample { extents: EXTENTS }.source_point(&numbers, [3, 8, 2]);
    // Half as far from the centre (3, 4.5, 6).
    assert_eq!(point, [3.0, 6.25, 4.0]);
}

fn probabilities_are_kept() {
    let settings = Augmentation::paper();
    let extents = Extents { source: EXTENTS, patch: EXTENTS };
    let base = sample(1);
    let draw = |number| Draw::new(&settings, 0, &Sample { number, ..base.clone() }, &extents);
    let draws: Vec<Draw> = (0..2000).map(draw).collect();
    let deformed = draws.iter().filter(|d| d.applied.contains(&"deformation".to_owned())).count() as f64;
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
        cache_bytes,
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
    let augmenter = Augmenter::append(&mut graph, &always(), 5, 2, extents).expect("well-formed");
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
