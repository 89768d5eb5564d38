use super::{Gpu, GpuError};
use std::sync::mpsc;

/// A copy of device memory on its way to the host.
#[derive(Debug)]
pub struct Readback {
    staging: wgpu::Buffer,
    done: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Readback {
    /// The bytes, if they have arrived; never waits.
    ///
    /// # Errors
    /// [`GpuError::Failed`] when the device failed.
    pub fn poll(&self, gpu: &Gpu) -> Result<Option<Vec<u8>>, GpuError> {
        // The result of polling is of no interest: failures arrive through the channel or the error callback.
        let _ = gpu.device.poll(wgpu::PollType::Poll);
        gpu.check()?;
        match self.done.try_recv() {
            Ok(result) => self.take(result).map(Some),
            Err(mpsc::TryRecvError::Empty) => Ok(None),
            Err(mpsc::TryRecvError::Disconnected) => Err(GpuError::Failed { reason: "readback was dropped".into() }),
        }
    }

    /// The bytes, after waiting for them.
    ///
    /// # Errors
    /// [`GpuError::Failed`] when the device failed.
    pub fn wait(&self, gpu: &Gpu) -> Result<Vec<u8>, GpuError> {
        gpu.wait()?;
        let result = self.done.recv().map_err(|_| GpuError::Failed { reason: "readback was dropped".into() })?;
        self.take(result)
    }

    /// Waits for the elements and lets `seen` have them where they are.
    ///
    /// # Errors
    /// [`GpuError::Failed`] when the device failed.
    pub fn wait_for_floats(&self, gpu: &Gpu, seen: impl FnOnce(&[f32])) -> Result<(), GpuError> {
        let failed = |reason: String| GpuError::Failed { reason };
        gpu.wait()?;
        let result = self.done.recv().map_err(|_| failed("readback was dropped".into()))?;
        result.map_err(|e| failed(e.to_string()))?;
        let view = self.staging.slice(..).get_mapped_range().map_err(|e| failed(e.to_string()))?;
        // Drivers map memory at page boundaries, but nothing says so.
        match bytemuck::try_cast_slice(&view) {
            Ok(elements) => seen(elements),
            Err(_) => seen(&bytemuck::pod_collect_to_vec::<u8, f32>(&view)),
        }
        Ok(())
    }

    fn take(&self, result: Result<(), wgpu::BufferAsyncError>) -> Result<Vec<u8>, GpuError> {
        let failed = |reason: String| GpuError::Failed { reason };
        result.map_err(|e| failed(e.to_string()))?;
        let view = self.staging.slice(..).get_mapped_range().map_err(|e| failed(e.to_string()))?;
        Ok(view.to_vec())
    }
}

impl Gpu {
    /// Copies ranges `(buffer, offset, bytes)` one after the other, after everything submitted so far.
    pub(crate) fn read_back(&self, ranges: &[(&wgpu::Buffer, u64, u64)]) -> Result<Readback, GpuError> {
        let total = ranges.iter().map(|r| r.2).sum();
        let staging = self.buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: total,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        })?;
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut at = 0;
        for &(buffer, offset, bytes) in ranges {
            encoder.copy_buffer_to_buffer(buffer, offset, &staging, at, bytes);
            at += bytes;
        }
        self.queue.submit([encoder.finish()]);
        let (sender, done) = mpsc::channel();
        // The receiver is gone only when nobody wants the bytes any more.
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| drop(sender.send(result)));
        Ok(Readback { staging, done })
    }
}
