use super::cross_entropy::LOGITS_AND_LABELS;
use super::labels::{Labelling, labelled, labelled_inputs};
use super::{Loss, LossInputs, Losses};
use crate::graph::{Graph, Lowering, Op, Vjp};
use crate::kernel::{Dispatch, Operand};
use crate::ops::Activation;
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::ops::sigmoid::sigmoid_of;
use crate::ops::softmax::softmax_of;
use crate::registry::{Entry, Hyperparameter, Hyperparameters, Value};
use crate::tensor::{HostTensor, ShapeError, TensorSpec, ValueId};
use std::sync::Arc;

/// The loss of a network by the cross-entropy of its worst voxels ([`TopKLoss`]): nnU-Net's `TopKLoss`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopK {
    /// How many of the voxels, in per cent: above 0 and below 100.
    pub percent: f64,
}

/// Mean of the largest cross-entropies of voxels, of logits `[N, .., K]` and labels `u32 [N, ..]` or soft targets `f32 [N, .., K]`. Of
/// the V voxels of the batch that are not ignored it is over n = V s / 2^32, rounded down, 1 at least, with s the percentage rounded
/// up to a multiple of 2^-32. The cross-entropy of a voxel is that of its class, or the mean over regions.
///
/// Voxels that equal the smallest of the n losses share what is left of n evenly, so that neither their order nor the device has a
/// say. The loss is 0 where every voxel is ignored.
///
/// Outputs: the loss `[1]`, and the factor of each voxel's cross-entropy in it `[N, ..]`, for the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct TopKLoss {
    /// How the labels are read.
    pub activation: Activation,
    /// What is taken.
    pub top: TopK,
}

/// Gradient of [`TopKLoss`] with respect to the logits, from the logits, the labels, the factors and the gradient of the loss.
#[derive(Debug, Clone, Copy)]
pub struct TopKGrad {
    /// How the labels are read.
    pub activation: Activation,
}

static PERCENT: Hyperparameter =
    Hyperparameter::number("topk_percent", 10.0, "above 0 and below 100", |percent| percent > 0.0 && percent < 100.0);

/// The key of every loss with a term of the worst voxels.
pub(super) const KEYS: &[&Hyperparameter] = &[&PERCENT];

impl From<&Hyperparameters<Losses>> for TopK {
    fn from(values: &Hyperparameters<Losses>) -> Self {
        Self { percent: values.number("topk_percent") }
    }
}

pub(super) const TOPK: Entry<Losses> = Entry {
    name: "topk",
    hyperparameters: KEYS,
    build: |values| Arc::new(TopK::from(values)),
    variants: &[("topk/35", &[("topk_percent", Value::Number(35.0))])],
};

impl Loss for TopK {
    fn append(&self, graph: &mut Graph, inputs: LossInputs<'_>) -> Result<ValueId, ShapeError> {
        graph.set_scope("loss.topk");
        graph.add(TopKLoss { activation: inputs.activation, top: *self }, &[inputs.logits, inputs.labels])
    }

    fn is_defined(&self, _: Activation) -> bool {
        true
    }
}

impl TopK {
    /// The percentage in units of 2^-32.
    fn share(self) -> u32 {
        (self.percent / 100.0 * 2f64.powi(32)).ceil().min(f64::from(u32::MAX)) as u32
    }

    /// How many of so many voxels are taken.
    fn wanted(self, voxels: usize) -> usize {
        ((voxels as u64 * u64::from(self.share())) >> 32).max(voxels.min(1) as u64) as usize
    }

