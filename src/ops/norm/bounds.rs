//! How far the kernels may be from the definitions: running errors of their sums, in units of u = 2^-24.
//!
//! Let D be the largest distance of an element from the mean of its set, X the largest absolute element, k the runs of 16 rows of an
//! invocation, and L the items that one invocation adds up of the tiles. The mean of a run is a sum of differences of at most 2 D:
//! 16 + 5 u of 2 D, and u of X where the first row is added. Means of runs are averaged, which averages their errors; each of the k
//! merges adds 9 u of 2 D and u of X. The sums over a tile and over the tiles are again of differences: 15 and 15 + L u of 2 D, and
//! u of X each.
//!
//! The squares of a run are a difference of sums of squares of c <= 16 distances from one of its elements, which are at most c times
//! the squares of distances from its mean: 19 u and 38 u and one, times 16. What merging adds is positive; its error is that of
//! means, e, which is 4 e standard deviations at each of three levels, and 12 e² in all.

#[cfg(doc)]
use super::NormaliseGrad;
use super::sets::Sets;
use super::{Moments, Normalise, Rectifier, reference};
use crate::ops::case::UNIT_ROUNDOFF as U;
use crate::ops::rows::Rows;
use crate::tensor::HostTensor;

/// Added to the variances of the cases.
pub(super) const EPSILON: f32 = 1e-5;

/// Slope of the leaky rectifiers of the cases.
pub(super) const SLOPE: f32 = 0.01;

/// What products of errors, which the analysis leaves out, may add.
const SECOND_ORDER: f64 = 1.01;

/// A division and a root of WGSL.
const DIVISION: f64 = 5.0;
const ROOT: f64 = 9.0;

/// The operations of cases, by numbers that a bound can be generic in: bounds are functions, which keep nothing.
pub(super) const INSTANCE: usize = 0;
pub(super) const BATCH: usize = usize::MAX;
pub(super) const PLAIN: usize = 0;
pub(super) const LEAKY: usize = 1;
pub(super) const PRELU: usize = 2;

/// The operation with these numbers; any other number of groups is that of [`Moments::Group`].
pub(super) fn operation(groups: usize, rectifier: usize) -> Normalise {
    let moments = match groups {
        INSTANCE => Moments::Instance,
        BATCH => Moments::Batch,
        groups => Moments::Group(groups),
    };
    let rectifier = match rectifier {
        LEAKY => Rectifier::Leaky(SLOPE),
        PRELU => Rectifier::Prelu,
        _ => Rectifier::NONE,
    };
    Normalise { moments, epsilon: EPSILON, rectifier }
}

/// Most rows of an invocation, and most items of one that sums over tiles, on any device.
fn most(sets: &Sets) -> [f64; 2] {
    let divisions = Rows::all_summed(sets.samples, sets.rows, sets.channels);
    let items = |rows: &Rows| (sets.samples * rows.tiles() * sets.group_channels()).div_ceil(sets.lanes(rows.tiles()));
    let largest = |of: &dyn Fn(&Rows) -> usize| divisions.iter().map(of).max().expect("a class of devices") as f64;
    [largest(&Rows::visited), largest(&items)]
}

/// Mean, variance, and the errors of mean, variance and, relative, of the inverse deviation.
struct Moment {
    mean: f64,
    variance: f64,
    errors: [f64; 3],
}

fn moments(sets: &Sets, input: &HostTensor) -> Vec<Moment> {
    let [visited, items] = most(sets);
    let runs = (visited / 16.0).ceil();
    let mut elements = vec![Vec::new(); sets.count() * sets.groups];
    input.data.iter().enumerate().for_each(|(i, &x)| elements[sets.of(i)].push(x));
    let moment = |of_set: Vec<f64>| {
        let n = of_set.len() as f64;
        let mean = of_set.iter().sum::<f64>() / n;
        let variance = of_set.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let distance = of_set.iter().map(|x| (x - mean).abs()).fold(0.0, f64::max);
        let largest = of_set.iter().map(|x| x.abs()).fold(0.0, f64::max);
        let roundings = 21.0 + 9.0 * runs + 15.0 + 15.0 + items;
        let of_mean = U * (2.0 * distance * roundings + largest * (3.0 + runs));
        let roundings = 58.0 * 16.0 + 10.0 + runs + 16.0 + items + DIVISION;
        let of_variance = U * roundings * variance + 12.0 * of_mean * (variance.sqrt() + of_mean);
        let relative = of_variance / (variance + f64::from(EPSILON));
        assert!(relative < 0.5, "a case whose variance is known to a digit");
        let of_scale = 1.0 / (1.0 - relative).sqrt() - 1.0 + U * (1.0 + ROOT + DIVISION);
        Moment { mean, variance, errors: [of_mean, of_variance, of_scale] }
    };
    elements.into_iter().map(moment).collect()
}

