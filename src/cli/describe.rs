//! `devices`, `inspect` and `info`: what there is, without a training.

use super::kernels::{choices_json, convolutions, print_choices};
use super::model::{model_path, read_model};
use super::status::{WrongInput, wrong};
use super::{RARE, open_gpu, output, values};
use anyhow::Result;
use clap::Args;
use std::path::{Path, PathBuf};
use vnet_engine::data::inspect_series;
use vnet_engine::data::io::SeriesChoice;
use vnet_engine::gpu::{AdapterDescription, Gpu, GpuOptions, adapters};
use vnet_engine::kernel::{DeviceLimits, Target};
use vnet_engine::nn::{InferenceGraph, Layer, Model, Network, receptive_fields};
use vnet_engine::plan::{MemoryReport, Request, human_bytes, plan};
use vnet_engine::train::{
    Config, Footprint, Forecast, MemoryMode, Preset, StoredWeights, TrainError, TrainerSettings, Volumes,
};

#[derive(Debug, Args)]
pub struct DevicesArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct InspectArguments {
    /// NIfTI, MetaImage, NRRD, or the folder of a DICOM series
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<PathBuf>,
    /// Series of a DICOM folder with several
    ///
    /// SeriesInstanceUID, SeriesDescription or SeriesNumber, or "largest".
    #[arg(long, value_name = "SERIES")]
    series: Option<SeriesChoice>,
    /// Print one JSON object per volume
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct InfoArguments {
    /// Run folder or .safetensors file
    #[arg(value_name = "MODEL", group = "what")]
    pub model: Option<PathBuf>,
    /// A preset's network
    #[arg(long, value_parser = values::presets(), group = "what")]
    preset: Option<Preset>,
    #[command(flatten)]
    size: SizeArguments,
    /// Extents of the largest volume [default: the patch]
    #[arg(long, value_name = "X,Y,Z", value_parser = values::extents)]
    volume: Option<[usize; 3]>,
    /// Cases of training and validation, for the host's memory
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = values::count, help_heading = RARE)]
    cases: usize,
    /// Print JSON
    #[arg(long, help_heading = RARE)]
    json: bool,
}

/// The size of a run of a network.
#[derive(Debug, Args)]
pub struct SizeArguments {
    /// Extents of the network's input
    #[arg(long, value_name = "X,Y,Z", value_parser = values::extents)]
    pub patch: Option<[usize; 3]>,
    /// Samples per step [default: the configuration's]
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub batch: Option<usize>,
    /// Classes of a preset's network
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = RARE)]
    pub classes: usize,
}

pub fn devices(arguments: &DevicesArguments, device: &GpuOptions) -> Result<()> {
    let found = adapters();
    // Fails with the list of adapters when nothing matches.
    let gpu = Gpu::open(device)?;
    if arguments.json {
        let used = found.iter().position(|a| a == gpu.description());
        outln!("{}", serde_json::json!({ "adapters": found, "used": used }));
        return Ok(());
    }
    print_adapters(&found, gpu.description());
    outln!("* is used; choose with --device");
    Ok(())
}

/// A line for each adapter and one for its limits; the one that is used has a star.
pub fn print_adapters(adapters: &[AdapterDescription], used: &AdapterDescription) {
    for (i, a) in adapters.iter().enumerate() {
        let mark = if a == used { "*" } else { " " };
        outln!("{mark} {i}  {} ({}, {}, {})", a.name, a.kind, a.backend, a.driver);
        let sizes = [a.max_binding_bytes, a.max_buffer_bytes, u64::from(a.max_workgroup_bytes)];
        let ([binding, buffer, workgroup], [least, most]) = (sizes.map(human_bytes), a.subgroup);
        outln!(
            "       binding {binding}, buffer {buffer}, workgroup memory {workgroup}, {} invocations, subgroup {least} to \
             {most}, {}",
            a.max_invocations,
            a.features.join(", ")
        );
    }
}