    /// The factor of each loss in the mean of the largest; `None` are ignored.
    fn factors(self, losses: &[Option<f64>]) -> Vec<f64> {
        let mut sorted: Vec<f64> = losses.iter().flatten().copied().collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let wanted = self.wanted(sorted.len());
        let Some(&smallest) = wanted.checked_sub(1).and_then(|last| sorted.get(last)) else {
            return vec![0.0; losses.len()];
        };
        let above = sorted.iter().filter(|&&loss| loss > smallest).count();
        let equal = sorted.iter().filter(|&&loss| loss == smallest).count();
        let share = |loss: f64| match loss.total_cmp(&smallest) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => (wanted - above) as f64 / equal as f64,
            std::cmp::Ordering::Less => 0.0,
        };
        losses.iter().map(|loss| loss.map_or(0.0, share) / wanted as f64).collect()
    }
}

/// The cross-entropy of each voxel; `None`: it is ignored.
pub(super) fn voxel_losses(inputs: &[&HostTensor], activation: Activation) -> Vec<Option<f64>> {
    let [.., outputs] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
    let labelling = Labelling::new(activation, outputs, &inputs[1].spec);
    let of = |(i, logits): (usize, &[f64])| {
        let share = |k: usize| labelling.share(&inputs[1].data, i, k);
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let logarithm = logits.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
        let term = |(k, &x): (usize, &f64)| match activation {
            Activation::Softmax => share(k) * (logarithm + (largest - x)),
            Activation::Sigmoid => (x.max(0.0) - x * share(k) + (-x.abs()).exp().ln_1p()) / outputs as f64,
        };
        labelling.counts(&inputs[1].data, i).then(|| logits.iter().enumerate().map(term).sum())
    };
    inputs[0].data.chunks_exact(outputs).enumerate().map(of).collect()
}

/// The digits of a loss that the search goes through.
const SHIFTS: [usize; 4] = [24, 16, 8, 0];

/// Emits the search for the smallest of the largest losses; `TopK` of `top_k.wgsl`.
fn emit_search(at: &mut Lowering<'_>, top: TopK, losses: Operand, rows: &Rows) -> Operand {
    let tiles = rows.tile_count();
    let mut found = losses;
    for shift in SHIFTS {
        let (counts, next) = (at.scratch(256 * tiles), at.scratch(4));
        // The first digit does not read what was found.
        let histogram = rows.dispatch("top_k_histogram", at.target()).param(shift);
        at.emit(histogram.read(losses).read(found).write(counts));
        let mut select = Dispatch::new("top_k_select").params(&[tiles, shift]);
        select.params.push(top.share());
        at.emit(select.read(counts).read(found).write(next));
        found = next;
    }
    found
}

impl Op for TopKLoss {
    fn name(&self) -> &'static str {
        "topk_loss"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            // The search needs four words in the place of what was found.
            [logits, labels] if labelled(logits, labels).is_some_and(|[samples, voxels, _]| samples * voxels >= 4) => {
                let voxels = &logits.shape[..logits.shape.len() - 1];
                Ok(vec![TensorSpec::f32([1]), TensorSpec::f32(voxels)])
            }
            _ => Err(ShapeError::new(self.name(), LOGITS_AND_LABELS, inputs)),
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        if at.needs(0) {
            let inputs = [at.input(0), at.input(1), at.output(1), at.grad_output()];
            let grad = at.add(TopKGrad { activation: self.activation }, &inputs)?;
            at.contribute(0, grad);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, outputs] = labelled_inputs(at);
        let labelling = Labelling::new(self.activation, outputs, at.input_spec(1));
        let losses = at.scratch(samples * voxels);
        let elementwise = Rows::elementwise(samples, voxels, 1, at.target());
        let dispatch = labelling.write(elementwise.dispatch("voxel_losses", at.target())).param(outputs);
        at.emit(dispatch.read(at.input(0)).read(at.input(1)).write(losses));
        let rows = Rows::summed(samples, voxels, 1);
        let found = emit_search(at, self.top, losses, &rows);
        let partial = rows.dispatch("top_k_factors", at.target()).read(losses).read(found).write(at.output(1));
        emit_sums(at, &rows, Columns { per_channel: 1, over_samples: true }, partial, &[at.output(0)]);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let losses = voxel_losses(inputs, self.activation);
        let factors = self.top.factors(&losses);
        let loss = losses.iter().zip(&factors).map(|(loss, factor)| loss.unwrap_or(0.0) * factor).sum();
        let shape = &inputs[0].shape()[..inputs[0].shape().len() - 1];
        let factors = HostTensor::new(TensorSpec::f32(shape), factors);
        vec![HostTensor::new(TensorSpec::f32([1]), vec![loss]), factors]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        8 * inputs[0].elements() as u64
    }
}

