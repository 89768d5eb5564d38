use crate::graph::{Lowering, Op};
use crate::ops::rows::{Rows, has_channels, matrix};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// The weight `[.., C]` and the bias `[C]` of a convolution, so that it also does the batch normalisation that follows: from these
/// two and the weight, bias, running mean and running variance of the normalisation, each `[C]`, with C the channels of the output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoldNorm {
    /// Added to the variance.
    pub epsilon: f32,
}

impl Op for FoldNorm {
    fn name(&self) -> &'static str {
        "fold_norm"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [weight, vectors @ ..]
                if has_channels(weight)
                    && vectors.len() == 5
                    && vectors.iter().all(|spec| **spec == TensorSpec::f32([weight.channels()])) =>
            {
                Ok(vec![(*weight).clone(), vectors[0].clone()])
            }
            _ => Err(ShapeError::new(self.name(), "weights f32 [.., C] and five vectors [C]", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let rows = Rows::elementwise(1, rows, channels, at.target());
        let dispatch = rows.dispatch("fold_norm", at.target()).pieces(None).scalar(self.epsilon);
        let dispatch = (0..6).fold(dispatch, |dispatch, input| dispatch.read(at.input(input)));
        at.emit(dispatch.write(at.output(0)).write(at.output(1)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [weight, bias, norm_weight, norm_bias, mean, variance] = *inputs else { panic!("six inputs") };
        let scales: Vec<f64> = (norm_weight.data.iter().zip(&variance.data))
            .map(|(w, v)| w / (v + f64::from(self.epsilon)).sqrt())
            .collect();
        let [mut weight, mut bias] = [weight.clone(), bias.clone()];
        weight.data.iter_mut().zip(scales.iter().cycle()).for_each(|(w, scale)| *w *= scale);
        for (channel, b) in bias.data.iter_mut().enumerate() {
            *b = (*b - mean.data[channel]) * scales[channel] + norm_bias.data[channel];
        }
        vec![weight, bias]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}
