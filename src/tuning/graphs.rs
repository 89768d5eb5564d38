//! The graphs of a single convolution.

use crate::graph::{Graph, vector_jacobian};
use crate::kernel::ConvolutionLayer;
use crate::ops::{Conv3d, Conv3dGradInput, Conv3dGradWeight, GRADIENT_OPS};
use crate::tensor::{ShapeError, TensorSpec, ValueId};

/// A graph and what is read of it.
pub(crate) type Planned = (Graph, Vec<ValueId>);

impl ConvolutionLayer {
    fn input(&self) -> TensorSpec {
        let [d, h, w] = self.extents;
        TensorSpec::f32([self.batch, d, h, w, self.in_channels])
    }

    fn output(&self) -> TensorSpec {
        let [d, h, w] = self.output_extents();
        TensorSpec::f32([self.batch, d, h, w, self.out_channels])
    }

    fn operation(&self) -> Conv3d {
        Conv3d { stride: self.stride, padding: self.padding() }
    }

    fn weight(&self) -> TensorSpec {
        let [kd, kh, kw] = self.kernel;
        TensorSpec::f32([kd, kh, kw, self.in_channels, self.out_channels])
    }

    pub(crate) fn forward(&self) -> Result<Planned, ShapeError> {
        let mut graph = Graph::new();
        let output = self.append(&mut graph)?.0;
        Ok((graph, vec![output]))
    }

    /// The layer's output, and its input, weight and bias.
    fn append(&self, graph: &mut Graph) -> Result<(ValueId, [ValueId; 3]), ShapeError> {
        let input = graph.input("input", self.input());
        let weight = graph.input("weight", self.weight());
        let bias = graph.input("bias", TensorSpec::f32([self.out_channels]));
        let inputs = [input, weight, bias];
        Ok((graph.add(self.operation(), &inputs)?, inputs))
    }

    pub(crate) fn grad_input(&self) -> Result<Planned, ShapeError> {
        let Conv3d { stride, padding } = self.operation();
        let mut graph = Graph::new();
        let upstream = graph.input("grad_output", self.output());
        let weight = graph.input("weight", self.weight());
        let gradient = graph.add(Conv3dGradInput { stride, padding, input: self.extents }, &[upstream, weight])?;
        Ok((graph, vec![gradient]))
    }

    pub(crate) fn grad_weight(&self) -> Result<Planned, ShapeError> {
        let Conv3d { stride, padding } = self.operation();
        let mut graph = Graph::new();
        let input = graph.input("input", self.input());
        let upstream = graph.input("grad_output", self.output());
        let gradient = graph.add(Conv3dGradWeight { stride, padding, kernel: self.kernel }, &[input, upstream])?;
        Ok((graph, vec![gradient]))
    }

    /// Output and gradients, that of the input only if it is wanted.
    pub(crate) fn step(&self, grad_input: bool) -> Result<Planned, ShapeError> {
        let mut graph = Graph::new();
        let (output, inputs) = self.append(&mut graph)?;
        let upstream = graph.input("grad_output", self.output());
        let wanted = if grad_input { &inputs[..] } else { &inputs[1..] };
        let gradients = vector_jacobian(&mut graph, output, upstream, wanted, GRADIENT_OPS)?;
        let outputs = std::iter::once(output).chain(gradients.into_iter().flatten()).collect();
        Ok((graph, outputs))
    }
}
