//! Cases of the losses that look at what is predicted badly: focal loss and the largest cross-entropies.

use super::{CLASSES_AND_IGNORED, IGNORED, REGIONS_AND_IGNORED, soft_targets, weights};
use crate::ops::Activation::{self, Sigmoid, Softmax};
use crate::ops::case::{Bound, Case, Draw, UNIT_ROUNDOFF};
use crate::ops::loss::top_k::voxel_losses;
use crate::ops::loss::{FocalGrad, FocalLoss, TopK, TopKGrad, TopKLoss};
use crate::ops::rows::Rows;
use crate::ops::sigmoid::SIGMOID_ULPS;
use crate::ops::softmax::softmax_ulps;
use crate::tensor::{HostTensor, TensorSpec};

type Labels = (TensorSpec, Draw);

fn labels_of(shape: [usize; 5], activation: Activation) -> Labels {
    let draw = if activation.is_softmax() { CLASSES_AND_IGNORED } else { REGIONS_AND_IGNORED };
    (TensorSpec::u32(&shape[..4]), draw)
}

pub(super) fn focal() -> Vec<Case> {
    let (five, three) = ([3, 9, 11, 13, 5], [3, 9, 11, 13, 3]);
    let nothing = (TensorSpec::u32(&five[..4]), IGNORED);
    let mut cases = Vec::new();
    for (name, shape, activation, gamma, labels, weighted) in [
        ("3x9x11x13x5", five, Softmax, 2.0, labels_of(five, Softmax), false),
        ("3x9x11x13x5-weighted", five, Softmax, 1.5, labels_of(five, Softmax), true),
        ("3x9x11x13x5-soft", five, Softmax, 2.0, soft_targets(five, Softmax), true),
        ("3x9x11x13x5-none", five, Softmax, 0.0, labels_of(five, Softmax), false),
        ("3x9x11x13x5-all-ignored", five, Softmax, 2.0, nothing, false),
        ("3x9x11x13x3-regions", three, Sigmoid, 2.0, labels_of(three, Sigmoid), false),
        ("3x9x11x13x3-regions-soft", three, Sigmoid, 0.5, soft_targets(three, Sigmoid), true),
    ] {
        cases.extend(focal_pair(name, shape, FocalLoss { activation, gamma }, labels, weighted));
    }
    let shape = [1, 64, 128, 128, 2];
    let labels = (TensorSpec::u32(&shape[..4]), Draw::Labels(2));
    let op = FocalLoss { activation: Softmax, gamma: 2.0 };
    cases.extend(focal_pair("1x64x128x128x2", shape, op, labels, false).map(Case::benchmark));
    cases
}

/// The relative error of `m^γ`, in units of u, for m of 1/16 at least; below that the focal loss is so small that it does not matter.
///
/// m is a quotient of sums of exponentials exp(-d), each off by 6 + 5 d. As m exceeds 1/16, those that make it up have a d of
/// ln(16 K) < 4.4 for five outputs or, where it is larger, weigh less: 28 and K for the sum. The other sum inherits 10 + K, the
/// division adds 5. The logarithm of base 2 is off by 3 ulp of at most 4, which with the product's rounding is 20 γ of the power, and
/// exp2 by 3 + 8 γ ulp.
fn focus_ulps(outputs: usize, gamma: f32) -> f64 {
    f64::from(gamma) * (43.0 + 2.0 * outputs as f64 + 20.0 + 16.0) + 6.0
}

