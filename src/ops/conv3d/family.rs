//! Families of kernels: each computes a convolution and both its gradients, which one choice serves.

use super::geometry::{Geometry, WeightOrder};
use super::naive::Naive;
use super::same5::Same5;
use super::same5_lanes::Same5Lanes;
use super::shares::Product;
use super::window::Window;
use super::window_lanes::WindowLanes;
use super::winograd::Winograd;
use crate::graph::Lowering;
use crate::kernel::{Operand, Target};
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

    /// Emits `coarse[n, o, a] = bias[a] + Σ_{k, f} fine[n, o * stride + k - padding, f] * weight[k, f, a]`.
    fn forward(&self, at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder);

    /// Emits `fine[n, i, f] = bias[f] + Σ_{k, o, a: o * stride + k - padding = i} coarse[n, o, a] * weight[k, f, a]`.
    fn grad_input(&self, at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder);

    /// Emits `weight[k, f, a] = Σ_{n, o} fine[n, o * stride + k - padding, f] * coarse[n, o, a]`.
    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides, order: WeightOrder);
}

/// The operands of a weight gradient.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Sides {
    /// The side that windows are cut from.
    pub fine: Operand,
    /// The side with one voxel per window.
    pub coarse: Operand,
}

/// Every family. Of those that cost the same the first is taken.
pub(super) const FAMILIES: [&dyn Family; 6] = [&Same5, &Same5Lanes, &Window, &WindowLanes, &Naive, &Winograd];
