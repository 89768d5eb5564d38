//! `train`: from options and configuration to a run folder.

use super::dry_run::dry_run;
use super::progress::TrainProgress;
use super::status::wrong;
use super::{RARE, open_named_gpu, plan, values};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use vnet_engine::data::Dataset;
use vnet_engine::gpu::GpuOptions;
use vnet_engine::kernel::Algorithms;
use vnet_engine::metrics::render_table;
use vnet_engine::train::{Config, MemoryMode, Preset, RunSettings, Setting, Summary, refuse_used, train_on};

/// Share of the time that steps wait for batches, and seconds of it, from which that is told: the first batch of a short
/// training always takes a moment.
const NOTEWORTHY: f64 = 0.02;
const LONG: f64 = 10.0;

#[derive(Debug, Args)]
pub struct TrainArguments {
    /// Folder of volumes with labels, or table of cases
    ///
    /// images/ and labels/ with equal file names, imagesTr/ and labelsTr/ (Decathlon), or NAME with NAME_segmentation
    /// (PROMISE12). A table (.csv) has columns image, label and, if you like, split and name.
    #[arg(long, value_name = "DATA")]
    pub data: PathBuf,
    /// Run folder to create: model, curves, scores, report
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
    /// Go on where the run in --out was stopped
    ///
    /// From its newest checkpoint, with its configuration, to the same bits.
    #[arg(long, conflicts_with_all = ["preset", "config", "init", "fold"])]
    pub resume: bool,
    /// Check everything, list all problems, train nothing
    ///
    /// Reads every file of the data set to its end, and checks configuration, split and memory.
    #[arg(long)]
    pub dry_run: bool,
    /// Start from a preset
    ///
    /// By default DATA/plan.toml, or a plan that is made first; with --config, small.
    #[arg(long, value_parser = values::presets())]
    pub preset: Option<Preset>,
    /// TOML file whose keys replace those of the preset
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Replace one key of the configuration
    ///
    /// For example --set optimiser.learning_rate=3e-4. May be repeated. RUN/config.toml has all keys.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Optimiser steps (key training.steps)
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Validate on part I of K (from 0), train on the rest
    ///
    /// Of a table, cases whose split is test stay so, and the others are divided.
    #[arg(long, value_name = "I/K", value_parser = values::fold, help_heading = RARE)]
    pub fold: Option<(usize, usize)>,
    /// Start from the parameters of this model
    ///
    /// Parameters of equal name and shape are taken, the others start anew: those of other levels, and the last layer where the
    /// number of classes differs.
    #[arg(long, value_name = "FILE", help_heading = RARE)]
    pub init: Option<PathBuf>,
    /// Leave parameters as they are
    ///
    /// By their names in the model file: * stands for any letters, ? for one, e.g. --freeze "encoder.*". May be repeated. The key is
    /// optimiser.freeze.
    #[arg(long, value_name = "PATTERN", help_heading = RARE)]
    pub freeze: Vec<String>,
    /// low: less device memory, more time, the same results
    ///
    /// The key is training.memory.
    #[arg(long, value_name = "MODE", value_parser = values::memory_modes(), hide_possible_values = true, help_heading = RARE)]
    pub memory: Option<MemoryMode>,
    /// Seed of split, weights and order of cases (key seed)
    #[arg(long, help_heading = RARE)]
    pub seed: Option<u64>,
    /// Time every dispatch of one step
    ///
    /// Writes profile.json (a Chrome trace) and profile.txt (by layer and kernel) into the run folder.
    #[arg(long, conflicts_with = "dry_run", help_heading = RARE)]
    pub profile: bool,
    /// Print the results as one JSON document
    #[arg(long, conflicts_with = "dry_run", help_heading = RARE)]
    pub json: bool,
}

