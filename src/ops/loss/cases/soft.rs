//! Cases of Tversky's coefficient, of soft targets, and of weights of the outputs.

use super::{CLASSES_AND_IGNORED, REGIONS_AND_IGNORED};
use crate::graph::Op;
use crate::ops::Activation::{self, Sigmoid, Softmax};
use crate::ops::case::{Bound, Case, Draw};
use crate::ops::loss::labels::IGNORED_SHARE;
use crate::ops::loss::{
    BinaryCrossEntropyGrad, BinaryCrossEntropyLoss, CrossEntropyGrad, CrossEntropyLoss, Dice, Overlap, Ratio,
    SoftDiceGrad, SoftDiceLoss,
};
use crate::ops::rows::Rows;
use crate::ops::sigmoid::SIGMOID_ULPS;
use crate::ops::softmax::softmax_ulps;
use crate::random::{Purpose, Stream};
use crate::tensor::TensorSpec;

/// Soft targets in eighths, as windows of 2x2x2 give them, of which about a quarter are ignored.
pub(super) fn soft_targets(shape: [usize; 5], activation: Activation) -> (TensorSpec, Draw) {
    let (outputs, mut random) = (shape[4], Stream::new(11, Purpose::TestInputs, shape.iter().sum::<usize>() as u64));
    let voxel = || {
        let mut shares = vec![0.0; outputs];
        for _ in 0..8 {
            match activation {
                Softmax => shares[random.below(outputs)] += 0.125,
                Sigmoid => shares.iter_mut().for_each(|share| *share += 0.125 * random.below(2) as f64),
            }
        }
        if random.below(4) == 0 { vec![IGNORED_SHARE; outputs] } else { shares }
    };
    let data = std::iter::repeat_with(voxel).take(shape[..4].iter().product()).flatten().collect();
    (TensorSpec::f32(shape), Draw::Given(data))
}

/// Weights of so many outputs.
pub(super) fn weights(outputs: usize) -> (TensorSpec, Draw) {
    (TensorSpec::f32([outputs]), Draw::Uniform(0.5, 1.5))
}

/// Tversky's coefficient, soft targets, and weights of the outputs.
pub(super) fn soft_and_weighted() -> Vec<Case> {
    let plain = Overlap { squares: false, ..Overlap::from(Dice::default()) };
    let squares = Overlap::from(Dice::default());
    let tversky = |alpha, beta| Overlap { ratio: Ratio::tversky(alpha, beta), ..plain };
    let labels = |shape: [usize; 5]| (TensorSpec::u32(&shape[..4]), CLASSES_AND_IGNORED);
    let regions = |shape: [usize; 5]| (TensorSpec::u32(&shape[..4]), REGIONS_AND_IGNORED);
    let (five, three) = ([3, 9, 11, 13, 5], [3, 9, 11, 13, 3]);
    let overlap = |name: &str, shape: [usize; 5], op: SoftDiceLoss, labels: (TensorSpec, Draw), weighted: bool| {
        overlap_pair(name, shape, op, labels, weighted)
    };
    let of = |activation, overlap| SoftDiceLoss { activation, overlap };
    let batch = |overlap: Overlap| Overlap { batch: true, ..overlap };
    let mut cases = Vec::new();
    cases.extend(overlap("3x9x11x13x5", five, of(Softmax, tversky(0.3, 0.7)), labels(five), false));
    cases.extend(overlap("3x9x11x13x5-batch", five, of(Softmax, batch(tversky(0.25, 0.5))), labels(five), false));
    cases.extend(overlap("3x9x11x13x3-regions", three, of(Sigmoid, tversky(0.3, 0.7)), regions(three), true));
    let soft = soft_targets(five, Softmax);
    cases.extend(overlap("3x9x11x13x5-soft", five, of(Softmax, tversky(0.3, 0.7)), soft.clone(), true));
    cases.extend(overlap("3x9x11x13x5-soft", five, of(Softmax, squares), soft.clone(), false));
    cases.extend(overlap("3x9x11x13x5-soft-batch", five, of(Softmax, batch(plain)), soft.clone(), true));
    cases.extend(overlap("3x9x11x13x3-regions-soft", three, of(Sigmoid, plain), soft_targets(three, Sigmoid), false));
    cases.extend(overlap("3x9x11x13x5-weighted", five, of(Softmax, squares), labels(five), true));
    cases.extend(soft_cross_entropy(five, soft, false, "3x9x11x13x5-soft"));
    cases.extend(soft_cross_entropy(five, soft_targets(five, Softmax), true, "3x9x11x13x5-soft-classes"));
    cases.extend(soft_cross_entropy(five, labels(five), true, "3x9x11x13x5-classes"));
    cases.extend(soft_binary_cross_entropy(three, soft_targets(three, Sigmoid), true, "3x9x11x13x3-soft-weighted"));
    cases.extend(soft_binary_cross_entropy(three, regions(three), true, "3x9x11x13x3-weighted"));
    cases
}

