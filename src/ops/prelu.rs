use super::case::{Bound, Case, Draw};
use super::rows::{Columns, Rows, emit_sum, matrix};
use crate::graph::{Lowering, Op, Vjp};
use crate::tensor::{DType, HostTensor, ShapeError, TensorSpec};

/// Parametric rectifier with one slope per channel (He et al. 2015): inputs `input [.., C]` and `slope [C]`;
/// `input` where it is positive, else `slope * input`. At 0 the derivative is the slope, as in PyTorch.
#[derive(Debug, Clone, Copy)]
pub struct Prelu;

/// Gradient of [`Prelu`] with respect to its input, from `input`, `slope` and `grad_output`.
#[derive(Debug, Clone, Copy)]
pub struct PreluGradInput;

/// Gradient of [`Prelu`] with respect to its slopes, from `input` and `grad_output`.
#[derive(Debug, Clone, Copy)]
pub struct PreluGradSlope;

/// Whether the first is a tensor of f32 with channels and the second one f32 for each of them.
fn is_channels_of(input: &TensorSpec, slope: &TensorSpec) -> bool {
    input.dtype == DType::F32 && !input.shape.is_empty() && *slope == TensorSpec::f32([input.channels()])
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
        let grad_output = at.grad_output();
        if at.needs(0) {
            let grad_input = at.add(PreluGradInput, &[at.input(0), at.input(1), grad_output])?;
            at.contribute(0, grad_input);
        }
        if at.needs(1) {
            let grad_slope = at.add(PreluGradSlope, &[at.input(0), grad_output])?;
            at.contribute(1, grad_slope);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let dispatch = Rows::elementwise(1, rows, channels).dispatch("prelu", at.target());
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

impl Op for PreluGradInput {
    fn name(&self) -> &'static str {
        "prelu_grad_input"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input, slope, grad_output] if is_channels_of(input, slope) && input == grad_output => {
                Ok(vec![(*input).clone()])
            }
            _ => Err(ShapeError::new(self.name(), "f32 [.., C], slopes [C] and a gradient like the first", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let dispatch = Rows::elementwise(1, rows, channels).dispatch("prelu_grad_input", at.target());
        at.emit(dispatch.read(at.input(0)).read(at.input(1)).read(at.input(2)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let slopes = inputs[1].data.iter().cycle();
        let elements = inputs[0].data.iter().zip(slopes).zip(&inputs[2].data);
        let data = elements.map(|((&x, s), g)| if x > 0.0 { *g } else { s * g }).collect();
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}

impl Op for PreluGradSlope {
    fn name(&self) -> &'static str {
        "prelu_grad_slope"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input, grad_output]
                if input == grad_output && is_channels_of(input, &TensorSpec::f32([input.channels()])) =>
            {
                Ok(vec![TensorSpec::f32([input.channels()])])
            }
            _ => Err(ShapeError::new(self.name(), "two f32 tensors [.., C] of one shape", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let rows = Rows::summed(1, rows, channels);
        let partial = rows.dispatch("prelu_grad_slope", at.target()).read(at.input(0)).read(at.input(1));
        emit_sum(at, &rows, Columns { per_channel: 1, over_samples: true }, partial, at.output(0));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let channels = inputs[0].spec.channels();
        let mut sums = HostTensor::zeros(TensorSpec::f32([channels]));
        for (i, (&x, g)) in inputs[0].data.iter().zip(&inputs[1].data).enumerate() {
            if x <= 0.0 {
                sums.data[i % channels] += x * g;
            }
        }
        vec![sums]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        2 * inputs[0].elements() as u64
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
    let grad_input = |name: &str, shape: &[usize]| {
        let input = (TensorSpec::f32(shape), Draw::Normal(1.0));
        let slope = (TensorSpec::f32([shape[shape.len() - 1]]), Draw::Normal(0.5));
        Case::new(name, PreluGradInput, vec![input.clone(), slope, input], product).backward_only().exact()
    };
    let grad_slope = |name: &str, shape: &[usize]| {
        let channels = shape[shape.len() - 1];
        let rows = shape.iter().product::<usize>() / channels;
        // All products have one sign, so nothing cancels; one more rounding for the product.
        let ulps = (Rows::summed(1, rows, channels).summed_roundings() + 2) as f64;
        let input = (TensorSpec::f32(shape), Draw::Uniform(-1.0, 1.0));
        let grad_output = (TensorSpec::f32(shape), Draw::Uniform(0.5, 1.5));
        Case::new(name, PreluGradSlope, vec![input, grad_output], Bound::Relative { ulps }).backward_only().exact()
    };
    vec![
        forward("prelu/2x3x5x7x1", &[2, 3, 5, 7, 1]),
        forward("prelu/2x3x5x7x3", &[2, 3, 5, 7, 3]),
        forward("prelu/1x9x11x13x8", &[1, 9, 11, 13, 8]),
        forward("prelu/1x2x1x3x300", &[1, 2, 1, 3, 300]),
        forward("prelu/1x32x64x64x16", &[1, 32, 64, 64, 16]).benchmark(),
        grad_input("prelu_grad_input/2x3x5x7x1", &[2, 3, 5, 7, 1]),
        grad_input("prelu_grad_input/2x3x5x7x5", &[2, 3, 5, 7, 5]),
        grad_input("prelu_grad_input/1x9x11x13x8", &[1, 9, 11, 13, 8]),
        grad_input("prelu_grad_input/1x2x1x3x300", &[1, 2, 1, 3, 300]),
        grad_input("prelu_grad_input/1x32x64x64x16", &[1, 32, 64, 64, 16]).benchmark(),
        grad_slope("prelu_grad_slope/2x3x5x7x1", &[2, 3, 5, 7, 1]),
        grad_slope("prelu_grad_slope/2x3x5x7x3", &[2, 3, 5, 7, 3]),
        grad_slope("prelu_grad_slope/2x17x19x23x8", &[2, 17, 19, 23, 8]),
        grad_slope("prelu_grad_slope/1x3x5x7x130", &[1, 3, 5, 7, 130]),
        grad_slope("prelu_grad_slope/1x32x64x64x16", &[1, 32, 64, 64, 16]).benchmark(),
    ]
}
