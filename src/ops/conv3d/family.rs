//! Families of kernels: each computes a convolution and both its gradients, which one choice serves.

use super::geometry::{Geometry, WeightOrder};
use super::naive::Naive;
use super::operands::{ConvOperands, Sides};
use super::same5::Same5;
use super::same5_lanes::Same5Lanes;
use super::window::Window;
use super::window_lanes::WindowLanes;
use super::winograd::Winograd;
use crate::graph::Lowering;
use crate::kernel::Target;
use std::fmt::Debug;

/// What a user's choice between kernels tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) enum Kind {
    /// The plain kernels that follow the definition.
    Naive,
    /// Every product of the definition, in tiles.
    Direct,
    /// Fewer products, between transforms.
    Winograd,
}

/// A family of kernels. A transposed convolution is the `grad_input` of the convolution that leads back, and this its
/// gradient; its weights are in the other order.
pub(in crate::ops) trait Family: Debug + Sync {
    /// What it counts as.
    fn kind(&self) -> Kind;

    /// Whether it computes these convolutions within the limits of the device.
    fn fits(&self, g: &Geometry, order: WeightOrder, target: &Target) -> bool;

    /// What the forward pass costs, and about each of the gradients, in the unit of
    /// [`ConvolutionCosts`](crate::kernel::ConvolutionCosts).
    fn cost(&self, g: &Geometry, target: &Target) -> f64;

    /// Emits `output[n, o, co] = bias[co] + Σ_{k, ci} input[n, o * stride + k - padding, ci] * weight[k, ci, co]`.
    fn forward(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands, order: WeightOrder);

    /// Emits `input[n, i, ci] = bias[ci] + Σ_{k, o, co: o * stride + k - padding = i} output[n, o, co] * weight[k, ci, co]`.
    fn grad_input(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands, order: WeightOrder);

    /// Emits `weight[k, ci, co] = Σ_{n, o} input[n, o * stride + k - padding, ci] * output[n, o, co]`.
    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides, order: WeightOrder);
}

/// Every family. Of those that cost the same the first is taken.
pub(super) const FAMILIES: [&dyn Family; 6] = [&Same5, &Same5Lanes, &Window, &WindowLanes, &Naive, &Winograd];
