//! The device: choosing an adapter, opening it with all its limits, building pipelines, reading buffers back.
//!
//! wgpu is named here and in [`crate::exec`] only.

mod adapters;
mod budget;
#[cfg(feature = "fault-injection")]
mod faults;
mod pipeline;
mod readback;
#[cfg(target_os = "linux")]
mod workers;

pub use adapters::{AdapterDescription, DeviceChoice, adapters};
#[cfg(feature = "fault-injection")]
pub(crate) use faults::After;
#[cfg(feature = "fault-injection")]
pub use faults::{Counts, Fault};
pub(crate) use pipeline::Pipeline;
pub use readback::Readback;

use crate::kernel::{DeviceLimits, KernelPolicy, Target, Tuning};
use std::sync::{Arc, Mutex, PoisonError};

/// The device cannot be used, or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GpuError {
    /// No adapter at all.
    #[error(
        "no GPU adapter found: install a Vulkan driver (software: Debian and Ubuntu mesa-vulkan-drivers, Fedora \
         mesa-vulkan-drivers, Arch vulkan-swrast) or run through tools/with-adapter"
    )]
    NoAdapter,
    /// No adapter of the wanted name or index.
    #[error("no GPU adapter matches {wanted:?}; there are: {}", .present.join(", "))]
    NoSuchAdapter {
        /// What was asked for.
        wanted: String,
        /// Names of the adapters.
        present: Vec<String>,
    },
    /// The adapter refused to open a device.
    #[error("{adapter}: the device cannot be opened: {reason}")]
    Open {
        /// Name of the adapter.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// A shader was rejected.
    #[error("shader {shader}: {reason}")]
    Pipeline {
        /// Name of the shader.
        shader: String,
        /// The compiler's words.
        reason: String,
    },
    /// The device has not enough memory.
    #[error(
        "the device is out of memory: {reason}; end other programs that use it, or take less with --memory low, or a \
         smaller training.batch, network.base, network.features or data.patch"
    )]
    OutOfMemory {
        /// The driver's words.
        reason: String,
    },
    /// The device was lost: the driver was reset, updated or the card removed.
    #[error("the device was lost: {reason}")]
    Lost {
        /// The driver's words.
        reason: String,
    },
    /// The device reported an error while running.
    #[error("the device failed: {reason}")]
    Failed {
        /// The driver's words.
        reason: String,
    },
}

/// How a device is opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GpuOptions {
    /// Which adapter.
    pub choice: DeviceChoice,
    /// Ask only for WebGPU's default limits and no features: what every adapter can do.
    pub webgpu_limits: bool,
    /// Let wgpu add bounds checks to the shaders.
    pub checked_shaders: bool,
    /// Which kernels are asked for; a training puts those of its configuration in their place.
    pub policy: KernelPolicy,
    /// Device memory to stay below, in bytes; `None`: what the device has.
    pub memory_budget: Option<u64>,
}

/// What wgpu's allocator holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocated {
    /// Buffers.
    pub used: u64,
    /// Blocks of the driver that these buffers lie in.
    pub reserved: u64,
}

/// An open device.
#[derive(Debug, Clone)]
pub struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    description: AdapterDescription,
    target: Target,
    timestamps: bool,
    checked_shaders: bool,
    memory_budget: Option<u64>,
    failure: Arc<Failure>,
    #[cfg(feature = "fault-injection")]
    pub(crate) faults: Arc<faults::Faults>,
}

/// The first error that no scope catches; the loss of the device before any other.
#[derive(Debug, Default)]
struct Failure(Mutex<Option<GpuError>>);

impl Failure {
    fn keep(&self, error: GpuError) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() || (matches!(error, GpuError::Lost { .. }) && !matches!(*kept, Some(GpuError::Lost { .. }))) {
            *kept = Some(error);
        }
    }
}

