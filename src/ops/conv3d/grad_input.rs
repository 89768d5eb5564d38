use super::choice::family;
use super::geometry::{Geometry, WeightOrder, activation, axes};
use super::operands::ConvOperands;
use super::reference;
use crate::graph::{Lowering, Op};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Gradient of [`super::Conv3d`] with respect to its input, from `grad_output [N, d, h, w, Cout]` and
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

impl Conv3dGradInput {
    fn geometry(&self, grad_output: &TensorSpec, weight: &TensorSpec) -> Result<Geometry, ShapeError> {
        let [batch, d, h, w, cout] = axes(self.name(), grad_output)?;
        let input = activation(batch, self.input, axes(self.name(), weight)?[3]);
        let g = Geometry::of_conv3d(self.name(), self.stride, self.padding, &input, weight)?;
        if g.output != [d, h, w] || g.out_channels != cout {
            return Err(ShapeError::new(self.name(), "the gradient of the output", &[grad_output, weight]));
        }
        Ok(g)
    }
}

impl Op for Conv3dGradInput {
    fn name(&self) -> &'static str {
        "conv3d_grad_input"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let &[grad_output, weight] = inputs else {
            return Err(ShapeError::new(self.name(), "the gradient of the output and the weight", inputs));
        };
        let g = self.geometry(grad_output, weight)?;
        Ok(vec![activation(g.batch, g.input, g.in_channels)])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let g = self.geometry(at.input_spec(0), at.input_spec(1)).expect("infer accepted these specs");
        let operands = ConvOperands { activation: at.input(0), weight: at.input(1), bias: None };
        let order = WeightOrder::InputFirst;
        family(&g, order, at.target()).grad_input(at, &g, operands, order);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let g = self.geometry(&inputs[0].spec, &inputs[1].spec).expect("infer accepted these specs");
        vec![reference::grad_input(&g, inputs[0], &reference::channels_swapped(inputs[1]), None)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        self.geometry(inputs[0], inputs[1]).expect("infer accepted these specs").flops()
    }
}
