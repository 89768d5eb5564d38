use super::cross_entropy::{LOGITS_AND_LABELS, emit_factors, factors};
use super::labels::{Labelling, emit_mean_weight, labelled, labelled_inputs, mean_weight, read_weights, weighted};
use super::weights::{class_weights, foreground_weights};
use super::{Loss, LossInputs, Losses};
use crate::graph::{Graph, Lowering, Op, Vjp};
use crate::kernel::Dispatch;
use crate::ops::Activation;
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::registry::{Entry, Hyperparameter, Hyperparameters, Value};
use crate::tensor::{HostTensor, ShapeError, TensorSpec, ValueId};
use std::sync::Arc;

/// The loss of a network by focal loss ([`FocalLoss`]): cross-entropy in which what is predicted well counts less.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Focal {
    /// Exponent; 0 is cross-entropy.
    pub gamma: f64,
}

/// Focal loss (Lin et al. 2017, *Focal Loss for Dense Object Detection*) of logits `[N, .., K]` and labels `u32 [N, ..]` or soft
/// targets `f32 [N, .., K]`: `(1 - p)^γ * -ln p` with p the softmax of the voxel's class, in the mean over the voxels that are not
/// ignored; or, with [`Activation::Sigmoid`], with p the sigmoid of each region inside it and 1 minus that outside, in the mean over
/// regions and voxels. A third input `f32 [K]` has weights as those of cross-entropy. It is 0 where every voxel is ignored.
///
/// Outputs: the loss `[1]`, and `[N, K]`: the factor of a voxel's loss by sample and output, for the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct FocalLoss {
    /// How the labels are read.
    pub activation: Activation,
    /// γ, 0 or more.
    pub gamma: f32,
}

/// Gradient of [`FocalLoss`] with respect to the logits, from the logits, the labels, the factors, the gradient of the loss and,
/// of regions, the weights, if there are any.
#[derive(Debug, Clone, Copy)]
pub struct FocalGrad(pub FocalLoss);

static GAMMA: Hyperparameter =
    Hyperparameter::number("focal_gamma", 2.0, "0 to 10", |gamma| (0.0..=10.0).contains(&gamma));

/// The key of every loss with a focal term.
pub(super) const KEYS: &[&Hyperparameter] = &[&GAMMA];

impl From<&Hyperparameters<Losses>> for Focal {
    fn from(values: &Hyperparameters<Losses>) -> Self {
        Self { gamma: values.number("focal_gamma") }
    }
}

pub(super) const FOCAL: Entry<Losses> = Entry {
    name: "focal",
    hyperparameters: KEYS,
    build: |values| Arc::new(Focal::from(values)),
    variants: &[("focal/1.5", &[("focal_gamma", Value::Number(1.5))])],
};

impl Loss for Focal {
    fn append(&self, graph: &mut Graph, inputs: LossInputs<'_>) -> Result<ValueId, ShapeError> {
        graph.set_scope("loss.focal");
        let weights = match inputs.activation {
            Activation::Softmax => class_weights(graph, inputs)?,
            Activation::Sigmoid => foreground_weights(graph, inputs)?,
        };
        let operands: Vec<ValueId> = [inputs.logits, inputs.labels].into_iter().chain(weights).collect();
        graph.add(FocalLoss { activation: inputs.activation, gamma: self.gamma as f32 }, &operands)
    }

    fn is_defined(&self, _: Activation) -> bool {
        true
    }

    fn reads_class_weights(&self) -> bool {
        true
    }
}

/// `(1 - p)^γ * -ln p` and `-p` times its derivative, of `p`, `m = 1 - p` and `surprise = -ln p`.
fn focal_of(p: f64, m: f64, surprise: f64, gamma: f64) -> [f64; 2] {
    let steepness = if m > 0.0 { surprise / m } else { 1.0 };
    let focus = m.powf(gamma);
    [focus * surprise, focus * (1.0 + gamma * p * steepness)]
}

