use super::case::{Bound, Case, Draw};
use crate::graph::{Lowering, Op, Vjp};
use crate::kernel::{Dispatch, Pieces};
use crate::tensor::{DType, HostTensor, ShapeError, TensorSpec};

/// Logistic sigmoid of every element: `1 / (1 + exp(-x))`.
#[derive(Debug, Clone, Copy)]
pub struct Sigmoid;

/// Gradient of [`Sigmoid`] with respect to its input, from its output `p` and the gradient `g` of that.
#[derive(Debug, Clone, Copy)]
pub struct SigmoidGrad;

/// The sigmoid of one number, from `exp(-|x|)`, which cannot overflow.
pub(super) fn sigmoid_of(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// A dispatch over the elements of the output, without its bindings.
pub(super) fn elementwise(shader: &'static str, at: &Lowering<'_>) -> Dispatch {
    let elements = at.output_spec(0).elements();
    let share = 64 * at.target().tuning.elementwise_rows;
    let pieces = Pieces { rows: elements, unit: share, workgroups: 1, rows_word: 0, units_word: None };
    let dispatch = Dispatch::new(shader).params(&[elements, share]).pieces((elements > 0).then_some(pieces));
    dispatch.linear_grid(elements.div_ceil(share), at.target())
}

impl Op for Sigmoid {
    fn name(&self) -> &'static str {
        "sigmoid"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input] if input.dtype == DType::F32 => Ok(vec![(*input).clone()]),
            _ => Err(ShapeError::new(self.name(), "one f32 tensor", inputs)),
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        at.contribute_node(0, SigmoidGrad, &[at.output(0), at.grad_output()])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        at.emit(elementwise("sigmoid", at).read(at.input(0)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let data = inputs[0].data.iter().map(|&x| sigmoid_of(x)).collect();
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        4 * inputs[0].elements() as u64
    }
}

impl Op for SigmoidGrad {
    fn name(&self) -> &'static str {
        "sigmoid_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [p, g] if p == g && p.dtype == DType::F32 => Ok(vec![(*p).clone()]),
            _ => Err(ShapeError::new(self.name(), "two f32 tensors of one shape", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        at.emit(elementwise("sigmoid_grad", at).read(at.input(0)).read(at.input(1)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let data = inputs[0].data.iter().zip(&inputs[1].data).map(|(p, g)| g * p * (1.0 - p)).collect();
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        3 * inputs[0].elements() as u64
    }
}

/// How far a sigmoid may be off, in units of u = 2^-24.
///
/// exp(-d) with d = |x| is off by (6 + 4 d) u of itself (3 + 2 d ulp of WGSL's exp), which is at most 6 u absolutely. For
/// x >= 0 the sigmoid 1 / (1 + e) inherits at most e (6 + 4 d) / (1 + e) <= 3, the sum adds 1 and the division 5 (2.5 ulp).
/// For x < 0, e / (1 + e) inherits e (6 + 4 d) / (1 + e)² <= 2, and half of 6 for sum and division.
pub(super) const SIGMOID_ULPS: f64 = 9.0;

pub(super) fn cases() -> Vec<Case> {
    let forward = |name: &str, shape: &[usize], deviation: f64| {
        let input = (TensorSpec::f32(shape), Draw::Normal(deviation));
        // Twice, as the bound is relative to the largest probability of the case, which exceeds 1/2.
        Case::new(name, Sigmoid, vec![input], Bound::Relative { ulps: 2.0 * SIGMOID_ULPS })
    };
    let backward = |name: &str, shape: &[usize]| {
        let p = (TensorSpec::f32(shape), Draw::Uniform(0.0, 1.0));
        let g = (TensorSpec::f32(shape), Draw::Normal(1.0));
        // A subtraction and two products: 3 u and terms of u².
        Case::new(name, SigmoidGrad, vec![p, g], Bound::Relative { ulps: 3.001 }).backward_only().exact()
    };
    vec![
        forward("sigmoid/2x3x5x7x1", &[2, 3, 5, 7, 1], 2.0),
        forward("sigmoid/1x9x11x13x3", &[1, 9, 11, 13, 3], 2.0),
        // Logits of hundreds, where exp(|x|) is no number.
        forward("sigmoid/1x2x3x5x31-large", &[1, 2, 3, 5, 31], 100.0),
        forward("sigmoid/1x64x128x128x3", &[1, 64, 128, 128, 3], 2.0).benchmark(),
        backward("sigmoid_grad/2x3x5x7x1", &[2, 3, 5, 7, 1]),
        backward("sigmoid_grad/1x9x11x13x3", &[1, 9, 11, 13, 3]),
        backward("sigmoid_grad/1x64x128x128x3", &[1, 64, 128, 128, 3]).benchmark(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        assert_eq!([1000.0, 0.0, -1000.0].map(sigmoid_of), [1.0, 0.5, 0.0]);
        approx::assert_abs_diff_eq!(sigmoid_of(-3.0) + sigmoid_of(3.0), 1.0, epsilon = 1e-15);
    }
}
