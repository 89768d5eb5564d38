//! `--kernels`, and which kernels were chosen and why.

use super::status::wrong;
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use vnet_engine::gpu::GpuOptions;
use vnet_engine::kernel::{Algorithms, ConvolutionKernels, ConvolutionLayer, KernelPolicy, KernelTable, Target};
use vnet_engine::nn::Layer;
use vnet_engine::ops::{Reason, convolution_kernels};
use vnet_engine::train::{Config, KERNELS_FILE};
use vnet_engine::tuning::{KernelTableError, read_table};

/// `--kernels`.
#[derive(Debug, Clone)]
pub enum Kernels {
    /// A word.
    Word(Algorithms),
    /// The table of a run.
    Table(PathBuf),
}

pub fn parse(text: &str) -> Result<Kernels, String> {
    use Algorithms::{Auto, Direct, Measured, Naive, Winograd};
    let word = [Auto, Direct, Winograd, Naive, Measured].into_iter().find(|word| word.to_string() == text);
    match word {
        Some(word) => Ok(Kernels::Word(word)),
        None if text.ends_with(".toml") => Ok(Kernels::Table(text.into())),
        None => Err("expected auto, direct, winograd, naive, measured, or the kernels.toml of a run".to_owned()),
    }
}

impl Kernels {
    pub fn algorithms(&self) -> Algorithms {
        match self {
            Self::Word(word) => *word,
            Self::Table(_) => Algorithms::Measured,
        }
    }

    pub fn table(&self) -> Option<Result<Arc<KernelTable>, KernelTableError>> {
        match self {
            Self::Word(_) => None,
            Self::Table(path) => Some(read_table(path).map(Arc::new)),
        }
    }
}

/// The device with the table of the first run folder among `models` that has measured kernels, unless `--kernels` says
/// otherwise.
pub fn of_run(device: &GpuOptions, given: Option<Algorithms>, models: &[PathBuf]) -> Result<GpuOptions> {
    let asked = given == Some(Algorithms::Measured);
    if device.policy.measured.is_some() || (given.is_some() && !asked) {
        return Ok(device.clone());
    }
    for run in models {
        let config = run.join("config.toml");
        if config.exists() && Config::read(&config)?.kernels == Algorithms::Measured {
            let table = read_table(&run.join(KERNELS_FILE))?;
            return Ok(GpuOptions { policy: KernelPolicy::of_table(Arc::new(table)), ..device.clone() });
        }
    }
    if asked {
        let text = "--kernels measured: only train measures; expected the kernels.toml of a run, or a run that has one";
        return Err(wrong(text));
    }
    Ok(device.clone())
}

/// The convolutions among layers, each once, for these numbers of samples.
pub fn convolutions(layers: &[Layer], batches: &[usize]) -> BTreeSet<ConvolutionLayer> {
    batches.iter().flat_map(|batch| layers.iter().filter_map(|layer| layer.with_choice(*batch))).collect()
}

/// Prints the kernels of each convolution, and what they were chosen by.
pub fn print_choices(convolutions: &BTreeSet<ConvolutionLayer>, target: &Target) {
    outln!("\nkernels of the convolutions (channels, extents z,y,x):");
    for layer in convolutions {
        let (kernels, reason) = convolution_kernels(layer, target);
        outln!("  {:<36} {:<9} {}", layer.to_string(), name(kernels, target), words(reason));
    }
}

/// The same as JSON.
pub fn choices_json(convolutions: &BTreeSet<ConvolutionLayer>, target: &Target) -> Value {
    let row = |layer: &ConvolutionLayer| {
        let (kernels, reason) = convolution_kernels(layer, target);
        let mut row = json!({
            "in_channels": layer.in_channels, "out_channels": layer.out_channels, "extents": layer.extents,
            "batch": layer.batch, "kernel": layer.kernel, "stride": layer.stride, "kernels": name(kernels, target), "chosen_by": source(reason),
        });
        if let Reason::Measured(choice) = reason {
            row["direct_seconds"] = choice.direct.as_secs_f64().into();
            row["winograd_seconds"] = choice.winograd.as_secs_f64().into();
        }
        row
    };
    convolutions.iter().map(row).collect()
}

fn name(kernels: ConvolutionKernels, target: &Target) -> &'static str {
    match kernels {
        _ if target.policy.algorithms == Algorithms::Naive => "naive",
        ConvolutionKernels::Direct => "direct",
        ConvolutionKernels::Winograd => "winograd",
    }
}

fn source(reason: Reason) -> &'static str {
    match reason {
        Reason::Asked => "--kernels",
        Reason::OnlyDirect => "limits of the device",
        Reason::CostModel => "cost model",
        Reason::Measured(_) => "measured",
    }
}

fn words(reason: Reason) -> String {
    let Reason::Measured(choice) = reason else { return source(reason).to_owned() };
    let [direct, winograd] = [choice.direct, choice.winograd].map(|time| time.as_secs_f64() * 1e3);
    format!("measured: direct {direct:.3} ms, winograd {winograd:.3} ms")
}
