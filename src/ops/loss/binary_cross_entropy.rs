use super::labels::{Labelling, emit_mean_weight, labelled, labelled_inputs, mean_weight};
use crate::graph::{Lowering, Op, Vjp};
use crate::ops::Activation;
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::ops::sigmoid::sigmoid_of;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Binary cross-entropy of logits `[N, .., R]` of regions and labels `u32 [N, ..]` that are masks of regions
/// ([`Activation::Sigmoid`]): the mean over the regions of all voxels of the batch that are not ignored of
/// `max(x, 0) - x g + ln(1 + exp(-|x|))`, which is `-ln p` or `-ln(1 - p)` of the sigmoid p and cannot overflow. It is 0
/// where every voxel is ignored.
///
/// Outputs: the loss `[1]`, and the factor of each region of a voxel `[1]`, for the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct BinaryCrossEntropyLoss;

/// Gradient of [`BinaryCrossEntropyLoss`] with respect to the logits, from the logits, the labels, the factor and the gradient
/// of the loss.
#[derive(Debug, Clone, Copy)]
pub struct BinaryCrossEntropyGrad;

impl Op for BinaryCrossEntropyLoss {
    fn name(&self) -> &'static str {
        "binary_cross_entropy_loss"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [logits, labels] = inputs
            && labelled(logits, labels).is_some()
        {
            return Ok(vec![TensorSpec::f32([1]); 2]);
        }
        Err(ShapeError::new(self.name(), "logits f32 [N, .., R] and labels u32 [N, ..]", inputs))
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        if at.needs(0) {
            let inputs = [at.input(0), at.input(1), at.output(1), at.grad_output()];
            let grad = at.add(BinaryCrossEntropyGrad, &inputs)?;
            at.contribute(0, grad);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, regions] = labelled_inputs(at);
        let labelling = Labelling::new(Activation::Sigmoid, regions);
        emit_mean_weight(at, labelling, regions, (at.output(1), 1));
        let rows = Rows::summed(samples, voxels, 1);
        let partial = labelling.write(rows.dispatch("binary_cross_entropy_loss", at.target())).param(regions);
        let partial = partial.read(at.input(0)).read(at.input(1)).read(at.output(1));
        emit_sums(at, &rows, Columns { per_channel: 1, over_samples: true }, partial, &[at.output(0)]);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [_, _, regions] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let labelling = Labelling::new(Activation::Sigmoid, regions);
        let weight = mean_weight(&inputs[1].data, labelling, regions);
        let mut sum = 0.0;
        for (logits, &label) in inputs[0].data.chunks_exact(regions).zip(&inputs[1].data) {
            for (k, &x) in logits.iter().enumerate().filter(|_| labelling.counts(label)) {
                sum += x.max(0.0) - x * labelling.indicator(label, k) + (-x.abs()).exp().ln_1p();
            }
        }
        [weight * sum, weight].map(|value| HostTensor::new(TensorSpec::f32([1]), vec![value])).into()
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        6 * inputs[0].elements() as u64
    }
}

impl Op for BinaryCrossEntropyGrad {
    fn name(&self) -> &'static str {
        "binary_cross_entropy_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        if let [logits, labels, weight, grad_output] = inputs
            && labelled(logits, labels).is_some()
            && [weight, grad_output].iter().all(|spec| ***spec == TensorSpec::f32([1]))
        {
            return Ok(vec![(*logits).clone()]);
        }
        Err(ShapeError::new(
            self.name(),
            "the inputs and factor of a binary cross-entropy and its gradient [1]",
            inputs,
        ))
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, regions] = labelled_inputs(at);
        let rows = Rows::elementwise(samples, voxels, regions, at.target());
        let dispatch = rows.dispatch("binary_cross_entropy_grad", at.target());
        let dispatch = Labelling::new(Activation::Sigmoid, regions).write(dispatch);
        let dispatch = (0..4).fold(dispatch, |d, i| d.read(at.input(i)));
        at.emit(dispatch.write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [_, _, regions] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let labelling = Labelling::new(Activation::Sigmoid, regions);
        let scale = inputs[2].data[0] * inputs[3].data[0];
        let of = |(i, &x): (usize, &f64)| {
            let label = inputs[1].data[i / regions];
            let difference = || sigmoid_of(x) - labelling.indicator(label, i % regions);
            if labelling.counts(label) { scale * difference() } else { 0.0 }
        };
        let data = inputs[0].data.iter().enumerate().map(of).collect();
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
    fn the_loss_is_minus_the_logarithm_of_the_probability() {
        let logits = HostTensor::new(TensorSpec::f32([1, 3, 2]), vec![2.0, -1.0, 0.5, 800.0, 3.0, -800.0]);
        // Region 0; both; ignored.
        let labels = HostTensor::new(TensorSpec::u32([1, 3]), vec![1.0, 3.0, 2147483649.0]);
        let outputs = BinaryCrossEntropyLoss.reference(&[&logits, &labels]);
        let logarithms = sigmoid_of(2.0).ln() + (1.0 - sigmoid_of(-1.0)).ln() + sigmoid_of(0.5).ln();
        approx::assert_abs_diff_eq!(outputs[0].data[0], -logarithms / 4.0, epsilon = 1e-12);
        assert_eq!(outputs[1].data, [0.25]);
        let nothing = HostTensor::new(TensorSpec::u32([1, 3]), vec![4294967295.0; 3]);
        assert!(BinaryCrossEntropyLoss.reference(&[&logits, &nothing]).iter().all(|output| output.data == [0.0]));
    }
}
