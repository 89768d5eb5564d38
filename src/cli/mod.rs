//! Arguments, and one module per group of commands.

#[macro_use]
pub mod output;

mod augment;
mod bench;
mod demo;
mod describe;
mod doctor;
mod dry_run;
mod evaluate;
mod examples;
mod export;
mod kernels;
mod live;
mod plan;
mod progress;
mod segment;
mod shell;
mod status;
mod stop;
mod train;
pub mod verbosity;
mod words;

pub use status::{exit_status, message};
pub use stop::BY_SIGNAL;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use kernels::Kernels;
use std::path::PathBuf;
use std::sync::Arc;
use verbosity::tell;
use vnet_engine::gpu::{DeviceChoice, Gpu, GpuError, GpuOptions};
use vnet_engine::kernel::{ConvolutionLayer, KernelPolicy};
use vnet_engine::train::config::ByteSize;
use vnet_engine::train::{MemoryMode, Preset, note_on_adapter};

/// Trains V-Net for 3-D segmentation on any GPU, or none, and segments with it.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, after_help = examples::PROGRAM)]
pub struct Arguments {
    /// Adapter to use: auto, part of its name, or its number in `vnet-engine devices`
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Kernels of the 5x5x5 convolutions: auto (by a cost model), direct, winograd, naive (the slow oracle), measured (train
    /// times them once, see RUN/kernels.toml), or the kernels.toml of a run [default: auto, or what the run folder says]
    #[arg(long, global = true, value_name = "KERNELS", value_parser = kernels::parse)]
    kernels: Option<Kernels>,
    /// Device memory to stay below, e.g. 4GiB [default: what the device has]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_budget)]
    memory_budget: Option<u64>,
    /// Tell more on stderr: every step, and warnings of the graphics library; -vv, -vvv: what it logs besides
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Tell nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a network on a folder of volumes with labels
    #[command(after_help = examples::TRAIN)]
    Train(TrainArguments),
    /// Choose a configuration from the data and the device, in a TOML file with the reason of every key
    Plan(PlanArguments),
    /// Segment a volume, or every volume of a folder
    #[command(after_help = examples::SEGMENT)]
    Segment(SegmentArguments),
    /// Draw augmented samples of a case, as a training would see them
    Augment(AugmentArguments),
    /// Score predictions against labels
    #[command(after_help = examples::EVALUATE)]
    Evaluate(EvaluateArguments),
    /// Write a synthetic prostate-MR-like data set
    Phantom(PhantomArguments),
    /// Phantoms, training, segmentation and scores in one go, as a first look
    Demo(DemoArguments),
    /// Write a model for other programs: ONNX, or a PyTorch module
    Export(export::ExportArguments),
    /// Make a model of a PyTorch state dictionary
    Import(export::ImportArguments),
    /// Run the network on a tensor and write its logits, to compare with other programs
    Forward(export::ForwardArguments),
    /// Layers, parameters, receptive fields and memory plan of a network
    #[command(after_help = examples::INFO)]
    Info(InfoArguments),
    /// Shape, type, spacing, orientation and intensities of volumes
    #[command(after_help = examples::INSPECT)]
    Inspect(InspectArguments),
    /// Time a network's layers, kernels and whole runs beside what the device can do at best
    #[command(after_help = examples::BENCH)]
    Bench(BenchArguments),
    /// The adapters of this machine and which one is used
    Devices {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Adapter, driver, limits, what each preset would cost, and a self-test of every kernel that the device can run
    #[command(after_help = examples::DOCTOR)]
    Doctor(DoctorArguments),
    /// Print a completion script for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(shell::CompletionsArguments),
    /// Write the manual, a page per command
    #[command(after_help = examples::MAN)]
    Man(shell::ManArguments),
}

#[derive(Debug, Args)]
struct DoctorArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct TrainArguments {
    /// Data set: images/ and labels/ with equal file names, imagesTr/ and labelsTr/, or NAME with NAME_segmentation
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Run folder to create (or to go on with, see --resume)
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Configuration to start from [default: small with --config; else DIR/plan.toml, or a plan that is made first]
    #[arg(long, value_parser = words::presets())]
    preset: Option<Preset>,
    /// TOML file whose keys replace those of the preset
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replace one key, e.g. --set optimiser.learning_rate=3e-4; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Go on from the run folder's checkpoint, with its configuration
    #[arg(long, conflicts_with_all = ["preset", "config", "init", "fold"])]
    resume: bool,
    /// Optimiser steps (training.steps)
    #[arg(long)]
    steps: Option<u64>,
    /// low: less device memory for the same results, in more time (training.memory)
    #[arg(long, value_parser = words::memory_modes())]
    memory: Option<MemoryMode>,
    /// Seed of split, initial weights and order (seed)
    #[arg(long)]
    seed: Option<u64>,
    /// Validate on fold i of k (counted from 0) and train on the others
    #[arg(long, value_name = "I/K", value_parser = parse_fold)]
    fold: Option<(usize, usize)>,
    /// Start from the parameters of this model
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Time every dispatch of one step: profile.json (a Chrome trace) and profile.txt (by layer and kernel)
    #[arg(long, conflicts_with = "dry_run")]
    profile: bool,
    /// Read every file of the data set, check configuration and memory, name all problems, and train nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the results as one JSON document
    #[arg(long, conflicts_with = "dry_run")]
    json: bool,
}

#[derive(Debug, Args)]
struct PlanArguments {
    /// Data set, as for train
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// TOML file to write [default: DIR/plan.toml, which train --data DIR then uses]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What the values of label maps are, e.g. --set data.labels.prostate=255; may be repeated
    #[arg(long = "set", value_name = "data.labels.NAME=VALUE")]
    settings: Vec<String>,
    /// Time for the training: steps, validations and test [default: 15 with a software driver, 480 on a GPU]
    #[arg(long, value_parser = parse_minutes)]
    minutes: Option<f64>,
    /// Replace a plan that exists
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct AugmentArguments {
    /// Data set, as for train
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Case to draw [default: the first]
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Picture to write (PNG): the sample as it was loaded, then augmented ones with their transformations and outlines
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Number of augmented samples
    #[arg(long, default_value_t = 11, value_parser = parse_samples)]
    samples: usize,
    /// Configuration to start from
    #[arg(long, value_parser = words::presets(), default_value = "small")]
    preset: Preset,
    /// TOML file whose keys replace those of the preset
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replace one key, e.g. --set augmentation.rotation.probability=1; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Seed (seed)
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
struct SegmentArguments {
    /// Run folder or .safetensors file; several: the mean of their probabilities
    #[arg(long = "model", value_name = "MODEL", required = true)]
    models: Vec<PathBuf>,
    /// Volume (NIfTI, MetaImage, folder of a DICOM series), or folder of volumes
    #[arg(long, value_name = "PATH")]
    input: PathBuf,
    /// Label map to write, or folder for them
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
    /// Also write one volume of probabilities per foreground class
    #[arg(long)]
    probabilities: bool,
    /// Average over the eight mirror images (eight times slower)
    #[arg(long)]
    tta: bool,
    /// Keep only the largest component of each class
    #[arg(long)]
    largest_component: bool,
    /// Fill the holes of each class
    #[arg(long)]
    fill_holes: bool,
    /// Replace outputs that exist
    #[arg(long)]
    force: bool,
    /// Keep outputs that exist, with all their probabilities if these are wanted, and segment what is missing
    #[arg(long = "continue", conflicts_with = "force")]
    go_on: bool,
    /// Print files, times, failures and warnings as one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct EvaluateArguments {
    /// Folder of predicted label maps
    #[arg(long, value_name = "DIR", required_unless_present = "compare")]
    predictions: Option<PathBuf>,
    /// Two folders of predictions of the same cases, instead: paired differences, Wilcoxon's test, pictures of both
    #[arg(long, value_names = ["A", "B"], num_args = 2, conflicts_with_all = ["predictions", "observer"])]
    compare: Option<Vec<PathBuf>>,
    /// What the two are called [default: their paths]
    #[arg(long, value_name = "A,B", requires = "compare", value_parser = parse_names)]
    names: Option<[String; 2]>,
    /// Folder of reference label maps with the same names, or these with _segmentation
    #[arg(long, value_name = "DIR")]
    labels: PathBuf,
    /// Folder of the images with the same names: draws the best, the median and the worst case into overlays/
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Folder for scores.csv, scores.json, dice.svg, metrics.svg; with --compare comparison.csv, .json, .md and .svg
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Run folder or .safetensors file whose classes are scored: their names, and label values that are one class
    /// [default: every value that occurs, with the names of the dataset.json of the labels]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Leave labels without a prediction out, with a note, instead of refusing them
    #[arg(long)]
    partial: bool,
    /// Also score apex and base, the thirds nearest to feet and head
    #[arg(long)]
    regions: bool,
    /// PROMISE12 score against a second observer's means: TOML tables whole, apex, base with dice, assd_mm, hd95_mm,
    /// absolute_relative_volume_difference
    #[arg(long, value_name = "FILE")]
    observer: Option<PathBuf>,
    /// Print the scores as one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PhantomArguments {
    /// Folder to create
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of cases
    #[arg(long, default_value_t = 20)]
    cases: usize,
    /// Seed; equal seeds give equal volumes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Extents in voxels
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_extents)]
    extents: Option<[usize; 3]>,
    /// Spacing in mm
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_spacing)]
    spacing: Option<[f64; 3]>,
}

