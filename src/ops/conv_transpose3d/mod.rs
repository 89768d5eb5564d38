//! Transposed convolution whose kernel is its stride, and its gradients: the twin of the convolution of windows without overlap.
//!
//! ```text
//! output[n, s i + k, co]  = bias[co] + Σ_ci input[n, i, ci] * weight[k, ci, co]
//! grad_input[n, i, ci]    = Σ_{k, co} grad_output[n, s i + k, co] * weight[k, ci, co]
//! grad_weight[k, ci, co]  = Σ_{n, i} input[n, i, ci] * grad_output[n, s i + k, co]
//! ```
//!
//! `i`, `k` and the stride `s` are triples (z, y, x), and `k` runs below `s`. Windows do not overlap, so all three are gemms with
//! an index map; the kernels are those of the convolution with input and output exchanged.

mod cases;

pub(super) use cases::cases;

use super::conv3d::convolution::{Convolution, ConvolutionOp, Pass, differentiate, with_optional_bias};
use super::conv3d::geometry::{Geometry, WeightOrder, activation, axes};
use super::conv3d::kernels::Direction;
use crate::graph::Vjp;
use crate::tensor::{ShapeError, TensorSpec};

/// Transposed convolution of `input [N, D, H, W, Cin]` with `weight [sD, sH, sW, Cin, Cout]` and stride `[sD, sH, sW]`, plus an
/// optional `bias [Cout]` as third input: `[N, sD D, sH H, sW W, Cout]`.
#[derive(Debug, Clone, Copy)]
pub struct ConvTranspose3d {
    /// Stride, and extents of the kernel, per axis (z, y, x).
    pub stride: [usize; 3],
}

/// Gradient of [`ConvTranspose3d`] with respect to its input, from `grad_output [N, sD D, sH H, sW W, Cout]` and
/// `weight [sD, sH, sW, Cin, Cout]`: a convolution of windows without overlap.
#[derive(Debug, Clone, Copy)]
pub struct ConvTranspose3dGradInput {
    /// Stride of the transposed convolution.
    pub stride: [usize; 3],
}

/// Gradient of [`ConvTranspose3d`] with respect to its weight, from `input [N, D, H, W, Cin]` and
/// `grad_output [N, sD D, sH H, sW W, Cout]`.
#[derive(Debug, Clone, Copy)]
pub struct ConvTranspose3dGradWeight {
    /// Stride of the transposed convolution.
    pub stride: [usize; 3],
}

/// The geometry of the convolution that maps the output back to an input of these specs.
fn geometry(
    op: &'static str,
    stride: [usize; 3],
    input: &TensorSpec,
    weight: &TensorSpec,
) -> Result<Geometry, ShapeError> {
    let ([batch, d, h, w, channels], [kd, kh, kw, cin, cout]) = (axes(op, input)?, axes(op, weight)?);
    let [sd, sh, sw] = stride;
    if channels != cin || [kd, kh, kw] != stride || stride.contains(&0) {
        let expected = format!("weights [{sd}, {sh}, {sw}, Cin, Cout] with the channels of the input");
        return Err(ShapeError::new(op, expected, &[input, weight]));
    }
    Ok(Geometry {
        batch,
        input: [sd * d, sh * h, sw * w],
        output: [d, h, w],
        kernel: stride,
        stride,
        padding: [0; 3],
        in_channels: cout,
        out_channels: cin,
        order: WeightOrder::OutputFirst,
    })
}

/// The spec of the input, from the gradient of the output.
fn before(
    op: &'static str,
    stride: [usize; 3],
    grad_output: &TensorSpec,
    cin: usize,
) -> Result<TensorSpec, ShapeError> {
    let [batch, d, h, w, _] = axes(op, grad_output)?;
    let [sd, sh, sw] = stride;
    if [d, h, w].iter().zip(&stride).any(|(extent, &stride)| stride == 0 || extent % stride != 0) {
        return Err(ShapeError::new(op, format!("extents that {sd}, {sh}, {sw} divide"), &[grad_output]));
    }
    Ok(activation(batch, [d / sd, h / sh, w / sw], cin))
}

impl ConvolutionOp for ConvTranspose3d {
    const NAME: &'static str = "conv_transpose3d";

    fn convolution(&self, inputs: &[&TensorSpec]) -> Result<Convolution, ShapeError> {
        let (input, weight, bias) = with_optional_bias(Self::NAME, inputs)?;
        let geometry = geometry(Self::NAME, self.stride, input, weight)?;
        Convolution { geometry, pass: Pass::Convolve(Direction::Backward) }.with_bias(Self::NAME, bias)
    }

    fn differentiate(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        let stride = self.stride;
        differentiate(at, ConvTranspose3dGradInput { stride }, ConvTranspose3dGradWeight { stride })
    }
}

impl ConvolutionOp for ConvTranspose3dGradInput {
    const NAME: &'static str = "conv_transpose3d_grad_input";

    fn convolution(&self, inputs: &[&TensorSpec]) -> Result<Convolution, ShapeError> {
        let &[grad_output, weight] = inputs else {
            return Err(ShapeError::new(Self::NAME, "the gradient of the output and the weight", inputs));
        };
        let [.., cin, _] = axes(Self::NAME, weight)?;
        let input = before(Self::NAME, self.stride, grad_output, cin)?;
        let geometry = geometry(Self::NAME, self.stride, &input, weight)?;
        if geometry.in_channels != grad_output.channels() {
            return Err(ShapeError::new(Self::NAME, "the gradient of the output", inputs));
        }
        Ok(Convolution { geometry, pass: Pass::Convolve(Direction::Forward) })
    }
}

impl ConvolutionOp for ConvTranspose3dGradWeight {
    const NAME: &'static str = "conv_transpose3d_grad_weight";

    fn convolution(&self, inputs: &[&TensorSpec]) -> Result<Convolution, ShapeError> {
        let &[input, grad_output] = inputs else {
            return Err(ShapeError::new(Self::NAME, "the input and the gradient of the output", inputs));
        };
        if *input != before(Self::NAME, self.stride, grad_output, input.channels())? {
            return Err(ShapeError::new(Self::NAME, "the gradient of the output", inputs));
        }
        let [sd, sh, sw] = self.stride;
        let weight = TensorSpec::f32([sd, sh, sw, input.channels(), grad_output.channels()]);
        Ok(Convolution { geometry: geometry(Self::NAME, self.stride, input, &weight)?, pass: Pass::GradWeight })
    }
}
