use super::bounds::{BATCH, EPSILON, INSTANCE, LEAKY, PLAIN, PRELU, SLOPE, backward, forward, operation};
use super::{FoldNorm, NormaliseGrad, NormaliseRunning, Rectifier};
use crate::ops::case::{Bound, Case, Draw};
use crate::tensor::TensorSpec;

/// The parameters of a case: weights of both signs, biases, and slopes.
fn parameters(channels: usize, rectifier: usize) -> Vec<(TensorSpec, Draw)> {
    let vector = |draw| (TensorSpec::f32([channels]), draw);
    let mut parameters = vec![vector(Draw::AwayFromZero(0.2)), vector(Draw::Normal(0.5))];
    if rectifier == PRELU {
        parameters.push(vector(Draw::Uniform(0.05, 0.6)));
    }
    parameters
}

/// A case whose elements are drawn so.
fn of<const GROUPS: usize>(name: &str, shape: &[usize], rectifier: usize, draw: Draw) -> Case {
    let mut inputs = vec![(TensorSpec::f32(shape), draw)];
    inputs.extend(parameters(shape[shape.len() - 1], rectifier));
    let case = Case::new(name, operation(GROUPS, rectifier), inputs, Bound::Computed(forward::<GROUPS>));
    // A kink within a step of the central differences would be no fault of the gradient.
    if rectifier == PLAIN { case } else { case.forward_only() }
}

/// The gradient from statistics that are drawn: it is defined for any.
fn grad<const GROUPS: usize, const RECTIFIER: usize>(name: &str, shape: &[usize]) -> Case {
    let op = operation(GROUPS, RECTIFIER);
    let (input, channels) = (TensorSpec::f32(shape), shape[shape.len() - 1]);
    let statistics = (op.statistics(&input), Draw::Uniform(0.4, 1.3));
    let mut inputs = vec![(input.clone(), Draw::Normal(1.5)), statistics, (input, Draw::Normal(1.0))];
    inputs.extend(parameters(channels, RECTIFIER));
    let bound = Bound::Computed(backward::<GROUPS, RECTIFIER>);
    Case::new(name, NormaliseGrad(op), inputs, bound).backward_only()
}

/// The weight and bias of a convolution, and a batch normalisation.
fn fold(name: &str, shape: &[usize]) -> Case {
    let vector = |draw| (TensorSpec::f32([shape[shape.len() - 1]]), draw);
    let norm = [Draw::Normal(1.0), Draw::Normal(0.5), Draw::Normal(1.0), Draw::Uniform(0.2, 3.0)].map(vector);
    let inputs = [(TensorSpec::f32(shape), Draw::Normal(0.3)), vector(Draw::Normal(0.3))].into_iter().chain(norm);
    Case::new(name, FoldNorm { epsilon: EPSILON }, inputs.collect(), Bound::Computed(of_fold)).forward_only()
}

/// The sum below the root, a root and a division, relative to the scale; then a product, or a difference, a product and a sum.
fn of_fold(output: usize, inputs: &[crate::tensor::HostTensor], expected: &crate::tensor::HostTensor) -> Vec<f64> {
    const SCALE: f64 = 0.5 + 9.0 + 5.0;
    let unit = crate::ops::case::UNIT_ROUNDOFF;
    let bound = |(i, e): (usize, &f64)| match output {
        0 => (SCALE + 2.0) * unit * e.abs(),
        _ => {
            let scale = inputs[2].data[i] / (inputs[5].data[i] + f64::from(EPSILON)).sqrt();
            let product = ((inputs[1].data[i] - inputs[4].data[i]) * scale).abs();
            1.001 * unit * ((SCALE + 2.0) * product + 2.0 * e.abs())
        }
    };
    expected.data.iter().enumerate().map(bound).collect()
}

/// Normalisation by running statistics.
fn running(name: &str, shape: &[usize], rectifier: Rectifier) -> Case {
    let vector = |draw| (TensorSpec::f32([shape[shape.len() - 1]]), draw);
    let input = (TensorSpec::f32(shape), Draw::Normal(1.5));
    let norm = [Draw::Normal(1.0), Draw::Normal(0.5), Draw::Normal(1.0), Draw::Uniform(0.2, 3.0)].map(vector);
    let slopes = (rectifier == Rectifier::Prelu).then(|| vector(Draw::Uniform(0.05, 0.6)));
    let inputs = [input].into_iter().chain(norm).chain(slopes).collect();
    Case::new(name, NormaliseRunning { epsilon: EPSILON, rectifier }, inputs, Bound::Computed(of_running))
        .forward_only()
}

/// As [`of_fold`], with the product of scale and weight; a rectifier adds one rounding.
fn of_running(_: usize, inputs: &[crate::tensor::HostTensor], expected: &crate::tensor::HostTensor) -> Vec<f64> {
    let unit = crate::ops::case::UNIT_ROUNDOFF;
    let channels = inputs[1].data.len();
    let bound = |(i, e): (usize, &f64)| {
        let c = i % channels;
        let scale = inputs[1].data[c] / (inputs[4].data[c] + f64::from(EPSILON)).sqrt();
        let product = ((inputs[0].data[i] - inputs[3].data[c]) * scale).abs();
        1.001 * unit * ((0.5 + 9.0 + 5.0 + 3.0) * product + 2.0 * (product + inputs[2].data[c].abs()) + e.abs())
    };
    expected.data.iter().enumerate().map(bound).collect()
}