#[derive(Debug, Args)]
struct DemoArguments {
    /// Folder to create [default: vnet-demo, or the first of vnet-demo-2, vnet-demo-3, … that is free]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Optimiser steps
    #[arg(long, default_value_t = demo::STEPS)]
    steps: u64,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
struct InfoArguments {
    /// Run folder or .safetensors file
    #[arg(value_name = "MODEL", group = "what")]
    model: Option<PathBuf>,
    /// A preset's network
    #[arg(long, value_parser = words::presets(), group = "what")]
    preset: Option<Preset>,
    /// Extents of the network's input
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_extents)]
    patch: Option<[usize; 3]>,
    /// Samples per step
    #[arg(long, value_parser = parse_count)]
    batch: Option<usize>,
    /// Classes of a preset's network
    #[arg(long, default_value_t = 2)]
    classes: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct InspectArguments {
    /// Volumes: NIfTI, MetaImage, or the folder of a DICOM series
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<PathBuf>,
    /// Print one JSON object per volume
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct BenchArguments {
    /// A preset's network [default: small]
    #[arg(long, value_parser = words::presets(), conflicts_with = "model")]
    preset: Option<Preset>,
    /// Run folder or .safetensors file, whose network and parameters are taken
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Extents of the network's input
    #[arg(long, value_name = "X,Y,Z", value_parser = parse_extents)]
    patch: Option<[usize; 3]>,
    /// The same, outermost axis first
    #[arg(long, value_name = "D,H,W", value_parser = parse_extents, conflicts_with = "patch")]
    shape: Option<[usize; 3]>,
    /// Samples of a run [default: those of the configuration]
    #[arg(long, value_parser = parse_count)]
    batch: Option<usize>,
    /// Classes of a preset's network
    #[arg(long, default_value_t = 2)]
    classes: usize,
    /// Runs of each kind that count, after one that does not [default: 3; with --conv: 10]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    steps: Option<usize>,
    /// No training step
    #[arg(long)]
    forward_only: bool,
    /// Whole runs only, without the tables by layer and kernel
    #[arg(long, conflicts_with = "layer")]
    whole: bool,
    /// Only layers with this in their name
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// One 5x5x5 convolution instead of a network: output, both gradients, and all of them in one run
    #[arg(
        long,
        value_name = "CIN,COUT,DxHxW",
        value_parser = parse_convolution,
        conflicts_with_all = ["preset", "model", "patch", "shape", "forward_only", "whole", "layer"]
    )]
    conv: Option<ConvolutionLayer>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn parse_budget(text: &str) -> Result<u64, String> {
    let bytes = text.parse().ok().map(|ByteSize(bytes)| bytes).filter(|bytes| (1..=1 << 50).contains(bytes));
    bytes.ok_or_else(|| "expected a size such as 4GiB or 512MiB".to_owned())
}

