use super::status::WrongInput;
use super::verbosity::tell_warnings;
use super::{AugmentArguments, open_gpu};
use anyhow::Result;
use vnet_engine::data::Dataset;
use vnet_engine::data::dataset::case_name;
use vnet_engine::gpu::GpuOptions;
use vnet_engine::report::{SampleGrid, write_samples};
use vnet_engine::train::{Config, Setting, did_you_mean, nearest_name, preview};

pub fn augment(arguments: &AugmentArguments, device: &GpuOptions) -> Result<()> {
    let mut overrides = Setting::parse_all(&arguments.settings);
    overrides.extend(arguments.seed.map(|seed| Setting::option("--seed", "seed", seed)));
    let config = Config::load(arguments.preset, arguments.config.as_deref(), &overrides)?;
    if !config.augmentation.is_active() {
        let text = "augmentation is off in this configuration; see --preset, or --set augmentation.enabled=true";
        return Err(WrongInput(text.to_owned()).into());
    }
    let dataset = Dataset::open_as(&arguments.data, config.data.labels.0.as_ref())?;
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
