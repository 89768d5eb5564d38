//! `demo` and `phantom`: synthetic data, and the whole way from data to report on it.

use super::kernels::of_run;
use super::progress::{TrainProgress, bar};
use super::status::wrong;
use super::verbosity::tell;
use super::{open_gpu, open_named_gpu, values};
use anyhow::Result;
use clap::Args;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::data::{Classes, images_only, io};
use vnet_engine::evaluate::figures::{Chosen, Folders, case_dice, draw_cases, viewer_cases};
use vnet_engine::evaluate::{CaseFiles, Scoring, evaluate_folders, mean_dice};
use vnet_engine::gpu::GpuOptions;
use vnet_engine::infer::{Preprocessing, SegmentOptions, Segmenter};
use vnet_engine::kernel::Algorithms;
use vnet_engine::metrics::{Evaluation, render_table};
use vnet_engine::nn::Model;
use vnet_engine::report::{Report, ViewerCase, write_report};
use vnet_engine::train::{Config, Preset, RunSettings, Setting, train};

/// Steps of the demonstration's training.
const STEPS: u64 = 700;

/// Cases to train and validate on, and cases that no training sees.
const KNOWN: usize = 200;
const UNSEEN: usize = 6;

/// Extents in voxels and spacing in mm: small enough for a CPU.
const EXTENTS: [usize; 3] = [48, 48, 24];
const SPACING: [f64; 3] = [2.5, 2.5, 3.0];

#[derive(Debug, Args)]
pub struct PhantomArguments {
    /// Folder to create
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of cases
    #[arg(long, value_name = "N", default_value_t = 20)]
    cases: usize,
    /// Seed; equal seeds give equal volumes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Extents in voxels
    #[arg(long, value_name = "X,Y,Z", value_parser = values::extents)]
    extents: Option<[usize; 3]>,
    /// Spacing in mm
    #[arg(long, value_name = "X,Y,Z", value_parser = values::spacing)]
    spacing: Option<[f64; 3]>,
}

#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Folder to create [default: vnet-demo]
    ///
    /// By default vnet-demo, or the first of vnet-demo-2, vnet-demo-3, … that is free.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Optimiser steps
    #[arg(long, value_name = "N", default_value_t = STEPS)]
    steps: u64,
}

pub fn phantom(arguments: &PhantomArguments) -> Result<()> {
    let mut settings = PhantomSettings { cases: arguments.cases, seed: arguments.seed, ..PhantomSettings::default() };
    settings.extents = arguments.extents.unwrap_or(settings.extents);
    settings.spacing = arguments.spacing.unwrap_or(settings.spacing);
    if arguments.out.join("images").exists() {
        return Err(wrong(format!("{}: holds a data set already", arguments.out.display())));
    }
    write_phantoms(&arguments.out, &settings)?;
    outln!("{} cases in {}", settings.cases, arguments.out.display());
    Ok(())
}

