//! `cross-validate`: folds one after the other or one at a time, then everything together.

use super::plan::{self, PlanFor};
use super::progress::{SegmentProgress, TrainProgress};
use super::status::wrong;
use super::verbosity::tell;
use super::{RARE, dry_run, open_named_gpu, stop, values};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use vnet_engine::crossval::{Asked, Collected, CrossValidation, DEFAULT_FOLDS, Record, SetUp, folds_of};
use vnet_engine::data::Dataset;
use vnet_engine::gpu::GpuOptions;
use vnet_engine::kernel::Algorithms;
use vnet_engine::metrics::Metric;
use vnet_engine::train::{Config, MemoryMode, Preset, RunSettings, Setting, TrainError};

#[derive(Debug, Args)]
pub struct CrossValidateArguments {
    /// Folder of volumes with labels, or table of cases, as for train
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Folder to create: folds, predictions, evaluation, ensemble
    ///
    /// The same command again goes on where it was stopped, to the same bits.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of folds [default: 5]
    ///
    /// Every case is predicted by the network that was trained without it. Of a table, cases whose split is test stay so.
    #[arg(long, value_name = "K", value_parser = values::folds)]
    folds: Option<usize>,
    /// Train and predict fold N (from 0) only
    ///
    /// For a fold per process or machine. --collect puts them together.
    #[arg(long, value_name = "N", conflicts_with = "collect")]
    only: Option<usize>,
    /// Train nothing, put the folds together
    ///
    /// Says which folds are missing.
    #[arg(long)]
    collect: bool,
    /// Check everything, list all problems, train nothing
    #[arg(long, conflicts_with = "collect")]
    dry_run: bool,
    /// Start from a preset
    ///
    /// By default DATA/plan.toml, or a plan that is made first; with --config, small.
    #[arg(long, value_parser = values::presets())]
    preset: Option<Preset>,
    /// TOML file whose keys replace those of the preset
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replace one key of the configuration
    ///
    /// For example --set optimiser.learning_rate=3e-4. May be repeated. DIR/config.toml has all keys.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Optimiser steps of each fold (key training.steps)
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Time that a plan gives each fold [default: 15, on a GPU 480]
    #[arg(long, value_parser = values::minutes, conflicts_with_all = ["preset", "config"])]
    minutes: Option<f64>,
    /// low: less device memory, more time, the same results
    ///
    /// The key is training.memory.
    #[arg(long, value_name = "MODE", value_parser = values::memory_modes(), hide_possible_values = true, help_heading = RARE)]
    memory: Option<MemoryMode>,
    /// Seed of folds, weights and order of cases (key seed)
    #[arg(long, help_heading = RARE)]
    seed: Option<u64>,
    /// Print the results as one JSON document
    #[arg(long, conflicts_with = "dry_run", help_heading = RARE)]
    json: bool,
}

pub fn cross_validate(
    arguments: &CrossValidateArguments,
    kernels: Option<Algorithms>,
    device: &GpuOptions,
) -> Result<()> {
    if arguments.dry_run {
        return dry(arguments, kernels, device);
    }
    let cross = opened(arguments, kernels, device)?;
    if let Some(fold) = arguments.only.filter(|fold| *fold >= cross.folds()) {
        return Err(wrong(format!("--only {fold}: expected a fold from 0 to {}", cross.folds() - 1)));
    }
    stop::hint("; the same command goes on with it".to_owned());
    let folds = match arguments.only {
        Some(fold) => fold..fold + 1,
        None if arguments.collect => 0..0,
        None => 0..cross.folds(),
    };
    for fold in folds {
        run_fold(&cross, fold, device)?;
    }
    if let Some(fold) = arguments.only {
        return told_one(arguments, &cross, fold);
    }
    let collected = cross.collect(|text| tell!("note: {text}"))?;
    told(arguments, &cross, &collected)
}

