use super::{Loss, LossInputs, Losses, labelled, labelled_inputs};
use crate::graph::{Graph, Lowering, Op, Vjp};
use crate::kernel::Dispatch;
use crate::ops::case::{Bound, Case, Draw};
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::registry::Entry;
use crate::tensor::{HostTensor, ShapeError, TensorSpec, ValueId};
use std::sync::Arc;

/// Added to numerator and denominator of a Dice coefficient, so that two empty masks agree.
pub const DICE_EPSILON: f32 = 1e-5;

/// Soft Dice loss (Milletari et al. 2016, section 3) of probabilities `p [N, .., K]` and labels `u32 [N, ..]`: the mean
/// over samples and foreground classes `1..K` of `1 - (2 Σ p g + ε) / (Σ p² + Σ g² + ε)`, with g the indicator of the
/// class and the sums over the voxels of the sample.
///
/// Outputs: the loss `[1]`, and the sums `[N, K - 1, 3]` of `p g`, `p²`, `g²` for the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct SoftDiceLoss;

/// Gradient of [`SoftDiceLoss`] with respect to `p`, from `p`, the labels, the sums and the gradient of the loss.
#[derive(Debug, Clone, Copy)]
pub struct SoftDiceGrad;

/// The loss of a network by soft Dice: softmax, then [`SoftDiceLoss`].
#[derive(Debug, Clone, Copy)]
pub struct Dice;

pub(super) const DICE: Entry<Losses> =
    Entry { name: "dice", hyperparameters: &[], build: |_| Arc::new(Dice), variants: &[] };

impl Loss for Dice {
    fn append(&self, graph: &mut Graph, inputs: LossInputs) -> Result<ValueId, ShapeError> {
        let probabilities = inputs.activation.append(graph, inputs.logits)?;
        graph.set_scope("loss.dice");
        graph.add(SoftDiceLoss, &[probabilities, inputs.labels])
    }
}

impl Op for SoftDiceLoss {
    fn name(&self) -> &'static str {
        "soft_dice_loss"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [p, labels] = inputs
            && let Some([samples, _, classes]) = labelled(p, labels)
            && classes > 1
        {
            return Ok(vec![TensorSpec::f32([1]), TensorSpec::f32([samples, classes - 1, 3])]);
        }
        Err(ShapeError::new(self.name(), "probabilities f32 [N, .., K], K > 1, and labels u32 [N, ..]", inputs))
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        if at.needs(0) {
            let grad = at.add(SoftDiceGrad, &[at.input(0), at.input(1), at.output(1), at.grad_output()])?;
            at.contribute(0, grad);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, classes] = labelled_inputs(at);
        let rows = Rows::summed(samples, voxels, classes - 1);
        let partial = rows.dispatch("soft_dice_sums", at.target()).read(at.input(0)).read(at.input(1));
        emit_sums(at, &rows, Columns { per_channel: 3, over_samples: false }, partial, &[at.output(1)]);
        let loss = Dispatch::new("soft_dice_loss").param(samples * (classes - 1)).scalar(DICE_EPSILON);
        at.emit(loss.read(at.output(1)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [samples, voxels, classes] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let mut sums = HostTensor::zeros(TensorSpec::f32([samples, classes - 1, 3]));
        for (i, (p, label)) in inputs[0].data.chunks_exact(classes).zip(&inputs[1].data).enumerate() {
            for (k, &p) in p.iter().enumerate().skip(1) {
                let g = f64::from(u8::from(*label == k as f64));
                let at = 3 * (i / voxels * (classes - 1) + k - 1);
                sums.data[at] += p * g;
                sums.data[at + 1] += p * p;
                sums.data[at + 2] += g * g;
            }
        }
        let losses = sums.data.chunks_exact(3).map(|s| 1.0 - Ratio::of(s).numerator / Ratio::of(s).denominator);
        let loss = losses.sum::<f64>() / (samples * (classes - 1)) as f64;
        vec![HostTensor::new(TensorSpec::f32([1]), vec![loss]), sums]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        5 * inputs[0].elements() as u64
    }
}

/// The Dice coefficient of one sample and class.
struct Ratio {
    numerator: f64,
    denominator: f64,
}

impl Ratio {
    /// From the sums of p g, p² and g².
    fn of(sums: &[f64]) -> Self {
        let epsilon = f64::from(DICE_EPSILON);
        Self { numerator: 2.0 * sums[0] + epsilon, denominator: sums[1] + sums[2] + epsilon }
    }
}

impl Op for SoftDiceGrad {
    fn name(&self) -> &'static str {
        "soft_dice_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [p, labels, sums, grad_output] = inputs
            && let Some([samples, _, classes]) = labelled(p, labels)
            && classes > 1
            && **sums == TensorSpec::f32([samples, classes - 1, 3])
            && **grad_output == TensorSpec::f32([1])
        {
            return Ok(vec![(*p).clone()]);
        }
        Err(ShapeError::new(self.name(), "the inputs and sums of a soft Dice loss and its gradient [1]", inputs))
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, classes] = labelled_inputs(at);
        let dispatch = Rows::elementwise(samples, voxels, classes, at.target()).dispatch("soft_dice_grad", at.target());
        let dispatch = (0..4).fold(dispatch.scalar(DICE_EPSILON), |d, i| d.read(at.input(i)));
        at.emit(dispatch.write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [samples, voxels, classes] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let scale = 2.0 * inputs[3].data[0] / (samples * (classes - 1)) as f64;
        let mut grad = HostTensor::zeros(inputs[0].spec.clone());
        for (i, g) in grad.data.iter_mut().enumerate().filter(|(i, _)| i % classes > 0) {
            let (voxel, k) = (i / classes, i % classes);
            let sums = &inputs[2].data[3 * (voxel / voxels * (classes - 1) + k - 1)..];
            let Ratio { numerator, denominator } = Ratio::of(sums);
            let indicator = f64::from(u8::from(inputs[1].data[voxel] == k as f64));
            *g = scale * (inputs[0].data[i] * numerator / denominator - indicator) / denominator;
        }
        vec![grad]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        2 * inputs[0].elements() as u64
    }
}

