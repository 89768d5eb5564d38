use crate::graph::Lowering;
use crate::kernel::{Dispatch, Operand};

/// Operands of a convolution, or of its input gradient.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct ConvOperands {
    /// The input, or the gradient of the output.
    pub activation: Operand,
    /// The weights.
    pub weight: Operand,
    /// What is added to each channel of the result.
    pub bias: Option<Operand>,
}

impl ConvOperands {
    /// Binds the operands in the order of the shaders. Every binding must be bound: without a bias, that one is not read.
    pub fn bind(&self, dispatch: Dispatch, at: &Lowering<'_>) -> Dispatch {
        let bias = self.bias.unwrap_or(self.weight);
        dispatch.read(self.activation).read(self.weight).read(bias).write(at.output(0))
    }
}

/// Operands of a weight gradient, by the sides of the [`Geometry`](super::geometry::Geometry).
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Sides {
    /// The side from which windows are cut.
    pub input: Operand,
    /// The side with one voxel per window.
    pub output: Operand,
}

/// Most workgroups over the taps: several taps for one invocation pay for its start on llvmpipe.
const MOST_WORKGROUPS: usize = 5;

/// Emits weights `[taps, a, b]` as `[taps, b, a]`.
pub(super) fn emit_weight_transpose(
    at: &mut Lowering<'_>,
    [taps, a, b]: [usize; 3],
    weight: Operand,
    transposed: Operand,
) {
    let dispatch = Dispatch::new("weight_transpose").params(&[a, b, taps]).read(weight).write(transposed);
    at.emit(dispatch.grid([b.div_ceil(8) as u32, a.div_ceil(8) as u32, taps.min(MOST_WORKGROUPS) as u32]));
}
