//! Transposed convolution of kernel 2 and stride 2, and its gradients: the twin of the 2x2x2 convolution of stride 2.
//!
//! ```text
//! output[n, 2 i + k, co]  = bias[co] + Σ_ci input[n, i, ci] * weight[k, ci, co]
//! grad_input[n, i, ci]    = Σ_{k, co} grad_output[n, 2 i + k, co] * weight[k, ci, co]
//! grad_weight[k, ci, co]  = Σ_{n, i} input[n, i, ci] * grad_output[n, 2 i + k, co]
//! ```
//!
//! `i` and `k` are triples (z, y, x). Windows do not overlap, so all three are gemms with an index map; the
//! kernels are those of the convolution with input and output exchanged.

mod cases;

pub(super) use cases::cases;

use super::conv3d::convolution::{Convolution, ConvolutionOp, Pass, differentiate, with_optional_bias};
use super::conv3d::geometry::{Geometry, WeightOrder, activation, axes};
use super::conv3d::kernels::Direction;
use crate::graph::Vjp;
use crate::tensor::{ShapeError, TensorSpec};

/// Transposed convolution of `input [N, D, H, W, Cin]` with `weight [2, 2, 2, Cin, Cout]`, stride 2, plus an optional
/// `bias [Cout]` as third input: `[N, 2D, 2H, 2W, Cout]`.
#[derive(Debug, Clone, Copy)]
pub struct ConvTranspose3d;

/// Gradient of [`ConvTranspose3d`] with respect to its input, from `grad_output [N, 2D, 2H, 2W, Cout]` and
/// `weight [2, 2, 2, Cin, Cout]`: a convolution of stride 2.
#[derive(Debug, Clone, Copy)]
pub struct ConvTranspose3dGradInput;

/// Gradient of [`ConvTranspose3d`] with respect to its weight, from `input [N, D, H, W, Cin]` and
/// `grad_output [N, 2D, 2H, 2W, Cout]`.
#[derive(Debug, Clone, Copy)]
pub struct ConvTranspose3dGradWeight;

/// The geometry of the convolution that maps the output back to an input of these specs.
fn geometry(op: &'static str, input: &TensorSpec, weight: &TensorSpec) -> Result<Geometry, ShapeError> {
    let ([batch, d, h, w, channels], [kd, kh, kw, cin, cout]) = (axes(op, input)?, axes(op, weight)?);
    if channels != cin || [kd, kh, kw] != [2; 3] {
        let expected = "weights [2, 2, 2, Cin, Cout] with the channels of the input";
        return Err(ShapeError::new(op, expected, &[input, weight]));
    }
    Ok(Geometry {
        batch,
        input: [2 * d, 2 * h, 2 * w],
        output: [d, h, w],
        kernel: [2; 3],
        stride: [2; 3],
        padding: [0; 3],
        in_channels: cout,
        out_channels: cin,
        order: WeightOrder::OutputFirst,
    })
}

/// Halves the extents of the gradient of the output.
fn halved(op: &'static str, grad_output: &TensorSpec, cin: usize) -> Result<TensorSpec, ShapeError> {
    let [batch, d, h, w, _] = axes(op, grad_output)?;
    if [d, h, w].iter().any(|extent| extent % 2 != 0) {
        return Err(ShapeError::new(op, "even extents", &[grad_output]));
    }
    Ok(activation(batch, [d / 2, h / 2, w / 2], cin))
}

impl ConvolutionOp for ConvTranspose3d {
    const NAME: &'static str = "conv_transpose3d";

    fn convolution(&self, inputs: &[&TensorSpec]) -> Result<Convolution, ShapeError> {
        let (input, weight, bias) = with_optional_bias(Self::NAME, inputs)?;
        let geometry = geometry(Self::NAME, input, weight)?;
        Convolution { geometry, pass: Pass::Convolve(Direction::Backward) }.with_bias(Self::NAME, bias)
    }

    fn differentiate(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        differentiate(at, ConvTranspose3dGradInput, ConvTranspose3dGradWeight)
    }
}

impl ConvolutionOp for ConvTranspose3dGradInput {
    const NAME: &'static str = "conv_transpose3d_grad_input";

    fn convolution(&self, inputs: &[&TensorSpec]) -> Result<Convolution, ShapeError> {
        let &[grad_output, weight] = inputs else {
            return Err(ShapeError::new(Self::NAME, "the gradient of the output and the weight", inputs));
        };
        let [.., cin, _] = axes(Self::NAME, weight)?;
        let geometry = geometry(Self::NAME, &halved(Self::NAME, grad_output, cin)?, weight)?;
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
        if *input != halved(Self::NAME, grad_output, input.channels())? {
            return Err(ShapeError::new(Self::NAME, "the gradient of the output", inputs));
        }
        let weight = TensorSpec::f32([2, 2, 2, input.channels(), grad_output.channels()]);
        Ok(Convolution { geometry: geometry(Self::NAME, input, &weight)?, pass: Pass::GradWeight })
    }
}
