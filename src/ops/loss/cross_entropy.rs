use super::{Loss, LossInputs, Losses, labelled, labelled_inputs};
use crate::graph::{Graph, Lowering, Op, Vjp};
use crate::kernel::Dispatch;
use crate::ops::case::{Bound, Case, Draw};
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::ops::softmax::{softmax_of, softmax_ulps};
use crate::registry::Entry;
use crate::tensor::{HostTensor, ShapeError, TensorSpec, ValueId};
use std::sync::Arc;

/// Softmax cross-entropy of logits `[N, .., K]` and labels `u32 [N, ..]`: per sample the mean over its voxels, plain or
/// with weights `voxels / voxels of the label` normalised by their sum, then the mean over the samples. A label outside
/// `0..K` adds nothing.
///
/// Outputs: the loss `[1]`, and `[N, K]`: the factor of a voxel's loss by sample and label, in which all these means are
/// contained, for the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct CrossEntropyLoss {
    /// Weight each voxel by the rarity of its class in the sample (the paper's baseline in Table 2).
    pub weighted: bool,
}

/// Gradient of [`CrossEntropyLoss`] with respect to the logits, from the logits, the labels, the weights and the gradient
/// of the loss.
#[derive(Debug, Clone, Copy)]
pub struct CrossEntropyGrad;

/// The loss of a network by softmax cross-entropy ([`CrossEntropyLoss`]).
#[derive(Debug, Clone, Copy)]
pub struct CrossEntropy {
    /// Weight each voxel by the rarity of its class in the sample.
    pub weighted: bool,
}

pub(super) const CROSS_ENTROPY: Entry<Losses> = Entry {
    name: "cross_entropy",
    hyperparameters: &[],
    build: |_| Arc::new(CrossEntropy { weighted: false }),
    variants: &[],
};

pub(super) const WEIGHTED_CROSS_ENTROPY: Entry<Losses> =
    Entry { name: "weighted_cross_entropy", build: |_| Arc::new(CrossEntropy { weighted: true }), ..CROSS_ENTROPY };

impl Loss for CrossEntropy {
    fn append(&self, graph: &mut Graph, inputs: LossInputs) -> Result<ValueId, ShapeError> {
        graph.set_scope("loss.cross_entropy");
        graph.add(CrossEntropyLoss { weighted: self.weighted }, &[inputs.logits, inputs.labels])
    }
}

impl Op for CrossEntropyLoss {
    fn name(&self) -> &'static str {
        "cross_entropy_loss"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [logits, labels] = inputs
            && let Some([samples, _, classes]) = labelled(logits, labels)
        {
            return Ok(vec![TensorSpec::f32([1]), TensorSpec::f32([samples, classes])]);
        }
        Err(ShapeError::new(self.name(), "logits f32 [N, .., K] and labels u32 [N, ..]", inputs))
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        if at.needs(0) {
            let grad = at.add(CrossEntropyGrad, &[at.input(0), at.input(1), at.output(1), at.grad_output()])?;
            at.contribute(0, grad);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, classes] = labelled_inputs(at);
        if self.weighted {
            let rows = Rows::summed(samples, voxels, classes);
            let counts = at.scratch(samples * classes);
            let partial = rows.dispatch("cross_entropy_counts", at.target()).read(at.input(1));
            emit_sums(at, &rows, Columns { per_channel: 1, over_samples: false }, partial, &[counts]);
            let weights = Dispatch::new("cross_entropy_weights").params(&[samples, classes]);
            let weights = weights.read(counts).write(at.output(1));
            at.emit(weights.linear_grid(samples.div_ceil(64), at.target()));
        } else {
            let weights = Dispatch::new("fill").param(samples * classes).scalar(1.0 / (samples * voxels) as f32);
            at.emit(weights.write(at.output(1)).linear_grid((samples * classes).div_ceil(64), at.target()));
        }
        let rows = Rows::summed(samples, voxels, 1);
        let partial = rows.dispatch("cross_entropy_loss", at.target()).param(classes);
        let partial = partial.read(at.input(0)).read(at.input(1)).read(at.output(1));
        emit_sums(at, &rows, Columns { per_channel: 1, over_samples: true }, partial, &[at.output(0)]);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [samples, voxels, classes] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let weights = self.weights(&inputs[1].data, [samples, voxels, classes]);
        let mut loss = 0.0;
        for (i, (logits, label)) in inputs[0].data.chunks_exact(classes).zip(&inputs[1].data).enumerate() {
            let label = *label as usize;
            if label < classes {
                let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = logits.iter().map(|x| (x - largest).exp()).sum();
                loss += weights[i / voxels * classes + label] * (sum.ln() + largest - logits[label]);
            }
        }
        let weights = HostTensor::new(TensorSpec::f32([samples, classes]), weights);
        vec![HostTensor::new(TensorSpec::f32([1]), vec![loss]), weights]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        4 * inputs[0].elements() as u64
    }
}

impl CrossEntropyLoss {
    /// The factor of a voxel's loss by sample and label.
    fn weights(self, labels: &[f64], [samples, voxels, classes]: [usize; 3]) -> Vec<f64> {
        if !self.weighted {
            return vec![1.0 / (samples * voxels) as f64; samples * classes];
        }
        let weights_of = |labels: &[f64]| -> Vec<f64> {
            let count = |k: usize| labels.iter().filter(|&&l| l == k as f64).count() as f64;
            let counts: Vec<f64> = (0..classes).map(count).collect();
            let rarity = |&n: &f64| if n > 0.0 { voxels as f64 / n } else { 0.0 };
            let sum: f64 = counts.iter().map(|n| n * rarity(n)).sum();
            counts.iter().map(|n| if *n > 0.0 { rarity(n) / sum / samples as f64 } else { 0.0 }).collect()
        };
        labels.chunks_exact(voxels).flat_map(weights_of).collect()
    }
}