pub fn inspect(arguments: &InspectArguments) -> Result<()> {
    let series = arguments.series.clone().unwrap_or_default();
    let mut unread = 0;
    for path in &arguments.volumes {
        if output::reader_is_gone() {
            break;
        }
        let found = inspect_series(path, &series);
        unread += usize::from(found.is_err());
        match (found, arguments.json) {
            (Ok(i), true) => outln!("{}", serde_json::to_string(&i)?),
            (Err(e), true) => {
                outln!("{}", serde_json::json!({ "path": path.display().to_string(), "error": e.to_string() }));
            }
            (Err(e), false) => outln!("{}\n  error: {e}", path.display()),
            (Ok(i), false) => {
                let number = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.6}"));
                outln!("{}", i.path);
                outln!("  shape {:?}, {} {}, spacing {:?} mm", i.shape, i.byte_order, i.dtype, i.spacing);
                outln!("  orientation {}, affine {:?}", i.orientation, i.affine);
                outln!("  min {}, max {}, mean {}", number(i.min), number(i.max), number(i.mean));
                for (channel, c) in i.channels.iter().enumerate() {
                    let [min, max, mean] = [c.min, c.max, c.mean].map(number);
                    outln!("  channel {channel}: min {min}, max {max}, mean {mean}");
                }
                if i.nonfinite > 0 {
                    outln!("  {} voxels are NaN or infinite", i.nonfinite);
                }
                i.warnings.iter().for_each(|w| outln!("  warning: {w}"));
            }
        }
    }
    match unread {
        0 => Ok(()),
        n => Err(wrong(format!("{n} of {} volumes cannot be read", arguments.volumes.len()))),
    }
}

/// Device memory of a training, by mode.
pub fn forecasts(
    network: &Network,
    config: &Config,
    [x, y, z]: [usize; 3],
    target: &Target,
) -> [(MemoryMode, Result<Forecast, TrainError>); 2] {
    [MemoryMode::Normal, MemoryMode::Low].map(|memory| {
        let settings = TrainerSettings { memory, ..config.trainer_settings() };
        (memory, Forecast::new(network, &settings, [z, y, x], target))
    })
}