fn focal_pair(name: &str, shape: [usize; 5], op: FocalLoss, labels: Labels, weighted: bool) -> [Case; 2] {
    let [n, d, h, w, outputs] = shape;
    let logits = (TensorSpec::f32(shape), Draw::Normal(2.0));
    let weights = weighted.then(|| weights(outputs));
    let k = outputs as f64;
    let rows =
        Rows::summed(n, d * h * w, 1).summed_roundings() + Rows::summed(n, d * h * w, outputs).summed_roundings();
    // -ln p is off by 18 + K absolutely: the logarithm by 8, its argument by 10 + K. That is 2 (18 + K) of itself above 1/2, where the
    // mean over such voxels lies, and with m^γ below 0.4^γ it adds as much again below. Then products, and the sums.
    let ulps = focus_ulps(outputs, op.gamma) + 4.0 * (18.0 + k) + 20.0 + rows as f64 + 3.0 * k;
    let inputs = [logits.clone(), labels.clone()].into_iter().chain(weights.clone()).collect();
    let loss = Case::new(format!("focal_loss/{name}"), op, inputs, Bound::Relative { ulps }).constants(&[1, 2]);
    let factors = (TensorSpec::f32([n, outputs]), Draw::Uniform(0.5, 1.5));
    let rest = [factors, (TensorSpec::f32([1]), Draw::AwayFromZero(0.5))];
    let weights = weights.filter(|_| op.activation == Sigmoid);
    let inputs = [logits, labels].into_iter().chain(rest).chain(weights).collect();
    // m^γ (1 + γ p s / m) m, in which p s / m is at most 1 and off by 18 + K times p m^γ / m, at most as much: below 1 + γ of a factor,
    // which the largest result exceeds by a third.
    let gamma = f64::from(op.gamma);
    let of_factor =
        (1.0 + gamma) * focus_ulps(outputs, op.gamma) + gamma * (18.0 + k) + softmax_ulps(outputs) + k + 10.0;
    let bound = Bound::Relative { ulps: 3.0 * of_factor };
    [loss, Case::new(format!("focal_grad/{name}"), FocalGrad(op), inputs, bound).backward_only()]
}

pub(super) fn top_k() -> Vec<Case> {
    let (five, three) = ([3, 9, 11, 13, 5], [3, 9, 11, 13, 3]);
    let top = |name: &str, shape, activation, percent, labels| {
        let op = TopKLoss { activation, top: TopK { percent } };
        loss_of_the_largest(name, shape, op, labels)
    };
    let grad = |name: &str, shape: [usize; 5], activation: Activation, labels: Labels| {
        let factors = (TensorSpec::f32(&shape[..4]), Draw::Uniform(0.5, 1.5));
        let logits = (TensorSpec::f32(shape), Draw::Normal(2.0));
        let inputs = vec![logits, labels, factors, (TensorSpec::f32([1]), Draw::AwayFromZero(0.5))];
        // As of cross-entropy, with a sum of shares and two products; of regions the largest result exceeds a sixth of the factor.
        let ulps = match activation {
            Softmax => 3.0 * (softmax_ulps(shape[4]) + 5.0 + shape[4] as f64),
            Sigmoid => 6.0 * (SIGMOID_ULPS + 9.0),
        };
        let op = TopKGrad { activation };
        Case::new(format!("topk_grad/{name}"), op, inputs, Bound::Relative { ulps }).backward_only()
    };
    // Factors of voxels that count alone, as the loss gives them: ignored voxels have none.
    let counting = |shape: [usize; 5], outputs| (TensorSpec::u32(&shape[..4]), Draw::Labels(outputs));
    let benchmark = [1, 64, 128, 128, 2];
    vec![
        top("3x9x11x13x5", five, Softmax, 10.0, labels_of(five, Softmax)),
        top("3x9x11x13x5-soft", five, Softmax, 35.5, soft_targets(five, Softmax)),
        top("3x9x11x13x3-regions", three, Sigmoid, 10.0, labels_of(three, Sigmoid)),
        top("3x9x11x13x3-regions-soft", three, Sigmoid, 99.0, soft_targets(three, Sigmoid)),
        top("2x3x5x7x5-all-ignored", [2, 3, 5, 7, 5], Softmax, 10.0, (TensorSpec::u32([2, 3, 5, 7]), IGNORED)),
        equal_losses(),
        top("1x64x128x128x2", benchmark, Softmax, 10.0, counting(benchmark, 2)).benchmark(),
        grad("3x9x11x13x5", five, Softmax, counting(five, 5)),
        grad("3x9x11x13x3-regions", three, Sigmoid, counting(three, 8)),
        grad("1x64x128x128x2", benchmark, Softmax, counting(benchmark, 2)).benchmark(),
    ]
}

