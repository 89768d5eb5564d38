//! Test cases of the operations: inputs as a training draws them, and bounds on the device's errors.

use super::image::{ImageShape, Place};
use super::resample::RESAMPLE_PARAMETERS;
use super::{
    Augmentation, Blur, Draw, Extents, HistogramMatch, Intensity, LowResolution, Probability, Resample, standard_normal,
};
use crate::data::{Intensities, Sample};
use crate::graph::Op;
use crate::ops::case::{Bound, Case, Draw as Elements, UNIT_ROUNDOFF as U};
use crate::random::{Purpose, Stream};
use crate::tensor::{HostTensor, TensorSpec};
use std::sync::Arc;

/// Extents `[D, H, W]` of the small cases.
pub const EXTENTS: [usize; 3] = [7, 10, 13];

/// Extents `[D, H, W]` of the others: rows longer than a workgroup is wide.
const LARGE: [usize; 3] = [9, 14, 67];

/// Labels of the cases: of classes, and of regions with voxels that are ignored.
const LABELS: [[u32; 3]; 2] = [[0, 1, 2], [0, 0x4000_0005, u32::MAX]];

/// Cases of every operation.
pub fn cases() -> Vec<Case> {
    vec![
        resample(&[1, 2, 5], EXTENTS, EXTENTS, 1),
        resample(&[1, 2, 5], [9, 14, 15], EXTENTS, 1),
        resample(&[1, 5], [11, 15, 70], LARGE, 1),
        resample(&[1, 2], [9, 14, 15], EXTENTS, 2),
        resample(&[1, 2], EXTENTS, EXTENTS, 3),
        resample(&[1, 5], [11, 15, 70], LARGE, 5),
        histogram_matching(EXTENTS, 1),
        histogram_matching(LARGE, 1),
        histogram_matching(EXTENTS, 2),
        histogram_matching(EXTENTS, 3),
        histogram_matching(LARGE, 5),
        blur(EXTENTS, 1),
        blur(LARGE, 1),
        blur(EXTENTS, 2),
        blur(EXTENTS, 3),
        blur(LARGE, 5),
        low_resolution(&[1, 2], EXTENTS, 1),
        low_resolution(&[1, 2], LARGE, 1),
        low_resolution(&[1, 2], EXTENTS, 2),
        low_resolution(&[1, 2], EXTENTS, 3),
        low_resolution(&[1, 2], LARGE, 5),
        intensity(&[1, 2, 5, 6], EXTENTS, 1),
        intensity(&[1, 2, 6], LARGE, 1),
        intensity(&[1, 2, 6], EXTENTS, 2),
        intensity(&[1, 2], EXTENTS, 3),
        intensity(&[1, 2], LARGE, 5),
    ]
}

