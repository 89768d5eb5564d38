//! `bench`: times of a network or of one convolution, as tables or JSON.

use super::describe::{SizeArguments, Subject, subject};
use super::kernels::{choices_json, convolutions, print_choices};
use super::status::{WrongInput, wrong};
use super::verbosity::tell;
use super::{RARE, open_named_gpu, values};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use vnet_engine::bench::{NetworkBench, NetworkTimes, bench_convolution};
use vnet_engine::gpu::{Gpu, GpuOptions};
use vnet_engine::kernel::ConvolutionLayer;
use vnet_engine::nn::InferenceGraph;
use vnet_engine::plan::human_bytes;
use vnet_engine::profile::{LayerMeasure, Measure, Passes, Roofline, kernel_table, layer_table};
use vnet_engine::train::Preset;

/// Runs that count of a network and of a single layer, where `--steps` says nothing.
const NETWORK_RUNS: usize = 3;
const LAYER_RUNS: usize = 10;

#[derive(Debug, Args)]
pub struct BenchArguments {
    /// A preset's network
    ///
    /// By default that of small.
    #[arg(long, value_parser = values::presets(), conflicts_with = "model")]
    preset: Option<Preset>,
    /// Run folder or .safetensors file with the network
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    size: SizeArguments,
    /// Runs that count [default: 3; with --conv 10]
    ///
    /// Of each kind, after one that does not count.
    #[arg(long, value_name = "N", value_parser = values::count)]
    steps: Option<usize>,
    /// No training step
    #[arg(long)]
    forward_only: bool,
    /// Whole runs only, no tables by layer and kernel
    #[arg(long, conflicts_with = "layer")]
    whole: bool,
    /// Only layers with this in their name
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// One convolution instead of a network
    ///
    /// Its output, both gradients, and all of them in one run; 5x5x5 with stride 1, unless the kernel, or kernel and stride, follow.
    #[arg(
        long,
        value_name = "CIN,COUT,DxHxW[,K[,S]]",
        value_parser = values::convolution,
        conflicts_with_all = ["preset", "model", "patch", "shape", "forward_only", "whole", "layer"]
    )]
    conv: Option<ConvolutionLayer>,
    /// As --patch, outermost axis first
    #[arg(long, value_name = "D,H,W", value_parser = values::extents, conflicts_with = "patch", help_heading = RARE)]
    shape: Option<[usize; 3]>,
    /// Print JSON
    #[arg(long, help_heading = RARE)]
    json: bool,
}

pub fn bench(arguments: &BenchArguments, device: &GpuOptions) -> Result<()> {
    match arguments.conv {
        Some(layer) => bench_layer(arguments, layer, device),
        None => bench_network(arguments, device),
    }
}

/// Opens the device and measures its roofline.
fn start(arguments: &BenchArguments, device: &GpuOptions) -> Result<(Arc<Gpu>, Roofline)> {
    let gpu = open_named_gpu(device)?;
    let roofline = Roofline::measure(&gpu)?;
    if !arguments.json {
        outln!("roofline of {}, {}, measured now:", gpu.description().name, gpu.description().driver);
        outln!("  copy {:>10.1} GB/s\n  fma  {:>10.1} GFLOP/s\n", roofline.copy_gb_per_s, roofline.fma_gflop_per_s);
    }
    Ok((gpu, roofline))
}

/// What every JSON document begins with.
fn document(gpu: &Gpu, roofline: &Roofline, repetitions: usize) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"), "commit": env!("VNET_ENGINE_COMMIT"), "device": gpu.description(),
        "clock": if gpu.has_timestamps() { "device" } else { "host" }, "roofline": roofline, "repetitions": repetitions,
    })
}

fn bench_network(arguments: &BenchArguments, device: &GpuOptions) -> Result<()> {
    let preset = arguments.preset.or(arguments.model.is_none().then_some(Preset::Small));
    let Subject { title, network, mut config, patch: [x, y, z], model } =
        subject(preset, arguments.model.as_deref(), arguments.size.classes)?;
    network.validate().map_err(|e| WrongInput(e.to_string()))?;
    config.training.batch = arguments.size.batch.unwrap_or(config.training.batch);
    let extents = arguments.size.patch.map(|[x, y, z]| [z, y, x]).or(arguments.shape).unwrap_or([z, y, x]);
    let [d, h, w] = extents;
    let inference = InferenceGraph::new(&network, 1, extents)?;
    check_layer(arguments, &inference)?;
    let bench = NetworkBench {
        network: &network,
        config: &config,
        model: model.as_ref(),
        extents,
        repetitions: arguments.steps.unwrap_or(NETWORK_RUNS),
        profiled: !arguments.whole,
    };
    let (gpu, roofline) = start(arguments, device)?;
    let convolutions = convolutions(&inference.layers, &[config.training.batch]);
    let mut json = document(&gpu, &roofline, bench.repetitions);
    let batch = config.training.batch;
    json["title"] = title.as_str().into();
    json["network"] = serde_json::to_value(&network)?;
    json["patch"] = json!([w, h, d]);
    json["batch"] = batch.into();
    json["convolutions"] = choices_json(&convolutions, gpu.target());
    json["loss"] = config.training.loss.kind.name().into();
    json["optimiser"] = serde_json::to_value(&config.optimiser)?;
    if !arguments.json {
        let classes = network.classes;
        outln!("{title}: {}, {classes} classes, input {w} x {h} x {d}, batch {batch}\n", network.summary());
    }
    let mut whole = Vec::new();
    let kinds = [("forward", Passes::Forward), ("training", Passes::Training)];
    for (name, passes) in kinds.into_iter().take(if arguments.forward_only { 1 } else { 2 }) {
        tell!("timing {name}");
        let times = match passes {
            Passes::Forward => bench.forward(&gpu, &roofline)?,
            Passes::Training => bench.training_step(&gpu, &roofline)?,
        };
        whole.push(whole_line(name, &times));
        if arguments.json {
            json[name] = times_json(&times, &roofline, arguments)?;
        } else {
            print_parts(name, &times, &roofline, passes, arguments);
        }
    }
    if arguments.json {
        outln!("{json}");
    } else {
        print_choices(&convolutions, gpu.target());
        outln!("\nwhole runs, median of {} after one that does not count:", bench.repetitions);
        whole.iter().for_each(|line| outln!("{line}"));
    }
    Ok(())
}

