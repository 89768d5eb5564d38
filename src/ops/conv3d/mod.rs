//! Convolution in three dimensions and its gradients.
//!
//! ```text
//! output[n, o, co]      = bias[co] + Σ_{k, ci} input[n, o * stride + k - padding, ci] * weight[k, ci, co]
//! grad_input[n, i, ci]  = Σ_{k, o, co: o * stride + k - padding = i} grad_output[n, o, co] * weight[k, ci, co]
//! grad_weight[k, ci, co] = Σ_{n, o} input[n, o * stride + k - padding, ci] * grad_output[n, o, co]
//! ```
//!
//! `o`, `i` and `k` are triples (z, y, x); the input is zero outside its extents. Which kernels are used:
//!
//! | convolution | kernels | where |
//! |---|---|---|
//! | 5x5x5, stride 1, padding 2 | Winograd's F(4x4x4, 5x5x5) | `winograd` |
//! | the same, where the cost model prefers it | rows of voxels in registers | `same5`, on llvmpipe `same5_lanes` |
//! | kernel = stride, no padding (2x2x2 down, 1x1x1 head) | gemms with an index map, on llvmpipe of matrices in memory | `window`, `window_lanes` |
//! | any other, and [`Algorithms::Naive`](crate::kernel::Algorithms) | the naive kernels | `naive` |

mod cases;
mod choice;
pub(super) mod family;
pub(super) mod geometry;
mod grad_input;
mod grad_weight;
mod naive;
pub(super) mod operands;
pub(super) mod reference;
mod same5;
mod same5_lanes;
pub(super) mod split_k;
mod window;
mod window_lanes;
mod winograd;

pub(super) use cases::cases;
pub use grad_input::Conv3dGradInput;
pub use grad_weight::Conv3dGradWeight;

use super::ChannelSum;
use crate::graph::{Lowering, Op, Vjp};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};
pub(super) use choice::family;
pub use choice::{Reason, convolution_kernels};
use geometry::{Geometry, WeightOrder, activation, axes, check_bias};
use operands::ConvOperands;

/// Convolution of `input [N, D, H, W, Cin]` with `weight [kD, kH, kW, Cin, Cout]`, plus an optional `bias [Cout]` as
/// third input. Output extents are PyTorch's: `(extent + 2 padding - kernel) / stride + 1`, rounded down; windows that
/// do not overlap (kernel = stride) must divide the extents.
#[derive(Debug, Clone, Copy)]
pub struct Conv3d {
    /// Step of the window in voxels, per axis (z, y, x).
    pub stride: [usize; 3],
    /// Zeros added on either side, per axis.
    pub padding: [usize; 3],
}

impl Conv3d {
    /// Stride 1 and the padding that keeps the extents under a cubic kernel of this odd extent.
    pub fn same(kernel: usize) -> Self {
        Self { stride: [1; 3], padding: [kernel / 2; 3] }
    }

    /// Windows of this extent without overlap or padding.
    pub fn windows(extent: usize) -> Self {
        Self { stride: [extent; 3], padding: [0; 3] }
    }

    fn geometry(&self, input: &TensorSpec, weight: &TensorSpec) -> Result<Geometry, ShapeError> {
        Geometry::of_conv3d(self.name(), self.stride, self.padding, input, weight)
    }
}

impl Op for Conv3d {
    fn name(&self) -> &'static str {
        "conv3d"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let (input, weight, bias) = match *inputs {
            [input, weight] => (input, weight, None),
            [input, weight, bias] => (input, weight, Some(bias)),
            _ => return Err(ShapeError::new(self.name(), "input, weight and an optional bias", inputs)),
        };
        let g = self.geometry(input, weight)?;
        check_bias(self.name(), bias, g.out_channels)?;
        Ok(vec![activation(g.batch, g.output, g.out_channels)])
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        let (stride, padding) = (self.stride, self.padding);
        let upstream = at.grad_output();
        if at.needs(0) {
            let input = at.input_spec(0).spatial(self.name())?;
            let op = Conv3dGradInput { stride, padding, input };
            let gradient = at.add(op, &[upstream, at.input(1)])?;
            at.contribute(0, gradient);
        }
        if at.needs(1) {
            let [d, h, w, ..] = axes(self.name(), at.input_spec(1))?;
            let op = Conv3dGradWeight { stride, padding, kernel: [d, h, w] };
            let gradient = at.add(op, &[at.input(0), upstream])?;
            at.contribute(1, gradient);
        }
        if at.input_count() == 3 && at.needs(2) {
            let gradient = at.add(ChannelSum, &[upstream])?;
            at.contribute(2, gradient);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let g = self.geometry(at.input_spec(0), at.input_spec(1)).expect("infer accepted these specs");
        let bias = (at.input_count() == 3).then(|| at.input(2));
        let operands = ConvOperands { activation: at.input(0), weight: at.input(1), bias };
        let order = WeightOrder::InputFirst;
        family(&g, order, at.target()).forward(at, &g, operands, order);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let g = self.geometry(&inputs[0].spec, &inputs[1].spec).expect("infer accepted these specs");
        vec![reference::forward(&g, inputs[0], inputs[1], inputs.get(2).copied())]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        self.geometry(inputs[0], inputs[1]).expect("infer accepted these specs").flops()
    }
}
