//! The kernels that follow the definition, for every kernel extent, stride and padding.

use super::operands::{ConvOperands, Sides};
use super::{Direction, Family};
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

    fn convolve(&self, at: &mut Lowering<'_>, g: &Geometry, direction: Direction, operands: ConvOperands) {
        let (shader, elements) = match direction {
            Direction::Forward => ("conv3d_naive", g.output_voxels() * g.out_channels),
            Direction::Backward => ("conv3d_grad_input_naive", g.input_voxels() * g.in_channels),
        };
        let dispatch = operands.bind(g.write(Dispatch::new(shader)), at);
        at.emit_in_parts(&dispatch, elements.div_ceil(64), g.flops());
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides) {
        let dispatch = sides.bind(g.write(Dispatch::new("conv3d_grad_weight_naive"))).write(at.output(0));
        at.emit_in_parts(&dispatch, g.weights().div_ceil(64), g.flops());
    }
}