pub(super) fn cases() -> Vec<Case> {
    let specs = |shape: [usize; 5]| (TensorSpec::f32(shape), TensorSpec::u32(&shape[..4]));
    let loss = |name: &str, shape: [usize; 5]| {
        let [n, d, h, w, classes] = shape;
        let (p, labels) = specs(shape);
        let inputs = vec![(p, Draw::Uniform(0.0, 1.0)), (labels, Draw::Labels(classes as u32))];
        // Both sums of positive terms, two roundings each, and a division (2.5 ulp) for D, which is at most 1.5 times
        // the loss here; the mean adds halves of 256 and a division.
        let roundings = Rows::summed(n, d * h * w, classes - 1).summed_roundings() as f64;
        Case::new(name, SoftDiceLoss, inputs, Bound::Relative { ulps: 1.5 * (2.0 * roundings + 9.0) + 14.0 })
    };
    let grad = |name: &str, shape: [usize; 5]| {
        let classes = shape[4];
        let (p, labels) = specs(shape);
        let inputs = vec![
            (p, Draw::Uniform(0.0, 1.0)),
            (labels, Draw::Labels(classes as u32)),
            (TensorSpec::f32([shape[0], classes - 1, 3]), Draw::Uniform(50.0, 100.0)),
            (TensorSpec::f32([1]), Draw::AwayFromZero(0.5)),
        ];
        // The factors of g and p are off by 10 and 20 roundings, the former is at most twice the latter, and the largest
        // result is above 9/10 of the latter.
        Case::new(name, SoftDiceGrad, inputs, Bound::Relative { ulps: 50.0 }).backward_only()
    };
    vec![
        loss("soft_dice_loss/2x3x5x7x2", [2, 3, 5, 7, 2]),
        loss("soft_dice_loss/2x3x5x7x3", [2, 3, 5, 7, 3]),
        loss("soft_dice_loss/3x9x11x13x5", [3, 9, 11, 13, 5]),
        loss("soft_dice_loss/2x21x23x29x2", [2, 21, 23, 29, 2]),
        loss("soft_dice_loss/1x64x128x128x2", [1, 64, 128, 128, 2]).benchmark(),
        grad("soft_dice_grad/2x3x5x7x2", [2, 3, 5, 7, 2]),
        grad("soft_dice_grad/2x3x5x7x3", [2, 3, 5, 7, 3]),
        grad("soft_dice_grad/3x9x11x13x5", [3, 9, 11, 13, 5]),
        grad("soft_dice_grad/1x64x128x128x2", [1, 64, 128, 128, 2]).benchmark(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_of_a_prediction_worked_by_hand() {
        // Voxels (0.2, 0.8), (0.6, 0.4), (0.9, 0.1) with labels 1, 0, 1: 2 * 0.9 / (0.81 + 2).
        let p = HostTensor::new(TensorSpec::f32([1, 3, 2]), vec![0.2, 0.8, 0.6, 0.4, 0.9, 0.1]);
        let labels = HostTensor::new(TensorSpec::u32([1, 3]), vec![1.0, 0.0, 1.0]);
        let outputs = SoftDiceLoss.reference(&[&p, &labels]);
        approx::assert_abs_diff_eq!(outputs[0].data[0], 1.0 - 1.8 / 2.81, epsilon = 1e-5);
        approx::assert_abs_diff_eq!(outputs[1].data[..], [0.9, 0.81, 2.0], epsilon = 1e-12);
    }

    #[test]
    fn empty_masks_agree() {
        let p = HostTensor::new(TensorSpec::f32([1, 2, 2]), vec![1.0, 0.0, 1.0, 0.0]);
        let labels = HostTensor::zeros(TensorSpec::u32([1, 2]));
        assert_eq!(SoftDiceLoss.reference(&[&p, &labels])[0].data, [0.0]);
    }
}
