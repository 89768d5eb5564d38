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

mod backward;
mod cases;

pub use backward::{ConvTranspose3dGradInput, ConvTranspose3dGradWeight};
pub(super) use cases::cases;

use super::ChannelSum;
use super::conv3d::geometry::{Geometry, WeightOrder, activation, axes, check_bias};
use super::conv3d::operands::ConvOperands;
use super::conv3d::{family, reference};
use crate::graph::{Lowering, Op, Vjp};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Transposed convolution of `input [N, D, H, W, Cin]` with `weight [2, 2, 2, Cin, Cout]`, stride 2, plus an optional
/// `bias [Cout]` as third input: `[N, 2D, 2H, 2W, Cout]`.
#[derive(Debug, Clone, Copy)]
pub struct ConvTranspose3d;

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
    })
}

impl Op for ConvTranspose3d {
    fn name(&self) -> &'static str {
        "conv_transpose3d"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let (input, weight, bias) = match *inputs {
            [input, weight] => (input, weight, None),
            [input, weight, bias] => (input, weight, Some(bias)),
            _ => return Err(ShapeError::new(self.name(), "input, weight and an optional bias", inputs)),
        };
        let g = geometry(self.name(), input, weight)?;
        check_bias(self.name(), bias, g.in_channels)?;
        Ok(vec![activation(g.batch, g.input, g.in_channels)])
    }

    fn vjp(&self, at: &mut Vjp<'_>) -> Result<(), ShapeError> {
        let upstream = at.grad_output();
        if at.needs(0) {
            let gradient = at.add(ConvTranspose3dGradInput, &[upstream, at.input(1)])?;
            at.contribute(0, gradient);
        }
        if at.needs(1) {
            let gradient = at.add(ConvTranspose3dGradWeight, &[at.input(0), upstream])?;
            at.contribute(1, gradient);
        }
        if at.input_count() == 3 && at.needs(2) {
            let gradient = at.add(ChannelSum, &[upstream])?;
            at.contribute(2, gradient);
        }
        Ok(())
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let g = geometry(self.name(), at.input_spec(0), at.input_spec(1)).expect("infer accepted these specs");
        let bias = (at.input_count() == 3).then(|| at.input(2));
        let order = WeightOrder::OutputFirst;
        let operands = ConvOperands { activation: at.input(0), weight: at.input(1), bias };
        family(&g, order, at.target()).grad_input(at, &g, operands, order);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let g = geometry(self.name(), &inputs[0].spec, &inputs[1].spec).expect("infer accepted these specs");
        vec![reference::grad_input(&g, inputs[0], inputs[1], inputs.get(2).copied())]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        geometry(self.name(), inputs[0], inputs[1]).expect("infer accepted these specs").flops()
    }
}