/// The cross-validation of the folder, set up first where there is none.
fn opened(
    arguments: &CrossValidateArguments,
    kernels: Option<Algorithms>,
    device: &GpuOptions,
) -> Result<CrossValidation> {
    let overrides = overrides(arguments, kernels);
    let out = &arguments.out;
    let mut setting_up = None;
    if Record::read(out)?.is_none() {
        // The data set is looked at before a folder is made: a wrong path is the likelier mistake.
        let is_named = arguments.preset.is_some() || arguments.config.is_some() || arguments.minutes.is_some();
        let planned = Some(plan::plan_file(&arguments.data)).filter(|file| !is_named && file.exists());
        let file = arguments.config.as_deref().or(planned.as_deref());
        let config = Config::load(preset(arguments), file, &overrides)?;
        Dataset::open_as(&arguments.data, config.dataset_options()?)?;
        setting_up = Some(SetUp::begin(out)?);
    }
    let (config, plan) = match Record::read(out)? {
        Some(record) => {
            if arguments.minutes.is_some() {
                tell!("note: --minutes is not read: {} is set up already", out.display());
            }
            (again(arguments, &record, &overrides)?, None)
        }
        None => configured(arguments, &overrides, device)?,
    };
    let asked = Asked { data: arguments.data.clone(), out: out.clone(), folds: arguments.folds, config, plan };
    let cross = CrossValidation::open(&asked)?;
    drop(setting_up);
    Ok(cross)
}

fn preset(arguments: &CrossValidateArguments) -> Preset {
    arguments.preset.unwrap_or(Preset::Small)
}

/// The configuration of a new cross-validation, and the plan that it follows.
fn configured(
    arguments: &CrossValidateArguments,
    overrides: &[Setting],
    device: &GpuOptions,
) -> Result<(Config, Option<String>)> {
    if arguments.preset.is_some() || arguments.config.is_some() {
        return Ok((Config::load(preset(arguments), arguments.config.as_deref(), overrides)?, None));
    }
    let wanted = PlanFor { data: &arguments.data, minutes: arguments.minutes, dry_run: arguments.dry_run };
    plan::of_data(&wanted, overrides, device)
}

/// The configuration of a folder that is set up, as this command wants it. What the command leaves open is the folder's.
fn again(arguments: &CrossValidateArguments, record: &Record, overrides: &[Setting]) -> Result<Config> {
    if arguments.preset.is_some() || arguments.config.is_some() {
        return Ok(Config::load(preset(arguments), arguments.config.as_deref(), overrides)?);
    }
    Ok(Config::from_text(Preset::Small, Some(("cross_validation.json", &record.asked)), overrides)?)
}

fn overrides(arguments: &CrossValidateArguments, kernels: Option<Algorithms>) -> Vec<Setting> {
    let mut overrides = Setting::parse_all(&arguments.settings);
    overrides.extend(kernels.map(|kernels| Setting::option("--kernels", "kernels", kernels)));
    overrides.extend(arguments.steps.map(|steps| Setting::option("--steps", "training.steps", steps)));
    overrides.extend(arguments.memory.map(|memory| Setting::option("--memory", "training.memory", memory)));
    overrides.extend(arguments.seed.map(|seed| Setting::option("--seed", "seed", seed)));
    overrides
}

/// Trains a fold and predicts its cases, with their progress.
fn run_fold(cross: &CrossValidation, fold: usize, device: &GpuOptions) -> Result<()> {
    let (folds, split) = (cross.folds(), cross.split(fold));
    tell!("fold {fold} of {folds}: {} cases to train, {} to predict", split.train.len(), split.validation.len());
    let mut segmenting: Option<SegmentProgress> = None;
    let mut newest = None;
    let training = || TrainProgress::of_fold(&cross.run_folder(fold));
    let run = cross.run_fold(
        fold,
        || open_named_gpu(device),
        training,
        |predicting| {
            stop::hint("; the same command goes on with it".to_owned());
            let progress =
                segmenting.get_or_insert_with(|| SegmentProgress::after(predicting.done.0, predicting.done.1));
            if newest != Some(predicting.done.0) {
                newest = Some(predicting.done.0);
                progress.volume(predicting.case.image.first());
            }
            progress.window(predicting.windows.0, predicting.windows.1);
        },
    );
    segmenting.iter().for_each(SegmentProgress::finish);
    run.map_err(|error| match &error {
        TrainError::Interrupted { path, step, .. } => {
            let text = format!("{}: stopped after step {step}; the same command goes on with it", path.display());
            anyhow::Error::from(error).context(text)
        }
        _ => error.into(),
    })
}

