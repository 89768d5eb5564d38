//! Convolutions of 1, 3 or 5 taps along each axis that keep the extents, in register and workgroup-memory tiles.

use super::operands::{ConvOperands, Sides};
use super::split_k::SplitK;
use super::{Direction, Family};
use crate::graph::Lowering;
use crate::kernel::{Dispatch, Target};
use crate::ops::conv3d::geometry::Geometry;

/// Voxels along x and output channels of one invocation's tile.
const TILE: [usize; 2] = [8, 8];

/// Rows of voxels in registers, any channels.
#[derive(Debug)]
pub(super) struct Same;

impl Family for Same {
    fn fits(&self, g: &Geometry, _target: &Target) -> bool {
        fits(g)
    }

    fn cost(&self, g: &Geometry, target: &Target) -> f64 {
        target.tuning.costs.direct * tiled_flops(g, Direction::Forward) as f64
    }

    fn convolve(&self, at: &mut Lowering<'_>, g: &Geometry, direction: Direction, operands: ConvOperands) {
        let invocations = at.target().tuning.convolution_invocations;
        let [_, to] = direction.channels(g);
        let tiles = g.input[2].div_ceil(TILE[0]) * to.div_ceil(TILE[1]);
        let dispatch = convolution("conv3d_same", at, g, direction, operands);
        let dispatch = dispatch.constant("INVOCATIONS", invocations);
        let workgroups = g.input_rows().div_ceil(invocations as usize) * tiles;
        at.emit_in_parts(&dispatch, workgroups, tiled_flops(g, direction));
    }

    fn grad_weight(&self, at: &mut Lowering<'_>, g: &Geometry, sides: Sides) {
        let split_k = SplitK::new(g, g.kernel[0] * g.kernel[1], g.input_rows(), at.target());
        let dispatch = weight_gradient("conv3d_same_grad_weight", g, sides).param(split_k.groups());
        // Eight voxels of a row, and those of the input under their taps.
        let output = at.output(0);
        split_k.emit(at, g, dispatch, [TILE[0] + g.kernel[2] - 1, TILE[0]], output);
    }
}

/// Whether there are these kernels for a convolution.
pub(in crate::ops) fn fits(g: &Geometry) -> bool {
    g.layer().is_some_and(|layer| layer.has_choice())
}

/// A dispatch of a shader for the taps of a convolution.
fn of_taps(shader: &'static str, g: &Geometry) -> Dispatch {
    let [z, y, x] = g.kernel;
    let dispatch = Dispatch::new(shader).count("TAPS_Z", z).count("TAPS_Y", y).count("TAPS_X", x);
    dispatch.count("VOXELS", TILE[0]).count("SHARED", x - 1).count("ROW", TILE[0] + x - 1)
}

/// The dispatch of a convolution in either direction without its constants and grid, with the words and bindings of
/// `shaders/conv3d_same.wgsl`.
pub(in crate::ops) fn convolution(
    shader: &'static str,
    at: &Lowering<'_>,
    g: &Geometry,
    direction: Direction,
    operands: ConvOperands,
) -> Dispatch {
    let steps = match direction {
        Direction::Forward => [g.out_channels, 1],
        Direction::Backward => [1, g.out_channels],
    };
    let dispatch = of_taps(shader, g)
        .param(g.input_rows())
        .params(&g.input)
        .params(&direction.channels(g))
        .param(g.in_channels * g.out_channels)
        .params(&steps)
        .param(usize::from(direction.is_backward()));
    operands.bind(dispatch, at)
}

/// The dispatch of the weight gradient without its constants, output and grid.
pub(in crate::ops) fn weight_gradient(shader: &'static str, g: &Geometry, sides: Sides) -> Dispatch {
    let dispatch = of_taps(shader, g).param(g.input_rows()).params(&g.input).params(&[g.in_channels, g.out_channels]);
    sides.bind(dispatch)
}

/// Flops of a convolution that works on eight voxels of a row and eight output channels at a time.
pub(in crate::ops) fn tiled_flops(g: &Geometry, direction: Direction) -> u64 {
    let [from, to] = direction.channels(g);
    let voxels = (g.input_rows() * g.input[2].next_multiple_of(TILE[0])) as u64;
    2 * voxels * (g.taps() * from * to.next_multiple_of(TILE[1])) as u64
}
