//! Families of kernels: each computes a convolution and both its gradients, which one choice serves.
//!
//! A new family is its module, its shaders and its line in [`FAMILIES`].

mod naive;
pub(in crate::ops) mod operands;
pub(in crate::ops) mod same;
pub(in crate::ops) mod split_k;
mod window;
pub(in crate::ops) mod winograd;

use super::geometry::Geometry;
use crate::graph::Lowering;
use crate::kernel::{ConvolutionKernels, Target};
pub(super) use naive::Naive;
use operands::{ConvOperands, Sides};
use std::fmt::Debug;

/// Every family. Of those that cost the same the first is taken.
pub(super) const FAMILIES: &[&[&dyn Family]] = &[
    &[&same::Same, &window::Window, &winograd::Winograd, &Naive],
    // For subgroups of eight.
    crate::ops::llvmpipe::FAMILIES,
];

/// A family of kernels. A transposed convolution is the convolution that leads back, in the other direction; its weights
/// are in the other order.
pub(in crate::ops) trait Family: Debug + Sync {
    /// What it counts as where the user chooses.
    fn kind(&self) -> ConvolutionKernels {
        ConvolutionKernels::Direct
    }

    /// Whether it computes these convolutions within the limits of the device.
    fn fits(&self, g: &Geometry, target: &Target) -> bool;

    /// What the forward pass costs, and about each of the gradients, in the unit of
    /// [`ConvolutionCosts`](crate::kernel::ConvolutionCosts).
    fn cost(&self, g: &Geometry, target: &Target) -> f64;

    /// Emits forward `output[n, o, co] = bias[co] + Σ_{k, ci} input[n, o * stride + k - padding, ci] * weight[k, ci, co]`,
    /// backward `input[n, i, ci] = bias[ci] + Σ_{k, o, co: o * stride + k - padding = i} output[n, o, co] * weight[k, ci, co]`.
    fn convolve(&self, at: &mut Lowering<'_>, g: &Geometry, direction: Direction, operands: ConvOperands);

    /// Emits `weight[k, ci, co] = Σ_{n, o} input[n, o * stride + k - padding, ci] * output[n, o, co]`.
    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides);
}

/// Which of the two convolutions of a geometry is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Direction {
    /// From the input to the output.
    Forward,
    /// From the gradient of the output to that of the input: taps mirrored, channels exchanged. With a bias, it is a transposed
    /// convolution.
    Backward,
}

impl Direction {
    /// Channels of what is convolved, and of the result.
    pub fn channels(self, g: &Geometry) -> [usize; 2] {
        match self {
            Self::Forward => [g.in_channels, g.out_channels],
            Self::Backward => [g.out_channels, g.in_channels],
        }
    }

    /// Whether taps are mirrored.
    pub fn is_backward(self) -> bool {
        self == Self::Backward
    }
}
