//! The 5x5x5 convolution that keeps the extents, in register and workgroup-memory tiles.

use super::family::{Family, Kind, Sides};
use super::geometry::{Geometry, WeightOrder};
use super::shares::{Product, Shares};
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Target};

/// Voxels along x and output channels of one invocation's tile.
const TILE: [usize; 2] = [8, 8];

/// Which of the two products with the same kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the input to the output.
    Forward,
    /// From the gradient of the output to that of the input: taps mirrored, channels exchanged.
    Backward,
}

/// Rows of voxels in registers, any channels.
#[derive(Debug)]
pub(super) struct Same5;

impl Family for Same5 {
    fn kind(&self) -> Kind {
        Kind::Direct
    }

    fn fits(&self, g: &Geometry, _order: WeightOrder, _target: &Target) -> bool {
        g.is_same_5()
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        target.tuning.costs.direct * tiled_flops(g, g.fine_channels, g.coarse_channels) as f64
    }

    fn forward(&self, at: &mut Lowering<'_>, g: &Geometry, product: Product, _order: WeightOrder) {
        emit(at, g, Direction::Forward, product);
    }

    fn grad_input(&self, at: &mut Lowering<'_>, g: &Geometry, product: Product, _order: WeightOrder) {
        emit(at, g, Direction::Backward, product);
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides, _order: WeightOrder) {
        grad_weight(at, g, sides);
    }
}

/// Emits the convolution in either direction.
fn emit(at: &mut Lowering<'_>, g: &Geometry, direction: Direction, product: Product) {
    let rows = g.batch * g.fine[0] * g.fine[1];
    let (cin, cout) = (g.fine_channels, g.coarse_channels);
    let [from, to, in_step, out_step] = match direction {
        Direction::Forward => [cin, cout, cout, 1],
        Direction::Backward => [cout, cin, 1, cout],
    };
    let lanes = at.target().tuning.convolution_lanes;
    let workgroups = rows.div_ceil(lanes as usize) * g.fine[2].div_ceil(TILE[0]) * to.div_ceil(TILE[1]);
    let dispatch = Dispatch::new("conv3d_same5")
        .constant("LANES", lanes)
        .param(rows)
        .params(&g.fine)
        .params(&[from, to, cin * cout, in_step, out_step])
        .param(usize::from(direction == Direction::Backward))
        .param(usize::from(product.bias.is_some()));
    let dispatch = product.bind(dispatch, at);
    at.emit_in_parts(&dispatch, workgroups, tiled_flops(g, from, to));
}

/// Flops of a product, which works on eight voxels of a row and eight output channels at a time.
pub(super) fn tiled_flops(g: &Geometry, from: usize, to: usize) -> u64 {
    let voxels = (g.batch * g.fine[0] * g.fine[1] * g.fine[2].next_multiple_of(TILE[0])) as u64;
    2 * voxels * (g.taps() * from * to.next_multiple_of(TILE[1])) as u64
}

/// Emits the gradient with respect to the weight.
fn grad_weight(at: &mut Lowering<'_>, g: &Geometry, sides: Sides) {
    let rows = g.batch * g.fine[0] * g.fine[1];
    let shares = Shares::new(g, 25, rows, at.target());
    let dispatch = Dispatch::new("conv3d_same5_grad_weight")
        .param(rows)
        .params(&g.fine)
        .params(&[g.fine_channels, g.coarse_channels, shares.groups()])
        .read(sides.fine)
        .read(sides.coarse);
    // Eight voxels of a row, and two more on either side of the input.
    shares.emit(at, g, dispatch, [12, 8]);
}