/// A loss of an overlap and its gradient.
fn overlap_pair(
    name: &str,
    shape: [usize; 5],
    op: SoftDiceLoss,
    labels: (TensorSpec, Draw),
    weighted: bool,
) -> [Case; 2] {
    let [n, d, h, w, outputs] = shape;
    let foreground = outputs - usize::from(op.activation.is_softmax());
    let roundings = (Rows::summed(n, d * h * w, foreground).summed_roundings() + n) as f64;
    // As without soft targets, whose products round once more, with a product for each of the three terms of the
    // denominator and two for weights. The coefficient is at most 1.5 times the loss here, too.
    let ulps = 1.5 * (2.0 * roundings + 15.0) + 16.0;
    let p = (TensorSpec::f32(shape), Draw::Uniform(0.0, 1.0));
    let weights = weighted.then(|| weights(outputs));
    let inputs = [p.clone(), labels.clone()].into_iter().chain(weights.clone()).collect();
    let loss = Case::new(format!("{}/{name}", op.name()), op, inputs, Bound::Relative { ulps }).constants(&[1, 2]);
    let sums = [if op.overlap.batch { 1 } else { n }, foreground, 3];
    let rest = [(TensorSpec::f32(sums), Draw::Uniform(50.0, 100.0)), (TensorSpec::f32([1]), Draw::AwayFromZero(0.5))];
    let inputs = [p, labels].into_iter().chain(rest).chain(weights).collect();
    // With o the factor of the overlap, off by 12 roundings, and r the coefficient, at most 2 here and off by 10: both factors, of g
    // and of p, are off by less than 24 o together, and one of |o g - ..| for g = 0 or 1 exceeds o / 3. Shares between them, and
    // p in the place of 1, leave o / 5.
    let grad = SoftDiceGrad(op);
    let grad = Case::new(format!("{}/{name}", grad.name()), grad, inputs, Bound::Relative { ulps: 120.0 });
    [loss, grad.backward_only()]
}

fn soft_cross_entropy(shape: [usize; 5], labels: (TensorSpec, Draw), weighted: bool, name: &str) -> [Case; 2] {
    let [n, d, h, w, classes] = shape;
    let logits = (TensorSpec::f32(shape), Draw::Normal(2.0));
    let weights = weighted.then(|| weights(classes));
    // As for labels, with a sum and a product over the classes for the voxel, and for the sum of the weights.
    let voxel = 8.0 + softmax_ulps(classes) - 13.0;
    let roundings =
        Rows::summed(n, d * h * w, 1).summed_roundings() + Rows::summed(n, d * h * w, classes).summed_roundings();
    let ulps = 2.0 * voxel + 12.0 + (roundings + 2 * (classes + 1)) as f64;
    let inputs = [logits.clone(), labels.clone()].into_iter().chain(weights).collect();
    let op = CrossEntropyLoss { weighted: false };
    let loss = Case::new(format!("cross_entropy_loss/{name}"), op, inputs, Bound::Relative { ulps }).constants(&[1, 2]);
    let factors = (TensorSpec::f32([n, classes]), Draw::Uniform(0.5, 1.5));
    let inputs = vec![logits, labels, factors, (TensorSpec::f32([1]), Draw::AwayFromZero(0.5))];
    // As for labels, with a sum over the classes and two products more.
    let bound = Bound::Relative { ulps: 3.0 * (softmax_ulps(classes) + 5.0 + classes as f64) };
    [loss, Case::new(format!("cross_entropy_grad/{name}"), CrossEntropyGrad, inputs, bound).backward_only()]
}

fn soft_binary_cross_entropy(shape: [usize; 5], labels: (TensorSpec, Draw), weighted: bool, name: &str) -> [Case; 2] {
    let [n, d, h, w, regions] = shape;
    let logits = (TensorSpec::f32(shape), Draw::Normal(2.0));
    let weights = weighted.then(|| weights(regions));
    let roundings = (Rows::summed(n, d * h * w, 1).summed_roundings() + regions) as f64;
    // As for labels, with a product of the share and one of the weight; of 1 - g in eighths there is no rounding.
    let bound = Bound::Relative { ulps: 34.0 + roundings };
    let inputs = [logits.clone(), labels.clone()].into_iter().chain(weights.clone()).collect();
    let loss = Case::new(format!("binary_cross_entropy_loss/{name}"), BinaryCrossEntropyLoss, inputs, bound);
    let rest = [(TensorSpec::f32([1]), Draw::Uniform(0.5, 1.5)), (TensorSpec::f32([1]), Draw::AwayFromZero(0.5))];
    let inputs = [logits, labels].into_iter().chain(rest).chain(weights).collect();
    // As for labels, with one product more.
    let bound = Bound::Relative { ulps: 2.0 * (SIGMOID_ULPS + 4.0) };
    let grad = Case::new(format!("binary_cross_entropy_grad/{name}"), BinaryCrossEntropyGrad, inputs, bound);
    [loss.constants(&[1, 2]), grad.backward_only()]
}
