//! burn's wgpu backend on vnet-engine's 5x5x5 convolutions (stride 1, padding 2, bias), and vnet-engine beside it.
//!
//! ```text
//! tools/with-adapter cargo run --release --manifest-path tools/bench_burn/Cargo.toml -- --engine target/release/vnet-engine
//! ```
//!
//! Each round runs the engine (`vnet-engine bench --conv … --json`, which leaves out a run to warm up) and then burn, so
//! that a drift of the machine meets both alike. burn chooses its kernels by autotuning in runs that do not count. The
//! backend is wgpu with WGSL: burn's Vulkan backend with SPIR-V does not run on software drivers.

mod arguments;
mod engine;
mod layer;

use arguments::Arguments;
use engine::Engine;
use layer::{BurnLayer, Layer, Seconds};
use serde_json::{Value, json};

/// The runs that are compared, and their names in the engine's document.
const RUNS: [(&str, &str); 2] = [("forward", "forward"), ("forward and backward", "forward_and_backward")];

fn main() -> std::process::ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let device = arguments.device();
    let mut rows = Vec::new();
    let mut about = json!({ "burn": format!("{} ({device:?})", burn_version()) });
    for &layer in &arguments.layers {
        eprintln!("{layer}: warming burn up");
        let burn = BurnLayer::new(layer, &device)?;
        let mut of_burn: [Seconds; 2] = Default::default();
        let mut of_engine: [Seconds; 2] = Default::default();
        for round in 1..=arguments.repeats {
            eprintln!("{layer}: round {round} of {}", arguments.repeats);
            if let Some(engine) = &arguments.engine {
                let document = Engine(engine).bench(layer)?;
                for ((_, key), seconds) in RUNS.iter().zip(&mut of_engine) {
                    seconds.extend(engine::seconds(&document, key)?);
                }
                about["vnet-engine"] = document["device"].clone();
                about["roofline"] = document["roofline"].clone();
            }
            of_burn[0].push(burn.forward()?);
            of_burn[1].push(burn.forward_and_backward()?);
        }
        for (run, (name, _)) in RUNS.iter().enumerate() {
            rows.push(row(layer, name, run, &of_burn[run], &of_engine[run]));
        }
    }
    print(&about, &rows);
    if let Some(path) = &arguments.json {
        let text = format!("{:#}\n", json!({ "about": about, "rows": rows }));
        std::fs::write(path, text).map_err(|e| format!("--json {}: {e}", path.display()))?;
    }
    Ok(())
}

/// The release of burn that this was built with.
fn burn_version() -> &'static str {
    let lock = include_str!("../Cargo.lock").split_once("name = \"burn\"\nversion = \"");
    lock.and_then(|(_, rest)| rest.split('"').next()).unwrap_or("unknown")
}

fn row(layer: Layer, name: &str, run: usize, burn: &[f64], engine: &[f64]) -> Value {
    // A backward pass is two convolutions of the forward's size.
    let flops = layer.flops() * if run == 0 { 1.0 } else { 3.0 };
    let side = |seconds: &[f64]| match seconds {
        [] => Value::Null,
        _ => {
            let median = layer::median(seconds.to_vec());
            json!({ "seconds": median, "gflop_per_s": flops / median / 1e9, "all_seconds": seconds })
        }
    };
    json!({ "layer": layer.to_string(), "run": name, "flops": flops, "burn": side(burn), "vnet-engine": side(engine) })
}

fn print(about: &Value, rows: &[Value]) {
    println!("{about}\n");
    println!("| 5^3 layer | run | burn ms | GFLOP/s | vnet-engine ms | GFLOP/s | burn / vnet-engine |");
    println!("|---|---|---|---|---|---|---|");
    for row in rows {
        let figure = |side: &str, key: &str, factor: f64| row[side][key].as_f64().map(|v| v * factor);
        let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
        let milliseconds = |side: &str| figure(side, "seconds", 1e3);
        let ratio = milliseconds("burn").zip(milliseconds("vnet-engine")).map(|(b, e)| b / e);
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            text("layer"),
            text("run"),
            cell(milliseconds("burn")),
            cell(figure("burn", "gflop_per_s", 1.0)),
            cell(milliseconds("vnet-engine")),
            cell(figure("vnet-engine", "gflop_per_s", 1.0)),
            cell(ratio)
        );
    }
}
