//! `train --dry-run`: every problem at once, or what would be trained.

use super::open_gpu;
use super::status::Problems;
use super::train::TrainArguments;
use super::verbosity::tell_warnings;
use anyhow::Result;
use std::sync::Arc;
use vnet_engine::gpu::GpuOptions;
use vnet_engine::kernel::Algorithms;
use vnet_engine::plan::human_bytes;
use vnet_engine::train::{KERNELS_FILE, Preflight, RunSettings, TrainError, check_budget, check_data, preflight};
use vnet_engine::tuning::read_table;

/// Bytes of host memory per voxel of a case while it is prepared: float32 intensities before and after resampling and
/// in their patch, and labels of 16 bits likewise.
const HOST_BYTES_PER_VOXEL: usize = 3 * (4 + 2);

/// Finds everything that can be wrong before the first step, or prints what would be trained. Writes nothing.
pub fn dry_run(arguments: &TrainArguments, settings: Result<RunSettings>, device: &GpuOptions) -> Result<()> {
    let mut problems = Vec::new();
    let given = settings.as_ref().ok().and_then(|settings| settings.config.data.classes().ok().flatten());
    let data = check_data(&arguments.data, given.as_ref());
    tell_warnings(&data.warnings);
    let wrong_data = !data.problems.is_empty();
    problems.extend(data.problems.into_iter().map(anyhow::Error::from));
    let settings = settings.map_err(|error| problems.insert(0, error)).ok();
    if let (Some(settings), Some(dataset)) = (&settings, &data.dataset) {
        match preflight(settings, dataset, &data.classes) {
            Ok(found) if problems.is_empty() => {
                let outputs = if data.classes.regions().is_empty() { "classes" } else { "regions" };
                let heading = format!("{} cases, {} {outputs}", dataset.cases.len(), data.classes.outputs());
                let heading = [heading, data.classes.describe()];
                return print_plan(settings, &found, &heading, data.most_voxels, device);
            }
            Ok(_) => {}
            // Problems that only follow from those of the data are left out.
            Err(more) => {
                problems.extend(more.into_iter().map(anyhow::Error::from).filter(|e| !wrong_data || is_news(e)))
            }
        }
    }
    Err(Problems::of(problems))
}

/// False for problems of single volumes, which the check of the data has named.
fn is_news(error: &anyhow::Error) -> bool {
    use vnet_engine::data::DataError::{Fold, Json, Split};
    match error.downcast_ref() {
        Some(TrainError::Data(data)) => matches!(data, Json { .. } | Split { .. } | Fold { .. }),
        _ => true,
    }
}

fn print_plan(
    settings: &RunSettings,
    found: &Preflight,
    [cases, labels]: &[String; 2],
    most_voxels: usize,
    device: &GpuOptions,
) -> Result<()> {
    let mut device = device.clone();
    device.policy.algorithms = settings.config.kernels;
    if settings.resume && settings.config.kernels == Algorithms::Measured && device.policy.measured.is_none() {
        device.policy.measured = Some(Arc::new(read_table(&settings.out.join(KERNELS_FILE))?));
    }
    let gpu = open_gpu(&device)?;
    let [x, y, z] = found.patch;
    let forecast = check_budget(&gpu, &found.network, &settings.config.trainer_settings(), [z, y, x])?;
    let [training, validation, test] =
        [&found.split.train, &found.split.validation, &found.split.test].map(|cases| cases.len());
    outln!("data      {cases}: {training} train, {validation} validate, {test} test");
    outln!("labels    {labels}");
    outln!("network   {} ({})", found.network.kind(), found.network.summary());
    outln!("patch     {x} x {y} x {z}");
    outln!("device    {}, {}", gpu.description().name, gpu.description().driver);
    let of = gpu.memory_budget().map_or_else(String::new, |budget| format!(" of {}", human_bytes(budget)));
    outln!("memory    {}{of}, in {} passes per step", human_bytes(forecast.total()), forecast.passes);
    let host = (most_voxels * HOST_BYTES_PER_VOXEL) as u64;
    outln!("host      about {} while the largest case ({most_voxels} voxels) is prepared", human_bytes(host));
    outln!("\n{}", settings.config.to_toml());
    Ok(())
}
