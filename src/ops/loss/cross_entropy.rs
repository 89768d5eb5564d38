use super::binary_cross_entropy::BinaryCrossEntropyLoss;
use super::labels::{Labelling, emit_mean_weight, labelled, labelled_inputs, mean_weight, weighted};
use super::weights::{class_weights, foreground_weights};
use super::{Loss, LossInputs, Losses};
use crate::graph::{Graph, Lowering, Op, Vjp};
use crate::kernel::{Dispatch, Operand};
use crate::ops::Activation;
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::ops::softmax::softmax_of;
use crate::registry::Entry;
use crate::tensor::{HostTensor, ShapeError, TensorSpec, ValueId};
use std::ops::Range;
use std::sync::Arc;

/// Softmax cross-entropy of logits `[N, .., K]` and labels `u32 [N, ..]` or soft targets `f32 [N, .., K]`: the mean over the voxels
/// of the batch, or with weights `voxels / voxels of the label`, normalised by their sum, per sample, then the mean over the
/// samples. A voxel of soft targets has the loss of each class times its share. A voxel whose label is outside `0..K` is ignored: it
/// adds nothing and is not counted. The loss is 0 where every voxel is.
///
/// A third input `f32 [K]` has a weight for each class; the mean is over the batch and the sum of the voxels' weights, as
/// PyTorch's is of labels.
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

/// What the losses of logits take.
pub(super) const LOGITS_AND_LABELS: &str =
    "logits f32 [N, .., K], labels u32 [N, ..] or f32 [N, .., K], and weights [K] if there are any";

pub(super) const CROSS_ENTROPY: Entry<Losses> = Entry {
    name: "cross_entropy",
    hyperparameters: &[],
    build: |_| Arc::new(CrossEntropy { weighted: false }),
    variants: &[],
};

pub(super) const WEIGHTED_CROSS_ENTROPY: Entry<Losses> =
    Entry { name: "weighted_cross_entropy", build: |_| Arc::new(CrossEntropy { weighted: true }), ..CROSS_ENTROPY };

impl Loss for CrossEntropy {
    fn append(&self, graph: &mut Graph, inputs: LossInputs<'_>) -> Result<ValueId, ShapeError> {
        graph.set_scope("loss.cross_entropy");
        let mut operands = vec![inputs.logits, inputs.labels];
        match inputs.activation {
            Activation::Softmax => {
                let weights = if self.weighted { None } else { class_weights(graph, inputs)? };
                operands.extend(weights);
                graph.add(CrossEntropyLoss { weighted: self.weighted }, &operands)
            }
            Activation::Sigmoid if !self.weighted => {
                operands.extend(foreground_weights(graph, inputs)?);
                graph.add(BinaryCrossEntropyLoss, &operands)
            }
            Activation::Sigmoid => {
                let specs: Vec<&TensorSpec> = operands.iter().map(|&operand| graph.spec(operand)).collect();
                Err(ShapeError::new("weighted_cross_entropy", "classes, not regions", &specs))
            }
        }
    }

    fn reads_class_weights(&self) -> bool {
        !self.weighted
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
        if let Some([samples, _, classes]) = weighted(inputs)
            && !(self.weighted && inputs.len() > 2)
        {
            return Ok(vec![TensorSpec::f32([1]), TensorSpec::f32([samples, classes])]);
        }
        Err(ShapeError::new(self.name(), LOGITS_AND_LABELS, inputs))
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
        let labelling = Labelling::new(Activation::Softmax, classes, at.input_spec(1));
        if self.weighted {
            let counts = emit_counts(at, labelling, false);
            let weights = Dispatch::new("cross_entropy_weights").params(&[samples, classes]);
            let weights = weights.read(counts).write(at.output(1));
            at.emit(weights.linear_grid(samples.div_ceil(64), at.target()));
        } else {
            emit_factors(at, labelling, at.output(1));
        }
        let rows = Rows::summed(samples, voxels, 1);
        let partial = labelling.write(rows.dispatch("cross_entropy_loss", at.target())).param(classes);
        let partial = partial.read(at.input(0)).read(at.input(1)).read(at.output(1));
        emit_sums(at, &rows, Columns { per_channel: 1, over_samples: true }, partial, &[at.output(0)]);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [samples, voxels, classes] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let labelling = Labelling::new(Activation::Softmax, classes, &inputs[1].spec);
        let weights = self.weights(inputs, [samples, voxels, classes]);
        let mut loss = 0.0;
        for (i, logits) in inputs[0].data.chunks_exact(classes).enumerate() {
            if labelling.counts(&inputs[1].data, i) {
                let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = logits.iter().map(|x| (x - largest).exp()).sum();
                let of = |k: usize| labelling.share(&inputs[1].data, i, k) * (sum.ln() + largest - logits[k]);
                loss += (0..classes).map(|k| weights[i / voxels * classes + k] * of(k)).sum::<f64>();
            }
        }
        let weights = HostTensor::new(TensorSpec::f32([samples, classes]), weights);
        vec![HostTensor::new(TensorSpec::f32([1]), vec![loss]), weights]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        4 * inputs[0].elements() as u64
    }
}

