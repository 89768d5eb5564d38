//! A self-test of every kernel that a device can run: what `vnet-engine doctor` prints.
//!
//! | kernels | tried on |
//! |---|---|
//! | of networks, augmentation and the roofline's loops | the cases of [`crate::ops`], [`crate::augment`] and [`crate::profile`] |
//! | of optimisers | arenas without a network ([`optimisers`]) |
//!
//! The tests use the same cases and bounds. A case reaches a kernel with one of the [`Algorithms`], some only without the device's
//! optional features. Each kernel runs the largest case whose definition in f64 is quick.

pub mod optimisers;

use crate::exec::Executor;
use crate::gpu::{Gpu, GpuError};
use crate::graph::Graph;
use crate::kernel::{Algorithms, DeviceLimits, SHADERS, Target};
use crate::ops::case::Case;
use crate::plan::{Plan, PlanError, Request, plan};
use crate::tensor::{HostTensor, ShapeError, ValueId};
use serde::Serialize;
use std::sync::Arc;

/// Work of a case, in flops and elements, up to which the largest is chosen: below a tenth of a second of plain loops in f64.
const BUDGET: u64 = 10_000_000;

/// A self-test cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// A case is not defined on its shapes.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A case does not fit the device.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
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
    /// Whether the case might use the device's subgroups and 64-bit integers.
    pub optional_features: bool,
    /// Distance from the f64 definition, of the element with the largest part of its bound.
    pub error: Option<f64>,
    /// Bound of that element.
    pub bound: Option<f64>,
    /// Whether every element is within its bound.
    pub passed: bool,
    /// The driver's words, where the case did not run.
    pub reason: Option<String>,
}

/// The element that takes the largest part of its bound: its error and that bound.
type Worst = Result<[f64; 2], GpuError>;

impl KernelTest {
    fn new(kernel: &'static str, case: String, target: &Target, worst: &Worst) -> Self {
        let numbers = worst.as_ref().ok();
        Self {
            kernel,
            case,
            algorithms: target.policy.algorithms,
            optional_features: target.limits.subgroup.is_some() || target.limits.int64,
            error: numbers.map(|[error, _]| *error),
            bound: numbers.map(|[_, bound]| *bound),
            passed: numbers.is_some_and(|[error, bound]| error <= bound),
            reason: worst.as_ref().err().map(ToString::to_string),
        }
    }

    /// The part of the bound that the error takes; infinite where the case did not run.
    fn part(&self) -> f64 {
        self.error.zip(self.bound).map_or(f64::INFINITY, |(error, bound)| part([error, bound]))
    }
}

/// The part of a bound that an error takes. A NaN takes the most of all; a bound of 0 asks for equality.
fn part([error, bound]: [f64; 2]) -> f64 {
    let part = error / bound.max(f64::MIN_POSITIVE);
    if part.is_nan() { f64::INFINITY } else { part }
}

/// Error and bound of the worst of elements `(found, expected, bound)`.
fn worst(elements: impl Iterator<Item = (f64, f64, f64)>) -> [f64; 2] {
    let each = elements.map(|(found, expected, bound)| [(found - expected).abs(), bound]);
    each.reduce(|worst, next| if part(next) > part(worst) { next } else { worst }).unwrap_or_default()
}

/// A case that is planned for some algorithms.
struct Planned {
    case: Case,
    graph: Graph,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    plan: Plan,
    target: Target,
}

/// Tries every kernel that this device can be made to run; `seen` gets the tests as they come.
///
/// # Errors
/// [`DoctorError`] when a case cannot be planned. What fails on the device is a result.
pub fn self_test(gpu: &Arc<Gpu>, mut seen: impl FnMut(&KernelTest)) -> Result<Vec<KernelTest>, DoctorError> {
    let mut tests = Vec::new();
    for (planned, kernels) in chosen(gpu.target())? {
        let worst = planned.run(gpu);
        let test = |kernel| KernelTest::new(kernel, planned.case.name.clone(), &planned.target, &worst);
        tests.extend(kernels.into_iter().map(test).inspect(&mut seen));
    }
    tests.extend(optimisers::self_test(gpu)?.into_iter().inspect(&mut seen));
    tests.sort_by_key(|test| test.kernel);
    Ok(tests)
}

/// Every case that has a definition in f64.
fn cases() -> impl Iterator<Item = Case> {
    let all = [crate::ops::cases(), crate::augment::cases(), crate::profile::cases()];
    all.into_iter().flatten().filter(|case| !case.benchmark_only)
}

/// The ways to lower a case on a device.
fn targets(target: &Target) -> Vec<Target> {
    let limits = DeviceLimits { subgroup: None, int64: false, ..target.limits };
    let plain = Target { limits, ..target.clone() };
    let of = |target: &Target| {
        [Algorithms::Direct, Algorithms::Winograd, Algorithms::Naive]
            .map(|algorithms| target.with_algorithms(algorithms))
    };
    [of(target), of(&plain)].concat()
}