fn write_phantoms(out: &Path, settings: &PhantomSettings) -> Result<()> {
    let bar = bar(settings.cases, "phantoms");
    write_dataset(out, settings, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    Ok(())
}

pub fn demo(arguments: &DemoArguments, device: &GpuOptions) -> Result<()> {
    let start = Instant::now();
    let out = match &arguments.out {
        Some(out) if out.exists() => {
            return Err(wrong(format!("{}: exists already; give another --out", out.display())));
        }
        Some(out) => out.clone(),
        None => free_folder(),
    };
    let gpu = open_named_gpu(device)?;
    let folder = |name: &str| out.join(name);
    let shown = |name: &str| folder(name).display().to_string();

    for (name, cases, seed) in [("data", KNOWN, 0), ("unseen", UNSEEN, 1)] {
        tell!(
            "$ vnet-engine phantom --out {} --cases {cases} --seed {seed} --extents {} --spacing {}",
            shown(name),
            EXTENTS.map(|e| e.to_string()).join(","),
            SPACING.map(|s| s.to_string()).join(",")
        );
        write_phantoms(&folder(name), &PhantomSettings { cases, seed, extents: EXTENTS, spacing: SPACING })?;
    }

    let (steps, split) = (arguments.steps, "data.split=[0.95,0.05,0.0]");
    tell!(
        "\n$ vnet-engine train --data {} --out {} --preset tiny --steps {steps} --set {split}",
        shown("data"),
        shown("run"),
    );
    let settings = [Setting::option("--steps", "training.steps", steps), Setting::parse(split)];
    let config = Config { kernels: device.policy.algorithms, ..Config::load(Preset::Tiny, None, &settings)? };
    let settings = RunSettings::new(folder("data"), folder("run"), config);
    let mut progress = TrainProgress::new(&settings.out);
    let trained = train(&gpu, &settings, &mut progress);
    progress.finish();
    trained?;

    tell!(
        "\n$ vnet-engine segment --model {} --input {} --output {}",
        shown("run"),
        folder("unseen").join("images").display(),
        shown("predictions")
    );
    let model = Model::read(&folder("run").join("model.safetensors"))?;
    let preprocessing = Preprocessing::of(&model)?;
    let gpu = match device.policy.algorithms {
        Algorithms::Measured => open_gpu(&of_run(device, Some(device.policy.algorithms), &[folder("run")])?)?,
        _ => gpu,
    };
    let mut segmenter = Segmenter::new(&gpu, vec![model.clone()], &preprocessing)?;
    let evaluation = predict(&mut segmenter, &out)?;
    tell!(
        "$ vnet-engine evaluate --predictions {} --labels {} --out {}",
        shown("predictions"),
        folder("unseen").join("labels").display(),
        shown("scores")
    );
    super::evaluate::write(&evaluation, &folder("scores"))?;
    outln!("{}", render_table(&evaluation));
    let classes = preprocessing.label_classes(model.network.classes);
    let images = draw(&classes, &evaluation, &out)?;
    let mean = mean_dice(&evaluation).unwrap_or(f64::NAN);
    let facts = vec![
        ("Device".to_owned(), format!("{}, {}", gpu.description().name, gpu.description().driver)),
        ("Data".to_owned(), format!("{KNOWN} synthetic cases to train on, {UNSEEN} unseen ones to score")),
        ("Steps".to_owned(), arguments.steps.to_string()),
        ("Mean Dice on unseen cases".to_owned(), format!("{mean:.3}")),
    ];
    let title = "V-Net on synthetic prostate volumes";
    let viewer = viewer(&classes, &evaluation, &out)?;
    let report = Report { title, facts: &facts, images: &images, viewer: &viewer, evaluation: Some(&evaluation) };
    write_report(&folder("report.html"), &report)?;
    outln!("mean Dice on {UNSEEN} unseen cases: {mean:.3} ({:.0} s in all)", start.elapsed().as_secs_f64());
    outln!("pictures: {}, {}/", folder("run").join("curves.svg").display(), shown("overlays"));
    outln!("report:   {}", shown("report.html"));
    Ok(())
}

fn free_folder() -> PathBuf {
    let first = PathBuf::from("vnet-demo");
    let numbered = (2..).map(|n| PathBuf::from(format!("vnet-demo-{n}")));
    std::iter::once(first).chain(numbered).find(|p| !p.exists()).expect("a free number is found")
}

fn predict(segmenter: &mut Segmenter, out: &Path) -> Result<Evaluation> {
    let predictions = out.join("predictions");
    std::fs::create_dir_all(&predictions)?;
    for input in images_only(&out.join("unseen").join("images"))? {
        let output = predictions.join(input.file_name().unwrap_or_default());
        segmenter.segment_file(&input.into(), &output, SegmentOptions::default(), |_, _| ControlFlow::Continue(()))?;
    }
    Ok(evaluate_folders(&predictions, &out.join("unseen").join("labels"), &Scoring::WHOLE)?)
}

/// Cases to scroll through.
fn viewer(classes: &Classes, evaluation: &Evaluation, out: &Path) -> Result<Vec<ViewerCase>> {
    let files = images_only(&out.join("unseen").join("images"))?.into_iter().map(|image| {
        let file = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let case = io::case_of(&file).unwrap_or(&file).to_owned();
        let [label, prediction] = [out.join("unseen").join("labels"), out.join("predictions")].map(|f| f.join(&file));
        CaseFiles { case, prediction, label, image: Some(image) }
    });
    Ok(viewer_cases(evaluation, &files.collect::<Vec<_>>(), Some(classes), &out.join("overlays"))?)
}

/// One overlay per unseen case; returns captions and paths for the report.
fn draw(classes: &Classes, evaluation: &Evaluation, out: &Path) -> Result<Vec<(String, PathBuf)>> {
    let overlays = out.join("overlays");
    std::fs::create_dir_all(&overlays)?;
    let [predictions, unseen] = ["predictions", "unseen"].map(|folder| out.join(folder));
    let (labels, images) = (&unseen.join("labels"), &unseen.join("images"));
    let folders =
        Folders { predictions: &[&predictions], names: ["", ""], labels, images, classes: Some(classes), ignore: &[] };
    let chosen = case_dice(evaluation).into_iter().map(|(case, value)| Chosen { role: "unseen", case, value });
    let chosen: Vec<Chosen> = chosen.collect();
    let paths = draw_cases(&folders, &classes.foreground(), &chosen, &overlays)?;
    let mut pictures = vec![("Training".to_owned(), out.join("run").join("curves.svg"))];
    pictures.push(("Dice of the unseen cases".to_owned(), out.join("scores").join("dice.svg")));
    pictures.extend(chosen.into_iter().map(|chosen| chosen.case).zip(paths));
    Ok(pictures)
}
