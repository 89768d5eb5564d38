use super::dry_run::dry_run;
use super::progress::TrainProgress;
use super::status::WrongInput;
use super::verbosity::tell;
use super::{TrainArguments, open_gpu, plan};
use anyhow::Result;
use vnet_engine::data::Dataset;
use vnet_engine::gpu::GpuOptions;
use vnet_engine::kernel::Algorithms;
use vnet_engine::metrics::render_table;
use vnet_engine::train::{Config, Preset, RunSettings, Setting, Summary, refuse_used, train_on};

pub fn train(arguments: &TrainArguments, kernels: Option<Algorithms>, device: GpuOptions) -> Result<()> {
    let settings = settings(arguments, kernels, &device);
    if arguments.dry_run {
        return dry_run(arguments, settings, &device);
    }
    let settings = settings?;
    // The data set is looked at before the device is opened: a wrong path is the likelier mistake.
    Dataset::open_as(&settings.data, settings.config.data.labels.0.as_ref())?;
    let open = || {
        let gpu = open_gpu(&device)?;
        tell!("device: {}, {}", gpu.description().name, gpu.description().driver);
        Ok(gpu)
    };
    let mut progress = TrainProgress::new(&settings.out);
    let summary = train_on(open, &settings, &mut progress);
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
    let stored = arguments.out.join("config.toml");
    let preset = arguments.preset.unwrap_or(Preset::Small);
    let is_given = arguments.preset.is_some() || arguments.config.is_some();
    let (config, plan) = match arguments.resume {
        true if !stored.exists() => {
            let text = format!("{}: no run to resume: config.toml is missing", arguments.out.display());
            return Err(WrongInput(text).into());
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
