//! What the operations of this module and of `conv_transpose3d` have in common.

use super::choice::family;
use super::geometry::{Geometry, WeightOrder, activation};
use super::kernels::Direction;
use super::kernels::operands::{ConvOperands, Sides};
use super::reference;
use crate::graph::{Lowering, Op, Vjp};
use crate::ops::ChannelSum;
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Which of a convolution and its gradients is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Pass {
    /// From an activation and the weight, and an optional bias.
    Convolve(Direction),
    /// From the input and the gradient of the output.
    GradWeight,
}

/// What an operation computes on its inputs.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Convolution {
    pub geometry: Geometry,
    pub pass: Pass,
}

/// An operation that is a convolution, a transposed one, or one of their gradients.
pub(in crate::ops) trait ConvolutionOp: std::fmt::Debug {
    /// [`Op::name`].
    const NAME: &'static str;

    /// What it computes on these inputs.
    ///
    /// # Errors
    /// [`ShapeError`] when the operation is not defined on them.
    fn convolution(&self, inputs: &[&TensorSpec]) -> Result<Convolution, ShapeError>;

    /// [`Op::vjp`].
    ///
    /// # Errors
    /// As there.
    fn differentiate(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        Err(ShapeError::new(Self::NAME, "an operation that has a gradient", &[at.output_spec(0)]))
    }

    /// What it computes on inputs that it has accepted.
    fn accepted(&self, inputs: &[&TensorSpec]) -> Convolution {
        self.convolution(inputs).expect("infer accepted these specs")
    }
}

macro_rules! operations {
    ($($op:ty),*) => {
        $(impl Op for $op {
            fn name(&self) -> &'static str {
                Self::NAME
            }

            fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
                Ok(vec![self.convolution(inputs)?.result()])
            }

            fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
                self.differentiate(at)
            }

            fn lower(&self, at: &mut Lowering<'_>) {
                let inputs: Vec<&TensorSpec> = (0..at.input_count()).map(|i| at.input_spec(i)).collect();
                self.accepted(&inputs).lower(at);
            }

            fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
                let specs: Vec<&TensorSpec> = inputs.iter().map(|input| &input.spec).collect();
                vec![self.accepted(&specs).reference(inputs)]
            }

            fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
                self.accepted(inputs).geometry.flops()
            }
        })*
    };
}

operations!(super::Conv3d, super::Conv3dGradInput, super::Conv3dGradWeight);
operations!(crate::ops::ConvTranspose3d, crate::ops::ConvTranspose3dGradInput, crate::ops::ConvTranspose3dGradWeight);

impl Convolution {
    /// Spec of what is computed.
    fn result(&self) -> TensorSpec {
        let g = &self.geometry;
        match self.pass {
            Pass::Convolve(Direction::Forward) => activation(g.batch, g.output, g.out_channels),
            Pass::Convolve(Direction::Backward) => activation(g.batch, g.input, g.in_channels),
            Pass::GradWeight => {
                let channels = match g.order {
                    WeightOrder::InputFirst => [g.in_channels, g.out_channels],
                    WeightOrder::OutputFirst => [g.out_channels, g.in_channels],
                };
                TensorSpec::f32([&g.kernel[..], &channels].concat())
            }
        }
    }

    /// Checks the optional bias of an operation: one for each channel of the result.
    pub fn with_bias(self, op: &'static str, bias: Option<&TensorSpec>) -> Result<Self, ShapeError> {
        let channels = self.result().channels();
        match bias {
            Some(spec) if spec.shape[..] != [channels] => {
                Err(ShapeError::new(op, format!("a bias of {channels} channels"), &[spec]))
            }
            _ => Ok(self),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let g = &self.geometry;
        let family = family(g, at.target());
        let (first, second) = (at.input(0), at.input(1));
        match (self.pass, g.order) {
            (Pass::Convolve(direction), _) => {
                let bias = (at.input_count() == 3).then(|| at.input(2));
                family.convolve(at, g, direction, ConvOperands { activation: first, weight: second, bias });
            }
            (Pass::GradWeight, WeightOrder::InputFirst) => {
                family.grad_weight(at, g, Sides { input: first, output: second });
            }
            (Pass::GradWeight, WeightOrder::OutputFirst) => {
                family.grad_weight(at, g, Sides { input: second, output: first });
            }
        }
    }

    fn reference(&self, inputs: &[&HostTensor]) -> HostTensor {
        let (g, bias, swapped) = (&self.geometry, inputs.get(2).copied(), reference::channels_swapped);
        match (self.pass, g.order) {
            (Pass::Convolve(direction), order) => {
                let straight = direction.is_backward() == (order == WeightOrder::OutputFirst);
                let weight = if straight { inputs[1].clone() } else { swapped(inputs[1]) };
                reference::convolve(g, direction, inputs[0], &weight, bias)
            }
            (Pass::GradWeight, WeightOrder::InputFirst) => reference::grad_weight(g, inputs[0], inputs[1]),
            (Pass::GradWeight, WeightOrder::OutputFirst) => swapped(&reference::grad_weight(g, inputs[1], inputs[0])),
        }
    }
}

/// The three inputs of a convolution, the last of which is optional.
pub(in crate::ops) fn with_optional_bias<'a>(
    op: &'static str,
    inputs: &[&'a TensorSpec],
) -> Result<(&'a TensorSpec, &'a TensorSpec, Option<&'a TensorSpec>), ShapeError> {
    match *inputs {
        [input, weight] => Ok((input, weight, None)),
        [input, weight, bias] => Ok((input, weight, Some(bias))),
        _ => Err(ShapeError::new(op, "input, weight and an optional bias", inputs)),
    }
}

/// Appends the gradients of a convolution's input, weight and bias, as far as they are needed.
pub(in crate::ops) fn differentiate(
    at: &mut Vjp<'_>,
    grad_input: impl Op + 'static,
    grad_weight: impl Op + 'static,
) -> Result<(), ShapeError> {
    let upstream = at.grad_output();
    at.contribute_node(0, grad_input, &[upstream, at.input(1)])?;
    at.contribute_node(1, grad_weight, &[at.input(0), upstream])?;
    if at.input_count() == 3 { at.contribute_node(2, ChannelSum, &[upstream]) } else { Ok(()) }
}
