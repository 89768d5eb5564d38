//! The kernels that follow the definition, for every kernel extent, stride and padding.

use super::family::{Family, Kind};
use super::geometry::{Geometry, WeightOrder};
use super::operands::{ConvOperands, Sides};
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Target};

/// The oracle of all others.
#[derive(Debug)]
pub(super) struct Naive;

impl Family for Naive {
    fn kind(&self) -> Kind {
        Kind::Naive
    }

    fn fits(&self, _g: &Geometry, _order: WeightOrder, _target: &Target) -> bool {
        true
    }

    fn cost(&self, _g: &Geometry, _target: &Target) -> f64 {
        f64::INFINITY
    }

    fn forward(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands, order: WeightOrder) {
        emit(at, g, "conv3d_naive", operands, order, g.output_voxels() * g.out_channels);
    }

    fn grad_input(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands, order: WeightOrder) {
        emit(at, g, "conv3d_grad_input_naive", operands, order, g.input_voxels() * g.in_channels);
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides, order: WeightOrder) {
        let dispatch = g
            .write(Dispatch::new("conv3d_grad_weight_naive"), order)
            .read(sides.input)
            .read(sides.output)
            .write(at.output(0));
        at.emit_in_parts(&dispatch, g.weights().div_ceil(64), g.flops());
    }
}

fn emit(
    at: &mut Lowering<'_>,
    g: &Geometry,
    shader: &'static str,
    operands: ConvOperands,
    order: WeightOrder,
    elements: usize,
) {
    let dispatch = g.write(Dispatch::new(shader), order).param(usize::from(operands.bias.is_some()));
    let dispatch = operands.bind(dispatch, at);
    at.emit_in_parts(&dispatch, elements.div_ceil(64), g.flops());
}
