//! `plan`, and the plan that `train` makes where there is no configuration.

use super::status::wrong;
use super::verbosity::{tell, tell_warnings};
use super::{RARE, open_gpu, values};
use anyhow::Result;
use clap::Args;
use std::path::{Path, PathBuf};
use vnet_engine::configure::{self, Plan, Wish};
use vnet_engine::data::{Dataset, Manifest};
use vnet_engine::gpu::GpuOptions;
use vnet_engine::train::{Config, PLAN_FILE, Preset, Setting, TrainError};

#[derive(Debug, Args)]
pub struct PlanArguments {
    /// Folder of volumes with labels, or table of cases, as for train
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Time for the training [default: 15, on a GPU 480]
    ///
    /// Steps, validations and test together.
    #[arg(long, value_parser = values::minutes)]
    minutes: Option<f64>,
    /// Configurations to try for a minute each [default: 3]
    ///
    /// That of the rules is the first; 1 tries none. A trial takes a fifteenth of the minutes, if that is less than a minute; below half
    /// a minute none are made unless they are asked for. The best on cases that were not trained on is kept.
    #[arg(long, value_name = "N", value_parser = values::trials)]
    trials: Option<usize>,
    /// TOML file to write [default: DATA/plan.toml]
    ///
    /// `train --data DATA` uses DATA/plan.toml, of a table cases.csv the file cases.plan.toml beside it. Give another file
    /// to train with --config FILE.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a plan that exists
    #[arg(long)]
    force: bool,
    /// A key that says what the data are
    ///
    /// For example --set data.labels.prostate=255; also data.ignore, data.regions, data.regions_order, data.channel_files,
    /// data.label_file, data.align and data.series. May be repeated.
    #[arg(long = "set", value_name = "data.labels.NAME=VALUE", help_heading = RARE)]
    settings: Vec<String>,
}

pub fn plan(arguments: &PlanArguments, device: &GpuOptions) -> Result<()> {
    let out = arguments.out.clone().unwrap_or_else(|| plan_file(&arguments.data));
    if out.exists() && !arguments.force {
        return Err(wrong(format!("{}: exists already; give another --out, or --force to replace it", out.display())));
    }
    let settings = Setting::parse_all(&arguments.settings);
    if let Some((other, _)) = arguments.settings.iter().zip(&settings).find(|(_, setting)| !is_of_data(setting)) {
        return Err(wrong(format!("--set {other}: plan takes {} only", OF_DATA.join(", "))));
    }
    let Plan { text, warnings } =
        planned(&arguments.data, &settings, Wish { minutes: arguments.minutes, trials: arguments.trials }, device)?;
    tell_warnings(&warnings);
    configure::document::store(&out, &text)?;
    out!("{text}");
    tell!("written to {}", out.display());
    Ok(())
}

/// Keys that a plan must know: they say where channels, series and label maps are, and what their values mean.
const OF_DATA: [&str; 7] = [
    "data.labels",
    "data.ignore",
    "data.regions",
    "data.channel_files",
    "data.label_file",
    "data.align",
    "data.series",
];

/// The plan of a data set: in its folder, of a table beside it, with the name of the table.
pub fn plan_file(data: &Path) -> PathBuf {
    if Manifest::is_named(data) { data.with_extension(PLAN_FILE) } else { data.join(PLAN_FILE) }
}

fn is_of_data(setting: &Setting) -> bool {
    setting.key().is_some_and(|key| OF_DATA.iter().any(|of| key.starts_with(of)))
}

fn planned(data: &Path, settings: &[Setting], wish: Wish, device: &GpuOptions) -> Result<Plan> {
    let of_data: Vec<Setting> = settings.iter().filter(|setting| is_of_data(setting)).cloned().collect();
    let options = Config::load(Preset::Small, None, &of_data)?.dataset_options()?;
    // The data set is looked at before the device is opened: a wrong path is the likelier mistake.
    Dataset::open_as(data, options.clone()).map_err(TrainError::from)?;
    let gpu = open_gpu(device)?;
    Ok(configure::plan(&gpu, data, &options, wish, |text| tell!("plan: {text}"))?)
}

/// A configuration from a plan, and the plan's text.
pub type Planned = (Config, Option<String>);

/// What a training that names no configuration wants.
pub struct PlanFor<'a> {
    /// The data set.
    pub data: &'a Path,
    /// Minutes, if they are given; then a plan is made even where the data set has one.
    pub minutes: Option<f64>,
    pub dry_run: bool,
}

/// The configuration of a training that names none: by the data set's `plan.toml`, else by a plan that is made now.
pub fn of_data(wanted: &PlanFor<'_>, overrides: &[Setting], device: &GpuOptions) -> Result<Planned> {
    let stored = plan_file(wanted.data);
    if stored.exists() && wanted.minutes.is_none() {
        tell!("configuration: {}", stored.display());
        let config = Config::load(Preset::Small, Some(&stored), overrides)?;
        return Ok((config, std::fs::read_to_string(&stored).ok()));
    }
    tell!("configuration: planned from the data, since neither --preset nor --config is given");
    // A training begins at once: trials are made when a plan is asked for.
    let wish = Wish { minutes: wanted.minutes, trials: Some(1) };
    match planned(wanted.data, overrides, wish, device) {
        // The training prints its warnings itself.
        Ok(Plan { text, .. }) => {
            Ok((Config::from_text(Preset::Small, Some((PLAN_FILE, &text)), overrides)?, Some(text)))
        }
        // A dry run has named what is wrong with the data, and goes on to the rest.
        Err(error) if wanted.dry_run && matches!(error.downcast_ref(), Some(TrainError::Data(_))) => {
            Ok((Config::load(Preset::Small, None, overrides)?, None))
        }
        Err(error) => Err(error),
    }
}