impl Op for TopKGrad {
    fn name(&self) -> &'static str {
        "topk_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [logits, labels, factors, grad_output] = inputs
            && labelled(logits, labels).is_some()
            && **factors == TensorSpec::f32(&logits.shape[..logits.shape.len() - 1])
            && **grad_output == TensorSpec::f32([1])
        {
            return Ok(vec![(*logits).clone()]);
        }
        let expected = "the inputs and factors of the largest cross-entropies and their gradient [1]";
        Err(ShapeError::new(self.name(), expected, inputs))
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, outputs] = labelled_inputs(at);
        let labelling = Labelling::new(self.activation, outputs, at.input_spec(1));
        let rows = Rows::elementwise(samples, voxels, 1, at.target());
        let dispatch = labelling.write(rows.dispatch("top_k_grad", at.target())).param(outputs);
        let dispatch = (0..4).fold(dispatch, |d, i| d.read(at.input(i)));
        at.emit(dispatch.write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [.., outputs] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let labelling = Labelling::new(self.activation, outputs, &inputs[1].spec);
        let mut data = Vec::with_capacity(inputs[0].data.len());
        for (i, logits) in inputs[0].data.chunks_exact(outputs).enumerate() {
            let scale = inputs[3].data[0] * inputs[2].data[i];
            let share = |k: usize| if scale == 0.0 { 0.0 } else { labelling.share(&inputs[1].data, i, k) };
            let shares: f64 = (0..outputs).map(share).sum();
            data.extend(match self.activation {
                Activation::Softmax => softmax_of(logits).into_iter().map(|p| p * shares).collect::<Vec<f64>>(),
                Activation::Sigmoid => logits.iter().copied().map(sigmoid_of).collect(),
            });
            let terms = if self.activation == Activation::Sigmoid { outputs as f64 } else { 1.0 };
            let voxel = &mut data[i * outputs..];
            voxel.iter_mut().enumerate().for_each(|(k, p)| *p = scale / terms * (*p - share(k)));
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
    fn the_worst_voxels_are_taken_and_equal_ones_share() {
        let top = |percent: f64, losses: &[f64]| {
            let losses: Vec<Option<f64>> = losses.iter().map(|&loss| (loss >= 0.0).then_some(loss)).collect();
            TopK { percent }.factors(&losses)
        };
        assert_eq!(top(50.0, &[3.0, 1.0, 2.0, 4.0]), [0.5, 0.0, 0.0, 0.5]);
        // Two of five: the largest, and a third of a place for each of three equal ones. What is below 0 is ignored.
        assert_eq!(top(40.0, &[2.0, 5.0, -1.0, 2.0, 2.0, 1.0]), [0.5 / 3.0, 0.5, 0.0, 0.5 / 3.0, 0.5 / 3.0, 0.0]);
        assert_eq!(top(1.0, &[2.0, 5.0, 3.0]), [0.0, 1.0, 0.0]);
        assert_eq!(top(10.0, &[-1.0, -1.0]), [0.0, 0.0]);
        for (percent, voxels, wanted) in
            [(10.0, 100, 10), (10.0, 99, 9), (29.0, 100, 29), (99.9, 1000, 999), (0.1, 7, 1)]
        {
            assert_eq!(TopK { percent }.wanted(voxels), wanted, "{percent} of {voxels}");
        }
    }
}
