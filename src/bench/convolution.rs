use super::{BenchError, Repeated, cost, normal, timed_run};
use crate::exec::Executor;
use crate::gpu::Gpu;
use crate::graph::{Graph, vector_jacobian};
use crate::ops::{Conv3d, Conv3dGradInput, Conv3dGradWeight, GRADIENT_OPS};
use crate::plan::{Request, plan};
use crate::profile::{Measure, Roof};
use crate::tensor::{ShapeError, TensorSpec, ValueId};
use std::sync::Arc;

/// Extent of the kernel.
const KERNEL: usize = 5;

/// A 5x5x5 convolution with stride 1, padding 2 and a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvolutionLayer {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Extents `[D, H, W]`.
    pub extents: [usize; 3],
    /// Samples.
    pub batch: usize,
}

/// One kind of run of a [`ConvolutionLayer`].
#[derive(Debug, Clone, PartialEq)]
pub struct ConvolutionTimes {
    /// `forward`, `input gradient`, `weight gradient` or `forward and backward`.
    pub name: &'static str,
    /// The runs.
    pub repeated: Repeated,
    /// The median run beside the roof.
    pub measure: Measure,
    /// The shaders that it takes, in order.
    pub kernels: Vec<&'static str>,
}

/// Times a layer: output, gradient of the input and gradient of the weight on their own, and all of them with the
/// gradient of the bias in one run. The four take turns, so that a drift of the machine meets all alike.
///
/// # Errors
/// [`BenchError`] when the layer does not fit the device, or the device failed.
pub fn bench_convolution(
    gpu: &Arc<Gpu>,
    roof: &Roof,
    layer: ConvolutionLayer,
    repetitions: usize,
) -> Result<Vec<ConvolutionTimes>, BenchError> {
    let graphs = [
        ("forward", layer.forward()?),
        ("input gradient", layer.grad_input()?),
        ("weight gradient", layer.grad_weight()?),
        ("forward and backward", layer.all()?),
    ];
    let mut executors = Vec::new();
    for (name, (graph, outputs)) in graphs {
        let plan = plan(&Request::inference(&graph, &outputs), gpu.target())?;
        let executor = Executor::new(Arc::clone(gpu), plan)?;
        for (seed, &input) in graph.inputs().iter().enumerate() {
            executor.write(input, bytemuck::cast_slice(&normal(graph.spec(input).elements(), 0.1, seed as u64)));
        }
        timed_run(&executor)?;
        executors.push((name, executor));
    }
    let mut seconds = vec![Vec::new(); executors.len()];
    for _ in 0..repetitions {
        for ((_, executor), seconds) in executors.iter().zip(&mut seconds) {
            seconds.push(timed_run(executor)?);
        }
    }
    let times = executors.into_iter().zip(seconds).map(|((name, executor), seconds)| {
        let plan = executor.plan();
        let repeated = Repeated { seconds, cost: cost(plan, &[0]) };
        let kernels = plan.kernels.iter().map(|k| k.shader).collect();
        ConvolutionTimes { name, measure: repeated.measure(roof, plan, &[0]), repeated, kernels }
    });
    Ok(times.collect())
}

/// A graph and what is read of it.
type Planned = (Graph, Vec<ValueId>);

impl ConvolutionLayer {
    fn activation(&self, channels: usize) -> TensorSpec {
        let [d, h, w] = self.extents;
        TensorSpec::f32([self.batch, d, h, w, channels])
    }

    fn weight(&self) -> TensorSpec {
        TensorSpec::f32([KERNEL, KERNEL, KERNEL, self.in_channels, self.out_channels])
    }

    fn forward(&self) -> Result<Planned, ShapeError> {
        let mut graph = Graph::new();
        let output = self.append(&mut graph)?.0;
        Ok((graph, vec![output]))
    }

    /// The layer's output, and its input, weight and bias.
    fn append(&self, graph: &mut Graph) -> Result<(ValueId, [ValueId; 3]), ShapeError> {
        let input = graph.input("input", self.activation(self.in_channels));
        let weight = graph.input("weight", self.weight());
        let bias = graph.input("bias", TensorSpec::f32([self.out_channels]));
        let inputs = [input, weight, bias];
        Ok((graph.add(Conv3d::same(KERNEL), &inputs)?, inputs))
    }

    fn grad_input(&self) -> Result<Planned, ShapeError> {
        let Conv3d { stride, padding } = Conv3d::same(KERNEL);
        let mut graph = Graph::new();
        let upstream = graph.input("grad_output", self.activation(self.out_channels));
        let weight = graph.input("weight", self.weight());
        let gradient = graph.add(Conv3dGradInput { stride, padding, input: self.extents }, &[upstream, weight])?;
        Ok((graph, vec![gradient]))
    }

    fn grad_weight(&self) -> Result<Planned, ShapeError> {
        let Conv3d { stride, padding } = Conv3d::same(KERNEL);
        let mut graph = Graph::new();
        let input = graph.input("input", self.activation(self.in_channels));
        let upstream = graph.input("grad_output", self.activation(self.out_channels));
        let gradient = graph.add(Conv3dGradWeight { stride, padding, kernel: [KERNEL; 3] }, &[input, upstream])?;
        Ok((graph, vec![gradient]))
    }

    fn all(&self) -> Result<Planned, ShapeError> {
        let mut graph = Graph::new();
        let (output, inputs) = self.append(&mut graph)?;
        let upstream = graph.input("grad_output", self.activation(self.out_channels));
        let gradients = vector_jacobian(&mut graph, output, upstream, &inputs, GRADIENT_OPS)?;
        let outputs = std::iter::once(output).chain(gradients.into_iter().flatten()).collect();
        Ok((graph, outputs))
    }
}
