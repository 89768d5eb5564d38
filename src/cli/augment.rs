use super::status::WrongInput;
use super::{AugmentArguments, open_gpu};
use anyhow::Result;
use vnet_engine::data::Dataset;
use vnet_engine::gpu::GpuOptions;
use vnet_engine::report::{SampleGrid, write_samples};
use vnet_engine::train::{Config, Setting, preview};

pub fn augment(arguments: &AugmentArguments, device: &GpuOptions) -> Result<()> {
    let mut overrides: Vec<Setting> = arguments.settings.iter().map(|text| Setting::parse(text)).collect();
    overrides.extend(arguments.seed.map(|seed| Setting::option("--seed", "seed", seed)));
    let config = Config::load_with(arguments.preset, arguments.config.as_deref(), &overrides)?;
    if !config.augmentation.is_active() {
        let text = "augmentation is off in this configuration; see --preset, or --set augmentation.enabled=true";
        return Err(WrongInput(text.to_owned()).into());
    }
    let dataset = Dataset::open(&arguments.data)?;
    let case = match &arguments.case {
        None => 0,
        Some(name) => dataset.cases.iter().position(|c| c.name == *name).ok_or_else(|| {
            let names: Vec<&str> = dataset.cases.iter().map(|c| c.name.as_str()).collect();
            let near = |n: &&str| strsim::jaro_winkler(n, name);
            let nearest = names.iter().copied().max_by(|a, b| near(a).total_cmp(&near(b))).unwrap_or_default();
            WrongInput(format!("{}: no case is named {name}; did you mean {nearest}?", arguments.data.display()))
        })?,
    };
    let name = dataset.cases[case].name.clone();
    let gpu = open_gpu(device)?;
    let preview = preview(&gpu, &dataset, &config, case, arguments.samples)?;
    let [x, y, z] = preview.extents;
    let title = format!("{name}: {} samples of {x} x {y} x {z} voxels", arguments.samples);
    let grid = SampleGrid { title: &title, tiles: &preview.tiles, extents: preview.extents, spacing: preview.spacing };
    write_samples(&arguments.out, &grid)?;
    println!("{}", arguments.out.display());
    Ok(())
}
