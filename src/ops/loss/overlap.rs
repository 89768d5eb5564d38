use super::LossInputs;
use super::labels::{Labelling, labelled, labelled_inputs, read_weights, weighted};
use super::weights::foreground_weights;
use crate::graph::{Graph, Lowering, Op, Vjp};
use crate::kernel::Dispatch;
use crate::ops::Activation;
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::tensor::{HostTensor, ShapeError, TensorSpec, ValueId};

/// Added to numerator and denominator of a Dice coefficient, so that two empty masks agree.
pub const DICE_EPSILON: f32 = 1e-5;

/// A coefficient of two masks from sums over their voxels: `(overlap I + ε) / (both I + predicted P + labelled G + ε)` with I the sum
/// of `p g`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Factor of I in the numerator; above 0.
    pub overlap: f32,
    /// Factor of I in the denominator.
    pub both: f32,
    /// Factor of P.
    pub predicted: f32,
    /// Factor of G.
    pub labelled: f32,
}

impl Ratio {
    /// Dice's: `2 I / (P + G)`.
    pub const DICE: Self = Self { overlap: 2.0, both: 0.0, predicted: 1.0, labelled: 1.0 };

    /// Tversky's: `I / (I + α Σ p (1 - g) + β Σ (1 - p) g)`.
    pub fn tversky(alpha: f64, beta: f64) -> Self {
        let both = (1.0 - alpha - beta) as f32;
        Self { overlap: 1.0, both, predicted: alpha as f32, labelled: beta as f32 }
    }

    /// Numerator and denominator for the sums I, P and G.
    fn of(self, sums: &[f64]) -> [f64; 2] {
        let Self { overlap, both, predicted, labelled } = self;
        let [overlap, both, predicted, labelled] = [overlap, both, predicted, labelled].map(f64::from);
        let epsilon = f64::from(DICE_EPSILON);
        [overlap * sums[0] + epsilon, both * sums[0] + predicted * sums[1] + labelled * sums[2] + epsilon]
    }

    fn write(self, dispatch: Dispatch) -> Dispatch {
        let Self { overlap, both, predicted, labelled } = self;
        [DICE_EPSILON, overlap, both, predicted, labelled].into_iter().fold(dispatch, Dispatch::scalar)
    }
}

/// What is summed, and the coefficient of these sums.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overlap {
    /// P and G are Σ p² and Σ g², else Σ p and Σ g.
    pub squares: bool,
    /// The sums are over all samples, as of one volume, else of each.
    pub batch: bool,
    /// The coefficient.
    pub ratio: Ratio,
}

impl Overlap {
    /// Appends softmax or sigmoid of the logits and the loss of the probabilities.
    pub(super) fn append(self, graph: &mut Graph, inputs: LossInputs<'_>, scope: &str) -> Result<ValueId, ShapeError> {
        let probabilities = inputs.activation.append(graph, inputs.logits)?;
        graph.set_scope(scope);
        let mut operands = vec![probabilities, inputs.labels];
        operands.extend(foreground_weights(graph, inputs)?);
        graph.add(SoftDiceLoss { activation: inputs.activation, overlap: self }, &operands)
    }
}

/// Loss of the overlap of probabilities `p [N, .., K]` and labels `u32 [N, ..]` or soft targets `f32 [N, .., K]`: the mean over
/// samples and foreground outputs of 1 minus the coefficient of [`Overlap`], Dice's (Milletari et al. 2016, section 3) or Tversky's
/// (Salehi et al. 2017), with g the share of the output in a voxel and the sums over the voxels of the sample that are not ignored.
/// With softmax the foreground is the classes `1..K`, with sigmoid all K regions. A third input `f32 [K]` has a weight for each
/// output, by which its term is multiplied.
///
/// Outputs: the loss `[1]`, and the sums `[N, foreground, 3]` of `p g`, P and G for the backward pass, `[1, foreground, 3]` over
/// the batch.
#[derive(Debug, Clone, Copy)]
pub struct SoftDiceLoss {
    /// How the labels are read.
    pub activation: Activation,
    /// What is summed.
    pub overlap: Overlap,
}

/// Gradient of [`SoftDiceLoss`] with respect to `p`, from `p`, the labels, the sums, the gradient of the loss and the weights, if
/// there are any. Ignored voxels have a gradient of 0.
#[derive(Debug, Clone, Copy)]
pub struct SoftDiceGrad(pub SoftDiceLoss);

