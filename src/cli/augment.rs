//! `augment`: a picture of augmented samples.

use super::status::{WrongInput, wrong};
use super::verbosity::tell_warnings;
use super::{RARE, open_gpu, values};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use vnet_engine::data::Dataset;
use vnet_engine::data::dataset::case_name;
use vnet_engine::gpu::GpuOptions;
use vnet_engine::report::{SampleGrid, write_samples};
use vnet_engine::train::{Config, Preset, Setting, did_you_mean, nearest_name, preview};

#[derive(Debug, Args)]
pub struct AugmentArguments {
    /// Folder of volumes with labels, as for train
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Picture to write (PNG)
    ///
    /// The sample as it was loaded, then augmented ones with their transformations and the outlines of their labels.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Start from a preset
    #[arg(long, value_parser = values::presets(), default_value = "small")]
    preset: Preset,
    /// TOML file whose keys replace those of the preset
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replace one key of the configuration
    ///
    /// For example --set augmentation.rotation.probability=1. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Case to draw [default: the first]
    #[arg(long, value_name = "NAME", help_heading = RARE)]
    case: Option<String>,
    /// Number of augmented samples
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = values::samples, help_heading = RARE)]
    samples: usize,
    /// Seed (key seed)
    #[arg(long, help_heading = RARE)]
    seed: Option<u64>,
}

pub fn augment(arguments: &AugmentArguments, device: &GpuOptions) -> Result<()> {
    let mut overrides = Setting::parse_all(&arguments.settings);
    overrides.extend(arguments.seed.map(|seed| Setting::option("--seed", "seed", seed)));
    let config = Config::load(arguments.preset, arguments.config.as_deref(), &overrides)?;
    if !config.augmentation.is_active() {
        let text = "augmentation is off in this configuration; see --preset, or --set augmentation.enabled=true";
        return Err(wrong(text));
    }
    let dataset = Dataset::open_as(&arguments.data, config.dataset_options())?;
    let wanted = arguments.case.as_deref().map(case_name);
    let case = match &wanted {
        None => 0,
        Some(name) => dataset.cases.iter().position(|c| c.name == *name).ok_or_else(|| {
            let nearest = did_you_mean(nearest_name(name, dataset.cases.iter().map(|c| c.name.as_str())));
            let first = &dataset.cases[0].name;
            let data = arguments.data.display();
            WrongInput(format!("{data}: no case of {} ({first}, …) is named {name}{nearest}", dataset.cases.len()))
        })?,
    };
    let name = dataset.cases[case].name.clone();
    let gpu = open_gpu(device)?;
    let preview = preview(&gpu, &dataset, &config, case, arguments.samples)?;
    tell_warnings(&preview.warnings);
    let [x, y, z] = preview.extents;
    let title = format!("{name}: {} samples of {x} x {y} x {z} voxels", arguments.samples);
    let grid = SampleGrid { title: &title, tiles: &preview.tiles, extents: preview.extents, spacing: preview.spacing };
    write_samples(&arguments.out, &grid)?;
    outln!("{}", arguments.out.display());
    Ok(())
}
