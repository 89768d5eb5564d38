use super::{Gpu, GpuError};
use crate::kernel::{Access, Kernel};

/// A pipeline and the layout of its bindings.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

impl Gpu {
    /// Builds the pipeline of a kernel whose storage bindings are used like `accesses`.
    pub(crate) fn pipeline(&self, kernel: &Kernel, accesses: &[Access]) -> Result<Pipeline, GpuError> {
        let rejected = |reason: String| GpuError::Pipeline { shader: kernel.shader.to_owned(), reason };
        let text = kernel.source().map_err(|e| rejected(e.to_string()))?;
        self.scoped(|| self.build(kernel, accesses, &text)).map_err(|e| match e {
            wgpu::Error::OutOfMemory { .. } => GpuError::from(e),
            other => rejected(other.to_string()),
        })
    }

    fn build(&self, kernel: &Kernel, accesses: &[Access], text: &str) -> Pipeline {
        let module = self.module(kernel, text);
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(kernel.shader),
            entries: &entries(accesses),
        });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(kernel.shader),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.shader),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(kernel.shader),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &kernel.constants,
                // Every kernel of this crate writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: kernel.text.is_some(),
            },
            cache: None,
        });
        Pipeline { pipeline, layout }
    }

    /// `text` is the kernel's expanded source.
    fn module(&self, kernel: &Kernel, text: &str) -> wgpu::ShaderModule {
        let source = wgpu::ShaderSource::Wgsl(text.into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(kernel.shader), source };
        if self.checked_shaders || kernel.text.is_some() {
            return self.device.create_shader_module(descriptor);
        }
        // SAFETY: without a text of its own the kernel's shader is one of this crate's. Each guards its indices by the
        // extents in its uniform, each loop is bounded by them, and the tests run every one of them with the checks on.
        unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }
}

fn entries(accesses: &[Access]) -> Vec<wgpu::BindGroupLayoutEntry> {
    let buffer = |binding: usize, ty| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let storage = accesses
        .iter()
        .enumerate()
        .map(|(i, access)| buffer(i + 1, wgpu::BufferBindingType::Storage { read_only: *access == Access::Read }));
    std::iter::once(buffer(0, wgpu::BufferBindingType::Uniform)).chain(storage).collect()
}