impl SoftDiceLoss {
    fn labelling(self, outputs: usize, labels: &TensorSpec) -> Labelling {
        Labelling::new(self.activation, outputs, labels)
    }

    /// Shape of the sums of predictions and labels that belong together and have a foreground: samples, foreground outputs, 3.
    fn sums(self, p: &TensorSpec, labels: &TensorSpec) -> Option<[usize; 3]> {
        let [samples, _, outputs] = labelled(p, labels)?;
        let foreground = outputs.checked_sub(self.labelling(outputs, labels).background()).filter(|&n| n > 0)?;
        Some([if self.overlap.batch { 1 } else { samples }, foreground, 3])
    }

    /// What a number enters its sum with besides itself: itself again, or 1.
    fn factor(self, x: f64) -> f64 {
        if self.overlap.squares { x } else { 1.0 }
    }
}

impl Op for SoftDiceLoss {
    fn name(&self) -> &'static str {
        if self.overlap.ratio == Ratio::DICE { "soft_dice_loss" } else { "tversky_loss" }
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [p, labels, ..] = inputs
            && weighted(inputs).is_some()
            && let Some(sums) = self.sums(p, labels)
        {
            return Ok(vec![TensorSpec::f32([1]), TensorSpec::f32(sums)]);
        }
        let expected = "probabilities f32 [N, .., K], one at least of foreground, labels u32 [N, ..] or f32 [N, .., K], and \
                        weights [K] if there are any";
        Err(ShapeError::new(self.name(), expected, inputs))
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        if at.needs(0) {
            let mut operands = vec![at.input(0), at.input(1), at.output(1), at.grad_output()];
            operands.extend((at.input_count() > 2).then(|| at.input(2)));
            let grad = at.add(SoftDiceGrad(*self), &operands)?;
            at.contribute(0, grad);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, outputs] = labelled_inputs(at);
        let labelling = self.labelling(outputs, at.input_spec(1));
        let foreground = outputs - labelling.background();
        let rows = Rows::summed(samples, voxels, foreground);
        let partial = labelling.write(rows.dispatch("soft_dice_sums", at.target())).param(self.overlap.squares.into());
        let partial = partial.read(at.input(0)).read(at.input(1));
        let columns = Columns { per_channel: 3, over_samples: self.overlap.batch };
        emit_sums(at, &rows, columns, partial, &[at.output(1)]);
        let count = at.output_spec(1).elements() / 3;
        let loss = self.overlap.ratio.write(Dispatch::new("soft_dice_loss").param(count));
        let loss = loss.params(&[foreground, labelling.background()]).read(at.output(1));
        at.emit(read_weights(loss, at, 2, at.output(1)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [_, voxels, outputs] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let shape = self.sums(&inputs[0].spec, &inputs[1].spec).expect("with a foreground");
        let (labelling, [samples, foreground, _]) = (self.labelling(outputs, &inputs[1].spec), shape);
        let mut sums = HostTensor::zeros(TensorSpec::f32(shape));
        for (i, p) in
            inputs[0].data.chunks_exact(outputs).enumerate().filter(|(i, _)| labelling.counts(&inputs[1].data, *i))
        {
            for (k, &p) in p.iter().enumerate().skip(labelling.background()) {
                let g = labelling.share(&inputs[1].data, i, k);
                let sample = (i / voxels).min(samples - 1);
                let at = 3 * (sample * foreground + k - labelling.background());
                sums.data[at] += p * g;
                sums.data[at + 1] += p * self.factor(p);
                sums.data[at + 2] += g * self.factor(g);
            }
        }
        let term = |(i, sums): (usize, &[f64])| {
            let [numerator, denominator] = self.overlap.ratio.of(sums);
            let weight = inputs.get(2).map_or(1.0, |w| w.data[i % foreground + labelling.background()]);
            weight * (1.0 - numerator / denominator)
        };
        let loss = sums.data.chunks_exact(3).enumerate().map(term).sum::<f64>() / (samples * foreground) as f64;
        vec![HostTensor::new(TensorSpec::f32([1]), vec![loss]), sums]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        5 * inputs[0].elements() as u64
    }
}

impl Op for SoftDiceGrad {
    fn name(&self) -> &'static str {
        if self.0.overlap.ratio == Ratio::DICE { "soft_dice_grad" } else { "tversky_grad" }
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [p, labels, sums, grad_output, weights @ ..] = inputs
            && weighted(&[&[*p, *labels], weights].concat()).is_some()
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
        let labelling = self.0.labelling(outputs, at.input_spec(1));
        let dispatch = labelling.write(rows.dispatch("soft_dice_grad", at.target()));
        let dispatch = dispatch.params(&[self.0.overlap.squares.into(), at.input_spec(2).shape[0]]);
        let ratio = self.0.overlap.ratio;
        let dispatch = ratio.write(dispatch).scalar(ratio.both / ratio.overlap);
        let dispatch = dispatch.scalar(2.0 * ratio.predicted / ratio.overlap);
        let dispatch = (0..4).fold(dispatch, |d, i| d.read(at.input(i)));
        at.emit(read_weights(dispatch, at, 4, at.input(3)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [_, voxels, outputs] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let (labelling, shape) = (self.0.labelling(outputs, &inputs[1].spec), &inputs[2].spec.shape);
        let (ratio, scale) = (self.0.overlap.ratio, inputs[3].data[0] / (shape[0] * shape[1]) as f64);
        let mut grad = HostTensor::zeros(inputs[0].spec.clone());
        for (i, grad) in grad.data.iter_mut().enumerate() {
            let (voxel, k, p) = (i / outputs, i % outputs, inputs[0].data[i]);
            if k < labelling.background() || !labelling.counts(&inputs[1].data, voxel) {
                continue;
            }
            let sample = (voxel / voxels).min(shape[0] - 1);
            let sums = &inputs[2].data[3 * (sample * shape[1] + k - labelling.background())..];
            let [numerator, denominator] = ratio.of(sums);
            let g = labelling.share(&inputs[1].data, voxel, k);
            // Of p² it is 2 p, of p it is 1.
            let of_sum = if self.0.overlap.squares { 2.0 * p } else { 1.0 };
            let of_denominator = f64::from(ratio.both) * g + f64::from(ratio.predicted) * of_sum;
            let difference = of_denominator * numerator / denominator - f64::from(ratio.overlap) * g;
            *grad = inputs.get(4).map_or(1.0, |w| w.data[k]) * scale * difference / denominator;
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

    const PAPERS: SoftDiceLoss = SoftDiceLoss {
        activation: Activation::Softmax,
        overlap: Overlap { squares: true, batch: false, ratio: Ratio::DICE },
    };

    #[test]
    fn loss_of_a_prediction_worked_by_hand() {
        // Voxels (0.2, 0.8), (0.6, 0.4), (0.9, 0.1) with labels 1, 0, 1: 2 * 0.9 / (0.81 + 2).
        let p = HostTensor::new(TensorSpec::f32([1, 3, 2]), vec![0.2, 0.8, 0.6, 0.4, 0.9, 0.1]);
        let labels = HostTensor::new(TensorSpec::u32([1, 3]), vec![1.0, 0.0, 1.0]);
        let outputs = PAPERS.reference(&[&p, &labels]);
        approx::assert_abs_diff_eq!(outputs[0].data[0], 1.0 - 1.8 / 2.81, epsilon = 1e-5);
        approx::assert_abs_diff_eq!(outputs[1].data[..], [0.9, 0.81, 2.0], epsilon = 1e-12);
        // nnU-Net's denominator: 1.3 + 2.
        let plain = SoftDiceLoss { overlap: Overlap { squares: false, ..PAPERS.overlap }, ..PAPERS };
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
            let overlap = Overlap { squares: false, batch, ..PAPERS.overlap };
            SoftDiceLoss { activation: Activation::Sigmoid, overlap }.reference(&[&p, &labels]).swap_remove(1)
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

    #[test]
    fn tversky_weighs_what_is_too_much_and_what_is_missed() {
        // Voxels of p 0.8, 0.4, 0.1 with g 1, 0, 1: I 0.9, too much 0.4, missed 1.1.
        let p = HostTensor::new(TensorSpec::f32([1, 3, 1]), vec![0.8, 0.4, 0.1]);
        let labels = HostTensor::new(TensorSpec::u32([1, 3]), vec![1.0, 0.0, 1.0]);
        let of = |alpha: f64, beta: f64| {
            let overlap = Overlap { squares: false, batch: false, ratio: Ratio::tversky(alpha, beta) };
            SoftDiceLoss { activation: Activation::Sigmoid, overlap }.reference(&[&p, &labels])[0].data[0]
        };
        for (alpha, beta) in [(0.25, 0.75), (1.0, 1.0), (0.5, 0.5)] {
            let expected = 1.0 - 0.9 / (0.9 + alpha * 0.4 + beta * 1.1);
            approx::assert_abs_diff_eq!(of(alpha, beta), expected, epsilon = 1e-5);
        }
    }
}
