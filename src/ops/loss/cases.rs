//! Cases of the losses' operations.

mod hard;
mod soft;

use super::{
    BinaryCrossEntropyGrad, BinaryCrossEntropyLoss, CrossEntropyGrad, CrossEntropyLoss, Dice, Overlap, SoftDiceGrad,
    SoftDiceLoss, pool,
};
use crate::ops::Activation::{self, Sigmoid, Softmax};
use crate::ops::case::{Bound, Case, Draw, UNIT_ROUNDOFF};
use crate::ops::rows::Rows;
use crate::ops::sigmoid::SIGMOID_ULPS;
use crate::ops::softmax::softmax_ulps;
use crate::tensor::TensorSpec;
use soft::{soft_targets, weights};

/// Labels of five classes, of which two numbers are none: voxels that are ignored.
const CLASSES_AND_IGNORED: Draw = Draw::Among(&[0, 1, 2, 3, 4, 65_535, u32::MAX]);

/// Masks of three regions; bits 3 to 30 say nothing, bit 31 that the voxel is ignored.
const REGIONS_AND_IGNORED: Draw =
    Draw::Among(&[0, 1, 2, 3, 4, 5, 6, 7, 9, (1 << 30) | 2, 1 << 31, (1 << 31) | 5, u32::MAX]);

/// Nothing but voxels that are ignored.
const IGNORED: Draw = Draw::Among(&[5, u32::MAX]);

pub(super) fn all() -> Vec<Case> {
    let pool = pool::cases(CLASSES_AND_IGNORED, REGIONS_AND_IGNORED);
    [dice(), cross_entropy(), binary_cross_entropy(), soft::soft_and_weighted(), hard::focal(), hard::top_k(), pool]
        .into_iter()
        .flatten()
        .collect()
}

/// Specs of predictions and labels, with the labels' distribution.
fn inputs(shape: [usize; 5], predictions: Draw, labels: Draw) -> Vec<(TensorSpec, Draw)> {
    vec![(TensorSpec::f32(shape), predictions), (TensorSpec::u32(&shape[..4]), labels)]
}