pub fn info(arguments: &InfoArguments, device: &GpuOptions) -> Result<()> {
    let Subject { title, network, mut config, patch, model } =
        subject(arguments.preset, arguments.model.as_deref(), arguments.size.classes)?;
    network.validate().map_err(|e| WrongInput(e.to_string()))?;
    let [x, y, z] = arguments.size.patch.unwrap_or(patch);
    config.training.batch = arguments.size.batch.unwrap_or(config.training.batch);
    // Plans need no device: without one they are made for WebGPU's default limits.
    let (target, name, software) = match open_gpu(device) {
        Ok(gpu) => (gpu.target().clone(), gpu.description().name.clone(), gpu.description().kind == "cpu"),
        Err(_) => (without_device(device), "WebGPU's default limits".to_owned(), false),
    };
    let inference = InferenceGraph::new(&network, 1, [z, y, x])?;
    let forward = plan(&Request::inference(&inference.graph, &[inference.probabilities]), &target);
    let training = forecasts(&network, &config, [x, y, z], &target);
    let fields = receptive_fields(&inference.layers);
    let fingerprint = model.as_ref().map(Model::fingerprint);
    let checkpoint = arguments.model.as_deref().filter(|path| path.is_dir()).and_then(StoredWeights::read);
    let parameters: usize = inference.layers.iter().map(|l| l.parameters).sum();
    let flops: u64 = inference.layers.iter().map(|l| l.flops).sum();
    let passes = training[0].1.as_ref().map_or(1, |forecast| forecast.passes);
    let convolutions = convolutions(&inference.layers, &[1, config.training.batch / passes]);
    let volumes = Volumes {
        extents: arguments.volume.unwrap_or([x, y, z]),
        channels: network.in_channels,
        cases: arguments.cases,
    };
    let resident_training = training[usize::from(config.training.memory == MemoryMode::Low)]
        .1
        .as_ref()
        .ok()
        .map(|forecast| Footprint::of_training(&network, &config, &volumes, [x, y, z], forecast, software));
    let resident_segmentation =
        forward.as_ref().ok().map(|plan| Footprint::of_segmentation(&network, &volumes, [x, y, z], plan, software));
    if arguments.json {
        let forecasts: serde_json::Map<String, serde_json::Value> = training
            .iter()
            .map(|(memory, forecast)| (memory.to_string(), serde_json::json!(forecast.as_ref().ok())))
            .collect();
        let memory = training[0].1.as_ref().ok().map(|forecast| forecast.step);
        outln!(
            "{}",
            serde_json::json!({
                "network": network, "kind": network.kind(), "patch": [x, y, z], "parameters": parameters, "flops": flops,
                "layers": inference.layers, "receptive_fields": fields,
                "fingerprint": fingerprint, "checkpoint": checkpoint,
                "inference_memory": forward.as_ref().ok().map(|p| p.memory), "training_memory": memory,
                "training_forecast": forecasts,
                "resident": { "train": resident_training, "segment": resident_segmentation }, "convolutions": choices_json(&convolutions, &target),
            })
        );
        return Ok(());
    }
    outln!("{title}: {}, input {x} x {y} x {z}\n", network.description());
    let kernels = |layer: &Layer| forward.as_ref().ok().map(|plan| plan.kernels_of(&layer.name));
    print_layers(&inference.layers, kernels);
    print_choices(&convolutions, &target);
    outln!("\n{} parameters; {:.1} GFLOP per forward pass in direct form", grouped(parameters), flops as f64 / 1e9);
    if let Some(fingerprint) = fingerprint {
        outln!("\nweights of the model, BLAKE3: {fingerprint}");
    }
    if let Some(StoredWeights { step, fingerprint, .. }) = checkpoint {
        outln!("weights of the checkpoint after step {step}: {fingerprint}");
    }
    outln!("\nreceptive fields in voxels (Milletari et al. 2016, Table 1):");
    for field in &fields {
        let voxels = match field.voxels {
            [z, y, x] if z == y && y == x => z.to_string(),
            [z, y, x] => format!("{z} x {y} x {x}"),
        };
        outln!("  {:<12}{voxels:>5}", field.stage);
    }
    outln!("\nmemory on {name}:");
    match &forward {
        Ok(plan) => print_memory("segmentation, one patch", &plan.memory),
        Err(e) => outln!("  segmentation: {e}"),
    }
    for (memory, forecast) in &training {
        match forecast {
            Ok(forecast) => print_forecast(config.training.batch, *memory, forecast),
            Err(e) => outln!("  training, --memory {memory}: {e}"),
        }
    }
    let [vx, vy, vz] = volumes.extents;
    outln!(
        "\nhost memory, volumes of {vx} x {vy} x {vz}{}:",
        if software { ", that of the device included" } else { "" }
    );
    for (work, footprint) in [("segmentation", resident_segmentation), ("training", resident_training)] {
        if let Some(footprint) = footprint {
            print_footprint(work, &footprint);
        }
    }
    Ok(())
}

/// What a run takes of the host's memory, by what it is for.
fn print_footprint(work: &str, footprint: &Footprint) {
    let Footprint { program, device, volumes, batches, parameters, prediction, total } = *footprint;
    let parts = [
        ("program", program),
        ("device and copies to it", device),
        ("volumes", volumes),
        ("batches", batches),
        ("parameters", parameters),
        ("prediction", prediction),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|part| part.1 > 0).map(|(name, bytes)| format!("{name} {}", human_bytes(*bytes))).collect();
    outln!("  {work}: {}", human_bytes(total));
    outln!("    {}", parts.join(", "));
}

fn without_device(options: &GpuOptions) -> Target {
    let limits = DeviceLimits { max_buffer_bytes: 1 << 31, ..DeviceLimits::WEBGPU };
    Target { limits, policy: options.policy.clone(), ..Target::webgpu() }
}

