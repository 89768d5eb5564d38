use super::labels::{Labelling, labelled, labelled_inputs};
use super::{Loss, LossInputs, Losses};
use crate::graph::{Graph, Lowering, Op, Vjp};
use crate::kernel::Dispatch;
use crate::ops::Activation;
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::registry::{Entry, Hyperparameter, Hyperparameters, Value};
use crate::tensor::{HostTensor, ShapeError, TensorSpec, ValueId};
use std::sync::Arc;

/// Added to numerator and denominator of a Dice coefficient, so that two empty masks agree.
pub const DICE_EPSILON: f32 = 1e-5;

/// The loss of a network by soft Dice: softmax or sigmoid, then [`SoftDiceLoss`]. The default is the paper's.
///
/// Without `squares` and with the same epsilon it is nnU-Net's `MemoryEfficientSoftDiceLoss` plus 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dice {
    /// The denominator is Σ p² + Σ g², as in the paper, else Σ p + Σ g, as in nnU-Net.
    pub squares: bool,
    /// The sums are over all samples, as of one volume (nnU-Net's `batch_dice`), else of each. Where a batch is computed in
    /// several passes, over those of a pass.
    pub batch: bool,
}

impl Default for Dice {
    fn default() -> Self {
        Self { squares: true, batch: false }
    }
}

/// Soft Dice loss (Milletari et al. 2016, section 3) of probabilities `p [N, .., K]` and labels `u32 [N, ..]`: the mean
/// over samples and foreground outputs of `1 - (2 Σ p g + ε) / (Σ p² + Σ g² + ε)`, with g the indicator of the output and the
/// sums over the voxels of the sample that are not ignored. With softmax the foreground is the classes `1..K`, with sigmoid
/// all K regions.
///
/// Outputs: the loss `[1]`, and the sums `[N, foreground, 3]` of `p g`, `p²`, `g²` for the backward pass. [`Dice`] says what
/// differs: `p` and `g` in place of their squares, or sums `[1, foreground, 3]` over the batch.
#[derive(Debug, Clone, Copy)]
pub struct SoftDiceLoss {
    /// How the labels are read.
    pub activation: Activation,
    /// What is summed.
    pub dice: Dice,
}

/// Gradient of [`SoftDiceLoss`] with respect to `p`, from `p`, the labels, the sums and the gradient of the loss. Ignored
/// voxels have a gradient of 0.
#[derive(Debug, Clone, Copy)]
pub struct SoftDiceGrad(pub SoftDiceLoss);

static SQUARES: Hyperparameter = Hyperparameter::switch("dice_squares", true);
static BATCH: Hyperparameter = Hyperparameter::switch("dice_batch", false);

/// The keys of every loss with a Dice term.
pub(super) const KEYS: &[&Hyperparameter] = &[&SQUARES, &BATCH];

impl From<&Hyperparameters<Losses>> for Dice {
    fn from(values: &Hyperparameters<Losses>) -> Self {
        Self { squares: values.switch("dice_squares"), batch: values.switch("dice_batch") }
    }
}

pub(super) const DICE: Entry<Losses> = Entry {
    name: "dice",
    hyperparameters: KEYS,
    build: |values| Arc::new(Dice::from(values)),
    variants: &[
        ("dice/plain", &[("dice_squares", Value::Switch(false))]),
        ("dice/batch", &[("dice_batch", Value::Switch(true))]),
    ],
};

impl Loss for Dice {
    fn append(&self, graph: &mut Graph, inputs: LossInputs) -> Result<ValueId, ShapeError> {
        let probabilities = inputs.activation.append(graph, inputs.logits)?;
        graph.set_scope("loss.dice");
        let loss = SoftDiceLoss { activation: inputs.activation, dice: *self };
        graph.add(loss, &[probabilities, inputs.labels])
    }

    fn is_defined(&self, _: Activation) -> bool {
        true
    }
}

impl SoftDiceLoss {
    fn labelling(self, outputs: usize) -> Labelling {
        Labelling::new(self.activation, outputs)
    }