fn loss_of_the_largest(name: &str, shape: [usize; 5], op: TopKLoss, labels: Labels) -> Case {
    let [n, d, h, w, outputs] = shape;
    let inputs = vec![(TensorSpec::f32(shape), Draw::Normal(2.0)), labels];
    // Each of the largest is off by no more than the voxels are, which exceed 1/2 (2 voxel_ulps); then quotients and sums.
    let roundings = Rows::summed(n, d * h * w, 1).summed_roundings() as f64;
    let ulps = 2.0 * voxel_ulps(outputs) + 16.0 + roundings;
    let factors = match op.activation {
        Softmax => {
            |_: usize, inputs: &[HostTensor], expected: &HostTensor| near_the_smallest(Softmax, inputs, expected)
        }
        Sigmoid => {
            |_: usize, inputs: &[HostTensor], expected: &HostTensor| near_the_smallest(Sigmoid, inputs, expected)
        }
    };
    let case = Case::new(format!("topk_loss/{name}"), op, inputs, Bound::Computed(factors));
    case.first_output(Bound::Relative { ulps }).constants(&[1])
}

/// How far the cross-entropy of a voxel may be off, in units of u: as of the loss by cross-entropy, or of the mean over regions, with
/// a product and a sum per output.
fn voxel_ulps(outputs: usize) -> f64 {
    8.0 + softmax_ulps(outputs) - 13.0 + 2.0 * outputs as f64 + 12.0
}

/// A voxel whose loss is as near to the smallest of the largest as both may be off may be among them or not.
fn near_the_smallest(activation: Activation, inputs: &[HostTensor], expected: &HostTensor) -> Vec<f64> {
    let losses = voxel_losses(&inputs.iter().collect::<Vec<_>>(), activation);
    let taken = losses.iter().zip(&expected.data).filter(|(_, factor)| **factor > 0.0);
    let smallest = taken.filter_map(|(loss, _)| *loss).fold(f64::INFINITY, f64::min);
    let outputs = inputs[0].spec.channels();
    let band = 2.0 * voxel_ulps(outputs) * UNIT_ROUNDOFF * smallest.max(1.0);
    // Factors are 0 to that of a voxel which counts whole.
    let largest = expected.data.iter().copied().fold(0.0, f64::max);
    let bound = |(loss, factor): (&Option<f64>, &f64)| match loss {
        Some(loss) if (loss - smallest).abs() <= band => largest,
        // A quotient of whole numbers.
        _ => 5.0 * UNIT_ROUNDOFF * factor,
    };
    losses.iter().zip(&expected.data).map(bound).collect()
}

/// Many voxels with the same few logits: the device finds losses equal that are, and their shares are exact up to two quotients.
fn equal_losses() -> Case {
    let shape = [2, 5, 7, 9, 2];
    let voxels: usize = shape[..4].iter().product();
    let logits = (0..voxels).flat_map(|i| [[0.0, 1.5], [2.0, 0.25], [1.0, -3.0]][i * 7 % 11 % 3]).collect();
    let inputs = vec![
        (TensorSpec::f32(shape), Draw::Given(logits)),
        (TensorSpec::u32(&shape[..4]), Draw::Among(&[0, 1, 0, 1, 2])),
    ];
    let op = TopKLoss { activation: Softmax, top: TopK { percent: 25.0 } };
    let ulps = 2.0 * voxel_ulps(2) + 16.0 + Rows::summed(2, 5 * 7 * 9, 1).summed_roundings() as f64;
    // Moving a logit would tell equal losses apart: there is no gradient to compare with.
    Case::new("topk_loss/2x5x7x9x2-equal", op, inputs, Bound::Relative { ulps: 12.0 })
        .first_output(Bound::Relative { ulps })
        .forward_only()
}
