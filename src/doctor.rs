//! A self-test of every kernel that a device runs: what `vnet-engine doctor` prints.
//!
//! The kernels are tried on the cases of [`crate::ops`], which the tests compare too: each on the smallest case that
//! reaches it with one of the [`Algorithms`], against the definition in f64. Kernels of augmentation and optimisers have
//! no case and are not tried.

use crate::exec::Executor;
use crate::gpu::{Gpu, GpuError};
use crate::graph::{Graph, Op};
use crate::kernel::{Algorithms, Target};
use crate::ops::case::Case;
use crate::ops::cases;
use crate::plan::{Plan, PlanError, Request, plan};
use crate::tensor::{HostTensor, ShapeError, ValueId};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A self-test cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// A case is not defined on its shapes.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A case does not fit the device.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// What a kernel's self-test came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelTest {
    /// Name of the shader.
    pub kernel: &'static str,
    /// The case that it was tried on.
    pub case: String,
    /// The algorithms with which the case reaches the kernel.
    pub algorithms: Algorithms,
    /// Distance from the f64 definition, of the element with the largest part of its bound.
    pub error: Option<f64>,
    /// Bound of that element.
    pub bound: Option<f64>,
    /// Whether every element is within its bound.
    pub passed: bool,
    /// The driver's words, where the case did not run.
    pub reason: Option<String>,
}

/// A case that is planned for some algorithms.
struct Planned {
    case: Case,
    graph: Graph,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    plan: Plan,
    algorithms: Algorithms,
}

/// Tries every kernel that this device can be made to run; `seen` gets the tests as they come.
///
/// # Errors
/// [`DoctorError`] when a case cannot be planned. What fails on the device is a result.
pub fn self_test(gpu: &Arc<Gpu>, mut seen: impl FnMut(&KernelTest)) -> Result<Vec<KernelTest>, DoctorError> {
    let mut tests = Vec::new();
    for (planned, kernels) in chosen(gpu.target())? {
        let worst = planned.run(gpu);
        for kernel in kernels {
            let test = planned.result(kernel, &worst);
            seen(&test);
            tests.push(test);
        }
    }
    tests.sort_by_key(|test| test.kernel);
    Ok(tests)
}

/// The cases that reach all kernels, each with those that no smaller case reaches.
fn chosen(target: &Target) -> Result<Vec<(Planned, Vec<&'static str>)>, DoctorError> {
    let mut planned = Vec::new();
    for algorithms in [Algorithms::Direct, Algorithms::Winograd, Algorithms::Naive] {
        // A graph takes an operation of its own; the case keeps the one that has the definition.
        for (case, again) in cases().into_iter().zip(cases()).filter(|(case, _)| !case.benchmark_only) {
            planned.push(Planned::new(case, again.op, target, algorithms)?);
        }
    }
    planned.sort_by_key(Planned::work);
    let mut reached = BTreeSet::new();
    let mut chosen = Vec::new();
    for planned in planned {
        let new = |kernel: &&'static str| reached.insert(*kernel);
        let kernels: Vec<&str> = planned.plan.kernels.iter().map(|kernel| kernel.shader).filter(new).collect();
        if !kernels.is_empty() {
            chosen.push((planned, kernels));
        }
    }
    Ok(chosen)
}

/// The element that takes the largest part of its bound: its error and that bound.
type Worst = Result<[f64; 2], GpuError>;

impl Planned {
    fn new(case: Case, op: Box<dyn Op>, target: &Target, algorithms: Algorithms) -> Result<Self, DoctorError> {
        let target = Target { algorithms, ..target.clone() };
        let mut graph = Graph::new();
        let specs = case.inputs.iter().enumerate();
        let inputs: Vec<ValueId> =
            specs.map(|(i, (spec, _))| graph.input(&format!("input{i}"), spec.clone())).collect();
        let outputs = graph.append(op, &inputs)?;
        let plan = plan(&Request::inference(&graph, &outputs), &target)?;
        Ok(Self { case, graph, inputs, outputs, plan, algorithms })
    }

    /// Flops and elements, which the definition in plain loops takes its time for.
    fn work(&self) -> u64 {
        let specs: Vec<_> = self.case.inputs.iter().map(|(spec, _)| spec).collect();
        let elements: usize = specs.iter().map(|spec| spec.elements()).sum();
        self.case.op.flops(&specs) + elements as u64
    }

    fn run(&self, gpu: &Arc<Gpu>) -> Worst {
        let executor = Executor::new(Arc::clone(gpu), self.plan.clone())?;
        let tensors = self.case.draw(1);
        for (&input, tensor) in self.inputs.iter().zip(&tensors) {
            executor.write(input, &tensor.to_device_bytes());
        }
        executor.run(0)?;
        let expected = self.case.op.reference(&tensors.iter().collect::<Vec<_>>());
        let mut worst = [0.0, f64::MIN_POSITIVE];
        for (i, (&output, expected)) in self.outputs.iter().zip(&expected).enumerate() {
            let found = executor.read(output, self.graph.spec(output))?;
            for (found, (expected, bound)) in found.data.iter().zip(self.bounded(i, &tensors, expected)) {
                let error = (found - expected).abs();
                // A NaN is the worst of all.
                let better = error / bound <= worst[0] / worst[1];
                if !better {
                    worst = [error, bound];
                }
            }
        }
        Ok(worst)
    }

    /// Elements of an output and how far the device may be from them.
    fn bounded<'a>(
        &self,
        output: usize,
        tensors: &[HostTensor],
        expected: &'a HostTensor,
    ) -> impl Iterator<Item = (f64, f64)> + 'a {
        let winograd = self.plan.kernels.iter().any(|kernel| kernel.shader.starts_with("winograd"));
        let bounds = match self.case.winograd.filter(|_| winograd) {
            Some(error) => vec![error; expected.data.len()],
            None => self.case.bounds(output, tensors, expected),
        };
        expected.data.iter().copied().zip(bounds.into_iter().map(|bound| bound.max(f64::MIN_POSITIVE)))
    }

    fn result(&self, kernel: &'static str, worst: &Worst) -> KernelTest {
        let numbers = worst.as_ref().ok();
        KernelTest {
            kernel,
            case: self.case.name.clone(),
            algorithms: self.algorithms,
            error: numbers.map(|[error, _]| *error),
            bound: numbers.map(|[_, bound]| *bound),
            passed: numbers.is_some_and(|[error, bound]| error <= bound),
            reason: worst.as_ref().err().map(ToString::to_string),
        }
    }
}
