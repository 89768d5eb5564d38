use super::geometry;
use crate::graph::{Lowering, Op};
use crate::ops::conv3d::geometry::{Geometry, WeightOrder, activation, axes};
use crate::ops::conv3d::operands::ConvOperands;
use crate::ops::conv3d::operands::Sides;
use crate::ops::conv3d::{family, reference};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Gradient of [`super::ConvTranspose3d`] with respect to its input, from `grad_output [N, 2D, 2H, 2W, Cout]` and
/// `weight [2, 2, 2, Cin, Cout]`: a convolution of stride 2.
#[derive(Debug, Clone, Copy)]
pub struct ConvTranspose3dGradInput;

/// Gradient of [`super::ConvTranspose3d`] with respect to its weight, from `input [N, D, H, W, Cin]` and
/// `grad_output [N, 2D, 2H, 2W, Cout]`.
#[derive(Debug, Clone, Copy)]
pub struct ConvTranspose3dGradWeight;

/// Halves the extents of the gradient of the output.
fn halved(op: &'static str, grad_output: &TensorSpec, cin: usize) -> Result<TensorSpec, ShapeError> {
    let [batch, d, h, w, _] = axes(op, grad_output)?;
    if [d, h, w].iter().any(|extent| extent % 2 != 0) {
        return Err(ShapeError::new(op, "even extents", &[grad_output]));
    }
    Ok(activation(batch, [d / 2, h / 2, w / 2], cin))
}

impl ConvTranspose3dGradInput {
    fn geometry(self, grad_output: &TensorSpec, weight: &TensorSpec) -> Result<Geometry, ShapeError> {
        let [.., cin, _] = axes(self.name(), weight)?;
        let g = geometry(self.name(), &halved(self.name(), grad_output, cin)?, weight)?;
        if g.in_channels != grad_output.channels() {
            return Err(ShapeError::new(self.name(), "the gradient of the output", &[grad_output, weight]));
        }
        Ok(g)
    }
}

impl ConvTranspose3dGradWeight {
    fn geometry(self, input: &TensorSpec, grad_output: &TensorSpec) -> Result<Geometry, ShapeError> {
        if *input != halved(self.name(), grad_output, input.channels())? {
            return Err(ShapeError::new(self.name(), "the gradient of the output", &[input, grad_output]));
        }
        let weight = TensorSpec::f32([2, 2, 2, input.channels(), grad_output.channels()]);
        geometry(self.name(), input, &weight)
    }
}

impl Op for ConvTranspose3dGradInput {
    fn name(&self) -> &'static str {
        "conv_transpose3d_grad_input"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let &[grad_output, weight] = inputs else {
            return Err(ShapeError::new(self.name(), "the gradient of the output and the weight", inputs));
        };
        let g = self.geometry(grad_output, weight)?;
        Ok(vec![activation(g.batch, g.output, g.out_channels)])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let g = self.geometry(at.input_spec(0), at.input_spec(1)).expect("infer accepted these specs");
        let order = WeightOrder::OutputFirst;
        let operands = ConvOperands { activation: at.input(0), weight: at.input(1), bias: None };
        family(&g, order, at.target()).forward(at, &g, operands, order);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let g = self.geometry(&inputs[0].spec, &inputs[1].spec).expect("infer accepted these specs");
        vec![reference::forward(&g, inputs[0], &reference::channels_swapped(inputs[1]), None)]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        self.geometry(inputs[0], inputs[1]).expect("infer accepted these specs").flops()
    }
}

impl Op for ConvTranspose3dGradWeight {
    fn name(&self) -> &'static str {
        "conv_transpose3d_grad_weight"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let &[input, grad_output] = inputs else {
            return Err(ShapeError::new(self.name(), "the input and the gradient of the output", inputs));
        };
        let g = self.geometry(input, grad_output)?;
        Ok(vec![TensorSpec::f32([2, 2, 2, g.out_channels, g.in_channels])])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let g = self.geometry(at.input_spec(0), at.input_spec(1)).expect("infer accepted these specs");
        let (order, sides) = (WeightOrder::OutputFirst, Sides { input: at.input(1), output: at.input(0) });
        family(&g, order, at.target()).grad_weight(at, &g, sides, order);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let g = self.geometry(&inputs[0].spec, &inputs[1].spec).expect("infer accepted these specs");
        vec![reference::channels_swapped(&reference::grad_weight(&g, inputs[1], inputs[0]))]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        self.geometry(inputs[0], inputs[1]).expect("infer accepted these specs").flops()
    }
}