    /// Shape of the sums of predictions and labels that belong together and have a foreground: samples, foreground outputs, 3.
    fn sums(self, p: &TensorSpec, labels: &TensorSpec) -> Option<[usize; 3]> {
        let [samples, _, outputs] = labelled(p, labels)?;
        let foreground = outputs.checked_sub(self.labelling(outputs).background()).filter(|&n| n > 0)?;
        Some([if self.dice.batch { 1 } else { samples }, foreground, 3])
    }

    /// What `p` enters the second sum with: `p` itself, or 1.
    fn factor(self, p: f64) -> f64 {
        if self.dice.squares { p } else { 1.0 }
    }
}

impl Op for SoftDiceLoss {
    fn name(&self) -> &'static str {
        "soft_dice_loss"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [p, labels] = inputs
            && let Some(sums) = self.sums(p, labels)
        {
            return Ok(vec![TensorSpec::f32([1]), TensorSpec::f32(sums)]);
        }
        let expected = "probabilities f32 [N, .., K], one at least of foreground, and labels u32 [N, ..]";
        Err(ShapeError::new(self.name(), expected, inputs))
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        if at.needs(0) {
            let grad = at.add(SoftDiceGrad(*self), &[at.input(0), at.input(1), at.output(1), at.grad_output()])?;
            at.contribute(0, grad);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, outputs] = labelled_inputs(at);
        let labelling = self.labelling(outputs);
        let rows = Rows::summed(samples, voxels, outputs - labelling.background());
        let partial = labelling.write(rows.dispatch("soft_dice_sums", at.target())).param(self.dice.squares.into());
        let partial = partial.read(at.input(0)).read(at.input(1));
        let columns = Columns { per_channel: 3, over_samples: self.dice.batch };
        emit_sums(at, &rows, columns, partial, &[at.output(1)]);
        let count = at.output_spec(1).elements() / 3;
        let loss = Dispatch::new("soft_dice_loss").param(count).scalar(DICE_EPSILON);
        at.emit(loss.read(at.output(1)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [_, voxels, outputs] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let shape = self.sums(&inputs[0].spec, &inputs[1].spec).expect("with a foreground");
        let (labelling, [samples, foreground, _]) = (self.labelling(outputs), shape);
        let mut sums = HostTensor::zeros(TensorSpec::f32(shape));
        for (i, (p, &label)) in inputs[0].data.chunks_exact(outputs).zip(&inputs[1].data).enumerate() {
            for (k, &p) in p.iter().enumerate().skip(labelling.background()).filter(|_| labelling.counts(label)) {
                let g = labelling.indicator(label, k);
                let sample = (i / voxels).min(samples - 1);
                let at = 3 * (sample * foreground + k - labelling.background());
                sums.data[at] += p * g;
                sums.data[at + 1] += p * self.factor(p);
                sums.data[at + 2] += g;
            }
        }
        let losses = sums.data.chunks_exact(3).map(|s| 1.0 - Ratio::of(s).numerator / Ratio::of(s).denominator);
        let loss = losses.sum::<f64>() / (samples * foreground) as f64;
        vec![HostTensor::new(TensorSpec::f32([1]), vec![loss]), sums]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        5 * inputs[0].elements() as u64
    }
}

/// The Dice coefficient of one sample, or the batch, and output.
struct Ratio {
    numerator: f64,
    denominator: f64,
}

impl Ratio {
    /// From the sums of p g, p² and g², or p and g.
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
            && let Some(shape) = self.0.sums(p, labels)
            && **sums == TensorSpec::f32(shape)
            && **grad_output == TensorSpec::f32([1])
        {
            return Ok(vec![(*p).clone()]);
        }
        Err(ShapeError::new(self.name(), "the inputs and sums of a soft Dice loss and its gradient [1]", inputs))
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, outputs] = labelled_inputs(at);
        let rows = Rows::elementwise(samples, voxels, outputs, at.target());
        let dispatch = self.0.labelling(outputs).write(rows.dispatch("soft_dice_grad", at.target()));
        let dispatch = dispatch.params(&[self.0.dice.squares.into(), at.input_spec(2).shape[0]]).scalar(DICE_EPSILON);
        let dispatch = (0..4).fold(dispatch, |d, i| d.read(at.input(i)));
        at.emit(dispatch.write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [_, voxels, outputs] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let (labelling, shape) = (self.0.labelling(outputs), &inputs[2].spec.shape);
        let scale = inputs[3].data[0] / (shape[0] * shape[1]) as f64;
        let mut grad = HostTensor::zeros(inputs[0].spec.clone());
        for (i, grad) in grad.data.iter_mut().enumerate() {
            let (voxel, k, p) = (i / outputs, i % outputs, inputs[0].data[i]);
            let label = inputs[1].data[voxel];
            if k < labelling.background() || !labelling.counts(label) {
                continue;
            }
            let sample = (voxel / voxels).min(shape[0] - 1);
            let sums = &inputs[2].data[3 * (sample * shape[1] + k - labelling.background())..];
            let Ratio { numerator, denominator } = Ratio::of(sums);
            // Of p² it is 2 p, of p it is 1.
            let of_sum = if self.0.dice.squares { 2.0 * p } else { 1.0 };
            *grad = scale * (of_sum * numerator / denominator - 2.0 * labelling.indicator(label, k)) / denominator;
        }
        vec![grad]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        2 * inputs[0].elements() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAPERS: SoftDiceLoss =
        SoftDiceLoss { activation: Activation::Softmax, dice: Dice { squares: true, batch: false } };

    #[test]
    fn loss_of_a_prediction_worked_by_hand() {
        // Voxels (0.2, 0.8), (0.6, 0.4), (0.9, 0.1) with labels 1, 0, 1: 2 * 0.9 / (0.81 + 2).
        let p = HostTensor::new(TensorSpec::f32([1, 3, 2]), vec![0.2, 0.8, 0.6, 0.4, 0.9, 0.1]);
        let labels = HostTensor::new(TensorSpec::u32([1, 3]), vec![1.0, 0.0, 1.0]);
        let outputs = PAPERS.reference(&[&p, &labels]);
        approx::assert_abs_diff_eq!(outputs[0].data[0], 1.0 - 1.8 / 2.81, epsilon = 1e-5);
        approx::assert_abs_diff_eq!(outputs[1].data[..], [0.9, 0.81, 2.0], epsilon = 1e-12);
        // nnU-Net's denominator: 1.3 + 2.
        let plain = SoftDiceLoss { dice: Dice { squares: false, batch: false }, ..PAPERS };
        approx::assert_abs_diff_eq!(plain.reference(&[&p, &labels])[1].data[..], [0.9, 1.3, 2.0], epsilon = 1e-12);
        // Without the second voxel.
        let labels = HostTensor::new(TensorSpec::u32([1, 3]), vec![1.0, 2.0, 1.0]);
        approx::assert_abs_diff_eq!(PAPERS.reference(&[&p, &labels])[1].data[..], [0.9, 0.65, 2.0], epsilon = 1e-12);
    }

    #[test]
    fn regions_overlap_and_have_no_background() {
        // Two samples of one voxel; regions 0 and 1 of the first, none of the second.
        let p = HostTensor::new(TensorSpec::f32([2, 1, 2]), vec![0.5, 0.25, 0.5, 0.5]);
        let labels = HostTensor::new(TensorSpec::u32([2, 1]), vec![3.0, 0.0]);
        let sums = |batch| {
            let dice = Dice { squares: false, batch };
            SoftDiceLoss { activation: Activation::Sigmoid, dice }.reference(&[&p, &labels]).swap_remove(1)
        };
        assert_eq!(sums(false).data, [0.5, 0.5, 1.0, 0.25, 0.25, 1.0, 0.0, 0.5, 0.0, 0.0, 0.5, 0.0]);
        assert_eq!(sums(true), HostTensor::new(TensorSpec::f32([1, 2, 3]), vec![0.5, 1.0, 1.0, 0.25, 0.75, 1.0]));
    }

    #[test]
    fn empty_masks_agree() {
        let p = HostTensor::new(TensorSpec::f32([1, 2, 2]), vec![1.0, 0.0, 1.0, 0.0]);
        let labels = HostTensor::zeros(TensorSpec::u32([1, 2]));
        assert_eq!(PAPERS.reference(&[&p, &labels])[0].data, [0.0]);
    }
}