/// The cases that reach all kernels, each with its kernels: where an operation of that name has the kernel, the first of its
/// cases in the order of preference, otherwise the first of all.
fn chosen(target: &Target) -> Result<Vec<(Planned, Vec<&'static str>)>, DoctorError> {
    let mut planned = Vec::new();
    for target in targets(target) {
        for case in cases() {
            planned.push(Planned::new(case, &target)?);
        }
    }
    planned.sort_by_cached_key(Planned::rank);
    let mut chosen: Vec<(Planned, Vec<&str>)> = planned.into_iter().map(|planned| (planned, Vec::new())).collect();
    for &(kernel, _) in SHADERS {
        let own = chosen.iter().position(|(p, _)| p.case.op.name() == kernel && p.reaches(kernel));
        if let Some(first) = own.or_else(|| chosen.iter().position(|(p, _)| p.reaches(kernel))) {
            chosen[first].1.push(kernel);
        }
    }
    chosen.retain(|(_, kernels)| !kernels.is_empty());
    Ok(chosen)
}

impl Planned {
    fn new(case: Case, target: &Target) -> Result<Self, DoctorError> {
        let mut graph = Graph::new();
        let specs = case.inputs.iter().enumerate();
        let inputs: Vec<ValueId> =
            specs.map(|(i, (spec, _))| graph.input(&format!("input{i}"), spec.clone())).collect();
        let outputs = graph.append_shared(case.op.clone(), &inputs)?;
        let plan = plan(&Request::inference(&graph, &outputs), target)?;
        Ok(Self { case, graph, inputs, outputs, plan, target: target.clone() })
    }

    /// Flops and elements, which the definition in plain loops takes its time for.
    fn work(&self) -> u64 {
        let specs: Vec<_> = self.case.inputs.iter().map(|(spec, _)| spec).collect();
        let outputs = self.outputs.iter().map(|&output| self.graph.spec(output));
        let elements: usize = specs.iter().copied().chain(outputs).map(|spec| spec.elements()).sum();
        self.case.op.flops(&specs) + elements as u64
    }

    /// Order of preference: the cases within the budget from the largest, then the others from the smallest; among either
    /// those of Winograd's kernels last, so that gemms that others use too are not tried under Winograd's wider bounds.
    fn rank(&self) -> (bool, bool, u64) {
        let work = self.work();
        let beyond = work > BUDGET;
        (beyond, self.has_winograd(), if beyond { work } else { BUDGET - work })
    }

    fn reaches(&self, kernel: &str) -> bool {
        self.plan.kernels.iter().any(|planned| planned.shader == kernel)
    }

    fn has_winograd(&self) -> bool {
        self.plan.kernels.iter().any(|kernel| kernel.shader.starts_with("winograd"))
    }

    fn run(&self, gpu: &Arc<Gpu>) -> Worst {
        let executor = Executor::new(Arc::clone(gpu), self.plan.clone())?;
        let tensors = self.case.draw(1);
        for (&input, tensor) in self.inputs.iter().zip(&tensors) {
            executor.write(input, &tensor.to_device_bytes());
        }
        executor.run(0)?;
        let expected = self.case.op.reference(&tensors.iter().collect::<Vec<_>>());
        let mut elements = Vec::new();
        for (i, (&output, expected)) in self.outputs.iter().zip(&expected).enumerate() {
            let found = executor.read(output, self.graph.spec(output))?;
            let bounds = self.bounds(i, &tensors, expected);
            elements.extend(found.data.into_iter().zip(&expected.data).zip(bounds).map(|((f, e), b)| (f, *e, b)));
        }
        Ok(worst(elements.into_iter()))
    }

    /// How far the device may be from the elements of an output.
    fn bounds(&self, output: usize, tensors: &[HostTensor], expected: &HostTensor) -> Vec<f64> {
        match self.case.winograd.map(|w| w.error).filter(|_| self.has_winograd()) {
            Some(error) => vec![error; expected.data.len()],
            None => self.case.bounds(output, tensors, expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Tuning;
    use std::collections::BTreeSet;

    #[test]
    fn the_worst_is_farthest_beyond_its_bound_and_nan_worst_of_all() {
        assert_eq!(worst([(1.0, 1.5, 2.0), (3.0, 2.0, 3.0), (0.0, 0.0, 0.0)].into_iter()), [1.0, 3.0]);
        assert_eq!(worst([(1.0, 2.0, f64::INFINITY), (0.0, 0.25, 1.0)].into_iter()), [0.25, 1.0]);
        assert_eq!(worst([(1.0, 1.0, 0.0), (3.0, 2.0, 0.0)].into_iter()), [1.0, 0.0]);
        let [error, _] = worst([(f64::NAN, 1.0, 1.0), (2.0, 1.0, 4.0), (5.0, 1.0, 1.0)].into_iter());
        assert!(error.is_nan());
    }

    #[test]
    fn every_kernel_is_reached_on_a_device_with_subgroups_of_eight() {
        let limits = DeviceLimits { subgroup: Some(8), int64: true, ..DeviceLimits::WEBGPU };
        let target = Target { limits, tuning: Tuning::CPU, ..Target::webgpu() };
        let chosen = chosen(&target).expect("every case fits WebGPU's limits");
        let mut reached: BTreeSet<&str> = chosen.iter().flat_map(|(_, kernels)| kernels).copied().collect();
        // These are tried without a plan of a graph.
        reached.extend(optimisers::kernels());
        reached.insert("copy");
        let missing: Vec<&str> = SHADERS.iter().map(|shader| shader.0).filter(|name| !reached.contains(name)).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }
}
