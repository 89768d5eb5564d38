use super::reference::slope;
use super::{Moments, Normalise, Rectifier};
use crate::graph::{Lowering, Op};
use crate::kernel::Dispatch;
use crate::ops::rows::{Rows, element_width, has_channels, matrix};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Normalisation of `input [.., C]` by running statistics, for predictions where no convolution comes before that could do it
/// ([`FoldNorm`](super::FoldNorm)): from the input and the weight, bias, running mean and running variance, and with
/// [`Rectifier::Prelu`] slopes, each `[C]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormaliseRunning {
    /// Added to the variance.
    pub epsilon: f32,
    /// What follows.
    pub rectifier: Rectifier,
}

impl Op for NormaliseRunning {
    fn name(&self) -> &'static str {
        "normalise_running"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let vectors = if self.rectifier == Rectifier::Prelu { 5 } else { 4 };
        match inputs {
            [input, rest @ ..]
                if has_channels(input)
                    && rest.len() == vectors
                    && rest.iter().all(|spec| **spec == TensorSpec::f32([input.channels()])) =>
            {
                Ok(vec![(*input).clone()])
            }
            _ => Err(ShapeError::new(self.name(), format!("f32 [.., C] and {vectors} vectors [C]"), inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let statistics = at.scratch(2 * channels);
        let dispatch =
            Dispatch::new("norm_running").param(channels).scalar(self.epsilon).read(at.input(3)).read(at.input(4));
        at.emit(dispatch.write(statistics).linear_grid(channels.div_ceil(64), at.target()));
        let width = element_width(channels, at.target());
        let rows = Rows::elementwise(1, rows, channels / width, at.target());
        let normalise = Normalise { moments: Moments::Batch, epsilon: self.epsilon, rectifier: self.rectifier };
        let slopes = at.input(if self.rectifier == Rectifier::Prelu { 5 } else { 1 });
        let dispatch = normalise.dispatch(&rows, "normalise", at).pairs(width > 1).read(at.input(0)).read(statistics);
        at.emit(dispatch.read(at.input(1)).read(at.input(2)).read(slopes).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let [input, weight, bias, mean, variance, ref slopes @ ..] = *inputs else { panic!("five inputs or more") };
        let mut output = input.clone();
        for (i, x) in output.data.iter_mut().enumerate() {
            let channel = i % weight.data.len();
            let scale = weight.data[channel] / (variance.data[channel] + f64::from(self.epsilon)).sqrt();
            let z = (*x - mean.data[channel]) * scale + bias.data[channel];
            *x = if z > 0.0 { z } else { slope(self.rectifier, slopes.first().copied(), channel) * z };
        }
        vec![output]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        4 * inputs[0].elements() as u64
    }
}