/// The probability of each class with its complement and minus its logarithm, none of them by cancellation.
fn classes_of(logits: &[f64]) -> Vec<[f64; 3]> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|x| (x - largest).exp()).collect();
    let of = |(k, &x): (usize, &f64)| {
        let others: f64 = exponentials.iter().enumerate().filter(|(j, _)| *j != k).map(|(_, e)| e).sum();
        let sum = others + exponentials[k];
        let m = others / sum;
        [exponentials[k] / sum, m, if m < 0.5 { -(-m).ln_1p() } else { sum.ln() + largest - x }]
    };
    logits.iter().enumerate().map(of).collect()
}

/// The probability of a region with its complement and minus the logarithms of both.
fn region_of(x: f64) -> [f64; 4] {
    let e = (-x.abs()).exp();
    let (near, far, logarithm) = (1.0 / (1.0 + e), e / (1.0 + e), e.ln_1p());
    let [p, m] = if x >= 0.0 { [near, far] } else { [far, near] };
    [p, m, logarithm + (-x).max(0.0), logarithm + x.max(0.0)]
}

impl FocalLoss {
    fn labelling(self, outputs: usize, labels: &TensorSpec) -> Labelling {
        Labelling::new(self.activation, outputs, labels)
    }

    /// The loss of a voxel, and its gradient with respect to the logits.
    fn voxel(self, logits: &[f64], share: impl Fn(usize) -> f64, factor: impl Fn(usize) -> f64) -> (f64, Vec<f64>) {
        let gamma = f64::from(self.gamma);
        let (mut loss, mut gradient) = (0.0, vec![0.0; logits.len()]);
        if self.activation == Activation::Sigmoid {
            for (k, &x) in logits.iter().enumerate() {
                let [p, m, inside, outside] = region_of(x);
                let (inside, outside) = (focal_of(p, m, inside, gamma), focal_of(m, p, outside, gamma));
                loss += factor(k) * (share(k) * inside[0] + (1.0 - share(k)) * outside[0]);
                gradient[k] = factor(k) * ((1.0 - share(k)) * p * outside[1] - share(k) * m * inside[1]);
            }
            return (loss, gradient);
        }
        let classes = classes_of(logits);
        for (k, &[p, m, surprise]) in classes.iter().enumerate() {
            let [value, slope] = focal_of(p, m, surprise, gamma);
            let weight = factor(k) * share(k);
            loss += weight * value;
            for (j, gradient) in gradient.iter_mut().enumerate() {
                *gradient += if j == k { -weight * slope * m } else { weight * slope * classes[j][0] };
            }
        }
        (loss, gradient)
    }
}

impl Op for FocalLoss {
    fn name(&self) -> &'static str {
        "focal_loss"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match weighted(inputs) {
            Some([samples, _, outputs]) => Ok(vec![TensorSpec::f32([1]), TensorSpec::f32([samples, outputs])]),
            None => Err(ShapeError::new(self.name(), LOGITS_AND_LABELS, inputs)),
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        if at.needs(0) {
            let mut inputs = vec![at.input(0), at.input(1), at.output(1), at.grad_output()];
            // The factors of classes have the weights in them.
            let weighted = self.activation == Activation::Sigmoid && at.input_count() > 2;
            inputs.extend(weighted.then(|| at.input(2)));
            let grad = at.add(FocalGrad(*self), &inputs)?;
            at.contribute(0, grad);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, outputs] = labelled_inputs(at);
        let labelling = self.labelling(outputs, at.input_spec(1));
        let rows = Rows::summed(samples, voxels, 1);
        let partial = labelling.write(rows.dispatch("focal_loss", at.target())).param(outputs).scalar(self.gamma);
        let partial = partial.read(at.input(0)).read(at.input(1)).read(at.output(1));
        let partial = match self.activation {
            Activation::Softmax => {
                emit_factors(at, labelling, at.output(1));
                partial.read(at.output(1))
            }
            Activation::Sigmoid => {
                emit_mean_weight(at, labelling, outputs, (at.output(1), samples * outputs));
                read_weights(partial, at, 2, at.output(1))
            }
        };
        emit_sums(at, &rows, Columns { per_channel: 1, over_samples: true }, partial, &[at.output(0)]);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let shape = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let [samples, voxels, outputs] = shape;
        let labelling = self.labelling(outputs, &inputs[1].spec);
        let factors = match self.activation {
            Activation::Softmax => factors(inputs, labelling, shape),
            Activation::Sigmoid => {
                vec![mean_weight(&inputs[1].data, labelling, samples * voxels, outputs); samples * outputs]
            }
        };
        let weights = inputs.get(2).filter(|_| self.activation == Activation::Sigmoid);
        let loss = |(i, logits): (usize, &[f64])| {
            let factor = |k: usize| factors[i / voxels * outputs + k] * weights.map_or(1.0, |w| w.data[k]);
            let counts = labelling.counts(&inputs[1].data, i);
            if counts { self.voxel(logits, |k| labelling.share(&inputs[1].data, i, k), factor).0 } else { 0.0 }
        };
        let loss = inputs[0].data.chunks_exact(outputs).enumerate().map(loss).sum();
        let factors = HostTensor::new(TensorSpec::f32([samples, outputs]), factors);
        vec![HostTensor::new(TensorSpec::f32([1]), vec![loss]), factors]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        8 * inputs[0].elements() as u64
    }
}