fn parse_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|n| (1..=10_000).contains(n));
    count.ok_or_else(|| "expected a whole number from 1 to 10000".to_owned())
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|m| (0.1..=1e6).contains(m));
    minutes.ok_or_else(|| "expected a number of minutes from 0.1 to 1000000".to_owned())
}

fn parse_samples(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|n| (1..=99).contains(n));
    count.ok_or_else(|| "expected a whole number from 1 to 99".to_owned())
}

fn parse_convolution(text: &str) -> Result<ConvolutionLayer, String> {
    let parse = || {
        let [in_channels, out_channels, extents] = parse_triple::<String>(text)?;
        let channels = |text: String| text.parse().ok().filter(|c| (1..=4096).contains(c));
        let extents = parse_extents(&extents.replace('x', ",")).ok()?;
        let (in_channels, out_channels) = (channels(in_channels)?, channels(out_channels)?);
        Some(ConvolutionLayer { in_channels, out_channels, extents, batch: 1 })
    };
    parse().ok_or_else(|| "expected channels in and out and extents, e.g. 32,32,32x64x64".to_owned())
}

fn parse_names(text: &str) -> Result<[String; 2], String> {
    let names = text.split_once(',').map(|(a, b)| [a.trim().to_owned(), b.trim().to_owned()]);
    names
        .filter(|[a, b]| !a.is_empty() && !b.is_empty() && a != b)
        .ok_or_else(|| "expected two names, e.g. Dice,logistic".to_owned())
}