/// Whether the table has a row for this scope.
fn shown(arguments: &BenchArguments, layer: &str) -> bool {
    arguments.layer.as_ref().is_none_or(|part| layer.contains(part.as_str()))
}

fn check_layer(arguments: &BenchArguments, graph: &InferenceGraph) -> Result<()> {
    if graph.graph.nodes().iter().any(|node| shown(arguments, &node.name)) {
        return Ok(());
    }
    let names: Vec<&str> = graph.layers.iter().map(|l| l.name.as_str()).collect();
    let wanted = arguments.layer.as_deref().unwrap_or_default();
    Err(wrong(format!("--layer {wanted}: no layer has this in its name; there are {}", names.join(", "))))
}

fn layers(times: &NetworkTimes, roofline: &Roofline, arguments: &BenchArguments) -> Vec<LayerMeasure> {
    let layers = times.profile.iter().flat_map(|p| p.layers(roofline));
    layers.filter(|l| shown(arguments, &l.layer)).collect()
}

fn times_json(times: &NetworkTimes, roofline: &Roofline, arguments: &BenchArguments) -> Result<Value> {
    let mut json = times.measure.to_json();
    json["all_seconds"] = json!(times.whole.seconds);
    json["voxels_per_s"] = times.voxels_per_s().into();
    json["memory_bytes"] = times.memory_bytes.into();
    json["passes"] = times.passes.into();
    if let Some(profile) = &times.profile {
        json["profiled_seconds"] = profile.seconds().into();
        json["layers"] = serde_json::to_value(layers(times, roofline, arguments))?;
        json["kernels"] = serde_json::to_value(profile.kernels(roofline))?;
    }
    Ok(json)
}

fn print_parts(name: &str, times: &NetworkTimes, roofline: &Roofline, passes: Passes, arguments: &BenchArguments) {
    let Some(profile) = &times.profile else { return };
    let split = if times.passes > 1 { format!(", {} passes", times.passes) } else { String::new() };
    outln!("{name} by layer{split}\n\n{}", layer_table(&layers(times, roofline, arguments), roofline, passes));
    outln!("{name} by kernel{split}\n\n{}", kernel_table(&profile.kernels(roofline)));
}

fn whole_line(name: &str, times: &NetworkTimes) -> String {
    format!(
        "{}  {:>10.4} M voxels/s  device memory {}",
        measure_line(name, &times.measure),
        times.voxels_per_s() / 1e6,
        human_bytes(times.memory_bytes)
    )
}

fn measure_line(name: &str, m: &Measure) -> String {
    format!(
        "  {name:<20} {:>12.3} ms  {:>10.2} GFLOP/s  {:>4.0}% of the roofline",
        m.seconds * 1e3,
        m.gflop_per_s(),
        100.0 * m.roofline_share()
    )
}

fn bench_layer(arguments: &BenchArguments, layer: ConvolutionLayer, device: &GpuOptions) -> Result<()> {
    let layer = ConvolutionLayer { batch: arguments.size.batch.unwrap_or(1), ..layer };
    let repetitions = arguments.steps.unwrap_or(LAYER_RUNS);
    let (gpu, roofline) = start(arguments, device)?;
    let times = bench_convolution(&gpu, &roofline, layer, repetitions)?;
    let ConvolutionLayer { in_channels, out_channels, extents: [d, h, w], batch, kernel, stride } = layer;
    if arguments.json {
        let mut json = document(&gpu, &roofline, repetitions);
        json["convolution"] = json!({
            "kernel": kernel, "stride": stride, "in_channels": in_channels, "out_channels": out_channels, "extents": [d, h, w], "batch": batch,
        });
        json["convolutions"] = choices_json(&BTreeSet::from([layer]), gpu.target());
        for t in &times {
            let mut row = t.measure.to_json();
            row["all_seconds"] = json!(t.repeated.seconds);
            row["kernels"] = json!(t.kernels);
            json[t.name.replace(' ', "_")] = row;
        }
        outln!("{json}");
        return Ok(());
    }
    let [[kz, ky, kx], [sz, sy, sx]] = [kernel, stride];
    let size = format!("{kz}x{ky}x{kx} convolution, stride {sz}x{sy}x{sx}");
    outln!("{size}, {in_channels} -> {out_channels}, {d} x {h} x {w}, batch {batch}, median of {repetitions}:");
    for t in &times {
        outln!("{}  {}", measure_line(t.name, &t.measure), t.kernels.join(", "));
    }
    print_choices(&BTreeSet::from([layer]), gpu.target());
    Ok(())
}
