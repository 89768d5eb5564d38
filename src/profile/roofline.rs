use crate::exec::Executor;
use crate::gpu::{Gpu, GpuError};
use crate::graph::{Graph, Lowering, Op};
use crate::kernel::{Cost, Dispatch, RooflineTuning, Target};
use crate::ops::case::{Bound, Case, Draw};
use crate::plan::{Plan, Request, plan};
use crate::tensor::{HostTensor, ShapeError, TensorSpec, ValueId};
use serde::Serialize;
use std::sync::Arc;

/// Runs of each loop, of which the best counts, after one that does not.
const RUNS: usize = 5;

/// What a device gives to a shader at best: measured with a copy and with a loop of multiply-adds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Roofline {
    /// Memory read and written per second, in GB.
    pub copy_gb_per_s: f64,
    /// Floating-point operations per second, in GFLOP.
    pub fma_gflop_per_s: f64,
}

impl Roofline {
    /// Measures a device, in about a second; the memory that this takes is free again afterwards.
    ///
    /// # Errors
    /// [`GpuError`] when the device failed or has no memory for it.
    pub fn measure(gpu: &Arc<Gpu>) -> Result<Self, GpuError> {
        let [copy, fma] = roofline_cases(gpu.target());
        let (copy, copy_seconds) = best(gpu, copy)?;
        let (fma, fma_seconds) = best(gpu, fma)?;
        Ok(Self {
            copy_gb_per_s: copy.bytes as f64 / copy_seconds / 1e9,
            fma_gflop_per_s: fma.flops as f64 / fma_seconds / 1e9,
        })
    }

    /// Seconds that work takes at least.
    pub fn seconds(&self, flops: f64, bytes: f64) -> f64 {
        (flops / self.fma_gflop_per_s).max(bytes / self.copy_gb_per_s) / 1e9
    }
}

/// One of the two loops, planned.
#[derive(Debug)]
pub struct RooflineCase {
    /// The graph, with at most one input.
    pub graph: Graph,
    /// Its plan.
    pub plan: Plan,
}

/// The copy and the multiply-adds with which [`Roofline::measure`] loads a device.
pub fn roofline_cases(target: &Target) -> [RooflineCase; 2] {
    let RooflineTuning { copy_bytes, iterations } = target.tuning.roofline;
    let bytes = target.limits.max_binding_bytes.min(target.limits.max_buffer_bytes).min(copy_bytes);
    let vectors = usize::try_from(bytes / 16).expect("at most 2^24");
    [
        roofline_case(CopyLoop, &[TensorSpec::f32([vectors, 4])], target),
        roofline_case(FmaLoop { elements: 1 << 16, iterations }, &[], target),
    ]
}

fn roofline_case(op: impl Op + 'static, inputs: &[TensorSpec], target: &Target) -> RooflineCase {
    let mut graph = Graph::new();
    let inputs: Vec<ValueId> = inputs.iter().map(|spec| graph.input("input", spec.clone())).collect();
    let output = graph.add(op, &inputs).expect("the loop takes its input");
    let plan = plan(&Request::inference(&graph, &[output]), target).expect("the loop is within every limit");
    RooflineCase { graph, plan }
}

/// The loops at sizes that the definition follows. Both are exact: the chains start from integers below 128 and halve their
/// distance from 2 sixteen times, so that every sum has at most 24 bits.
pub fn cases() -> Vec<Case> {
    let exact = Bound::Relative { ulps: 0.0 };
    let copied = (TensorSpec::f32([10_007, 4]), Draw::Normal(1.0));
    [
        Case::new("bench_copy/10007x4", CopyLoop, vec![copied], exact),
        Case::new("bench_fma/5003x2", FmaLoop { elements: 5003, iterations: 2 }, Vec::new(), exact),
    ]
    .map(Case::forward_only)
    .into()
}

/// The work of a loop and the seconds of its best run.
fn best(gpu: &Arc<Gpu>, case: RooflineCase) -> Result<(Cost, f64), GpuError> {
    let cost = case.plan.programs[0].steps[0].cost;
    let executor = Executor::new(Arc::clone(gpu), case.plan)?;
    for &input in case.graph.inputs() {
        // Numbers without a pattern that the memory could compress.
        let elements = case.graph.spec(input).elements() as u32;
        let words: Vec<u32> = (0..elements).map(|i| i.wrapping_mul(0x9E37_79B9) >> 2).collect();
        executor.write(input, bytemuck::cast_slice(&words));
    }
    let mut seconds = f64::INFINITY;
    for run in 0..=RUNS {
        let timings = executor.profile(0)?;
        if run > 0 {
            seconds = timings.iter().map(|t| t.seconds).sum::<f64>().min(seconds);
        }
    }
    // A clock that is coarser than the loop must not give an infinite roofline.
    Ok((cost, seconds.max(1e-9)))
}

/// `output = input`, shader `bench_copy`.
#[derive(Debug, Clone, Copy)]
pub struct CopyLoop;

impl Op for CopyLoop {
    fn name(&self) -> &'static str {
        "bench_copy"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input] if input.channels() == 4 => Ok(vec![(*input).clone()]),
            _ => Err(ShapeError::new(self.name(), "vectors of four", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let vectors = at.input_spec(0).elements() / 4;
        let dispatch = Dispatch::new("bench_copy").param(vectors).read(at.input(0)).write(at.output(0));
        at.emit(dispatch.linear_grid(vectors.div_ceil(256), at.target()));
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        vec![inputs[0].clone()]
    }
}

/// Twelve independent chains of `x = x * 0.5 + 1`, `8 * iterations` long, per element, and their sum: shader
/// `bench_fma`.
#[derive(Debug, Clone, Copy)]
pub struct FmaLoop {
    /// Elements of the output.
    pub elements: usize,
    /// Iterations of the loop, of eight multiply-adds per chain.
    pub iterations: usize,
}

const CHAINS: usize = 12;
const UNROLLED: usize = 8;
const FACTOR: f32 = 0.5;
const OFFSET: f32 = 1.0;

impl Op for FmaLoop {
    fn name(&self) -> &'static str {
        "bench_fma"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [] => Ok(vec![TensorSpec::f32([self.elements])]),
            _ => Err(ShapeError::new(self.name(), "no inputs", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let dispatch = Dispatch::new("bench_fma").params(&[self.elements, self.iterations]);
        let dispatch = dispatch.scalar(FACTOR).scalar(OFFSET).write(at.output(0));
        at.emit(dispatch.linear_grid(self.elements.div_ceil(64), at.target()));
    }

    fn reference(&self, _inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let chain = |start: usize| {
            let step = |x: f64, _| x * f64::from(FACTOR) + f64::from(OFFSET);
            (0..UNROLLED * self.iterations).fold(start as f64, step)
        };
        vec![HostTensor::from_fn([self.elements], |i| (0..CHAINS).map(|k| chain(i % 64 + k)).sum())]
    }

    fn flops(&self, _inputs: &[&TensorSpec]) -> u64 {
        (2 * self.elements * CHAINS * UNROLLED * self.iterations) as u64
    }
}
