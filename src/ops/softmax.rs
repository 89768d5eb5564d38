use super::case::{Bound, Case, Draw};
use super::rows::{Rows, has_channels, matrix};
use crate::graph::{Lowering, Op, Vjp};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Softmax over the channels of `[.., K]`.
#[derive(Debug, Clone, Copy)]
pub struct Softmax;

/// Gradient of [`Softmax`] with respect to its input, from its output `p` and the gradient `g` of that.
#[derive(Debug, Clone, Copy)]
pub struct SoftmaxGrad;

/// Softmax of the logits of one voxel.
pub(super) fn softmax_of(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input] if has_channels(input) => Ok(vec![(*input).clone()]),
            _ => Err(ShapeError::new(self.name(), "one f32 tensor [.., K]", inputs)),
        }
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        at.contribute_node(0, SoftmaxGrad, &[at.output(0), at.grad_output()])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (voxels, classes) = matrix(at.input_spec(0));
        let dispatch = Rows::elementwise(1, voxels, 1, at.target()).dispatch("softmax", at.target());
        at.emit(dispatch.param(classes).read(at.input(0)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let voxels = inputs[0].data.chunks_exact(inputs[0].spec.channels());
        vec![HostTensor::new(inputs[0].spec.clone(), voxels.flat_map(softmax_of).collect())]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        4 * inputs[0].elements() as u64
    }
}

impl Op for SoftmaxGrad {
    fn name(&self) -> &'static str {
        "softmax_grad"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [p, g] if p == g && has_channels(p) => Ok(vec![(*p).clone()]),
            _ => Err(ShapeError::new(self.name(), "two f32 tensors [.., K] of one shape", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (voxels, classes) = matrix(at.input_spec(0));
        let dispatch = Rows::elementwise(1, voxels, 1, at.target()).dispatch("softmax_grad", at.target());
        at.emit(dispatch.param(classes).read(at.input(0)).read(at.input(1)).write(at.output(0)));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let classes = inputs[0].spec.channels();
        let mut data = Vec::with_capacity(inputs[0].data.len());
        for (p, g) in inputs[0].data.chunks_exact(classes).zip(inputs[1].data.chunks_exact(classes)) {
            let projection: f64 = p.iter().zip(g).map(|(p, g)| p * g).sum();
            data.extend(p.iter().zip(g).map(|(p, g)| p * (g - projection)));
        }
        vec![HostTensor::new(inputs[0].spec.clone(), data)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        4 * inputs[0].elements() as u64
    }
}

/// How far a softmax over K classes may be off, in units of u = 2^-24.
///
/// With d the distance to the largest logit, exp(-d) is off by (6 + 5 d) u: 3 + 2 d ulp of WGSL's exp, and the rounding
/// of d. As d exp(-d) < 0.37, a quotient inherits 8 of its numerator and 6 + 2 (K - 1) of its denominator, whose sum adds
/// K - 1; the division adds 5.
pub(super) fn softmax_ulps(classes: usize) -> f64 {
    19.0 + 3.0 * (classes as f64 - 1.0)
}

pub(super) fn cases() -> Vec<Case> {
    let forward = |name: &str, shape: &[usize]| {
        let input = (TensorSpec::f32(shape), Draw::Normal(2.0));
        // Twice, as the bound is relative to the largest probability of the case, which exceeds 1/2.
        let ulps = 2.0 * softmax_ulps(shape[shape.len() - 1]);
        Case::new(name, Softmax, vec![input], Bound::Relative { ulps })
    };
    let backward = |name: &str, shape: &[usize]| {
        let p = (TensorSpec::f32(shape), Draw::Uniform(0.0, 1.0));
        let g = (TensorSpec::f32(shape), Draw::Normal(1.0));
        // K products in the projection, two more roundings; |g| + sum |p g| is below 4 (K + 1), the largest result
        // of the case above 1.
        let classes = shape[shape.len() - 1] as f64;
        Case::new(name, SoftmaxGrad, vec![p, g], Bound::Relative { ulps: (classes + 2.0) * 4.0 * (classes + 1.0) })
            .backward_only()
            .exact()
    };
    vec![
        forward("softmax/2x3x5x7x2", &[2, 3, 5, 7, 2]),
        forward("softmax/2x3x5x7x3", &[2, 3, 5, 7, 3]),
        forward("softmax/1x9x11x13x5", &[1, 9, 11, 13, 5]),
        forward("softmax/1x2x3x5x40", &[1, 2, 3, 5, 40]),
        forward("softmax/1x64x128x128x2", &[1, 64, 128, 128, 2]).benchmark(),
        backward("softmax_grad/2x3x5x7x2", &[2, 3, 5, 7, 2]),
        backward("softmax_grad/2x3x5x7x3", &[2, 3, 5, 7, 3]),
        backward("softmax_grad/1x9x11x13x5", &[1, 9, 11, 13, 5]),
        backward("softmax_grad/1x64x128x128x2", &[1, 64, 128, 128, 2]).benchmark(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        let p = softmax_of(&[1000.0, 1000.0, -1000.0]);
        assert_eq!(p, [0.5, 0.5, 0.0]);
    }
}
