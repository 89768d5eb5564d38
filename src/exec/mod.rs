//! Runs a [`Plan`]: allocates its buffers, builds its pipelines and bind groups once, and replays its programs.

#[cfg(feature = "fault-injection")]
mod fault;
mod profile;

pub use profile::Timing;

use crate::gpu::{Gpu, GpuError, Readback};
#[cfg(doc)]
use crate::kernel::Operand;
use crate::kernel::{Access, Arena, GROUP_SCALAR_STRIDE};
use crate::plan::{BufferRole, BufferSpec, Plan, PlannedDispatch, Window};
use crate::tensor::{ELEMENT_BYTES, HostTensor, TensorSpec, ValueId};
use std::sync::Arc;

/// Uniform blocks start at multiples of this: the largest alignment that WebGPU allows a device to ask for.
const UNIFORM_ALIGNMENT: usize = 256;

/// Host-visible memory that copies of arenas to and from the device take at a time.
pub const STAGING_BYTES: usize = 16 << 20;

/// A plan on a device, ready to run.
#[derive(Debug)]
pub struct Executor {
    gpu: Arc<Gpu>,
    plan: Plan,
    buffers: Vec<wgpu::Buffer>,
    programs: Vec<Vec<Prepared>>,
}

/// A dispatch with its wgpu objects.
#[derive(Debug)]
struct Prepared {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 3],
    /// Number of its submission.
    submission: usize,
}

impl Executor {
    /// Allocates and builds everything that the plan needs.
    ///
    /// # Errors
    /// [`GpuError`] when memory runs out or a shader is rejected.
    pub fn new(gpu: Arc<Gpu>, plan: Plan) -> Result<Self, GpuError> {
        Self::build(gpu, plan, None)
    }

    /// Like [`Executor::new`], but takes the parameters from the arena `parameters` of `other`, and uses those of its slots that are
    /// large enough. Validation between training steps runs this way. The two must not run at once, and each overwrites the
    /// other's activations.
    ///
    /// # Errors
    /// [`GpuError`] when memory runs out or a shader is rejected.
    ///
    /// # Panics
    /// When the parameters of the two plans are laid out differently.
    pub fn sharing(other: &Self, plan: Plan, parameters: Arena) -> Result<Self, GpuError> {
        assert_eq!(plan.arena, other.plan.arena, "networks that share parameters have the same parameters");
        Self::build(Arc::clone(&other.gpu), plan, Some((other, parameters)))
    }

    fn build(gpu: Arc<Gpu>, plan: Plan, lender: Option<(&Self, Arena)>) -> Result<Self, GpuError> {
        let buffers = allocate(&gpu, &plan, lender)?;
        let pipelines = build_pipelines(&gpu, &plan)?;
        let uniforms = upload_uniforms(&gpu, &plan)?;
        let mut block = 0;
        let mut programs = Vec::new();
        for program in &plan.programs {
            let mut prepared = Vec::new();
            for dispatch in &program.dispatches {
                let pipeline = &pipelines[dispatch.kernel];
                let bind_group = bind(&gpu, pipeline, &buffers, &uniforms, block, dispatch)?;
                block += uniform_bytes(dispatch);
                prepared.push(Prepared {
                    pipeline: pipeline.pipeline.clone(),
                    bind_group,
                    grid: dispatch.grid,
                    submission: dispatch.submission,
                });
            }
            programs.push(prepared);
        }
        Ok(Self { gpu, plan, buffers, programs })
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// The plan that is run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Replays a program (0: the graph, then the stages in order); returns before the device is done.
    ///
    /// # Errors
    /// An error that the device reported earlier.
    pub fn run(&self, program: usize) -> Result<(), GpuError> {
        #[cfg(feature = "fault-injection")]
        if self.gpu.has_fault() {
            return self.run_with_faults(program);
        }
        for submission in self.submissions(program) {
            self.submit(submission);
        }
        self.gpu.check()
    }

    fn submit(&self, dispatches: &[Prepared]) {
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for dispatch in dispatches {
                dispatch.encode(&mut pass);
            }
        }
        self.gpu.queue.submit([encoder.finish()]);
    }

    /// The dispatches of a program, by submission.
    fn submissions(&self, program: usize) -> impl Iterator<Item = &[Prepared]> {
        self.programs[program].chunk_by(|a, b| a.submission == b.submission)
    }

