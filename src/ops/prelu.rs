use super::case::{Bound, Case, Draw};
use super::rows::{Columns, Rows, element_width, emit_sums, has_channels, matrix};
use crate::graph::{Lowering, Op, Vjp};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Parametric rectifier with one slope per channel (He et al. 2015): inputs `input [.., C]` and `slope [C]`;
/// `input` where it is positive, else `slope * input`. At 0 the derivative is the slope, as in PyTorch.
#[derive(Debug, Clone, Copy)]
pub struct Prelu;

/// Gradient of [`Prelu`] from `input [.., C]`, `slope [C]` and `grad_output [.., C]`: with respect to the input, with respect
/// to the slopes, and the sum over all axes but the last of the former, which is the gradient of a bias in front
/// ([`share_channel_sums`](super::share_channel_sums)).
#[derive(Debug, Clone, Copy)]
pub struct PreluGrad;

/// Whether the first is a tensor of f32 with channels and the second one f32 for each of them.
fn is_channels_of(input: &TensorSpec, slope: &TensorSpec) -> bool {
    has_channels(input) && *slope == TensorSpec::f32([input.channels()])
}

impl Op for Prelu {
    fn name(&self) -> &'static str {
        "prelu"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input, slope] if is_channels_of(input, slope) => Ok(vec![(*input).clone()]),
            _ => Err(ShapeError::new(self.name(), "f32 [.., C] and slopes [C]", inputs)),
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        let gradients = at.append(PreluGrad, &[at.input(0), at.input(1), at.grad_output()])?;
        for (input, &gradient) in gradients[..2].iter().enumerate() {
            if at.needs(input) {
                at.contribute(input, gradient);
            }
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let width = element_width(channels, at.target());
        let rows = Rows::elementwise(1, rows, channels / width, at.target());
        let dispatch = rows.dispatch("prelu", at.target()).pairs(width > 1);
        at.emit(dispatch.read(at.input(0)).read(at.input(1)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let slopes = inputs[1].data.iter().cycle();
        let data = inputs[0].data.iter().zip(slopes).map(|(&x, s)| if x > 0.0 { x } else { s * x }).collect();
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}

impl Op for PreluGrad {
    fn name(&self) -> &'static str {
        "prelu_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input, slope, grad_output] if is_channels_of(input, slope) && input == grad_output => {
                Ok(vec![(*input).clone(), (*slope).clone(), (*slope).clone()])
            }
            _ => Err(ShapeError::new(self.name(), "f32 [.., C], slopes [C] and a gradient like the first", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let width = element_width(channels, at.target());
        let rows = Rows::summed(1, rows, channels / width);
        let dispatch = rows.dispatch("prelu_grad", at.target()).pairs(width > 1);
        let dispatch = dispatch.read(at.input(0)).read(at.input(1)).read(at.input(2)).write(at.output(0));
        let columns = Columns { per_channel: width, over_samples: true };
        emit_sums(at, &rows, columns, dispatch, &[at.output(1), at.output(2)]);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let channels = inputs[0].spec.channels();
        let mut grad_input = HostTensor::zeros(inputs[0].spec.clone());
        let mut sums = [0, 1].map(|_| HostTensor::zeros(TensorSpec::f32([channels])));
        for (i, (&x, &g)) in inputs[0].data.iter().zip(&inputs[2].data).enumerate() {
            let channel = i % channels;
            grad_input.data[i] = if x > 0.0 { g } else { inputs[1].data[channel] * g };
            if x <= 0.0 {
                sums[0].data[channel] += x * g;
            }
            sums[1].data[channel] += grad_input.data[i];
        }
        let [grad_slope, sums] = sums;
        vec![grad_input, grad_slope, sums]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        4 * inputs[0].elements() as u64
    }
}

pub(super) fn cases() -> Vec<Case> {
    // One rounding: the product.
    let product = Bound::Relative { ulps: 1.0 };
    let forward = |name: &str, shape: &[usize]| {
        let input = (TensorSpec::f32(shape), Draw::AwayFromZero(1e-3));
        let slope = (TensorSpec::f32([shape[shape.len() - 1]]), Draw::Normal(0.5));
        Case::new(name, Prelu, vec![input, slope], product)
    };
    let backward = |name: &str, shape: &[usize]| {
        let channels = shape[shape.len() - 1];
        let rows = shape.iter().product::<usize>() / channels;
        // With upstream gradients and slopes of one sign no sum cancels; two more roundings for the products.
        let ulps = (Rows::summed(1, rows, channels).summed_roundings() + 2) as f64;
        let input = (TensorSpec::f32(shape), Draw::Uniform(-1.0, 1.0));
        let slope = (TensorSpec::f32([channels]), Draw::Uniform(0.1, 0.5));
        let grad_output = (TensorSpec::f32(shape), Draw::Uniform(0.5, 1.5));
        let case = Case::new(name, PreluGrad, vec![input, slope, grad_output], Bound::Relative { ulps });
        case.first_output(product).backward_only().exact()
    };
    vec![
        forward("prelu/2x3x5x7x1", &[2, 3, 5, 7, 1]),
        forward("prelu/2x3x5x7x3", &[2, 3, 5, 7, 3]),
        forward("prelu/1x9x11x13x8", &[1, 9, 11, 13, 8]),
        forward("prelu/1x2x1x3x300", &[1, 2, 1, 3, 300]),
        forward("prelu/1x32x64x64x16", &[1, 32, 64, 64, 16]).benchmark(),
        backward("prelu_grad/2x3x5x7x1", &[2, 3, 5, 7, 1]),
        backward("prelu_grad/2x3x5x7x5", &[2, 3, 5, 7, 5]),
        backward("prelu_grad/2x17x19x23x8", &[2, 17, 19, 23, 8]),
        backward("prelu_grad/1x3x5x7x130", &[1, 3, 5, 7, 130]),
        backward("prelu_grad/1x2x1x3x300", &[1, 2, 1, 3, 300]),
        backward("prelu_grad/1x32x64x64x16", &[1, 32, 64, 64, 16]).benchmark(),
    ]
}
