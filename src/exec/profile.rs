use super::{Executor, Prepared};
use crate::gpu::GpuError;
use std::time::Instant;

/// Most timestamps of a query set.
const MOST_QUERIES: usize = 4096;

/// Device time of one dispatch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Index into [`crate::plan::Program::steps`].
    pub step: usize,
    /// Index into [`crate::plan::Plan::kernels`].
    pub kernel: usize,
    /// Seconds from the start of the program to the start of the dispatch.
    pub start: f64,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Executor {
    /// Runs a program and times each dispatch: by timestamps on the device where it has them, else by waiting for each
    /// dispatch on its own. What is computed is the same as by [`Executor::run`].
    ///
    /// # Errors
    /// [`GpuError`] when the device failed.
    pub fn profile(&self, program: usize) -> Result<Vec<Timing>, GpuError> {
        let times = if self.gpu.has_timestamps() { self.stamped(program)? } else { self.clocked(program)? };
        let dispatches = &self.plan.programs[program].dispatches;
        let timing = |(d, (start, end)): (&crate::plan::PlannedDispatch, (f64, f64))| Timing {
            step: d.step,
            kernel: d.kernel,
            start,
            seconds: end - start,
        };
        Ok(dispatches.iter().zip(times).map(timing).collect())
    }

    /// Start and end of each dispatch by the device's clock, in the submissions of [`Executor::run`].
    fn stamped(&self, program: usize) -> Result<Vec<(f64, f64)>, GpuError> {
        let submissions = self.submissions(program).flat_map(|s| s.chunks(MOST_QUERIES - 1));
        let resolved: Vec<wgpu::Buffer> = submissions.map(|s| self.stamp(s)).collect();
        let mut times = Vec::new();
        let mut origin = None;
        let period = f64::from(self.gpu.queue.get_timestamp_period()) * 1e-9;
        for buffer in resolved {
            let bytes = self.gpu.read_back(&[(&buffer, 0, buffer.size())])?.wait(&self.gpu)?;
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
            let origin = *origin.get_or_insert(ticks[0]);
            let seconds = |tick: u64| tick.saturating_sub(origin) as f64 * period;
            times.extend(ticks.windows(2).map(|w| (seconds(w[0]), seconds(w[1].max(w[0])))));
        }
        Ok(times)
    }

    /// Submits dispatches with a timestamp before the first and one after each; returns where they are written to.
    fn stamp(&self, dispatches: &[Prepared]) -> wgpu::Buffer {
        let device = &self.gpu.device;
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
        resolved
    }

    /// Start and end of each dispatch by the host's clock, each submitted on its own.
    fn clocked(&self, program: usize) -> Result<Vec<(f64, f64)>, GpuError> {
        self.gpu.wait()?;
        let origin = Instant::now();
        let mut times = Vec::new();
        for dispatch in &self.programs[program] {
            let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            dispatch.encode(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
            let start = origin.elapsed().as_secs_f64();
            self.gpu.queue.submit([encoder.finish()]);
            self.gpu.wait()?;
            times.push((start, origin.elapsed().as_secs_f64()));
        }
        Ok(times)
    }
}