fn parse_fold(text: &str) -> Result<(usize, usize), String> {
    let parsed = text.split_once('/').and_then(|(i, k)| Some((i.parse().ok()?, k.parse().ok()?)));
    parsed.filter(|(i, k)| i < k).ok_or_else(|| "expected i/k with i from 0 to k-1, e.g. 0/5".to_owned())
}

fn parse_triple<T: std::str::FromStr>(text: &str) -> Option<[T; 3]> {
    let parts: Vec<T> = text.split(',').map(|p| p.trim().parse().ok()).collect::<Option<_>>()?;
    parts.try_into().ok()
}

fn parse_extents(text: &str) -> Result<[usize; 3], String> {
    parse_triple(text)
        .filter(|e| e.iter().all(|&v| (1..=4096).contains(&v)))
        .ok_or_else(|| "expected three extents from 1 to 4096, e.g. 128,128,64".to_owned())
}

fn parse_spacing(text: &str) -> Result<[f64; 3], String> {
    parse_triple(text)
        .filter(|s: &[f64; 3]| s.iter().all(|&v| v > 0.0 && v.is_finite()))
        .ok_or_else(|| "expected three positive numbers, e.g. 1,1,1.5".to_owned())
}

/// Runs a command.
pub fn run(arguments: Arguments) -> Result<()> {
    verbosity::set(arguments.verbose, arguments.quiet);
    stop::watch()?;
    let kernels = arguments.kernels.as_ref().map(Kernels::algorithms);
    let device = GpuOptions {
        choice: arguments.device,
        policy: KernelPolicy {
            algorithms: kernels.unwrap_or_default(),
            measured: arguments.kernels.as_ref().and_then(Kernels::table).transpose()?,
        },
        memory_budget: arguments.memory_budget,
        ..GpuOptions::default()
    };
    let with_run = |models: &[PathBuf]| kernels::of_run(&device, kernels, models);
    match arguments.command {
        Command::Train(a) => train::train(&a, kernels, device),
        Command::Plan(a) => plan::plan(&a, &device),
        Command::Segment(a) => segment::segment(&a, &with_run(&a.models)?),
        Command::Augment(a) => augment::augment(&a, &device),
        Command::Evaluate(a) => evaluate::evaluate(&a),
        Command::Phantom(a) => demo::phantom(&a),
        Command::Demo(a) => demo::demo(&a, &device),
        Command::Export(a) => export::export(&a),
        Command::Import(a) => export::import(&a),
        Command::Forward(a) => export::forward(&a, &with_run(std::slice::from_ref(&a.model))?),
        Command::Info(a) => describe::info(&a, &with_run(a.model.as_slice())?),
        Command::Inspect(a) => describe::inspect(&a),
        Command::Bench(a) => bench::bench(&a, &with_run(a.model.as_slice())?),
        Command::Devices { json } => describe::devices(&device, json),
        Command::Doctor(a) => doctor::doctor(&a, &device),
        Command::Completions(a) => {
            shell::completions(&a);
            Ok(())
        }
        Command::Man(a) => shell::man(&a),
    }
}

fn open_gpu(options: &GpuOptions) -> Result<Arc<Gpu>, GpuError> {
    let gpu = Gpu::open(options)?;
    if let Some(note) = options.policy.measured.as_ref().and_then(|table| note_on_adapter(table, gpu.description())) {
        tell!("note: {note}");
    }
    Ok(Arc::new(gpu))
}
