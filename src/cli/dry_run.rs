//! `train --dry-run`: every problem at once, or what would be trained.

use super::open_gpu;
use super::status::Problems;
use super::train::TrainArguments;
use super::verbosity::tell_warnings;
use anyhow::Result;
use std::sync::Arc;
use vnet_engine::data::{Dataset, training_bytes, validation_bytes};
use vnet_engine::gpu::GpuOptions;
use vnet_engine::kernel::Algorithms;
use vnet_engine::plan::human_bytes;
use vnet_engine::train::config::{CacheDir, activation};
use vnet_engine::train::{
    Footprint, KERNELS_FILE, Preflight, RunSettings, TrainError, Volumes, check_budget, check_data, preflight,
};
use vnet_engine::tuning::read_table;

/// Finds everything that can be wrong before the first step, or prints what would be trained. Writes nothing.
pub fn dry_run(arguments: &TrainArguments, settings: Result<RunSettings>, device: &GpuOptions) -> Result<()> {
    let mut problems = Vec::new();
    let options = settings.as_ref().ok().and_then(|settings| settings.config.dataset_options().ok());
    let data = check_data(&arguments.data, options.unwrap_or_default());
    tell_warnings(&data.warnings);
    let wrong_data = !data.problems.is_empty();
    problems.extend(data.problems.into_iter().map(anyhow::Error::from));
    let settings = settings.map_err(|error| problems.insert(0, error)).ok();
    if let (Some(settings), Some(dataset)) = (&settings, &data.dataset) {
        match preflight(settings, dataset, data.channels, &data.classes) {
            Ok(found) if problems.is_empty() => {
                let outputs = activation(&data.classes).outputs();
                let heading = format!(
                    "{} cases, {}{} {outputs}",
                    dataset.cases.len(),
                    channels_in_words(data.channels, &dataset.channel_names),
                    data.classes.outputs()
                );
                let heading = [heading, data.classes.describe()];
                let cache = cache_line(settings, &found, dataset)?;
                return print_plan(settings, &found, &heading, (data.most_voxels, cache), device);
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

/// The channels, where there are several.
fn channels_in_words(channels: usize, names: &[String]) -> String {
    match (channels, names) {
        (1, _) => String::new(),
        (channels, []) => format!("{channels} channels, "),
        (channels, names) => format!("{channels} channels ({}), ", names.join(", ")),
    }
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
    (most_voxels, cache): (usize, String),
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
    let passes = if forecast.passes == 1 { "1 pass".to_owned() } else { format!("{} passes", forecast.passes) };
    outln!("memory    {}{of}, in {passes} per step", human_bytes(forecast.total()));
    // Only the number of voxels is known, so the shape is that of the patch.
    let scale = (most_voxels as f64 / (x * y * z) as f64).cbrt();
    let volumes = Volumes {
        extents: found.patch.map(|extent| (extent as f64 * scale).round().max(1.0) as usize),
        channels: found.network.in_channels,
        cases: training + validation,
    };
    let software = gpu.description().kind == "cpu";
    let host = Footprint::of_training(&found.network, &settings.config, &volumes, found.patch, &forecast, software);
    let device_too = if software { ", that of the device included" } else { "" };
    outln!("host      about {}{device_too}; the largest case has {most_voxels} voxels", human_bytes(host.total));
    outln!("cache     {cache}");
    outln!("\n{}", settings.config.to_toml());
    Ok(())
}

/// What prepared volumes take, and where.
fn cache_line(settings: &RunSettings, found: &Preflight, dataset: &Dataset) -> Result<String> {
    let config = &settings.config;
    let preparation = config.preparation(found.patch, found.network.in_channels, found.network.classes);
    let [training, validation] = [&found.split.train, &found.split.validation].map(|names| dataset.select(names));
    let bytes =
        training_bytes(&training, &preparation, config.data.sampling)? + validation_bytes(&validation, &preparation)?;
    let (all, memory) = (human_bytes(bytes), config.data.cache.0);
    let (within, disk) = (human_bytes(memory), config.data.cache_dir.of_run(&settings.out));
    let free = disk.free_bytes().map_or_else(String::new, |free| format!(", where {} are free", human_bytes(free)));
    let place = disk.folder().map(|folder| format!("{}{free}", folder.display()));
    Ok(match (place, &config.data.cache_dir) {
        (Some(place), CacheDir::At(_)) => format!("{all} of prepared volumes, all of them in {place}"),
        _ if bytes <= memory => format!("{all} of prepared volumes, all of them in memory (data.cache is {within})"),
        (Some(place), _) => {
            format!("{all} of prepared volumes, {within} of them in memory (data.cache), the others in {place}")
        }
        (None, _) => format!(
            "{all} of prepared volumes, {within} of them in memory (data.cache); the others are prepared again whenever they \
             are needed (data.cache_dir is \"none\")"
        ),
    })
}