    /// Writes an input or parameter.
    ///
    /// # Panics
    /// When the value has no place in the plan or another size.
    pub fn write(&self, value: ValueId, bytes: &[u8]) {
        let window = self.plan.places[&value];
        assert_eq!(window.bytes, bytes.len() as u64, "size of the written value");
        self.gpu.queue.write_buffer(&self.buffers[window.buffer], window.offset, bytes);
    }

    /// Writes the scalars of the next step.
    ///
    /// # Panics
    /// When no dispatch of the plan reads them.
    pub fn write_step_scalars(&self, bytes: &[u8]) {
        self.write_group_scalars(0, bytes);
    }

    /// Writes the scalars of the next step for a group of parameters, counted from 1 ([`Operand::GroupScalars`]).
    ///
    /// # Panics
    /// When no dispatch of the plan reads those of this group or of a later one.
    pub fn write_group_scalars(&self, group: usize, bytes: &[u8]) {
        let buffer = self.buffer_of(BufferRole::StepScalars).expect("the plan has a stage that reads step scalars");
        self.gpu.queue.write_buffer(&self.buffers[buffer], group as u64 * GROUP_SCALAR_STRIDE, bytes);
    }

    /// Reads a value that the plan keeps.
    ///
    /// # Errors
    /// [`GpuError`] when the device failed.
    pub fn read(&self, value: ValueId, spec: &TensorSpec) -> Result<HostTensor, GpuError> {
        let bytes = self.read_windows(&[self.plan.places[&value]])?.wait(&self.gpu)?;
        Ok(HostTensor::from_device_bytes(spec.clone(), &bytes))
    }

    /// Starts to copy windows of buffers to the host, one after the other.
    ///
    /// # Errors
    /// [`GpuError`] when memory runs out.
    pub fn read_windows(&self, windows: &[Window]) -> Result<Readback, GpuError> {
        let ranges: Vec<_> = windows.iter().map(|w| (&self.buffers[w.buffer], w.offset, w.bytes)).collect();
        self.gpu.read_back(&ranges)
    }

    /// Reads a value of floats that the plan keeps, in order and in pieces of whole rows of `row` elements that take about
    /// [`STAGING_BYTES`]: the value is never on the host as a whole.
    ///
    /// # Errors
    /// [`GpuError`] when the device failed.
    pub fn read_rows(&self, value: ValueId, row: usize, mut seen: impl FnMut(&[f32])) -> Result<(), GpuError> {
        let Window { buffer, offset, bytes } = self.plan.places[&value];
        let row = row as u64 * ELEMENT_BYTES;
        let piece = (STAGING_BYTES as u64 / row).max(1) * row;
        for start in (0..bytes).step_by(usize::try_from(piece).expect("a piece that memory can hold")) {
            let window = Window { buffer, offset: offset + start, bytes: piece.min(bytes - start) };
            self.read_windows(&[window])?.wait_for_floats(&self.gpu, &mut seen)?;
        }
        Ok(())
    }

    /// Reads a whole arena, in pieces of [`STAGING_BYTES`].
    ///
    /// # Errors
    /// [`GpuError`] when the device failed.
    ///
    /// # Panics
    /// When the plan has no such arena.
    pub fn read_arena(&self, arena: Arena) -> Result<Vec<f32>, GpuError> {
        let buffer = self.buffer_of(BufferRole::Arena(arena)).expect("an arena of the plan");
        let end = self.plan.arena.elements as u64 * ELEMENT_BYTES;
        let mut elements: Vec<f32> = Vec::with_capacity(self.plan.arena.elements);
        for offset in (0..end).step_by(STAGING_BYTES) {
            let bytes = (end - offset).min(STAGING_BYTES as u64);
            let piece = self.read_windows(&[Window { buffer, offset, bytes }])?.wait(&self.gpu)?;
            elements.extend_from_slice(&bytemuck::pod_collect_to_vec::<u8, f32>(&piece));
        }
        Ok(elements)
    }

    /// Writes a whole arena, in pieces of [`STAGING_BYTES`], each of which has arrived before the next is staged. A device
    /// that fails meanwhile says so at the next call that can.
    ///
    /// # Panics
    /// When the plan has no such arena or it has another size.
    pub fn write_arena(&self, arena: Arena, elements: &[f32]) {
        let buffer = self.buffer_of(BufferRole::Arena(arena)).expect("an arena of the plan");
        assert_eq!(elements.len(), self.plan.arena.elements, "elements of an arena");
        let bytes: &[u8] = bytemuck::cast_slice(elements);
        for (i, piece) in bytes.chunks(STAGING_BYTES).enumerate() {
            self.gpu.queue.write_buffer(&self.buffers[buffer], (i * STAGING_BYTES) as u64, piece);
            if bytes.len() > STAGING_BYTES {
                self.gpu.queue.submit([]);
                // The device keeps its first error for the next check.
                let _ = self.gpu.wait();
            }
        }
    }