fn dice() -> Vec<Case> {
    let papers = Overlap::from(Dice::default());
    let plain = Overlap { squares: false, ..papers };
    let batch = Overlap { batch: true, ..papers };
    let foreground = |activation: Activation, outputs: usize| outputs - usize::from(activation.is_softmax());
    let loss = |name: &str, shape: [usize; 5], activation, overlap, labels: Draw| {
        let [n, d, h, w, outputs] = shape;
        // Both sums of positive terms, two roundings each, and a division (2.5 ulp) for D, which is at most 1.5 times
        // the loss here; the mean adds halves of 256 and a division. The sums of a batch go through one more partial sum
        // per sample at most.
        let roundings = Rows::summed(n, d * h * w, foreground(activation, outputs)).summed_roundings() + n;
        let ulps = 1.5 * (2.0 * roundings as f64 + 9.0) + 14.0;
        let inputs = inputs(shape, Draw::Uniform(0.0, 1.0), labels);
        Case::new(
            format!("soft_dice_loss/{name}"),
            SoftDiceLoss { activation, overlap },
            inputs,
            Bound::Relative { ulps },
        )
    };
    let grad = |name: &str, shape: [usize; 5], activation, overlap: Overlap, labels: Draw| {
        let mut inputs = inputs(shape, Draw::Uniform(0.0, 1.0), labels);
        let sums = [if overlap.batch { 1 } else { shape[0] }, foreground(activation, shape[4]), 3];
        inputs.push((TensorSpec::f32(sums), Draw::Uniform(50.0, 100.0)));
        inputs.push((TensorSpec::f32([1]), Draw::AwayFromZero(0.5)));
        // The factors of g and p are off by 10 and 20 roundings, the former is at most twice the latter, and the largest
        // result is above 9/10 of the latter. Without squares A = N / D and B = 2 g are off by 20 A + 10 B roundings, which is at
        // most 40 of the larger of A and B - A.
        let op = SoftDiceGrad(SoftDiceLoss { activation, overlap });
        Case::new(format!("soft_dice_grad/{name}"), op, inputs, Bound::Relative { ulps: 50.0 }).backward_only()
    };
    vec![
        loss("2x3x5x7x2", [2, 3, 5, 7, 2], Softmax, papers, Draw::Labels(2)),
        loss("2x3x5x7x3", [2, 3, 5, 7, 3], Softmax, papers, Draw::Labels(3)),
        loss("3x9x11x13x5", [3, 9, 11, 13, 5], Softmax, papers, Draw::Labels(5)),
        loss("2x21x23x29x2", [2, 21, 23, 29, 2], Softmax, papers, Draw::Labels(2)),
        loss("3x9x11x13x5-ignored", [3, 9, 11, 13, 5], Softmax, papers, CLASSES_AND_IGNORED),
        loss("3x9x11x13x5-ignored-plain", [3, 9, 11, 13, 5], Softmax, plain, CLASSES_AND_IGNORED),
        loss("3x9x11x13x5-ignored-batch", [3, 9, 11, 13, 5], Softmax, batch, CLASSES_AND_IGNORED),
        // The loss is 1 - ε / ε, a division of 2.5 ulp.
        loss("2x3x5x7x5-all-ignored", [2, 3, 5, 7, 5], Softmax, papers, IGNORED)
            .first_output(Bound::Computed(|_, _, expected| vec![5.0 * UNIT_ROUNDOFF; expected.data.len()])),
        loss("2x3x5x7x1-regions", [2, 3, 5, 7, 1], Sigmoid, papers, Draw::Labels(2)),
        loss("3x9x11x13x3-regions", [3, 9, 11, 13, 3], Sigmoid, plain, REGIONS_AND_IGNORED),
        loss("2x21x23x29x3-regions-batch", [2, 21, 23, 29, 3], Sigmoid, batch, REGIONS_AND_IGNORED),
        loss("1x64x128x128x2", [1, 64, 128, 128, 2], Softmax, papers, Draw::Labels(2)).benchmark(),
        grad("2x3x5x7x2", [2, 3, 5, 7, 2], Softmax, papers, Draw::Labels(2)),
        grad("2x3x5x7x3", [2, 3, 5, 7, 3], Softmax, papers, Draw::Labels(3)),
        grad("3x9x11x13x5", [3, 9, 11, 13, 5], Softmax, papers, Draw::Labels(5)),
        grad("3x9x11x13x5-ignored", [3, 9, 11, 13, 5], Softmax, papers, CLASSES_AND_IGNORED),
        grad("3x9x11x13x5-ignored-plain", [3, 9, 11, 13, 5], Softmax, plain, CLASSES_AND_IGNORED),
        grad("3x9x11x13x5-ignored-batch", [3, 9, 11, 13, 5], Softmax, batch, CLASSES_AND_IGNORED),
        grad("2x3x5x7x1-regions", [2, 3, 5, 7, 1], Sigmoid, papers, Draw::Labels(2)),
        grad("3x9x11x13x3-regions", [3, 9, 11, 13, 3], Sigmoid, plain, REGIONS_AND_IGNORED),
        grad("2x3x5x7x3-regions-batch", [2, 3, 5, 7, 3], Sigmoid, batch, REGIONS_AND_IGNORED),
        grad("1x64x128x128x2", [1, 64, 128, 128, 2], Softmax, papers, Draw::Labels(2)).benchmark(),
    ]
}

fn cross_entropy() -> Vec<Case> {
    let loss = |name: &str, shape: [usize; 5], labels: Draw, weighted: bool| {
        let [n, d, h, w, classes] = shape;
        // A voxel's log is off by 8 (2^-21 around 1, else 3 ulp) and what its argument inherits from the exponentials
        // and their sum (as in `softmax_ulps`), then two roundings, the weight (8) and the sum; the loss is above 1/2.
        let voxel = 8.0 + softmax_ulps(classes) - 13.0;
        let roundings = Rows::summed(n, d * h * w, 1).summed_roundings() as f64;
        let ulps = 2.0 * voxel + 10.0 + roundings;
        let inputs = inputs(shape, Draw::Normal(2.0), labels);
        let op = CrossEntropyLoss { weighted };
        Case::new(format!("cross_entropy_loss/{name}"), op, inputs, Bound::Relative { ulps })
    };
    let grad = |name: &str, shape: [usize; 5], labels: Draw| {
        let mut inputs = inputs(shape, Draw::Normal(2.0), labels);
        inputs.push((TensorSpec::f32([shape[0], shape[4]]), Draw::Uniform(0.5, 1.5)));
        inputs.push((TensorSpec::f32([1]), Draw::AwayFromZero(0.5)));
        // The softmax, a subtraction and two products; the largest result exceeds a third of the largest weight.
        let bound = Bound::Relative { ulps: 3.0 * (softmax_ulps(shape[4]) + 3.0) };
        Case::new(format!("cross_entropy_grad/{name}"), CrossEntropyGrad, inputs, bound).backward_only()
    };
    vec![
        loss("2x3x5x7x2", [2, 3, 5, 7, 2], Draw::Labels(2), false),
        loss("3x9x11x13x5", [3, 9, 11, 13, 5], Draw::Labels(5), false),
        loss("2x3x5x7x3-outside", [2, 3, 5, 7, 3], Draw::Labels(4), false),
        loss("3x21x23x29x5-ignored", [3, 21, 23, 29, 5], CLASSES_AND_IGNORED, false),
        loss("2x3x5x7x5-all-ignored", [2, 3, 5, 7, 5], IGNORED, false),
        loss("2x3x5x7x2-weighted", [2, 3, 5, 7, 2], Draw::Labels(2), true),
        loss("3x9x11x13x5-weighted", [3, 9, 11, 13, 5], Draw::Labels(5), true),
        loss("2x1x2x2x5-weighted-missing", [2, 1, 2, 2, 5], Draw::Labels(3), true),
        loss("3x9x11x13x5-weighted-ignored", [3, 9, 11, 13, 5], CLASSES_AND_IGNORED, true),
        loss("2x3x5x7x5-weighted-all-ignored", [2, 3, 5, 7, 5], IGNORED, true),
        loss("1x64x128x128x2-weighted", [1, 64, 128, 128, 2], Draw::Labels(2), true).benchmark(),
        grad("2x3x5x7x2", [2, 3, 5, 7, 2], Draw::Labels(2)),
        grad("2x3x5x7x3-outside", [2, 3, 5, 7, 3], Draw::Labels(4)),
        grad("3x9x11x13x5", [3, 9, 11, 13, 5], Draw::Labels(5)),
        grad("3x9x11x13x5-ignored", [3, 9, 11, 13, 5], CLASSES_AND_IGNORED),
        grad("1x64x128x128x2", [1, 64, 128, 128, 2], Draw::Labels(2)).benchmark(),
    ]
}