pub fn train(arguments: &TrainArguments, kernels: Option<Algorithms>, device: GpuOptions) -> Result<()> {
    let settings = settings(arguments, kernels, &device);
    if arguments.dry_run {
        return dry_run(arguments, settings, &device);
    }
    let settings = settings?;
    // The data set is looked at before the device is opened: a wrong path is the likelier mistake.
    Dataset::open_as(&settings.data, settings.config.dataset_options()?)?;
    let mut progress = TrainProgress::new(&settings.out);
    let summary = train_on(|| open_named_gpu(&device), &settings, &mut progress);
    progress.finish();
    let summary = summary?;
    if arguments.json {
        outln!("{}", json(&settings, &summary));
        return Ok(());
    }
    if let Some(test) = &summary.test {
        outln!("{}", render_table(test));
    }
    if let Some((dice, step)) = summary.best {
        outln!("best validation Dice {dice:.4} after {step} steps");
    }
    outln!("weights after the last step  {}\nweights of the model         {}", summary.weights, summary.model);
    if summary.waited_share > NOTEWORTHY && summary.waited_seconds > LONG {
        let percent = 100.0 * summary.waited_share;
        outln!("loader  the steps waited {percent:.1} % of their time for batches ({:.0} s)", summary.waited_seconds);
    }
    let out = settings.out.display();
    outln!("model   {out}/model.safetensors\ncurves  {out}/curves.svg\nreport  {out}/report.html");
    if arguments.profile && settings.out.join("profile.txt").exists() {
        outln!("profile {out}/profile.txt, {out}/profile.json (chrome://tracing, ui.perfetto.dev)");
    }
    Ok(())
}

fn json(settings: &RunSettings, summary: &Summary) -> serde_json::Value {
    let file = |name: &str| settings.out.join(name).display().to_string();
    serde_json::json!({
        "run": settings.out.display().to_string(), "steps": settings.config.training.steps,
        "best": summary.best.map(|(dice, step)| serde_json::json!({ "dice": dice, "step": step })),
        "test": summary.test, "weights": summary.weights, "model_weights": summary.model,
        "waited_share": summary.waited_share, "waited_seconds": summary.waited_seconds,
        "model": file("model.safetensors"), "curves": file("curves.svg"), "report": file("report.html"),
        "warnings": summary.warnings.notices(),
    })
}

/// What is to be done.
fn settings(arguments: &TrainArguments, kernels: Option<Algorithms>, device: &GpuOptions) -> Result<RunSettings> {
    let mut overrides = Setting::parse_all(&arguments.settings);
    overrides.extend(kernels.map(|kernels| Setting::option("--kernels", "kernels", kernels)));
    overrides.extend(arguments.steps.map(|steps| Setting::option("--steps", "training.steps", steps)));
    overrides.extend(arguments.memory.map(|memory| Setting::option("--memory", "training.memory", memory)));
    overrides.extend(arguments.seed.map(|seed| Setting::option("--seed", "seed", seed)));
    if !arguments.freeze.is_empty() {
        overrides.push(Setting::list("--freeze", "optimiser.freeze", &arguments.freeze));
    }
    let stored = arguments.out.join("config.toml");
    let preset = arguments.preset.unwrap_or(Preset::Small);
    let is_given = arguments.preset.is_some() || arguments.config.is_some();
    let (config, plan) = match arguments.resume {
        true if !stored.exists() => {
            let text = format!("{}: no run to resume: config.toml is missing", arguments.out.display());
            return Err(wrong(text));
        }
        true => (Config::load(preset, Some(&stored), &overrides)?, None),
        false if is_given => (Config::load(preset, arguments.config.as_deref(), &overrides)?, None),
        false => {
            refuse_used(&arguments.out, false)?;
            plan::of_data(arguments, &overrides, device)?
        }
    };
    Ok(RunSettings {
        data: arguments.data.clone(),
        out: arguments.out.clone(),
        config,
        plan,
        resume: arguments.resume,
        fold: arguments.fold,
        init: arguments.init.clone(),
        profile: arguments.profile,
    })
}
