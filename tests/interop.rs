//! What other programs get and give: ONNX files, PyTorch modules, state dictionaries, event files. No Python here;
//! `tools/interop.py` has the same files read by the programs themselves.

#[path = "interop/import.rs"]
mod import;
#[path = "interop/onnx.rs"]
mod onnx;
#[path = "support/supervised.rs"]
mod supervised;
mod support;
#[path = "interop/tensorboard.rs"]
mod tensorboard;
#[path = "interop/torch.rs"]
mod torch;

use std::collections::BTreeMap;
use vnet_engine::nn::model::{Tensor, parameter_shapes};
use vnet_engine::nn::vnet::VNet;
use vnet_engine::nn::{Model, Network};

fn main() {
    let tests = [&onnx::TESTS[..], &torch::TESTS, &import::TESTS, &tensorboard::TESTS].concat();
    support::run_trials(&tests);
}

/// Three levels, two channels in, three classes, four channels at the first level.
fn network() -> Network {
    Network::new(2, 3, VNet { base: 4, encoder: vec![1, 2, 1], decoder: vec![2, 1] })
}

/// Numbers in (-0.5, 0.5) that no pattern explains.
fn noise(name: &str, index: usize) -> f32 {
    let x = ((index + name.len() * 31) as f64 * 12.9898).sin() * 43_758.547;
    (x - x.floor() - 0.5) as f32
}

fn tensors(network: &Network) -> BTreeMap<String, Tensor> {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let data = (0..shape.iter().product()).map(|index| noise(&name, index)).collect();
        (name, Tensor { shape, data })
    };
    parameter_shapes(network).into_iter().map(tensor).collect()
}

fn model(network: Network) -> Model {
    let preprocessing = serde_json::json!({
        "normalisation": "z_score_all", "patch": [16, 8, 8], "canonical": true, "class_names": ["a", "\"b\"", "c"],
    });
    Model { tensors: tensors(&network), network, preprocessing: Some(preprocessing) }
}
