use crate::layer::Layer;
use burn::tensor::{Device, DeviceKind};
use std::path::PathBuf;

const USAGE: &str = "usage: bench_burn [--engine FILE] [--layer CIN,COUT,DxHxW]... [--repeats N] [--json FILE]
                  [--adapter default|cpu|discrete:N|integrated:N|virtual:N]";

/// What is asked for.
pub struct Arguments {
    /// The vnet-engine binary to run beside burn.
    pub engine: Option<PathBuf>,
    /// The layers.
    pub layers: Vec<Layer>,
    /// Rounds.
    pub repeats: usize,
    /// Where the figures are written besides.
    pub json: Option<PathBuf>,
    adapter: DeviceKind,
}

impl Arguments {
    /// Reads the command line.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut found =
            Self { engine: None, layers: Vec::new(), repeats: 5, json: None, adapter: DeviceKind::DefaultDevice };
        while let Some(option) = words.next() {
            if ["-h", "--help"].contains(&option.as_str()) {
                println!("{USAGE}");
                std::process::exit(0);
            }
            let value = words.next().ok_or_else(|| format!("{option}: a value is missing\n{USAGE}"))?;
            let wrong = |expected: &str| format!("{option} {value}: expected {expected}");
            match option.as_str() {
                "--engine" => found.engine = Some(value.into()),
                "--json" => found.json = Some(value.into()),
                "--repeats" => {
                    let number = value.parse().ok().filter(|n| *n > 0);
                    found.repeats = number.ok_or_else(|| wrong("a whole number from 1"))?;
                }
                "--layer" => {
                    found.layers.push(Layer::parse(&value).ok_or_else(|| wrong("CIN,COUT,DxHxW"))?);
                }
                "--adapter" => found.adapter = adapter(&value).ok_or_else(|| wrong("default, cpu or KIND:N"))?,
                _ => return Err(format!("unknown option {option}\n{USAGE}")),
            }
        }
        if found.layers.is_empty() {
            found.layers.push(Layer { in_channels: 32, out_channels: 32, extents: [32, 64, 64] });
            found.layers.push(Layer { in_channels: 64, out_channels: 64, extents: [16, 32, 32] });
        }
        Ok(found)
    }

    /// burn's device.
    pub fn device(&self) -> Device {
        Device::wgpu(self.adapter.clone())
    }
}

fn adapter(text: &str) -> Option<DeviceKind> {
    let (kind, number) = text.split_once(':').unwrap_or((text, "0"));
    let number = number.parse().ok()?;
    Some(match kind {
        "default" => DeviceKind::DefaultDevice,
        "cpu" => DeviceKind::Cpu,
        "discrete" => DeviceKind::DiscreteGpu(number),
        "integrated" => DeviceKind::IntegratedGpu(number),
        "virtual" => DeviceKind::VirtualGpu(number),
        _ => return None,
    })
}