impl Gpu {
    /// Opens a device.
    ///
    /// # Errors
    /// [`GpuError`] when no adapter matches or the device cannot be opened.
    pub fn open(options: &GpuOptions) -> Result<Self, GpuError> {
        let adapter = adapters::choose(&options.choice)?;
        let description = AdapterDescription::new(&adapter);
        let limits = if options.webgpu_limits { wgpu::Limits::default() } else { adapter.limits() };
        let features = if options.webgpu_limits { wgpu::Features::empty() } else { wanted_features(&adapter) };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("vnet-engine"),
            required_features: features,
            required_limits: limits.clone(),
            ..Default::default()
        };
        let opened = pollster::block_on(adapter.request_device(&descriptor));
        let (device, queue) =
            opened.map_err(|e| GpuError::Open { adapter: description.name.clone(), reason: e.to_string() })?;
        let failure = watch(&device);
        let facts = adapter.get_info();
        let is_cpu = facts.device_type == wgpu::DeviceType::Cpu;
        let target = Target {
            limits: device_limits(&facts, &limits, features),
            tuning: if is_cpu { Tuning::CPU } else { Tuning::GPU },
            policy: options.policy.clone(),
        };
        #[cfg(target_os = "linux")]
        if is_cpu {
            // Only speed depends on it.
            let _ = workers::bind();
        }
        let memory_budget = options.memory_budget.or_else(|| budget::detect(&adapter, &description));
        Ok(Self {
            device,
            queue,
            description,
            target,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES),
            checked_shaders: options.checked_shaders,
            memory_budget,
            failure,
            #[cfg(feature = "fault-injection")]
            faults: Arc::default(),
        })
    }

    /// The same device, asked for other kernels.
    #[must_use]
    pub fn with_policy(&self, policy: KernelPolicy) -> Self {
        Self { target: Target { policy, ..self.target.clone() }, ..self.clone() }
    }

    /// What lowering must know of this device.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Name, driver and kind of the adapter.
    pub fn description(&self) -> &AdapterDescription {
        &self.description
    }

    /// Whether dispatches can be timed on the device.
    pub fn has_timestamps(&self) -> bool {
        self.timestamps
    }

    /// Device memory in bytes that plans must stay below; `None` where it is not known.
    pub fn memory_budget(&self) -> Option<u64> {
        self.memory_budget
    }

    /// Device memory of everything that lives on this device now; `None` where the backend does not count it.
    pub fn allocated(&self) -> Option<Allocated> {
        let report = self.device.generate_allocator_report()?;
        Some(Allocated { used: report.total_allocated_bytes, reserved: report.total_reserved_bytes })
    }

    /// The first error that the device reported outside an error scope.
    ///
    /// # Errors
    /// That error.
    pub fn check(&self) -> Result<(), GpuError> {
        self.failure.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// Waits until everything that was submitted is done.
    ///
    /// # Errors
    /// [`GpuError::Failed`] when the device was lost or reported an error.
    pub fn wait(&self) -> Result<(), GpuError> {
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        self.check()?;
        polled.map(|_| ()).map_err(|e| GpuError::Failed { reason: e.to_string() })
    }

    /// Allocates a buffer.
    pub(crate) fn buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> Result<wgpu::Buffer, GpuError> {
        #[cfg(feature = "fault-injection")]
        self.refuse_allocation()?;
        Ok(self.scoped(|| self.device.create_buffer(descriptor))?)
    }

    /// Runs `work` and returns what validation or allocation had to say about it.
    pub(crate) fn scoped<T>(&self, work: impl FnOnce() -> T) -> Result<T, wgpu::Error> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let result = work();
        let errors = [validation.pop(), internal.pop(), memory.pop()].map(pollster::block_on);
        errors.into_iter().flatten().next().map_or(Ok(result), Err)
    }
}

impl From<wgpu::Error> for GpuError {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { source } => Self::OutOfMemory { reason: source.to_string() },
            other => Self::Failed { reason: other.to_string() },
        }
    }
}

fn wanted_features(adapter: &wgpu::Adapter) -> wgpu::Features {
    let useful = wgpu::Features::SUBGROUP
        | wgpu::Features::SHADER_INT64
        | wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS
        | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES;
    adapter.features() & useful
}

/// Keeps errors that no scope catches, instead of wgpu's panic.
fn watch(device: &wgpu::Device) -> Arc<Failure> {
    let failure = Arc::new(Failure::default());
    let uncaptured = Arc::clone(&failure);
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| uncaptured.keep(error.into())));
    let lost = Arc::clone(&failure);
    device.set_device_lost_callback(move |reason, message| {
        if reason != wgpu::DeviceLostReason::Destroyed {
            lost.keep(GpuError::Lost { reason: message });
        }
    });
    failure
}

fn device_limits(facts: &wgpu::AdapterInfo, limits: &wgpu::Limits, features: wgpu::Features) -> DeviceLimits {
    let uniform_size = facts.subgroup_min_size == facts.subgroup_max_size;
    let subgroups = features.contains(wgpu::Features::SUBGROUP) && uniform_size;
    DeviceLimits {
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        max_buffer_bytes: limits.max_buffer_size,
        max_workgroups: limits.max_compute_workgroups_per_dimension,
        max_invocations: limits.max_compute_invocations_per_workgroup,
        max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
        max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        subgroup: subgroups.then_some(facts.subgroup_min_size),
        int64: features.contains(wgpu::Features::SHADER_INT64),
    }
}
