//! The operation: shape rule, gradient, dispatches, definition.

use vnet_engine::graph::{Lowering, Op, Vjp};
use vnet_engine::kernel::Dispatch;
use vnet_engine::tensor::{DType, HostTensor, ShapeError, TensorSpec};

/// `x / (1 + exp(-x))` element by element (`torch.nn.SiLU`; Hendrycks and Gimpel 2016, Ramachandran et al. 2017).
#[derive(Debug, Clone, Copy)]
pub struct Silu;

/// Gradient of [`Silu`] from its input and the gradient of its output.
#[derive(Debug, Clone, Copy)]
pub struct SiluGrad;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Invocations of a workgroup of both shaders.
const WORKGROUP: usize = 64;

impl Op for Silu {
    fn name(&self) -> &'static str {
        "silu"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input] if input.dtype == DType::F32 => Ok(vec![(*input).clone()]),
            _ => Err(ShapeError::new(self.name(), "one f32 tensor", inputs)),
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        if at.needs(0) {
            let grad_input = at.add(SiluGrad, &[at.input(0), at.grad_output()])?;
            at.contribute(0, grad_input);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let elements = at.input_spec(0).elements();
        let dispatch = Dispatch::from_wgsl("silu", include_str!("silu.wgsl")).param(elements);
        let dispatch = dispatch.read(at.input(0)).write(at.output(0));
        at.emit(dispatch.linear_grid(elements.div_ceil(WORKGROUP), at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let data = inputs[0].data.iter().map(|&x| x * sigmoid(x)).collect();
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        3 * inputs[0].elements() as u64
    }
}

impl Op for SiluGrad {
    fn name(&self) -> &'static str {
        "silu_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input, grad_output] if input == grad_output && input.dtype == DType::F32 => Ok(vec![(*input).clone()]),
            _ => Err(ShapeError::new(self.name(), "two f32 tensors of one shape", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let elements = at.input_spec(0).elements();
        let dispatch = Dispatch::from_wgsl("silu_grad", include_str!("silu_grad.wgsl")).param(elements);
        let dispatch = dispatch.read(at.input(0)).read(at.input(1)).write(at.output(0));
        at.emit(dispatch.linear_grid(elements.div_ceil(WORKGROUP), at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let gradient = |(&x, &g): (&f64, &f64)| g * sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)));
        let data = inputs[0].data.iter().zip(&inputs[1].data).map(gradient).collect();
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        8 * inputs[0].elements() as u64
    }
}
