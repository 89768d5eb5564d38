use super::binary_cross_entropy::BinaryCrossEntropyLoss;
use super::labels::{Labelling, emit_mean_weight, labelled, labelled_inputs, mean_weight};
use super::{Loss, LossInputs, Losses};
use crate::graph::{Graph, Lowering, Op, Vjp};
use crate::kernel::Dispatch;
use crate::ops::Activation;
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::ops::softmax::softmax_of;
use crate::registry::Entry;
use crate::tensor::{HostTensor, ShapeError, TensorSpec, ValueId};
use std::sync::Arc;

/// Softmax cross-entropy of logits `[N, .., K]` and labels `u32 [N, ..]`: the mean over the voxels of the batch, or with
/// weights `voxels / voxels of the label`, normalised by their sum, per sample, then the mean over the samples. A voxel whose
/// label is outside `0..K` is ignored: it adds nothing and is not counted. The loss is 0 where every voxel is.
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

/// The loss of a network by cross-entropy: [`CrossEntropyLoss`] of classes, [`BinaryCrossEntropyLoss`] of regions, for which
/// there are no weights.
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
        let operands = [inputs.logits, inputs.labels];
        match inputs.activation {
            Activation::Softmax => graph.add(CrossEntropyLoss { weighted: self.weighted }, &operands),
            Activation::Sigmoid if !self.weighted => graph.add(BinaryCrossEntropyLoss, &operands),
            Activation::Sigmoid => {
                let specs = operands.map(|operand| graph.spec(operand));
                Err(ShapeError::new("weighted_cross_entropy", "classes, not regions", &specs))
            }
        }
    }

    fn is_defined(&self, activation: Activation) -> bool {
        activation.is_softmax() || !self.weighted
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
            let labelling = Labelling::new(Activation::Softmax, classes);
            emit_mean_weight(at, labelling, 1, (at.output(1), samples * classes));
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
            let labelling = Labelling::new(Activation::Softmax, classes);
            return vec![mean_weight(labels, labelling, 1); samples * classes];
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
    /// The mean is over the voxels that count, whatever their sample; a batch without any has neither loss nor gradient.
    #[test]
    fn ignored_voxels_have_no_say() {
        let logits = HostTensor::new(TensorSpec::f32([2, 2, 2]), vec![0.0, 0.0, 9.0, 1.0, 5.0, 2.0, 0.0, 0.0]);
        for weighted in [false, true] {
            let op = CrossEntropyLoss { weighted };
            let labels = HostTensor::new(TensorSpec::u32([2, 2]), vec![1.0, 2.0, 77.0, 0.0]);
            approx::assert_abs_diff_eq!(op.reference(&[&logits, &labels])[0].data[0], 2.0f64.ln(), epsilon = 1e-12);
            let labels = HostTensor::new(TensorSpec::u32([2, 2]), vec![2.0, 2.0, 77.0, 4294967295.0]);
            let [loss, weights] = op.reference(&[&logits, &labels]).try_into().expect("two outputs");
            assert_eq!((loss.data, weights.data), (vec![0.0], vec![0.0; 4]));
        }
        let op = CrossEntropyLoss { weighted: false };
        let labels = HostTensor::new(TensorSpec::u32([2, 2]), vec![1.0, 2.0, 0.0, 0.0]);
        assert_eq!(op.reference(&[&logits, &labels])[1].data, [1.0 / 3.0; 4]);
    }
}
