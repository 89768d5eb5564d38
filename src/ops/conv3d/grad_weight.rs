use super::choice::family;
use super::geometry::{Geometry, WeightOrder, axes};
use super::operands::Sides;
use super::reference;
use crate::graph::{Lowering, Op};
use crate::tensor::{HostTensor, ShapeError, TensorSpec};

/// Gradient of [`super::Conv3d`] with respect to its weight, from `input [N, D, H, W, Cin]` and
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

impl Conv3dGradWeight {
    fn geometry(&self, input: &TensorSpec, grad_output: &TensorSpec) -> Result<Geometry, ShapeError> {
        let [batch, d, h, w, cout] = axes(self.name(), grad_output)?;
        let [kd, kh, kw] = self.kernel;
        let weight = TensorSpec::f32([kd, kh, kw, axes(self.name(), input)?[4], cout]);
        let g = Geometry::of_conv3d(self.name(), self.stride, self.padding, input, &weight)?;
        if g.output != [d, h, w] || g.batch != batch {
            return Err(ShapeError::new(self.name(), "the gradient of the output", &[input, grad_output]));
        }
        Ok(g)
    }
}

impl Op for Conv3dGradWeight {
    fn name(&self) -> &'static str {
        "conv3d_grad_weight"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        let &[input, grad_output] = inputs else {
            return Err(ShapeError::new(self.name(), "the input and the gradient of the output", inputs));
        };
        let g = self.geometry(input, grad_output)?;
        let [kd, kh, kw] = g.kernel;
        Ok(vec![TensorSpec::f32([kd, kh, kw, g.in_channels, g.out_channels])])
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let g = self.geometry(at.input_spec(0), at.input_spec(1)).expect("infer accepted these specs");
        let (order, sides) = (WeightOrder::InputFirst, Sides { input: at.input(0), output: at.input(1) });
        family(&g, order, at.target()).grad_weight(at, &g, sides, order);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let g = self.geometry(&inputs[0].spec, &inputs[1].spec).expect("infer accepted these specs");
        vec![reference::grad_weight(&g, inputs[0], inputs[1])]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        self.geometry(inputs[0], inputs[1]).expect("infer accepted these specs").flops()
    }
}