/// What there is to say after one fold.
fn told_one(arguments: &CrossValidateArguments, cross: &CrossValidation, fold: usize) -> Result<()> {
    let missing = cross.missing()?;
    let folder = cross.run_folder(fold).display().to_string();
    if arguments.json {
        outln!("{}", serde_json::json!({ "fold": fold, "run": folder, "missing": missing }));
        return Ok(());
    }
    let list: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let next = if list.is_empty() { "none; --collect puts them together".to_owned() } else { list.join(", ") };
    outln!("fold {fold}  {folder}\nmissing {next}");
    Ok(())
}

fn told(arguments: &CrossValidateArguments, cross: &CrossValidation, collected: &Collected) -> Result<()> {
    let Collected { evaluation, choices, ensemble, report } = collected;
    let mean = evaluation.mean_foreground.get(&Metric::Dice).copied().flatten();
    if arguments.json {
        let document = serde_json::json!({
            "folds": cross.folds(), "mean_dice": mean, "choices": choices, "evaluation": evaluation,
            "ensemble": ensemble.display().to_string(), "report": report.display().to_string(),
        });
        outln!("{document}");
        return Ok(());
    }
    let all_in = report.with_file_name("scores.csv").display().to_string();
    outln!("{}", vnet_engine::metrics::render_short_table(evaluation, &all_in));
    // With many classes there are many trials; those that changed nothing are in the report.
    let accepted = choices.repairs.iter().filter(|trial| trial.accepted);
    for trial in std::iter::once(&choices.mirroring).chain(accepted) {
        let number = |dice: Option<f64>| dice.map_or_else(|| "-".to_owned(), |dice| format!("{dice:.4}"));
        let [before, after] = trial.mean_dice.map(number);
        let verdict = if trial.accepted { "accepted" } else { "not accepted" };
        outln!("tried     {}: Dice {before} to {after}, {verdict}: {}", trial.change, trial.reason);
    }
    let all = choices.repairs.len() + 1;
    outln!("tried     {all} changes in all: evaluation/choices.json and the report have their numbers");
    outln!("chosen    {}", choices.chosen.describe(&choices.targets));
    if let Some(dice) = mean {
        outln!("Dice      {dice:.4} over {} cases, each by the network that has not seen it", choices.cases);
    }
    outln!("ensemble  {}\nreport    {}", ensemble.display(), report.display());
    Ok(())
}

/// `--dry-run`: all problems of the data, the configuration and the folds, or the plan of the first fold. Writes nothing.
fn dry(arguments: &CrossValidateArguments, kernels: Option<Algorithms>, device: &GpuOptions) -> Result<()> {
    let overrides = overrides(arguments, kernels);
    let record = Record::read(&arguments.out)?;
    let config = match &record {
        Some(record) => again(arguments, record, &overrides).map(|config| (config, None)),
        None => configured(arguments, &overrides, device),
    };
    let settings = config.and_then(|(config, plan)| {
        let dataset = Dataset::open_as(&arguments.data, config.dataset_options()?)?;
        if let Some(record) = &record {
            record.check(&arguments.out, &dataset, arguments.folds, &config)?;
        }
        let splits = folds_of(
            &dataset,
            config.seed,
            record.as_ref().map(Record::folds).or(arguments.folds).unwrap_or(DEFAULT_FOLDS),
        )?;
        for (fold, split) in splits.iter().enumerate() {
            let (train, validation, test) = (split.train.len(), split.validation.len(), split.test.len());
            tell!("fold {fold}: {train} cases to train, {validation} to predict, {test} to test");
        }
        let out = arguments.out.join("fold_0");
        let resume = out.join("config.toml").exists();
        let split = splits.into_iter().next();
        Ok(RunSettings { plan, resume, split, ..RunSettings::new(&arguments.data, out, config) })
    });
    dry_run::dry_run(&arguments.data, settings, device)?;
    if record.is_some() {
        tell!("{} is set up already: the same command without --dry-run goes on with it", arguments.out.display());
    }
    Ok(())
}
