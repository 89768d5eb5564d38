//! `doctor`: the self-test of the device, and what each preset would cost on it.

use super::describe::{forecasts, print_adapters, subject};
use super::open_gpu;
use super::verbosity::tell;
use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use vnet_engine::doctor::{KernelTest, self_test};
use vnet_engine::gpu::{Gpu, GpuOptions, adapters};
use vnet_engine::kernel::SHADERS;
use vnet_engine::nn::InferenceGraph;
use vnet_engine::plan::human_bytes;
use vnet_engine::profile::Roofline;
use vnet_engine::train::Preset;

#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a preset's training would cost on the device.
#[derive(Debug, Serialize)]
struct Cost {
    preset: String,
    patch: [usize; 3],
    batch: usize,
    parameters: usize,
    /// Of a step, forward and backward, in direct form.
    flops: f64,
    /// At the device's measured rate of multiply-adds.
    seconds_at_the_roofline: f64,
    /// Peak of device memory; null where not even one sample fits the device's limits.
    memory_bytes: Option<u64>,
    /// The same with `--memory low`.
    low_memory_bytes: Option<u64>,
    /// Whether the larger of the two that fit is below the device's memory; null where that is not known.
    fits: Option<bool>,
}

pub fn doctor(arguments: &DoctorArguments, device: &GpuOptions) -> Result<()> {
    let gpu = open_gpu(device)?;
    tell!("measuring {}", gpu.description().name);
    let roofline = Roofline::measure(&gpu)?;
    let costs = [Preset::Tiny, Preset::Small, Preset::Paper].map(|preset| cost(preset, &gpu, &roofline));
    let costs = costs.into_iter().collect::<Result<Vec<Cost>>>()?;
    if !arguments.json {
        print_device(&gpu, &roofline);
        print_costs(&costs);
        outln!("\nself-test of each kernel, farthest element from the definition in f64:");
        outln!("  {:<34} {:>9} {:>9}  case", "kernel", "error", "bound");
    }
    let mut shown = |test: &KernelTest| {
        if !arguments.json {
            print_test(test);
        }
    };
    let tests = self_test(&gpu, &mut shown)?;
    let untried: Vec<&str> =
        SHADERS.iter().map(|s| s.0).filter(|name| tests.iter().all(|test| test.kernel != *name)).collect();
    let failed = tests.iter().filter(|test| !test.passed).count();
    if arguments.json {
        let document = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"), "commit": env!("VNET_ENGINE_COMMIT"), "adapters": adapters(),
            "device": gpu.description(), "memory_budget_bytes": gpu.memory_budget(), "timestamps": gpu.has_timestamps(),
            "roofline": roofline, "presets": costs, "kernels": tests, "untried": untried, "failed": failed,
        });
        outln!("{document}");
    } else {
        if !untried.is_empty() {
            outln!("\nnot tried, as they need other subgroups than this device's: {}", untried.join(", "));
        }
        outln!("\n{} of {} kernels are within their bounds", tests.len() - failed, tests.len());
    }
    if failed > 0 {
        bail!("{failed} of {} kernels are wrong on {}", tests.len(), gpu.description().name);
    }
    Ok(())
}

fn print_device(gpu: &Gpu, roofline: &Roofline) {
    outln!("vnet-engine {} ({})\n", env!("CARGO_PKG_VERSION"), env!("VNET_ENGINE_COMMIT"));
    let used = gpu.description();
    print_adapters(&adapters(), used);
    let budget = gpu.memory_budget().map_or_else(|| "not known".to_owned(), human_bytes);
    let clock = if gpu.has_timestamps() { "device" } else { "host" };
    outln!("\ndevice memory to stay below: {budget}; times of dispatches: by the {clock}'s clock");
    outln!("measured now: copy {:.1} GB/s, fma {:.1} GFLOP/s", roofline.copy_gb_per_s, roofline.fma_gflop_per_s);
}

fn cost(preset: Preset, gpu: &Gpu, roofline: &Roofline) -> Result<Cost> {
    let subject = subject(Some(preset), None, 2)?;
    let (patch, batch) = (subject.patch, subject.config.training.batch);
    let [x, y, z] = patch;
    let layers = InferenceGraph::new(&subject.network, 1, [z, y, x])?.layers;
    let [memory_bytes, low_memory_bytes] = forecasts(&subject.network, &subject.config, patch, gpu.target())
        .map(|(_, forecast)| forecast.ok().map(|forecast| forecast.total()));
    // A backward pass has two products for each one of the forward pass.
    let flops = 3.0 * batch as f64 * layers.iter().map(|layer| layer.flops as f64).sum::<f64>();
    let least = [memory_bytes, low_memory_bytes].into_iter().flatten().min();
    let fits = match (least, gpu.memory_budget()) {
        (None, _) => Some(false),
        (_, None) => None,
        (Some(bytes), Some(budget)) => Some(bytes <= budget),
    };
    Ok(Cost {
        preset: format!("{preset:?}").to_lowercase(),
        patch,
        batch,
        parameters: layers.iter().map(|layer| layer.parameters).sum(),
        flops,
        seconds_at_the_roofline: flops / (roofline.fma_gflop_per_s * 1e9),
        memory_bytes,
        low_memory_bytes,
        fits,
    })
}

fn print_costs(costs: &[Cost]) {
    outln!("\nwhat a training step would cost, two classes (GFLOP in direct form, seconds at the rate above):");
    outln!("  preset              patch  batch   parameters      GFLOP   seconds      memory  --memory low  fits");
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), human_bytes);
    for c in costs {
        let [x, y, z] = c.patch;
        let Cost { preset, batch, parameters, seconds_at_the_roofline: seconds, .. } = c;
        let (patch, gflop) = (format!("{x} x {y} x {z}"), c.flops / 1e9);
        let [memory, low] = [c.memory_bytes, c.low_memory_bytes].map(bytes);
        let fits = c.fits.map_or("not known", |fits| if fits { "yes" } else { "no" });
        outln!(
            "  {preset:<8} {patch:>16} {batch:>6} {parameters:>12} {gflop:>10.1} {seconds:>9.2} {memory:>11} {low:>13}  {fits}"
        );
    }
}

fn print_test(test: &KernelTest) {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1e}"));
    let verdict = if test.passed { "" } else { "  WRONG" };
    let reason = test.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    outln!("  {:<34} {:>9} {:>9}  {}{verdict}{reason}", test.kernel, number(test.error), number(test.bound), test.case);
}