impl Op for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [logits, labels, weights, grad_output] = inputs
            && let Some([samples, _, classes]) = labelled(logits, labels)
            && **weights == TensorSpec::f32([samples, classes])
            && **grad_output == TensorSpec::f32([1])
        {
            return Ok(vec![(*logits).clone()]);
        }
        Err(ShapeError::new(self.name(), "the inputs and weights of a cross-entropy and its gradient [1]", inputs))
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, classes] = labelled_inputs(at);
        let dispatch = Rows::elementwise(samples, voxels, 1, at.target()).dispatch("cross_entropy_grad", at.target());
        let dispatch = (0..4).fold(dispatch.param(classes), |d, i| d.read(at.input(i)));
        at.emit(dispatch.write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [_, voxels, classes] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let mut data = Vec::with_capacity(inputs[0].data.len());
        for (i, (logits, label)) in inputs[0].data.chunks_exact(classes).zip(&inputs[1].data).enumerate() {
            let label = *label as usize;
            let weight = if label < classes { inputs[2].data[i / voxels * classes + label] } else { 0.0 };
            let scale = inputs[3].data[0] * weight;
            let indicator = |k: usize| f64::from(u8::from(k == label));
            data.extend(softmax_of(logits).iter().enumerate().map(|(k, p)| scale * (p - indicator(k))));
        }
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        6 * inputs[0].elements() as u64
    }
}

pub(super) fn cases() -> Vec<Case> {
    let inputs = |shape: [usize; 5], labels: u32| {
        let logits = (TensorSpec::f32(shape), Draw::Normal(2.0));
        vec![logits, (TensorSpec::u32(&shape[..4]), Draw::Labels(labels))]
    };
    let loss = |name: &str, shape: [usize; 5], labels: u32, weighted: bool| {
        let [n, d, h, w, classes] = shape;
        // A voxel's log is off by 8 (2^-21 around 1, else 3 ulp) and what its argument inherits from the exponentials
        // and their sum (as in `softmax_ulps`), then two roundings, the weight (8) and the sum; the loss is above 1/2.
        let voxel = 8.0 + softmax_ulps(classes) - 13.0;
        let roundings = Rows::summed(n, d * h * w, 1).summed_roundings() as f64;
        let ulps = 2.0 * voxel + 10.0 + roundings;
        Case::new(name, CrossEntropyLoss { weighted }, inputs(shape, labels), Bound::Relative { ulps })
    };
    let grad = |name: &str, shape: [usize; 5], labels: u32| {
        let mut inputs = inputs(shape, labels);
        inputs.push((TensorSpec::f32([shape[0], shape[4]]), Draw::Uniform(0.5, 1.5)));
        inputs.push((TensorSpec::f32([1]), Draw::AwayFromZero(0.5)));
        // The softmax, a subtraction and two products; the largest result exceeds a third of the largest weight.
        let ulps = 3.0 * (softmax_ulps(shape[4]) + 3.0);
        Case::new(name, CrossEntropyGrad, inputs, Bound::Relative { ulps }).backward_only()
    };
    vec![
        loss("cross_entropy_loss/2x3x5x7x2", [2, 3, 5, 7, 2], 2, false),
        loss("cross_entropy_loss/3x9x11x13x5", [3, 9, 11, 13, 5], 5, false),
        loss("cross_entropy_loss/2x3x5x7x3-outside", [2, 3, 5, 7, 3], 4, false),
        loss("cross_entropy_loss/2x3x5x7x2-weighted", [2, 3, 5, 7, 2], 2, true),
        loss("cross_entropy_loss/3x9x11x13x5-weighted", [3, 9, 11, 13, 5], 5, true),
        loss("cross_entropy_loss/2x1x2x2x5-weighted-missing", [2, 1, 2, 2, 5], 3, true),
        loss("cross_entropy_loss/1x64x128x128x2-weighted", [1, 64, 128, 128, 2], 2, true).benchmark(),
        grad("cross_entropy_grad/2x3x5x7x2", [2, 3, 5, 7, 2], 2),
        grad("cross_entropy_grad/2x3x5x7x3-outside", [2, 3, 5, 7, 3], 4),
        grad("cross_entropy_grad/3x9x11x13x5", [3, 9, 11, 13, 5], 5),
        grad("cross_entropy_grad/1x64x128x128x2", [1, 64, 128, 128, 2], 2).benchmark(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_sample_are_normalised() {
        // Labels 1, 0, 0, 0 of three classes: weights 4 and 4/3, sum 8; classes that do not occur have none.
        let labels = HostTensor::new(TensorSpec::u32([1, 4]), vec![1.0, 0.0, 0.0, 0.0]);
        let logits = HostTensor::zeros(TensorSpec::f32([1, 4, 3]));
        let outputs = CrossEntropyLoss { weighted: true }.reference(&[&logits, &labels]);
        approx::assert_abs_diff_eq!(outputs[1].data[..], [1.0 / 6.0, 0.5, 0.0], epsilon = 1e-12);
        approx::assert_abs_diff_eq!(outputs[0].data[0], 3.0f64.ln(), epsilon = 1e-12);
    }
}
