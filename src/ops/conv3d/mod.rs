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
//! | 1, 3 or 5 taps along each axis, stride 1, half a kernel of padding | Winograd's | `kernels::winograd` |
//! | the same, where the cost model prefers it | rows of voxels in registers | `kernels::same`, on llvmpipe `llvmpipe::same_lanes` |
//! | kernel = stride, no padding (2x2x2 down, 1x1x1 head) | gemms with an index map, on llvmpipe of matrices in memory | `kernels::window`, `llvmpipe::window_lanes` |
//! | any other stride, kernel and padding | the same index map, on llvmpipe gemms over a padded copy | `kernels::window`, `llvmpipe::strided_lanes` |
//! | [`Algorithms::Naive`](crate::kernel::Algorithms) | the naive kernels | `kernels::naive` |

mod cases;
pub(super) mod choice;
pub(super) mod convolution;
pub(super) mod geometry;
pub(super) mod kernels;
mod reference;

pub(super) use cases::cases;
pub use choice::{Reason, convolution_kernels};

use crate::graph::Vjp;
use crate::tensor::{ShapeError, TensorSpec};
use convolution::{Convolution, ConvolutionOp, Pass, differentiate, with_optional_bias};
use geometry::{Geometry, activation, axes};
use kernels::Direction;

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
}

/// Gradient of [`Conv3d`] with respect to its input, from `grad_output [N, d, h, w, Cout]` and
/// `weight [kD, kH, kW, Cin, Cout]`.
#[derive(Debug, Clone, Copy)]
pub struct Conv3dGradInput {
    /// Stride of the convolution.
    pub stride: [usize; 3],
    /// Padding of the convolution.
    pub padding: [usize; 3],
    /// Extents (D, H, W) of the convolution's input, which those of its output do not determine.
    pub input: [usize; 3],
}

/// Gradient of [`Conv3d`] with respect to its weight, from `input [N, D, H, W, Cin]` and
/// `grad_output [N, d, h, w, Cout]`. The sum over voxels has a fixed order.
#[derive(Debug, Clone, Copy)]
pub struct Conv3dGradWeight {
    /// Stride of the convolution.
    pub stride: [usize; 3],
    /// Padding of the convolution.
    pub padding: [usize; 3],
    /// Extents of the kernel.
    pub kernel: [usize; 3],
}

impl ConvolutionOp for Conv3d {
    const NAME: &'static str = "conv3d";

    fn convolution(&self, inputs: &[&TensorSpec]) -> Result<Convolution, ShapeError> {
        let (input, weight, bias) = with_optional_bias(Self::NAME, inputs)?;
        let geometry = Geometry::of_conv3d(Self::NAME, self.stride, self.padding, input, weight)?;
        Convolution { geometry, pass: Pass::Convolve(Direction::Forward) }.with_bias(Self::NAME, bias)
    }

    fn differentiate(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        let (stride, padding) = (self.stride, self.padding);
        let input = at.input_spec(0).spatial(Self::NAME)?;
        let [d, h, w, ..] = axes(Self::NAME, at.input_spec(1))?;
        differentiate(
            at,
            Conv3dGradInput { stride, padding, input },
            Conv3dGradWeight { stride, padding, kernel: [d, h, w] },
        )
    }
}

impl ConvolutionOp for Conv3dGradInput {
    const NAME: &'static str = "conv3d_grad_input";

    fn convolution(&self, inputs: &[&TensorSpec]) -> Result<Convolution, ShapeError> {
        let &[grad_output, weight] = inputs else {
            return Err(ShapeError::new(Self::NAME, "the gradient of the output and the weight", inputs));
        };
        let [batch, d, h, w, cout] = axes(Self::NAME, grad_output)?;
        let input = activation(batch, self.input, axes(Self::NAME, weight)?[3]);
        let geometry = Geometry::of_conv3d(Self::NAME, self.stride, self.padding, &input, weight)?;
        if geometry.output != [d, h, w] || geometry.out_channels != cout {
            return Err(ShapeError::new(Self::NAME, "the gradient of the output", inputs));
        }
        Ok(Convolution { geometry, pass: Pass::Convolve(Direction::Backward) })
    }
}

impl ConvolutionOp for Conv3dGradWeight {
    const NAME: &'static str = "conv3d_grad_weight";

    fn convolution(&self, inputs: &[&TensorSpec]) -> Result<Convolution, ShapeError> {
        let &[input, grad_output] = inputs else {
            return Err(ShapeError::new(Self::NAME, "the input and the gradient of the output", inputs));
        };
        let [batch, d, h, w, cout] = axes(Self::NAME, grad_output)?;
        let [kd, kh, kw] = self.kernel;
        let weight = TensorSpec::f32([kd, kh, kw, axes(Self::NAME, input)?[4], cout]);
        let geometry = Geometry::of_conv3d(Self::NAME, self.stride, self.padding, input, &weight)?;
        if geometry.output != [d, h, w] || geometry.batch != batch {
            return Err(ShapeError::new(Self::NAME, "the gradient of the output", inputs));
        }
        Ok(Convolution { geometry, pass: Pass::GradWeight })
    }
}