/// Emits the number of voxels of each class, or the sum of its shares: `[N, K]`, or `[K]` over all samples.
fn emit_counts(at: &mut Lowering<'_>, labelling: Labelling, over_samples: bool) -> Operand {
    let [samples, voxels, classes] = labelled_inputs(at);
    let rows = Rows::summed(samples, voxels, classes);
    let counts = at.scratch(if over_samples { classes } else { samples * classes });
    let partial = labelling.write(rows.dispatch("cross_entropy_counts", at.target())).read(at.input(1));
    emit_sums(at, &rows, Columns { per_channel: 1, over_samples }, partial, &[counts]);
    counts
}

/// Emits the factor of a voxel's loss by sample and class into `factors [N, K]`: 1 over the voxels that count, or, with weights of the
/// classes as input 2, the weight over the sum of the voxels' weights.
pub(super) fn emit_factors(at: &mut Lowering<'_>, labelling: Labelling, factors: Operand) {
    let [samples, _, classes] = labelled_inputs(at);
    if at.input_count() == 2 {
        return emit_mean_weight(at, labelling, 1, (factors, samples * classes));
    }
    let counts = emit_counts(at, labelling, true);
    let dispatch = Dispatch::new("class_factors").params(&[samples, classes]);
    let dispatch = dispatch.read(counts).read(at.input(2)).write(factors);
    at.emit(dispatch.linear_grid(samples.div_ceil(64), at.target()));
}

/// What [`emit_factors`] computes.
pub(super) fn factors(
    inputs: &[&HostTensor],
    labelling: Labelling,
    [samples, voxels, classes]: [usize; 3],
) -> Vec<f64> {
    let labels = &inputs[1].data;
    let Some(weights) = inputs.get(2) else {
        return vec![mean_weight(labels, labelling, samples * voxels, 1); samples * classes];
    };
    let counts = counts(labels, labelling, 0..samples * voxels, classes);
    let sum: f64 = counts.iter().zip(&weights.data).map(|(n, w)| n * w).sum();
    let factor = |k: usize| if sum > 0.0 { weights.data[k] / sum } else { 0.0 };
    (0..samples * classes).map(|i| factor(i % classes)).collect()
}

/// The number of voxels of each class, or the sum of its shares.
fn counts(labels: &[f64], labelling: Labelling, voxels: Range<usize>, classes: usize) -> Vec<f64> {
    let counting: Vec<usize> = voxels.filter(|&voxel| labelling.counts(labels, voxel)).collect();
    (0..classes).map(|k| counting.iter().map(|&voxel| labelling.share(labels, voxel, k)).sum()).collect()
}

impl CrossEntropyLoss {
    /// The factor of a voxel's loss by sample and class.
    fn weights(self, inputs: &[&HostTensor], shape: [usize; 3]) -> Vec<f64> {
        let [samples, voxels, classes] = shape;
        let labelling = Labelling::new(Activation::Softmax, classes, &inputs[1].spec);
        if !self.weighted {
            return factors(inputs, labelling, shape);
        }
        let weights_of = |sample: usize| -> Vec<f64> {
            let counts = counts(&inputs[1].data, labelling, sample * voxels..(sample + 1) * voxels, classes);
            let rarity = |&n: &f64| if n > 0.0 { voxels as f64 / n } else { 0.0 };
            let sum: f64 = counts.iter().map(|n| n * rarity(n)).sum();
            counts.iter().map(|n| if *n > 0.0 { rarity(n) / sum / samples as f64 } else { 0.0 }).collect()
        };
        (0..samples).flat_map(weights_of).collect()
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
        let labelling = Labelling::new(Activation::Softmax, classes, at.input_spec(1));
        let rows = Rows::elementwise(samples, voxels, 1, at.target());
        let dispatch = labelling.write(rows.dispatch("cross_entropy_grad", at.target()));
        let dispatch = (0..4).fold(dispatch.param(classes), |d, i| d.read(at.input(i)));
        at.emit(dispatch.write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [_, voxels, classes] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let labelling = Labelling::new(Activation::Softmax, classes, &inputs[1].spec);
        let mut data = Vec::with_capacity(inputs[0].data.len());
        for (i, logits) in inputs[0].data.chunks_exact(classes).enumerate() {
            let counts = labelling.counts(&inputs[1].data, i);
            let weight = |k: usize| inputs[2].data[i / voxels * classes + k] * labelling.share(&inputs[1].data, i, k);
            let weights: Vec<f64> = (0..classes).map(|k| if counts { weight(k) } else { 0.0 }).collect();
            let sum: f64 = weights.iter().sum();
            let of = |(p, weight): (f64, &f64)| inputs[3].data[0] * (sum * p - weight);
            data.extend(softmax_of(logits).into_iter().zip(&weights).map(of));
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