    fn buffer_of(&self, role: BufferRole) -> Option<usize> {
        self.plan.buffers.iter().position(|b| b.role == role)
    }
}

impl Prepared {
    fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], self.grid[2]);
    }
}

fn allocate(gpu: &Gpu, plan: &Plan, lender: Option<(&Executor, Arena)>) -> Result<Vec<wgpu::Buffer>, GpuError> {
    let borrowed = lender.map(|(l, parameters)| plan.borrowed_from(&l.plan, parameters));
    let buffer = |(i, spec): (usize, &BufferSpec)| {
        let lent =
            lender.zip(borrowed.as_ref().and_then(|b| b[i])).map(|((l, _), of_lender)| l.buffers[of_lender].clone());
        lent.map_or_else(|| storage(gpu, spec.bytes), Ok)
    };
    plan.buffers.iter().enumerate().map(buffer).collect()
}

fn storage(gpu: &Gpu, bytes: u64) -> Result<wgpu::Buffer, GpuError> {
    let descriptor = wgpu::BufferDescriptor {
        label: None,
        size: bytes.max(16),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    };
    gpu.buffer(&descriptor)
}

/// Builds the pipelines on all cores: llvmpipe takes up to seconds for each.
fn build_pipelines(gpu: &Gpu, plan: &Plan) -> Result<Vec<crate::gpu::Pipeline>, GpuError> {
    use rayon::prelude::*;
    let accesses: Vec<Vec<Access>> = (0..plan.kernels.len())
        .map(|kernel| {
            let mut dispatches = plan.programs.iter().flat_map(|p| &p.dispatches);
            let user = dispatches.find(|d| d.kernel == kernel).expect("every kernel is used");
            user.bindings.iter().map(|(_, access)| *access).collect()
        })
        .collect();
    plan.kernels.par_iter().zip(accesses).map(|(kernel, accesses)| gpu.pipeline(kernel, &accesses)).collect()
}

fn uniform_bytes(dispatch: &PlannedDispatch) -> usize {
    (dispatch.params.len() * 4).next_multiple_of(UNIFORM_ALIGNMENT).max(UNIFORM_ALIGNMENT)
}

/// One buffer with the uniform blocks of all dispatches, in order. Words that a dispatch does not give are zero.
fn upload_uniforms(gpu: &Gpu, plan: &Plan) -> Result<wgpu::Buffer, GpuError> {
    let mut bytes = Vec::new();
    for dispatch in plan.programs.iter().flat_map(|p| &p.dispatches) {
        let start = bytes.len();
        bytes.extend_from_slice(bytemuck::cast_slice(&dispatch.params));
        bytes.resize(start + uniform_bytes(dispatch), 0);
    }
    bytes.resize(bytes.len().max(UNIFORM_ALIGNMENT), 0);
    let buffer = gpu.buffer(&wgpu::BufferDescriptor {
        label: Some("uniforms"),
        size: bytes.len() as u64,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })?;
    gpu.queue.write_buffer(&buffer, 0, &bytes);
    Ok(buffer)
}

fn bind(
    gpu: &Gpu,
    pipeline: &crate::gpu::Pipeline,
    buffers: &[wgpu::Buffer],
    uniforms: &wgpu::Buffer,
    block: usize,
    dispatch: &PlannedDispatch,
) -> Result<wgpu::BindGroup, GpuError> {
    let binding = |buffer, offset, bytes: u64| {
        let size = std::num::NonZeroU64::new(bytes);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size })
    };
    let uniform = binding(uniforms, block as u64, uniform_bytes(dispatch) as u64);
    let storage = dispatch.bindings.iter().map(|(w, _)| binding(&buffers[w.buffer], w.offset, w.bytes));
    let entries: Vec<wgpu::BindGroupEntry<'_>> = std::iter::once(uniform)
        .chain(storage)
        .enumerate()
        .map(|(i, resource)| wgpu::BindGroupEntry { binding: i as u32, resource })
        .collect();
    let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &pipeline.layout, entries: &entries };
    gpu.scoped(|| gpu.device.create_bind_group(&descriptor)).map_err(GpuError::from)
}
