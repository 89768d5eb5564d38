//! Arguments, and one module per group of commands.

#[macro_use]
pub mod output;

mod augment;
mod bench;
mod cross_validate;
mod demo;
mod describe;
mod doctor;
mod dry_run;
mod evaluate;
mod examples;
mod export;
mod help;
mod kernels;
mod live;
mod model;
mod plan;
mod progress;
mod segment;
mod shell;
mod status;
mod stop;
mod train;
mod values;
pub mod verbosity;

pub use help::command;
pub use status::{exit_status, message};
pub use stop::BY_SIGNAL;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use kernels::Kernels;
use std::path::PathBuf;
use std::sync::Arc;
use verbosity::tell;
use vnet_engine::gpu::{DeviceChoice, Gpu, GpuError, GpuOptions};
use vnet_engine::kernel::KernelPolicy;
use vnet_engine::train::note_on_adapter;

/// Headings of `--help`, after the frequent options of a command.
const RARE: &str = "Rare options";
const OF_ALL: &str = "Options of all commands";

/// Train V-Net on labelled MRI and CT volumes, and segment new ones with it.
///
/// A training gives a run folder: the model, its curves, its scores on cases that it has not seen, and a report with
/// the predictions on their images. It runs on any GPU, or on the processor.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = examples::PROGRAM)]
pub struct Arguments {
    #[command(flatten)]
    common: CommonArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = OF_ALL)]
struct CommonArguments {
    /// GPU: auto, part of its name, or its number
    ///
    /// `vnet-engine devices` lists names and numbers.
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE", hide_default_value = true)]
    device: DeviceChoice,
    /// Kernels of the convolutions [default: auto]
    ///
    /// auto: by a cost model. direct, winograd: this family wherever it fits. naive: the slow reference. measured:
    /// `train` times the kernels once and stores its choice in RUN/kernels.toml. Or the kernels.toml of a run.
    /// Without this option a run folder's own choice holds.
    #[arg(long, global = true, value_name = "KERNELS", value_parser = kernels::parse)]
    kernels: Option<Kernels>,
    /// Device memory to stay below, such as 4GiB
    ///
    /// By default the memory that the device has.
    #[arg(long, global = true, value_name = "SIZE", value_parser = values::bytes)]
    memory_budget: Option<u64>,
    /// Print more: every step; -vv, -vvv: driver logs
    ///
    /// -v also prints warnings of the graphics library; -vv and -vvv print more of its log. All of it goes to stderr.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

/// In the order of use; [`help::GROUPS`] has the headings.
#[derive(Debug, Subcommand)]
enum Command {
    /// Train and segment on synthetic data, in minutes
    Demo(demo::DemoArguments),
    /// Test this machine's device: every kernel, and what fits
    ///
    /// Prints adapter, driver, limits and what each preset would cost, and tests each kernel that the device can run.
    #[command(after_help = examples::DOCTOR)]
    Doctor(doctor::DoctorArguments),
    /// Print shape, spacing, orientation and intensities of volumes
    #[command(after_help = examples::INSPECT)]
    Inspect(describe::InspectArguments),
    /// Choose a configuration for data and device, with reasons
    ///
    /// Writes a TOML file with the reason of every key. `train` uses it.
    Plan(plan::PlanArguments),
    /// Train a network: model, curves, scores and report
    #[command(after_help = examples::TRAIN)]
    Train(train::TrainArguments),
    /// Train k networks, predict every case by one that has not seen it
    ///
    /// The predictions decide on mirroring and repairs, and the networks become one ensemble for `segment`.
    #[command(after_help = examples::CROSS_VALIDATE)]
    CrossValidate(cross_validate::CrossValidateArguments),
    /// Segment a volume, or every volume of a folder
    ///
    /// A label map has the grid of its input, voxel for voxel.
    #[command(after_help = examples::SEGMENT)]
    Segment(segment::SegmentArguments),
    /// Score predictions against labels: tables and plots
    #[command(after_help = examples::EVALUATE)]
    Evaluate(evaluate::EvaluateArguments),
    /// Draw augmented samples as a training sees them
    Augment(augment::AugmentArguments),
    /// Print layers, parameters, receptive fields and memory
    #[command(after_help = examples::INFO)]
    Info(describe::InfoArguments),
    /// Time layers, kernels and whole runs of a network
    ///
    /// Each time stands beside the best that the device can do.
    #[command(after_help = examples::BENCH)]
    Bench(bench::BenchArguments),
    /// List the GPUs of this machine, and which one is used
    Devices(describe::DevicesArguments),
    /// Write a synthetic data set that looks like prostate MRI
    Phantom(demo::PhantomArguments),
    /// Write a model as ONNX or as a PyTorch module
    Export(export::ExportArguments),
    /// Make a model from a PyTorch state dictionary
    Import(export::ImportArguments),
    /// Run the network on a tensor and write its logits
    ///
    /// To compare with other programs.
    Forward(export::ForwardArguments),
    /// Print a completion script for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(shell::CompletionsArguments),
    /// Write the manual, a page per command
    #[command(after_help = examples::MAN)]
    Man(shell::ManArguments),
}

/// Runs a command.
pub fn run(arguments: Arguments) -> Result<()> {
    let Arguments { common, command } = arguments;
    verbosity::set(common.verbose, common.quiet);
    stop::watch()?;
    let kernels = common.kernels.as_ref().map(Kernels::algorithms);
    let device = GpuOptions {
        choice: common.device,
        policy: KernelPolicy {
            algorithms: kernels.unwrap_or_default(),
            measured: common.kernels.as_ref().and_then(Kernels::table).transpose()?,
        },
        memory_budget: common.memory_budget,
        ..GpuOptions::default()
    };
    let with_run = |models: &[PathBuf]| kernels::of_run(&device, kernels, models);
    match command {
        Command::Train(a) => train::train(&a, kernels, device),
        Command::CrossValidate(a) => cross_validate::cross_validate(&a, kernels, &device),
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
        Command::Devices(a) => describe::devices(&a, &device),
        Command::Doctor(a) => doctor::doctor(&a, &device),
        Command::Completions(a) => shell::completions(&a),
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

/// Opens the device and says which it is.
fn open_named_gpu(options: &GpuOptions) -> Result<Arc<Gpu>, GpuError> {
    let gpu = open_gpu(options)?;
    tell!("device: {}, {}", gpu.description().name, gpu.description().driver);
    Ok(gpu)
}
