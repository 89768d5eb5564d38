use super::status::WrongInput;
use super::verbosity::tell;
use super::{PlanArguments, TrainArguments, open_gpu};
use anyhow::Result;
use std::path::Path;
use vnet_engine::configure;
use vnet_engine::data::Dataset;
use vnet_engine::gpu::GpuOptions;
use vnet_engine::train::{Config, PLAN_FILE, Preset, Setting, TrainError};

pub fn plan(arguments: &PlanArguments, device: &GpuOptions) -> Result<()> {
    let out = arguments.out.clone().unwrap_or_else(|| arguments.data.join(PLAN_FILE));
    if out.exists() && !arguments.force {
        let text = format!("{}: exists already; give another --out, or --force to replace it", out.display());
        return Err(WrongInput(text).into());
    }
    let text = planned(&arguments.data, arguments.minutes, device)?;
    configure::document::store(&out, &text)?;
    print!("{text}");
    tell!("written to {}", out.display());
    Ok(())
}

fn planned(data: &Path, minutes: Option<f64>, device: &GpuOptions) -> Result<String> {
    // The data set is looked at before the device is opened: a wrong path is the likelier mistake.
    Dataset::open(data).map_err(TrainError::from)?;
    let gpu = open_gpu(device)?;
    Ok(configure::plan(&gpu, data, minutes, |text| tell!("plan: {text}"))?)
}

/// A configuration from a plan, and the plan's text.
pub type Planned = (Config, Option<String>);

/// The configuration of a training that names none: by the data set's `plan.toml`, else by a plan that is made now.
pub fn of_data(arguments: &TrainArguments, overrides: &[Setting], device: &GpuOptions) -> Result<Planned> {
    let stored = arguments.data.join(PLAN_FILE);
    if stored.exists() {
        tell!("configuration: {}", stored.display());
        let config = Config::load_with(Preset::Small, Some(&stored), overrides)?;
        return Ok((config, std::fs::read_to_string(&stored).ok()));
    }
    tell!("configuration: planned from the data, since neither --preset nor --config is given");
    match planned(&arguments.data, None, device) {
        Ok(text) => Ok((Config::from_text_with(Preset::Small, Some((PLAN_FILE, &text)), overrides)?, Some(text))),
        // A dry run has named what is wrong with the data, and goes on to the rest.
        Err(error) if arguments.dry_run && matches!(error.downcast_ref(), Some(TrainError::Data(_))) => {
            Ok((Config::load_with(Preset::Small, None, overrides)?, None))
        }
        Err(error) => Err(error),
    }
}
