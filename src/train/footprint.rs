//! Host memory of a training and of a segmentation, from sizes alone.

use super::{Config, Forecast};
use crate::data::LoaderSettings;
use crate::exec::STAGING_BYTES;
use crate::nn::Network;
use crate::plan::Plan;
use crate::tensor::ELEMENT_BYTES;
use serde::Serialize;

/// The program with an open device: its code and that of the driver. Measured: `devices` on Mesa's llvmpipe
/// (docs/performance.md, "Memory").
const PROGRAM_BYTES: u64 = 91 << 20;
/// A pipeline that the driver has compiled. Measured likewise, with trainings of small networks.
const KERNEL_BYTES: u64 = 1100 << 10;
/// Batches of a loader thread: those that wait in its queue, and the one that it makes.
const BATCHES_OF_A_THREAD: u64 = 3;
/// Batches that a step holds: the one that is computed.
const BATCHES_OF_A_STEP: u64 = 1;
/// Bytes of an intensity, a label of a volume, and a label of a batch.
const INTENSITY: u64 = 4;
const LABEL: u64 = 2;
const BATCH_LABEL: u64 = 4;

/// The most host memory of a run in bytes, by what it is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// The program, the driver and the pipelines.
    pub program: u64,
    /// Device memory, where the device is the processor; else 0.
    pub device: u64,
    /// Prepared volumes that are kept, and a volume while it is prepared.
    pub volumes: u64,
    /// Batches that are ready or being made.
    pub batches: u64,
    /// Parameters, their moments and averages on their way to files.
    pub parameters: u64,
    /// Probabilities of a band of slices, and labels of a volume.
    pub prediction: u64,
    /// All of these.
    pub total: u64,
}

/// What is trained on or segmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volumes {
    /// Extents x, y, z of the largest volume as the network sees it.
    pub extents: [usize; 3],
    /// Channels.
    pub channels: usize,
    /// Cases of training and validation.
    pub cases: usize,
}

impl Volumes {
    fn voxels(&self) -> u64 {
        self.extents.iter().map(|&extent| extent as u64).product()
    }

    /// Bytes of a prepared volume with its label.
    fn prepared(&self) -> u64 {
        self.voxels() * (INTENSITY * self.channels as u64 + LABEL)
    }
}

impl Footprint {
    /// The footprint of a training. `software` says that the device's memory is the host's.
    pub fn of_training(
        network: &Network,
        config: &Config,
        volumes: &Volumes,
        patch: [usize; 3],
        forecast: &Forecast,
        software: bool,
    ) -> Self {
        let batch = config.training.batch / forecast.passes;
        let arena = forecast.step.arenas / forecast.arenas as u64;
        let held_on_device = forecast.step.total() + forecast.validation;
        let loader = config.loader_settings(patch, batch, 0);
        let held = (volumes.cases as u64 * volumes.prepared()).min(config.data.cache.0);
        // A volume while it is read and prepared: before and after, and its label.
        let made = (loader.threads.min(volumes.cases).max(1) as u64) * 2 * volumes.prepared();
        let prediction = prediction(network.classes, volumes, patch);
        Self {
            program: PROGRAM_BYTES + KERNEL_BYTES * forecast.kernels as u64,
            device: copies(forecast.step.inputs, arena) + if software { held_on_device } else { 0 },
            volumes: held + made,
            batches: batches(&loader, volumes.channels),
            // A checkpoint, of all arenas but the gradients', and the bytes of its file.
            parameters: 2 * (forecast.step.arenas - arena),
            prediction,
            total: 0,
        }
        .summed()
    }

    /// The footprint of the segmentation of a volume by one model, with the plan of its windows.
    pub fn of_segmentation(
        network: &Network,
        volumes: &Volumes,
        patch: [usize; 3],
        plan: &Plan,
        software: bool,
    ) -> Self {
        Self {
            program: PROGRAM_BYTES + KERNEL_BYTES * plan.kernels.len() as u64,
            device: copies(plan.memory.inputs, plan.memory.arenas) + if software { plan.memory.total() } else { 0 },
            volumes: volumes.voxels() * (INTENSITY * volumes.channels as u64),
            batches: 0,
            // The model as it was read, and in the order of the device.
            parameters: 2 * plan.memory.arenas,
            prediction: prediction(network.classes, volumes, patch),
            total: 0,
        }
        .summed()
    }

    fn summed(self) -> Self {
        let parts = [self.program, self.device, self.volumes, self.batches, self.parameters, self.prediction];
        Self { total: parts.iter().sum(), ..self }
    }
}

/// Copies on their way to the device: inputs, and a piece of an arena.
fn copies(inputs: u64, arena: u64) -> u64 {
    inputs + arena.min(STAGING_BYTES as u64)
}

fn batches(loader: &LoaderSettings, channels: usize) -> u64 {
    let voxels = loader.batch as u64 * loader.block.iter().map(|&extent| extent as u64).product::<u64>();
    let batches = BATCHES_OF_A_THREAD * loader.threads as u64 + BATCHES_OF_A_STEP;
    batches * voxels * (INTENSITY * channels as u64 + BATCH_LABEL)
}

/// Sums of the slices that windows still reach, slices on their way from the device, and three label maps. A volume of one window
/// needs no sums.
fn prediction(classes: usize, volumes: &Volumes, patch: [usize; 3]) -> u64 {
    let [x, y, z] = std::array::from_fn(|axis| volumes.extents[axis].max(patch[axis]) as u64);
    let [px, py, pz] = patch.map(|extent| extent as u64);
    let slice = px * py * classes as u64 * ELEMENT_BYTES;
    let read = (STAGING_BYTES as u64).max(slice).min(pz * slice);
    // Sums of each class, and of the weights; and the slices that wait to be resampled.
    let sums = if [x, y, z] == [px, py, pz] { 0 } else { x * y * pz * (classes as u64 + 1) * ELEMENT_BYTES };
    let waiting = 2 * x * y * classes as u64 * ELEMENT_BYTES;
    read + sums + waiting + 3 * volumes.voxels() * LABEL
}
