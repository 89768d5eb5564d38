use super::Executor;
use crate::gpu::GpuError;
use crate::plan::Step;
use std::time::Instant;

/// Device time of one dispatch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Index into [`crate::plan::Program::steps`].
    pub step: usize,
    /// Index into [`crate::plan::Plan::kernels`].
    pub kernel: usize,
    /// Seconds.
    pub seconds: f64,
}

impl Executor {
    /// Runs a program and times each dispatch: by timestamps on the device where it has them, else by waiting for each
    /// dispatch on its own.
    ///
    /// # Errors
    /// [`GpuError`] when the device failed.
    pub fn profile(&self, program: usize) -> Result<Vec<Timing>, GpuError> {
        // A query set holds at most 4096 timestamps.
        let timestamps = self.gpu.has_timestamps() && self.programs[program].len() < 4096;
        let seconds = if timestamps { self.stamped(program)? } else { self.clocked(program)? };
        let dispatches = &self.plan.programs[program].dispatches;
        Ok(dispatches
            .iter()
            .zip(seconds)
            .map(|(d, seconds)| Timing { step: d.step, kernel: d.kernel, seconds })
            .collect())
    }

    fn stamped(&self, program: usize) -> Result<Vec<f64>, GpuError> {
        let device = &self.gpu.device;
        let dispatches = &self.programs[program];
        let count = dispatches.len() as u32 + 1;
        let set =
            device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count });
        let resolved = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(count) * 8,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.write_timestamp(&set, 0);
            for (query, dispatch) in (1..).zip(dispatches) {
                dispatch.encode(&mut pass);
                pass.write_timestamp(&set, query);
            }
        }
        encoder.resolve_query_set(&set, 0..count, &resolved, 0);
        self.gpu.queue.submit([encoder.finish()]);
        let bytes = self.gpu.read_back(&[(&resolved, 0, u64::from(count) * 8)])?.wait(&self.gpu)?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        let period = f64::from(self.gpu.queue.get_timestamp_period()) * 1e-9;
        Ok(ticks.windows(2).map(|w| w[1].saturating_sub(w[0]) as f64 * period).collect())
    }

    fn clocked(&self, program: usize) -> Result<Vec<f64>, GpuError> {
        let mut seconds = Vec::new();
        for dispatch in &self.programs[program] {
            let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            dispatch.encode(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
            let start = Instant::now();
            self.gpu.queue.submit([encoder.finish()]);
            self.gpu.wait()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }
}

/// Sums the dispatches of each step: `(step, seconds)` in order.
pub fn by_step<'a>(steps: &'a [Step], timings: &[Timing]) -> Vec<(&'a Step, f64)> {
    let mut sums = vec![0.0; steps.len()];
    for timing in timings {
        sums[timing.step] += timing.seconds;
    }
    steps.iter().zip(sums).collect()
}
