use super::cross_entropy::LOGITS_AND_LABELS;
use super::labels::{Labelling, emit_mean_weight, labelled, labelled_inputs, mean_weight, read_weights, weighted};
use crate::graph::{Lowering, Op, Vjp};
use crate::ops::Activation;
use crate::ops::rows::{Columns, Rows, emit_sums};
use crate::ops::sigmoid::sigmoid_of;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Binary cross-entropy of logits `[N, .., R]` of regions and labels `u32 [N, ..]` that are masks of regions
/// ([`Activation::Sigmoid`]), or soft targets `f32 [N, .., R]`: the mean over the regions of all voxels of the batch that are not ignored of
/// `max(x, 0) - x g + ln(1 + exp(-|x|))`, which is `-ln p` or `-ln(1 - p)` of the sigmoid p and cannot overflow. It is 0
/// where every voxel is ignored. A third input `f32 [R]` has a weight for each region, by which its term is multiplied.
///
/// Outputs: the loss `[1]`, and the factor of each region of a voxel `[1]`, for the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct BinaryCrossEntropyLoss;

/// Gradient of [`BinaryCrossEntropyLoss`] with respect to the logits, from the logits, the labels, the factor, the gradient
/// of the loss and the weights, if there are any.
#[derive(Debug, Clone, Copy)]
pub struct BinaryCrossEntropyGrad;

impl Op for BinaryCrossEntropyLoss {
    fn name(&self) -> &'static str {
        "binary_cross_entropy_loss"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match weighted(inputs) {
            Some(_) => Ok(vec![TensorSpec::f32([1]); 2]),
            None => Err(ShapeError::new(self.name(), LOGITS_AND_LABELS, inputs)),
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        if at.needs(0) {
            let mut inputs = vec![at.input(0), at.input(1), at.output(1), at.grad_output()];
            inputs.extend((at.input_count() > 2).then(|| at.input(2)));
            let grad = at.add(BinaryCrossEntropyGrad, &inputs)?;
            at.contribute(0, grad);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let [samples, voxels, regions] = labelled_inputs(at);
        let labelling = Labelling::new(Activation::Sigmoid, regions, at.input_spec(1));
        emit_mean_weight(at, labelling, regions, (at.output(1), 1));
        let rows = Rows::summed(samples, voxels, 1);
        let partial = labelling.write(rows.dispatch("binary_cross_entropy_loss", at.target())).param(regions);
        let partial = partial.read(at.input(0)).read(at.input(1)).read(at.output(1));
        let partial = read_weights(partial, at, 2, at.output(1));
        emit_sums(at, &rows, Columns { per_channel: 1, over_samples: true }, partial, &[at.output(0)]);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [samples, voxels, regions] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let labelling = Labelling::new(Activation::Sigmoid, regions, &inputs[1].spec);
        let weight = mean_weight(&inputs[1].data, labelling, samples * voxels, regions);
        let mut sum = 0.0;
        for (i, logits) in inputs[0].data.chunks_exact(regions).enumerate() {
            for (k, &x) in logits.iter().enumerate().filter(|_| labelling.counts(&inputs[1].data, i)) {
                let of_region = x.max(0.0) - x * labelling.share(&inputs[1].data, i, k) + (-x.abs()).exp().ln_1p();
                sum += inputs.get(2).map_or(1.0, |weights| weights.data[k]) * of_region;
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
        if let [logits, labels, weight, grad_output, weights @ ..] = inputs
            && weighted(&[&[*logits, *labels], weights].concat()).is_some()
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
        let dispatch = Labelling::new(Activation::Sigmoid, regions, at.input_spec(1)).write(dispatch);
        let dispatch = (0..4).fold(dispatch, |d, i| d.read(at.input(i)));
        at.emit(read_weights(dispatch, at, 4, at.input(3)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [_, _, regions] = labelled(&inputs[0].spec, &inputs[1].spec).expect("of these shapes");
        let labelling = Labelling::new(Activation::Sigmoid, regions, &inputs[1].spec);
        let scale = inputs[2].data[0] * inputs[3].data[0];
        let of = |(i, &x): (usize, &f64)| {
            let (voxel, k) = (i / regions, i % regions);
            let weight = inputs.get(4).map_or(1.0, |weights| weights.data[k]);
            let difference = || sigmoid_of(x) - labelling.share(&inputs[1].data, voxel, k);
            if labelling.counts(&inputs[1].data, voxel) { scale * weight * difference() } else { 0.0 }
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
