//! The kernels that follow the definition, for every kernel extent, stride and padding.

use super::Family;
use super::operands::{ConvOperands, Sides};
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Target};
use crate::ops::conv3d::geometry::Geometry;

/// The oracle of all others, and what is left where none of them fits.
#[derive(Debug)]
pub(in crate::ops::conv3d) struct Naive;

impl Family for Naive {
    fn fits(&self, _g: &Geometry, _target: &Target) -> bool {
        true
    }

    fn cost(&self, _g: &Geometry, _target: &Target) -> f64 {
        f64::INFINITY
    }

    fn forward(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands) {
        emit(at, g, "conv3d_naive", operands, g.output_voxels() * g.out_channels);
    }

    fn grad_input(&self, at: &mut Lowering<'_>, g: &Geometry, operands: ConvOperands) {
        emit(at, g, "conv3d_grad_input_naive", operands, g.input_voxels() * g.in_channels);
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides) {
        let dispatch = sides.bind(g.write(Dispatch::new("conv3d_grad_weight_naive"))).write(at.output(0));
        at.emit_in_parts(&dispatch, g.weights().div_ceil(64), g.flops());
    }
}

fn emit(at: &mut Lowering<'_>, g: &Geometry, shader: &'static str, operands: ConvOperands, elements: usize) {
    let dispatch = operands.bind(g.write(Dispatch::new(shader)), at);
    at.emit_in_parts(&dispatch, elements.div_ceil(64), g.flops());
}
