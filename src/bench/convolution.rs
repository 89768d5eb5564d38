use super::{Repeated, cost};
use crate::gpu::Gpu;
use crate::kernel::ConvolutionLayer;
use crate::plan::{Request, plan};
use crate::profile::{Measure, Roofline};
use crate::train::TrainError;
use crate::tuning::{take_turns, warm_executor};
use std::sync::Arc;

/// One kind of run of a [`ConvolutionLayer`].
#[derive(Debug, Clone, PartialEq)]
pub struct ConvolutionTimes {
    /// `forward`, `input gradient`, `weight gradient` or `forward and backward`.
    pub name: &'static str,
    /// The runs.
    pub repeated: Repeated,
    /// The median run beside the roofline.
    pub measure: Measure,
    /// The shaders that it takes, in order.
    pub kernels: Vec<&'static str>,
}

/// Times a layer: output, gradient of the input and gradient of the weight on their own, and all of them with the
/// gradient of the bias in one run. The four take turns, so that a drift of the machine meets all alike.
///
/// # Errors
/// [`TrainError`] when the layer does not fit the device, or the device failed.
pub fn bench_convolution(
    gpu: &Arc<Gpu>,
    roofline: &Roofline,
    layer: ConvolutionLayer,
    repetitions: usize,
) -> Result<Vec<ConvolutionTimes>, TrainError> {
    let graphs = [
        ("forward", layer.forward()?),
        ("input gradient", layer.grad_input()?),
        ("weight gradient", layer.grad_weight()?),
        ("forward and backward", layer.step(true)?),
    ];
    let mut executors = Vec::new();
    for (_, (graph, outputs)) in &graphs {
        let plan = plan(&Request::inference(graph, outputs), gpu.target())?;
        executors.push(warm_executor(gpu, graph, plan)?);
    }
    let seconds = take_turns(&executors, repetitions)?;
    let times = graphs.into_iter().zip(executors).zip(seconds).map(|(((name, _), executor), seconds)| {
        let plan = executor.plan();
        let repeated = Repeated { seconds, cost: cost(plan, &[0]) };
        let kernels = plan.kernels.iter().map(|k| k.shader).collect();
        ConvolutionTimes { name, measure: repeated.measure(roofline, plan, &[0]), repeated, kernels }
    });
    Ok(times.collect())
}