/// Bounds of [`Normalise`]: slopes are at most 1, so a rectifier adds no more than its rounding.
pub(super) fn forward<const GROUPS: usize>(output: usize, inputs: &[HostTensor], expected: &HostTensor) -> Vec<f64> {
    let input = &inputs[0];
    let sets = Sets::new(operation(GROUPS, PLAIN).moments, &input.spec).expect("a case is well-formed");
    let moments = moments(&sets, input);
    let elements = sets.elements() as f64;
    let of_channel = |i: usize| i / sets.group_channels();
    let bound = |i: usize| match output {
        0 => {
            let Moment { mean, variance, errors: [of_mean, _, of_scale] } = moments[sets.of(i)];
            let scale = 1.0 / (variance + f64::from(EPSILON)).sqrt();
            let weight = inputs[1].data[i % sets.channels].abs();
            let product = (input.data[i] - mean).abs() * scale * weight;
            let z = product + inputs[2].data[i % sets.channels].abs();
            weight * scale * of_mean + product * (of_scale + 4.0 * U) + 2.0 * U * z
        }
        1 => {
            let (set, channel) = (i / (2 * sets.channels), i % sets.channels);
            let Moment { errors: [of_mean, _, of_scale], .. } = moments[set * sets.groups + of_channel(channel)];
            if (i / sets.channels).is_multiple_of(2) { of_mean } else { of_scale * expected.data[i] }
        }
        2 => moments[i].errors[0],
        _ => (moments[i].errors[1] + 2.0 * DIVISION * U * moments[i].variance) * elements / (elements - 1.0),
    };
    // Half an ulp for the rounding of the expected number to f32.
    (0..expected.data.len()).map(|i| SECOND_ORDER * bound(i) + U * expected.data[i].abs()).collect()
}

/// What the elements of a set have in common: errors of the two means, and the means of absolute terms.
#[derive(Debug, Clone, Copy, Default)]
struct Means {
    errors: [f64; 2],
    absolute: [f64; 2],
}

/// Errors of the gradient of weight, bias and slope of a channel.
type OfChannel = [f64; 3];

/// Errors of the sums of [`NormaliseGrad`], and by element the error of its g that is not one of rounding: an element whose z is
/// closer to 0 than its error may have either slope.
fn sums(op: &Normalise, sets: &Sets, inputs: &[&HostTensor]) -> (Vec<Means>, Vec<OfChannel>, Vec<f64>) {
    let [visited, items] = most(sets);
    // Serial, by halves over 256, over tiles, by halves, and products and a division at the end.
    let sum = U * (visited + 8.0 + items + 8.0 + 2.0 + DIVISION);
    let mut means = vec![Means::default(); sets.count() * sets.groups];
    let mut channels = vec![[0.0; 3]; sets.channels];
    let mut others = Vec::new();
    for (i, e) in reference::elements(op, sets, inputs).enumerate() {
        let (upstream, weight) = (inputs[2].data[i].abs(), inputs[3].data[e.channel].abs());
        let of_z = U * (4.0 * (e.normalised * weight).abs() + e.z.abs());
        let other = if e.z.abs() <= SECOND_ORDER * of_z { upstream } else { 0.0 };
        let of_g = (sum + U) * e.g.abs() + other;
        let of_product = of_g * e.normalised.abs() + 3.0 * U * (e.g * e.normalised).abs();
        let negative = if e.z <= 0.0 { upstream * e.z.abs() } else { 0.0 };
        let of_slope = (sum + U) * negative + upstream * of_z + other * e.z.abs();
        channels[e.channel].iter_mut().zip([of_product, of_g, of_slope]).for_each(|(sum, error)| *sum += error);
        let share = weight / sets.elements() as f64;
        let Means { errors, absolute } = &mut means[sets.of(i)];
        errors.iter_mut().zip([of_g, of_product]).for_each(|(sum, error)| *sum += share * error);
        let terms = [e.g.abs(), (e.g * e.normalised).abs()];
        absolute.iter_mut().zip(terms).for_each(|(sum, term)| *sum += share * term);
        others.push(other);
    }
    (means, channels, others)
}

/// Bounds of [`NormaliseGrad`].
pub(super) fn backward<const GROUPS: usize, const RECTIFIER: usize>(
    output: usize,
    inputs: &[HostTensor],
    expected: &HostTensor,
) -> Vec<f64> {
    let op = operation(GROUPS, RECTIFIER);
    let inputs: Vec<&HostTensor> = inputs.iter().collect();
    let sets = Sets::new(op.moments, &inputs[0].spec).expect("a case is well-formed");
    let (means, channels, others) = sums(&op, &sets, &inputs);
    let bounds: Vec<f64> = match output {
        0 => (reference::elements(&op, &sets, &inputs).zip(others).enumerate())
            .map(|(i, (e, other))| {
                let Means { errors: [gradient, product], absolute } = means[sets.of(i)];
                let (weight, normalised) = (inputs[3].data[e.channel].abs(), e.normalised.abs());
                let terms = weight * e.g.abs() + absolute[0] + normalised * absolute[1];
                e.scale.abs() * (gradient + normalised * product + weight * other + 8.0 * U * terms)
            })
            .collect(),
        1..=3 if output <= op.parameters() => channels.iter().map(|errors| errors[output - 1]).collect(),
        _ => vec![0.0; sets.channels],
    };
    bounds.iter().zip(&expected.data).map(|(bound, e)| SECOND_ORDER * bound + U * e.abs()).collect()
}