/// Settings under which every transformation takes place.
pub fn always() -> Augmentation {
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

/// Normal intensities `[N, D, H, W, C]`.
pub fn image(samples: usize, [d, h, w]: [usize; 3], channels: usize, seed: u64) -> HostTensor {
    let mut stream = Stream::new(seed, Purpose::PhantomSignal, 1);
    HostTensor::from_fn([samples, d, h, w, channels], |_| f64::from((1.7 * stream.normal()) as f32))
}

/// Labels of these values, `[N, D, H, W]`.
pub fn labels(samples: usize, [d, h, w]: [usize; 3], values: &[u32], seed: u64) -> HostTensor {
    let mut stream = Stream::new(seed, Purpose::PhantomShape, 1);
    let spec = TensorSpec::u32([samples, d, h, w]);
    let data = (0..spec.elements()).map(|_| f64::from(values[stream.below(values.len())])).collect();
    HostTensor::new(spec, data)
}

/// The numbers of samples, a row each: `[N, …]`.
pub fn numbers(rows: &[Vec<f32>]) -> HostTensor {
    let data = rows.iter().flatten().map(|n| f64::from(*n)).collect();
    HostTensor::new(TensorSpec::f32([rows.len(), rows[0].len()]), data)
}

/// The numbers of samples, a row each, for each of their channels: `[N, C, …]`.
fn numbers_of_channels(rows: &[Vec<f32>], channels: usize) -> HostTensor {
    let spec = TensorSpec::f32([rows.len(), channels, rows[0].len() / channels]);
    HostTensor::new(spec, numbers(rows).data)
}

/// A sample of a training, with the intensities of [`image()`] for its number and of another one.
pub fn sample(number: u64, channels: usize) -> Sample {
    let described = |seed: u64| {
        let intensities: Vec<f32> = image(1, EXTENTS, channels, seed).data.iter().map(|v| *v as f32).collect();
        Some(Arc::new(Intensities::of_channels(&intensities, channels)))
    };
    Sample { number, spacing: [0.6, 0.8, 1.7], intensities: described(number), partner: described(number + 100) }
}

/// What happens to samples of these numbers.
pub fn draws(settings: &Augmentation, extents: Extents, channels: usize, samples: &[u64]) -> Vec<Draw> {
    samples.iter().map(|&n| Draw::new(settings, 3, &sample(n, channels), channels, &extents)).collect()
}

/// The numbers that an operation reads of [`always`] for each channel.
fn drawn(extents: [usize; 3], channels: usize, samples: &[u64], of: fn(Draw) -> Vec<f32>) -> HostTensor {
    let draws = draws(&always(), Extents { source: extents, patch: extents }, channels, samples);
    numbers_of_channels(&draws.into_iter().map(of).collect::<Vec<_>>(), channels)
}

fn case(op: impl Op + 'static, inputs: Vec<HostTensor>, bound: Bound) -> Case {
    // One channel goes without saying.
    let axes = if inputs[0].spec.channels() == 1 { 4 } else { 5 };
    let shape: Vec<String> = inputs[0].shape()[..axes].iter().map(ToString::to_string).collect();
    let name = format!("{}/{}", op.name(), shape.join("x"));
    let given = |tensor: HostTensor| (tensor.spec, Elements::Given(tensor.data));
    Case::new(name, op, inputs.into_iter().map(given).collect(), bound).forward_only()
}

fn resample(samples: &[u64], source: [usize; 3], patch: [usize; 3], channels: usize) -> Case {
    let draws = draws(&always(), Extents { source, patch }, channels, samples);
    let numbers = numbers(&draws.into_iter().map(|draw| draw.resample).collect::<Vec<_>>());
    let labels = labels(samples.len(), source, &LABELS[usize::from(channels > 1)], 2);
    let inputs = vec![image(samples.len(), source, channels, 1), labels, numbers];
    let case = case(Resample { extents: patch }, inputs, Bound::Computed(resample_bounds));
    let [d, h, w] = patch;
    Case { name: format!("{}/to-{d}x{h}x{w}", case.name), ..case }
}

fn resample_bounds(output: usize, inputs: &[HostTensor], expected: &HostTensor) -> Vec<f64> {
    let [image, labels, numbers] = inputs else { unreachable!("the operation has three inputs") };
    let extents = [1, 2, 3].map(|axis| expected.shape()[axis]);
    let rows = numbers.data.chunks_exact(RESAMPLE_PARAMETERS);
    let error = rows.map(|row| coordinate_error(row, extents)).fold(0.0, f64::max);
    if output == 1 {
        // A label is decided where the heaviest is ahead by more than the weights may be wrong.
        let bound = |margin: f64| if margin > 12.0 * error { 0.0 } else { f64::INFINITY };
        return label_margins(labels, numbers, extents).into_iter().map(bound).collect();
    }
    // Along each axis the image changes by at most the difference of two voxels, or of a voxel and the 0 outside.
    let steepest = 2.0 * image.max_abs();
    vec![3.0 * error * steepest + 12.0 * U * image.max_abs(); expected.data.len()]
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

/// For each output voxel the distance of the largest weight of a label from the second.
fn label_margins(labels: &HostTensor, numbers: &HostTensor, extents: [usize; 3]) -> Vec<f64> {
    let [_, first, second] =
        LABELS.into_iter().find(|values| labels.data.contains(&f64::from(values[1]))).expect("drawn");
    let weight = |label: u32| {
        let data = labels.data.iter().map(|l| f64::from(u8::from(*l == f64::from(label)))).collect();
        let shape = [labels.shape(), &[1]].concat();
        let indicator = HostTensor::new(TensorSpec::f32(shape), data);
        Resample { extents }.reference(&[&indicator, labels, numbers]).swap_remove(0).data
    };
    let margin = |(one, two): (f64, f64)| {
        // What is neither of the two is 0, inside or outside.
        let mut weights = [1.0 - one - two, one, two];
        weights.sort_by(f64::total_cmp);
        weights[2] - weights[1]
    };
    weight(first).into_iter().zip(weight(second)).map(margin).collect()
}

fn histogram_matching(extents: [usize; 3], channels: usize) -> Case {
    let numbers = drawn(extents, channels, &[1, 2], |draw| draw.matching);
    // Of the first sample's volume, and of another, which is partly beyond the quantiles.
    let mut image = image(2, extents, channels, 7);
    let first = self::image(1, extents, channels, 1).data;
    image.data[..first.len()].copy_from_slice(&first);
    let bounds = |_, inputs: &[HostTensor], expected: &HostTensor| {
        // Position: two differences, a quotient of 2.5 ULP; then a difference, a product and a sum.
        vec![10.0 * U * 2.0 * inputs[1].max_abs(); expected.data.len()]
    };
    case(HistogramMatch, vec![image, numbers], Bound::Computed(bounds))
}

fn blur(extents: [usize; 3], channels: usize) -> Case {
    let weights = |sigma: &f64| Blur::weights(*sigma).map(|w| w as f32);
    // Another standard deviation for each channel. In each sample, one of three is not blurred.
    let sigmas = |sample: usize| [0.9, 0.0, 0.5].iter().cycle().skip(sample).take(channels).flat_map(weights).collect();
    let rows: Vec<Vec<f32>> = (0..3).map(sigmas).collect();
    let bounds = |_, inputs: &[HostTensor], expected: &HostTensor| {
        // Three passes of 9 products with weights that sum to 1 up to 9 roundings.
        vec![3.0 * 20.0 * U * inputs[0].max_abs(); expected.data.len()]
    };
    case(Blur, vec![image(3, extents, channels, 5), numbers_of_channels(&rows, channels)], Bound::Computed(bounds))
}

fn low_resolution(samples: &[u64], extents: [usize; 3], channels: usize) -> Case {
    let numbers = drawn(extents, channels, samples, |draw| draw.low_resolution);
    let bounds = |_, inputs: &[HostTensor], expected: &HostTensor| {
        // Three times a difference, a product and a sum, of values of at most this size.
        vec![3.0 * 5.0 * U * inputs[0].max_abs(); expected.data.len()]
    };
    case(LowResolution, vec![image(samples.len(), extents, channels, 5), numbers], Bound::Computed(bounds))
}

fn intensity(samples: &[u64], extents: [usize; 3], channels: usize) -> Case {
    let numbers = drawn(extents, channels, samples, |draw| draw.intensity);
    let bounds = |_, inputs: &[HostTensor], _: &HostTensor| {
        let shape = ImageShape::of(&inputs[0].spec);
        let bound = |place: &Place, numbers: &[f64]| {
            intensity_bound(numbers, inputs[0].data[shape.element(place)], place.at, shape.extents)
        };
        shape.map(&inputs[1], bound).data
    };
    case(Intensity, vec![image(samples.len(), extents, channels, 5), numbers], Bound::Computed(bounds))
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