impl Op for FocalGrad {
    fn name(&self) -> &'static str {
        "focal_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [logits, labels, factors, grad_output, weights @ ..] = inputs
            && let Some([samples, _, outputs]) = weighted(&[&[*logits, *labels], weights].concat())
            && **factors == TensorSpec::f32([samples, outputs])
            && **grad_output == TensorSpec::f32([1])
        {
            return Ok(vec![(*logits).clone()]);
        }
        Err(ShapeError::new(self.name(), "the inputs and factors of a focal loss and its gradient [1]", inputs))
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, outputs] = labelled_inputs(at);
        let rows = Rows::elementwise(samples, voxels, 1, at.target());
        let dispatch: Dispatch = rows.dispatch("focal_grad", at.target());
        let dispatch = self.0.labelling(outputs, at.input_spec(1)).write(dispatch).param(outputs).scalar(self.0.gamma);
        let dispatch = (0..4).fold(dispatch, |d, i| d.read(at.input(i)));
        at.emit(read_weights(dispatch, at, 4, at.input(3)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [_, voxels, outputs] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let labelling = self.0.labelling(outputs, &inputs[1].spec);
        let mut data = Vec::with_capacity(inputs[0].data.len());
        for (i, logits) in inputs[0].data.chunks_exact(outputs).enumerate() {
            let weight = |k: usize| inputs.get(4).map_or(1.0, |w| w.data[k]);
            let factor = |k: usize| inputs[3].data[0] * inputs[2].data[i / voxels * outputs + k] * weight(k);
            match labelling.counts(&inputs[1].data, i) {
                true => data.extend(self.0.voxel(logits, |k| labelling.share(&inputs[1].data, i, k), factor).1),
                false => data.extend(vec![0.0; outputs]),
            }
        }
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        12 * inputs[0].elements() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_that_of_the_probabilities() {
        let of = |activation, logits: Vec<f64>, labels: Vec<f64>| {
            let logits = HostTensor::new(TensorSpec::f32([1, labels.len(), 2]), logits);
            let labels = HostTensor::new(TensorSpec::u32([1, labels.len()]), labels);
            FocalLoss { activation, gamma: 2.0 }.reference(&[&logits, &labels])[0].data[0]
        };
        // A softmax of 1/4 and 3/4; the second voxel is ignored.
        let third = 3.0f64.ln();
        let found = of(Activation::Softmax, vec![0.0, third, 5.0, 1.0], vec![0.0, 2.0]);
        approx::assert_abs_diff_eq!(found, 0.5625 * 4.0f64.ln(), epsilon = 1e-12);
        // Sigmoids of 3/4 inside and 1/2 outside, in the mean.
        let found = of(Activation::Sigmoid, vec![third, 0.0], vec![1.0]);
        let expected = (0.0625 * (4.0f64 / 3.0).ln() + 0.25 * 2.0f64.ln()) / 2.0;
        approx::assert_abs_diff_eq!(found, expected, epsilon = 1e-12);
        // Logits of hundreds are no problem.
        assert_eq!(of(Activation::Softmax, vec![900.0, 0.0], vec![1.0]), 900.0);
        assert_eq!(of(Activation::Softmax, vec![900.0, 0.0], vec![0.0]), 0.0);
    }
}