fn binary_cross_entropy() -> Vec<Case> {
    let loss = |name: &str, shape: [usize; 5], deviation: f64, labels: Draw| {
        let [n, d, h, w, regions] = shape;
        // exp(-d), d = |x|, is off by (6 + 4 d) exp(-d) <= 6 u, of which log(1 + e) inherits half; the sum below the log adds 1
        // and the log 8 (2^-21): 12 u of a region, which is below 24 u of the mean, as that is above 1/2. What x adds is
        // exact. Then the sums over regions and voxels of positive terms, a product, and the weight (a product and a
        // division of 2.5 ulp).
        let roundings = (Rows::summed(n, d * h * w, 1).summed_roundings() + regions) as f64;
        let bound = Bound::Relative { ulps: 24.0 + 1.0 + 1.0 + 6.0 + roundings };
        let inputs = inputs(shape, Draw::Normal(deviation), labels);
        Case::new(format!("binary_cross_entropy_loss/{name}"), BinaryCrossEntropyLoss, inputs, bound)
    };
    let grad = |name: &str, shape: [usize; 5], labels: Draw| {
        let mut inputs = inputs(shape, Draw::Normal(2.0), labels);
        inputs.push((TensorSpec::f32([1]), Draw::Uniform(0.5, 1.5)));
        inputs.push((TensorSpec::f32([1]), Draw::AwayFromZero(0.5)));
        // The sigmoid, a subtraction and two products; the largest result exceeds a half of the weight.
        let bound = Bound::Relative { ulps: 2.0 * (SIGMOID_ULPS + 3.0) };
        let name = format!("binary_cross_entropy_grad/{name}");
        Case::new(name, BinaryCrossEntropyGrad, inputs, bound).backward_only()
    };
    vec![
        loss("2x3x5x7x1", [2, 3, 5, 7, 1], 2.0, Draw::Labels(2)),
        loss("3x9x11x13x3", [3, 9, 11, 13, 3], 2.0, Draw::Labels(8)),
        loss("3x21x23x29x3-ignored", [3, 21, 23, 29, 3], 2.0, REGIONS_AND_IGNORED),
        loss("2x3x5x7x3-all-ignored", [2, 3, 5, 7, 3], 2.0, Draw::Among(&[1 << 31, u32::MAX])),
        // Logits of hundreds, where exp(|x|) is no number.
        loss("1x3x5x7x31-large", [1, 3, 5, 7, 31], 100.0, Draw::Labels(1 << 31)),
        loss("1x64x128x128x3", [1, 64, 128, 128, 3], 2.0, Draw::Labels(8)).benchmark(),
        grad("2x3x5x7x1", [2, 3, 5, 7, 1], Draw::Labels(2)),
        grad("3x9x11x13x3-ignored", [3, 9, 11, 13, 3], REGIONS_AND_IGNORED),
        grad("1x3x5x7x31", [1, 3, 5, 7, 31], Draw::Labels(1 << 31)),
        grad("1x64x128x128x3", [1, 64, 128, 128, 3], Draw::Labels(8)).benchmark(),
    ]
}
