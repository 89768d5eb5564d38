//! Times of single convolutions over random inputs, and the choice of their kernels by these times (docs/decisions/0016).
//!
//! Runs are timed by the host's clock from submission to completion, after a run that does not count.

mod graphs;
mod table;

pub use table::{KernelTableError, read_table, write_table};

use crate::exec::Executor;
use crate::gpu::{Gpu, GpuError};
use crate::graph::Graph;
use crate::kernel::{Algorithms, ConvolutionKernels, ConvolutionLayer, MeasuredChoice};
use crate::ops::{Reason, convolution_kernels};
use crate::plan::{Plan, PlanError, Request, plan};
use crate::profile::median;
use crate::random::{Purpose, Stream};
use crate::tensor::ShapeError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs whose median counts.
const RUNS: usize = 5;

/// What a convolution is used for, and what is timed of it therefore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Uses {
    /// Its output, in predictions.
    Forward,
    /// Its output, and the gradients of weight and bias: the first layer.
    Parameters,
    /// Its output and all gradients.
    All,
}

/// The faster kernels of a convolution; both are timed, one run of each in turn; `None` where only the direct ones can be bound, or where both together
/// need more memory than the device has.
///
/// # Errors
/// When the convolution does not fit the device, or the device failed.
pub fn measure<E>(gpu: &Arc<Gpu>, layer: ConvolutionLayer, uses: Uses) -> Result<Option<MeasuredChoice>, E>
where
    E: From<ShapeError> + From<PlanError> + From<GpuError>,
{
    let target = |algorithms| gpu.target().with_algorithms(algorithms);
    if convolution_kernels(&layer, &target(Algorithms::Winograd)).1 == Reason::OnlyDirect {
        return Ok(None);
    }
    let (graph, outputs) = match uses {
        Uses::Forward => layer.forward()?,
        Uses::Parameters => layer.step(false)?,
        Uses::All => layer.step(true)?,
    };
    let planned = |algorithms| plan(&Request::inference(&graph, &outputs), &target(algorithms));
    let plans = [planned(Algorithms::Direct)?, planned(Algorithms::Winograd)?];
    let bytes: u64 = plans.iter().map(|plan| plan.memory.total()).sum();
    if gpu.memory_budget().is_some_and(|budget| bytes > budget) {
        return Ok(None);
    }
    let executors = plans.into_iter().map(|plan| warm_executor(gpu, &graph, plan)).collect::<Result<Vec<_>, _>>()?;
    let mut times = take_turns(&executors, RUNS)?.into_iter().map(|seconds| Duration::from_secs_f64(median(seconds)));
    let mut next = || times.next().expect("two executors");
    let (direct, winograd) = (next(), next());
    let kernels = if winograd < direct { ConvolutionKernels::Winograd } else { ConvolutionKernels::Direct };
    Ok(Some(MeasuredChoice { kernels, direct, winograd }))
}

/// An executor with random inputs that has run once.
pub(crate) fn warm_executor(gpu: &Arc<Gpu>, graph: &Graph, plan: Plan) -> Result<Executor, GpuError> {
    let executor = Executor::new(Arc::clone(gpu), plan)?;
    for (seed, &input) in graph.inputs().iter().enumerate() {
        executor.write(input, bytemuck::cast_slice(&normal(graph.spec(input).elements(), 0.1, seed as u64)));
    }
    timed_run(&executor)?;
    Ok(executor)
}

/// Seconds of the runs of each executor. They take turns, so that a drift of the machine meets all alike.
pub(crate) fn take_turns(executors: &[Executor], repetitions: usize) -> Result<Vec<Vec<f64>>, GpuError> {
    let mut seconds = vec![Vec::new(); executors.len()];
    for _ in 0..repetitions {
        for (executor, seconds) in executors.iter().zip(&mut seconds) {
            seconds.push(timed_run(executor)?);
        }
    }
    Ok(seconds)
}

/// Seconds of a run of the graph's program, from submission to completion.
pub(crate) fn timed_run(executor: &Executor) -> Result<f64, GpuError> {
    let start = Instant::now();
    executor.run(0)?;
    executor.gpu().wait()?;
    Ok(start.elapsed().as_secs_f64())
}

/// Normal numbers with this standard deviation, the same for the same seed.
pub(crate) fn normal(elements: usize, deviation: f32, seed: u64) -> Vec<f32> {
    let normals = Stream::new(seed, Purpose::TestInputs, 0).normals();
    normals.take(elements).map(|x| x as f32 * deviation).collect()
}
