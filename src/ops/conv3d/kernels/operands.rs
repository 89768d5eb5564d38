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
    /// What is bound as the bias. Every binding must be bound: without a bias, this one is not read.
    pub fn bias_or_any(&self) -> Operand {
        self.bias.unwrap_or(self.weight)
    }

    /// Binds the operands and the result in the order of the shaders, and appends to the uniform whether there is a bias.
    pub fn bind(&self, dispatch: Dispatch, at: &Lowering<'_>) -> Dispatch {
        let dispatch = dispatch.param(usize::from(self.bias.is_some()));
        dispatch.read(self.activation).read(self.weight).read(self.bias_or_any()).write(at.output(0))
    }
}

/// Operands of a weight gradient.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Sides {
    /// What the size of the [`Geometry`](crate::ops::conv3d::geometry::Geometry)'s input has.
    pub input: Operand,
    /// What the size of its output has.
    pub output: Operand,
}

impl Sides {
    /// Binds both sides in the order of the shaders.
    pub fn bind(&self, dispatch: Dispatch) -> Dispatch {
        dispatch.read(self.input).read(self.output)
    }
}

/// Most workgroups over the taps: several taps for one invocation pay for its start on llvmpipe.
const MOST_WORKGROUPS: usize = 5;

/// Emits weights `[taps, a, b]` as `[taps, b, a]`.
pub(in crate::ops) fn emit_weight_transpose(
    at: &mut Lowering<'_>,
    [taps, a, b]: [usize; 3],
    weight: Operand,
    transposed: Operand,
) {
    let dispatch = Dispatch::new("weight_transpose").params(&[a, b, taps]).read(weight).write(transposed);
    at.emit(dispatch.grid([b.div_ceil(8) as u32, a.div_ceil(8) as u32, taps.min(MOST_WORKGROUPS) as u32]));
}
