//! Test cases of the operations: inputs as a training draws them, and bounds on the device's errors.

use super::resample::RESAMPLE_PARAMETERS;
use super::{
    Augmentation, Blur, Draw, Extents, HistogramMatch, INTENSITY_PARAMETERS, Intensity, LowResolution, Probability,
    Resample, standard_normal,
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

/// Labels of the cases.
const CLASSES: usize = 3;

/// Cases of every operation.
pub fn cases() -> Vec<Case> {
    vec![
        resample(&[1, 2, 5], EXTENTS, EXTENTS),
        resample(&[1, 2, 5], [9, 14, 15], EXTENTS),
        resample(&[1, 5], [11, 15, 70], LARGE),
        histogram_matching(EXTENTS),
        histogram_matching(LARGE),
        blur(EXTENTS),
        blur(LARGE),
        low_resolution(&[1, 2], EXTENTS),
        low_resolution(&[1, 2], LARGE),
        intensity(&[1, 2, 5, 6], EXTENTS),
        intensity(&[1, 2, 6], LARGE),
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

/// Normal intensities `[N, D, H, W, 1]`.
pub fn image(samples: usize, [d, h, w]: [usize; 3], seed: u64) -> HostTensor {
    let mut stream = Stream::new(seed, Purpose::PhantomSignal, 1);
    HostTensor::from_fn([samples, d, h, w, 1], |_| f64::from((1.7 * stream.normal()) as f32))
}

/// Labels 0, 1 and 2, `[N, D, H, W]`.
pub fn labels(samples: usize, [d, h, w]: [usize; 3], seed: u64) -> HostTensor {
    let mut stream = Stream::new(seed, Purpose::PhantomShape, 1);
    let spec = TensorSpec::u32([samples, d, h, w]);
    let data = (0..spec.elements()).map(|_| stream.below(CLASSES) as f64).collect();
    HostTensor::new(spec, data)
}

/// The numbers of samples, a row each.
pub fn numbers(rows: &[Vec<f32>]) -> HostTensor {
    let data = rows.iter().flatten().map(|n| f64::from(*n)).collect();
    HostTensor::new(TensorSpec::f32([rows.len(), rows[0].len()]), data)
}

/// A sample of a training, with the intensities of [`image()`] for its number and of another one.
pub fn sample(number: u64) -> Sample {
    let described = |seed: u64| {
        let intensities: Vec<f32> = image(1, EXTENTS, seed).data.iter().map(|v| *v as f32).collect();
        Some(Arc::new(Intensities::of_channels(&intensities, 1)))
    };
    Sample { number, spacing: [0.6, 0.8, 1.7], intensities: described(number), partner: described(number + 100) }
}

/// What happens to samples of these numbers.
pub fn draws(settings: &Augmentation, extents: Extents, samples: &[u64]) -> Vec<Draw> {
    samples.iter().map(|&n| Draw::new(settings, 3, &sample(n), &extents)).collect()
}

/// The numbers that an operation reads of [`always`].
fn drawn(source: [usize; 3], patch: [usize; 3], samples: &[u64], of: fn(Draw) -> Vec<f32>) -> HostTensor {
    let draws = draws(&always(), Extents { source, patch }, samples);
    numbers(&draws.into_iter().map(of).collect::<Vec<_>>())
}

fn case(op: impl Op + 'static, inputs: Vec<HostTensor>, bound: Bound) -> Case {
    let shape: Vec<String> = inputs[0].shape()[..4].iter().map(ToString::to_string).collect();
    let name = format!("{}/{}", op.name(), shape.join("x"));
    let given = |tensor: HostTensor| (tensor.spec, Elements::Given(tensor.data));
    Case::new(name, op, inputs.into_iter().map(given).collect(), bound).forward_only()
}

fn resample(samples: &[u64], source: [usize; 3], patch: [usize; 3]) -> Case {
    let numbers = drawn(source, patch, samples, |draw| draw.resample);
    let inputs = vec![image(samples.len(), source, 1), labels(samples.len(), source, 2), numbers];
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
    let weight = |class: f64| {
        let data = labels.data.iter().map(|l| f64::from(u8::from(*l == class))).collect();
        let shape = [labels.shape(), &[1]].concat();
        let indicator = HostTensor::new(TensorSpec::f32(shape), data);
        Resample { extents }.reference(&[&indicator, labels, numbers]).swap_remove(0).data
    };
    let margin = |(one, two): (f64, f64)| {
        // What is neither class 1 nor class 2 is class 0, inside or outside.
        let mut weights = [1.0 - one - two, one, two];
        weights.sort_by(f64::total_cmp);
        weights[2] - weights[1]
    };
    weight(1.0).into_iter().zip(weight(2.0)).map(margin).collect()
}

fn histogram_matching(extents: [usize; 3]) -> Case {
    let numbers = drawn(extents, extents, &[1, 2], |draw| draw.matching);
    // Of the first sample's volume, and of another, which is partly beyond the quantiles.
    let mut image = image(2, extents, 7);
    let first = self::image(1, extents, 1).data;
    image.data[..first.len()].copy_from_slice(&first);
    let bounds = |_, inputs: &[HostTensor], expected: &HostTensor| {
        // Position: two differences, a quotient of 2.5 ULP; then a difference, a product and a sum.
        vec![10.0 * U * 2.0 * inputs[1].max_abs(); expected.data.len()]
    };
    case(HistogramMatch, vec![image, numbers], Bound::Computed(bounds))
}

fn blur(extents: [usize; 3]) -> Case {
    let rows: Vec<Vec<f32>> = [0.9, 0.0, 0.5].iter().map(|s| Blur::weights(*s).map(|w| w as f32).to_vec()).collect();
    let bounds = |_, inputs: &[HostTensor], expected: &HostTensor| {
        // Three passes of 9 products with weights that sum to 1 up to 9 roundings.
        vec![3.0 * 20.0 * U * inputs[0].max_abs(); expected.data.len()]
    };
    case(Blur, vec![image(3, extents, 5), numbers(&rows)], Bound::Computed(bounds))
}

fn low_resolution(samples: &[u64], extents: [usize; 3]) -> Case {
    let numbers = drawn(extents, extents, samples, |draw| draw.low_resolution);
    let bounds = |_, inputs: &[HostTensor], expected: &HostTensor| {
        // Three times a difference, a product and a sum, of values of at most this size.
        vec![3.0 * 5.0 * U * inputs[0].max_abs(); expected.data.len()]
    };
    case(LowResolution, vec![image(samples.len(), extents, 5), numbers], Bound::Computed(bounds))
}

fn intensity(samples: &[u64], extents: [usize; 3]) -> Case {
    let numbers = drawn(extents, extents, samples, |draw| draw.intensity);
    let bounds = |_, inputs: &[HostTensor], expected: &HostTensor| {
        let extents @ [d, h, w] = [1, 2, 3].map(|axis| expected.shape()[axis]);
        let bound = |(i, value): (usize, &f64)| {
            let (sample, voxel) = (i / (d * h * w), i % (d * h * w));
            let numbers = &inputs[1].data[sample * INTENSITY_PARAMETERS..][..INTENSITY_PARAMETERS];
            intensity_bound(numbers, *value, [voxel / (h * w), voxel / w % h, voxel % w], extents)
        };
        inputs[0].data.iter().enumerate().map(bound).collect()
    };
    case(Intensity, vec![image(samples.len(), extents, 5), numbers], Bound::Computed(bounds))
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
