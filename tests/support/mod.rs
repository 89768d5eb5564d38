//! What the device tests share: opening a device, running one operation, comparing.
#![allow(dead_code, reason = "every test binary uses a part of this module")]

pub mod network_bounds;
pub mod normed;
pub mod notes;
#[cfg(feature = "cli")]
pub mod program;

use std::sync::{Arc, LazyLock};
use vnet_engine::exec::Executor;
use vnet_engine::gpu::{Gpu, GpuError, GpuOptions};
use vnet_engine::graph::Graph;
use vnet_engine::kernel::{Algorithms, DeviceLimits, Target, Tuning};
use vnet_engine::plan::{Request, plan};
use vnet_engine::tensor::{HostTensor, ValueId};

/// Unit roundoff of f32.
pub const U: f64 = 1.0 / (1u64 << 24) as f64;

fn open(webgpu_limits: bool, algorithms: Algorithms) -> Option<Arc<Gpu>> {
    let policy = algorithms.into();
    let options = GpuOptions { webgpu_limits, checked_shaders: true, policy, ..GpuOptions::default() };
    match Gpu::open(&options) {
        Ok(gpu) => Some(Arc::new(gpu)),
        Err(GpuError::NoAdapter) if std::env::var_os("VNET_REQUIRE_GPU").is_none() => None,
        Err(error) => panic!("{error}"),
    }
}

/// The device with all that its adapter offers; `None` without an adapter, unless VNET_REQUIRE_GPU is set.
pub static GPU: LazyLock<Option<Arc<Gpu>>> = LazyLock::new(|| open(false, Algorithms::Auto));

/// A device with WebGPU's default limits and no optional feature.
pub static WEBGPU: LazyLock<Option<Arc<Gpu>>> = LazyLock::new(|| open(true, Algorithms::Auto));

/// The device with direct kernels only.
pub static DIRECT: LazyLock<Option<Arc<Gpu>>> = LazyLock::new(|| open(false, Algorithms::Direct));

/// What Mesa's llvmpipe offers; tests/planner.rs compares it with the adapter.
pub fn llvmpipe() -> Target {
    let limits = DeviceLimits {
        max_buffer_bytes: (1 << 31) - 1,
        max_invocations: 1024,
        max_workgroup_bytes: 32_768,
        max_storage_buffers: 32,
        subgroup: Some(8),
        int64: true,
        ..DeviceLimits::WEBGPU
    };
    Target { limits, tuning: Tuning::CPU, ..Target::webgpu() }
}

/// A plan for a GPU with subgroups of 32 within the limits of this target. Its kernels use no subgroups, so any device can
/// run it.
pub fn as_gpu(target: &Target) -> Target {
    let limits = DeviceLimits { subgroup: Some(32), int64: true, ..target.limits };
    Target { limits, tuning: Tuning::GPU, policy: target.policy.clone() }
}

/// Runs a graph on the device and returns the wanted values.
pub fn run(
    gpu: &Arc<Gpu>,
    target: &Target,
    graph: &Graph,
    feeds: &[(ValueId, HostTensor)],
    wanted: &[ValueId],
) -> Vec<HostTensor> {
    let executor = executor(gpu, target, graph, wanted);
    execute(&executor, graph, feeds, wanted)
}

/// An executor that keeps the wanted values.
pub fn executor(gpu: &Arc<Gpu>, target: &Target, graph: &Graph, wanted: &[ValueId]) -> Executor {
    let plan = plan(&Request::inference(graph, wanted), target).expect("the graph fits the device");
    Executor::new(Arc::clone(gpu), plan).expect("the plan fits the device")
}

/// Feeds, runs and reads an executor.
pub fn execute(
    executor: &Executor,
    graph: &Graph,
    feeds: &[(ValueId, HostTensor)],
    wanted: &[ValueId],
) -> Vec<HostTensor> {
    for (value, tensor) in feeds {
        executor.write(*value, &tensor.to_device_bytes());
    }
    executor.run(0).expect("the device runs");
    wanted.iter().map(|&v| executor.read(v, graph.spec(v)).expect("the device answers")).collect()
}

/// Compares element by element under a bound per element; says how many are off, and the worst.
pub fn compare(found: &HostTensor, expected: &HostTensor, bound: impl Fn(usize) -> f64) -> Result<(), String> {
    assert_eq!(found.spec, expected.spec);
    let mut count = 0;
    let mut worst = (0, 0.0);
    for (i, (f, e)) in found.data.iter().zip(&expected.data).enumerate() {
        let excess = (f - e).abs() / bound(i).max(f64::MIN_POSITIVE);
        // Not `excess > 1`: a NaN must fail.
        let fine = excess <= 1.0;
        if !fine {
            count += 1;
            if excess.is_nan() || excess > worst.1 {
                worst = (i, excess);
            }
        }
    }
    if count == 0 {
        return Ok(());
    }
    let (i, excess) = worst;
    Err(format!(
        "{count} of {} elements of {} are off; worst at {:?}: found {}, expected {}, {excess:.3} times the bound {:e}",
        found.data.len(),
        found.spec,
        index(i, found.shape()),
        found.data[i],
        expected.data[i],
        bound(i)
    ))
}

fn index(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut position = vec![0; shape.len()];
    for (p, extent) in position.iter_mut().zip(shape).rev() {
        *p = flat % extent;
        flat /= extent;
    }
    position
}

/// Test functions as trials: those of the device are ignored, and say so, where there is no adapter; those on volumes where
/// VNET_DATA names no folder with them.
pub fn run_trials(tests: &[(&'static str, bool, fn())]) -> ! {
    let data = std::env::var_os("VNET_DATA").is_some();
    let arguments = libtest_mimic::Arguments::from_args();
    let trial = |&(name, device, test): &(&'static str, bool, fn())| {
        let run = move || {
            test();
            Ok(())
        };
        libtest_mimic::Trial::test(name, run)
            .with_ignored_flag((device && GPU.is_none()) || (name.ends_with("_on_volumes") && !data))
    };
    libtest_mimic::run(&arguments, tests.iter().map(trial).collect()).exit()
}

/// The device of tests that are ignored without one.
pub fn gpu() -> &'static Arc<Gpu> {
    GPU.as_ref().expect("ignored without an adapter")
}
