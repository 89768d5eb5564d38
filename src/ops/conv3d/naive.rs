//! The kernels that follow the definition, for every kernel extent, stride and padding.

use super::geometry::{Geometry, WeightOrder};
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand};

/// `coarse[n, o, a] = bias[a] + Σ_{k, f} fine[n, o * stride + k - padding, f] * weight[k, f, a]`.
pub(in crate::ops) fn coarse_from_fine(
    at: &mut Lowering<'_>,
    g: &Geometry,
    fine: Operand,
    weight: Operand,
    bias: Option<Operand>,
    order: WeightOrder,
) {
    let elements = g.coarse_voxels() * g.coarse_channels;
    product(at, g, "conv3d_naive", fine, weight, bias, order, elements);
}

/// `fine[n, i, f] = bias[f] + Σ_{k, o, a: o * stride + k - padding = i} coarse[n, o, a] * weight[k, f, a]`.
pub(in crate::ops) fn fine_from_coarse(
    at: &mut Lowering<'_>,
    g: &Geometry,
    coarse: Operand,
    weight: Operand,
    bias: Option<Operand>,
    order: WeightOrder,
) {
    let elements = g.fine_voxels() * g.fine_channels;
    product(at, g, "conv3d_grad_input_naive", coarse, weight, bias, order, elements);
}

#[expect(clippy::too_many_arguments, reason = "the shared half of the two functions above")]
fn product(
    at: &mut Lowering<'_>,
    g: &Geometry,
    shader: &'static str,
    source: Operand,
    weight: Operand,
    bias: Option<Operand>,
    order: WeightOrder,
    elements: usize,
) {
    let dispatch = g
        .write(Dispatch::new(shader), order)
        .param(usize::from(bias.is_some()))
        .read(source)
        .read(weight)
        // Every binding must be bound: without a bias this one is not read.
        .read(bias.unwrap_or(weight))
        .write(at.output(0));
    at.emit_in_parts(&dispatch, elements.div_ceil(64), g.flops());
}

/// `weight[k, f, a] = Σ_{n, o} fine[n, o * stride + k - padding, f] * coarse[n, o, a]`.
pub(in crate::ops) fn weight(at: &mut Lowering<'_>, g: &Geometry, fine: Operand, coarse: Operand, order: WeightOrder) {
    let dispatch =
        g.write(Dispatch::new("conv3d_grad_weight_naive"), order).read(fine).read(coarse).write(at.output(0));
    at.emit_in_parts(&dispatch, g.weights().div_ceil(64), g.flops());
}