/// What a command is about: a preset's network or a model's.
pub struct Subject {
    pub title: String,
    pub network: Network,
    /// For the plan of a training.
    pub config: Config,
    /// Extents x, y, z of the input.
    pub patch: [usize; 3],
    /// The model, where it is one.
    pub model: Option<Model>,
}

/// The network of a preset with this number of classes, or of a run folder or model file.
pub fn subject(preset: Option<Preset>, model: Option<&Path>, classes: usize) -> Result<Subject> {
    if let Some(preset) = preset {
        let config = preset.config();
        let patch = match config.data.patch {
            vnet_engine::train::config::Patch::Fixed(patch) => patch,
            vnet_engine::train::config::Patch::Auto(_) => [64, 64, 24],
        };
        let title = format!("preset {preset:?}").to_lowercase();
        return Ok(Subject { title, network: config.network(1, classes), config, patch, model: None });
    }
    let given = model.expect("there is a model or a preset");
    let (model, preprocessing) = read_model(given)?;
    let stored = given.join("config.toml");
    let config = if stored.exists() { Config::read(&stored)? } else { Preset::Tiny.config() };
    let title = model_path(given).display().to_string();
    // A model that names none takes any extents.
    let [d, h, w] = model.network.divisor();
    let patch = preprocessing.patch.unwrap_or([w, h, d].map(|divisor| 64usize.next_multiple_of(divisor)));
    Ok(Subject { title, network: model.network.clone(), config, patch, model: Some(model) })
}

fn print_layers(layers: &[Layer], kernels: impl Fn(&Layer) -> Option<Vec<&'static str>>) {
    outln!("layer              kind              channels     output z,y,x   parameters      GFLOP  kernels");
    for l in layers {
        let kind = l.kind.to_string();
        let [d, h, w] = l.extents;
        let (channels, output) = (format!("{}->{}", l.in_channels, l.out_channels), format!("{d}x{h}x{w}"));
        let (parameters, gflop, kernels) =
            (grouped(l.parameters), l.flops as f64 / 1e9, kernels(l).map_or("-", family));
        outln!("{:<18} {kind:<16} {channels:>9} {output:>16} {parameters:>12} {gflop:>10.3}  {kernels}", l.name);
    }
}

/// The kernels of a layer in a word.
fn family(kernels: Vec<&'static str>) -> &'static str {
    let any = |prefix: &str| kernels.iter().any(|k| k.starts_with(prefix));
    if any("winograd") {
        "winograd"
    } else if any("conv3d_same") {
        "direct"
    } else if any("gemm") {
        "matrix products"
    } else if any("conv3d_window") {
        "windows"
    } else {
        "naive"
    }
}

fn print_memory(title: &str, memory: &MemoryReport) {
    let [slots, live, unshared] = [memory.slots, memory.slots_lower_bound, memory.values_unshared].map(human_bytes);
    let [arenas, inputs, other] = [memory.arenas, memory.inputs, memory.other].map(human_bytes);
    outln!("  {title}: {}", human_bytes(memory.total()));
    outln!("    activations and gradients {slots} (at least {live} are live at once; {unshared} without sharing)");
    outln!("    parameters, their gradients and moments {arenas}, inputs {inputs}, other {other}");
}

fn print_forecast(batch: usize, memory: MemoryMode, forecast: &Forecast) {
    let split = if forecast.passes > 1 { format!(" in {} passes", forecast.passes) } else { String::new() };
    print_memory(&format!("training, batch {batch}{split}, --memory {memory}"), &forecast.step);
    outln!(
        "    with validation {} and copies to the device {}: peak {}; {:.0} % of the forward pass computed again",
        human_bytes(forecast.validation),
        human_bytes(forecast.staging),
        human_bytes(forecast.total()),
        100.0 * forecast.recomputed
    );
}

/// `65,175,314`.
fn grouped(value: usize) -> String {
    let digits = value.to_string();
    digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",")
}
