//! The kernels that follow the definition, for every kernel extent, stride and padding.

use super::family::{Family, Kind, Sides};
use super::geometry::{Geometry, WeightOrder};
use super::shares::Product;
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

    fn forward(&self, at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder) {
        emit(at, g, "conv3d_naive", product, order, g.coarse_voxels() * g.coarse_channels);
    }

    fn grad_input(&self, at: &mut Lowering<'_>, g: &Geometry, product: Product, order: WeightOrder) {
        emit(at, g, "conv3d_grad_input_naive", product, order, g.fine_voxels() * g.fine_channels);
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides, order: WeightOrder) {
        let dispatch = g
            .write(Dispatch::new("conv3d_grad_weight_naive"), order)
            .read(sides.fine)
            .read(sides.coarse)
            .write(at.output(0));
        at.emit_in_parts(&dispatch, g.weights().div_ceil(64), g.flops());
    }
}

fn emit(
    at: &mut Lowering<'_>,
    g: &Geometry,
    shader: &'static str,
    product: Product,
    order: WeightOrder,
    elements: usize,
) {
    let dispatch = g.write(Dispatch::new(shader), order).param(usize::from(product.bias.is_some()));
    let dispatch = product.bind(dispatch, at);
    at.emit_in_parts(&dispatch, elements.div_ceil(64), g.flops());
}