/// Odd shapes, few voxels, channels that are no pairs, more of them than a workgroup has invocations, several tiles; means that are
/// large against the deviation, and elements that are all equal.
pub(in crate::ops) fn cases() -> Vec<Case> {
    const NORMAL: Draw = Draw::Normal(1.5);
    // A mean of 100 with a deviation of 0.3.
    const FAR: Draw = Draw::Uniform(99.5, 100.5);
    const EQUAL: Draw = Draw::Uniform(0.7, 0.7);
    vec![
        of::<INSTANCE>("instance_norm/2x1x1x2x3", &[2, 1, 1, 2, 3], PLAIN, NORMAL),
        of::<INSTANCE>("instance_norm/2x3x5x7x3", &[2, 3, 5, 7, 3], PLAIN, NORMAL),
        of::<INSTANCE>("instance_norm/1x3x5x7x6", &[1, 3, 5, 7, 6], PLAIN, Draw::Uniform(3.0, 4.0)),
        of::<INSTANCE>("instance_norm/1x17x19x23x8-leaky", &[1, 17, 19, 23, 8], LEAKY, NORMAL),
        of::<INSTANCE>("instance_norm/2x9x11x13x4-far", &[2, 9, 11, 13, 4], PLAIN, FAR).forward_only(),
        of::<INSTANCE>("instance_norm/1x5x3x2x2-equal", &[1, 5, 3, 2, 2], PLAIN, EQUAL).forward_only(),
        of::<INSTANCE>("instance_norm/1x2x1x3x300-prelu", &[1, 2, 1, 3, 300], PRELU, NORMAL),
        of::<INSTANCE>("instance_norm/1x40x56x40x16", &[1, 40, 56, 40, 16], PLAIN, NORMAL).benchmark(),
        of::<INSTANCE>("instance_norm/1x40x56x40x16-leaky", &[1, 40, 56, 40, 16], LEAKY, NORMAL).benchmark(),
        of::<1>("group_norm/2x2x3x5x3-1", &[2, 2, 3, 5, 3], PLAIN, NORMAL),
        of::<2>("group_norm/2x3x5x7x6-2", &[2, 3, 5, 7, 6], PLAIN, NORMAL),
        of::<4>("group_norm/1x9x11x13x8-4-far", &[1, 9, 11, 13, 8], LEAKY, FAR),
        of::<1>("group_norm/1x3x5x7x270-1", &[1, 3, 5, 7, 270], PRELU, NORMAL),
        of::<BATCH>("batch_norm/2x3x5x7x3", &[2, 3, 5, 7, 3], PLAIN, NORMAL),
        of::<BATCH>("batch_norm/2x1x1x1x4", &[2, 1, 1, 1, 4], PLAIN, NORMAL).forward_only(),
        of::<BATCH>("batch_norm/3x9x11x13x5-far", &[3, 9, 11, 13, 5], PLAIN, FAR).forward_only(),
        of::<BATCH>("batch_norm/2x17x19x23x8-leaky", &[2, 17, 19, 23, 8], LEAKY, NORMAL),
        grad::<INSTANCE, PLAIN>("instance_norm_grad/2x3x5x7x3", &[2, 3, 5, 7, 3]),
        grad::<INSTANCE, LEAKY>("instance_norm_grad/2x17x19x23x8-leaky", &[2, 17, 19, 23, 8]),
        grad::<INSTANCE, PRELU>("instance_norm_grad/1x3x5x7x300-prelu", &[1, 3, 5, 7, 300]),
        grad::<INSTANCE, PRELU>("instance_norm_grad/2x1x1x2x2-prelu", &[2, 1, 1, 2, 2]),
        grad::<2, LEAKY>("group_norm_grad/2x3x5x7x6-2-leaky", &[2, 3, 5, 7, 6]),
        grad::<1, PRELU>("group_norm_grad/1x9x11x13x10-1-prelu", &[1, 9, 11, 13, 10]),
        grad::<BATCH, PLAIN>("batch_norm_grad/3x9x11x13x5", &[3, 9, 11, 13, 5]),
        grad::<BATCH, LEAKY>("batch_norm_grad/2x3x5x7x4-leaky", &[2, 3, 5, 7, 4]),
        grad::<INSTANCE, PLAIN>("instance_norm_grad/1x40x56x40x16", &[1, 40, 56, 40, 16]).benchmark(),
        grad::<INSTANCE, LEAKY>("instance_norm_grad/1x40x56x40x16-leaky", &[1, 40, 56, 40, 16]).benchmark(),
        fold("fold_norm/3x3x3x5x7", &[3, 3, 3, 5, 7]),
        fold("fold_norm/1x5x2x4x300", &[1, 5, 2, 4, 300]),
        running("normalise_running/2x3x5x7x3", &[2, 3, 5, 7, 3], Rectifier::NONE),
        running("normalise_running/1x9x11x13x6-leaky", &[1, 9, 11, 13, 6], Rectifier::Leaky(SLOPE)),
        running("normalise_running/1x3x5x7x4-prelu", &[1, 3, 5, 7, 4], Rectifier::Prelu),
    ]
}
