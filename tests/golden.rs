//! The engine's direct kernels against PyTorch: logits, losses, every gradient, and ten steps of four optimisers; and the
//! logits of Winograd's kernels.
//!
//! `tools/golden.py` made the files in `tests/golden` in float64; docs/numerics.md derives the bounds in them.

#[path = "networks/golden.rs"]
mod networks;
mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::DIRECT;
use vnet_engine::data::Batch;
use vnet_engine::graph::Graph;
use vnet_engine::kernel::{Algorithms, Target};
use vnet_engine::nn::model::Tensor;
use vnet_engine::nn::{InferenceGraph, Losses, Model, Network, TrainingGraph};
use vnet_engine::plan::{ArenaLayout, Request, plan};
use vnet_engine::registry::Choice;
use vnet_engine::tensor::HostTensor;
use vnet_engine::tensor::layout::permute;
use vnet_engine::train::{Config, Preset, Trainer};

fn main() {
    let own: [(&str, bool, fn()); 10] = [
        ("hash_matches_the_worked_examples", false, hash_matches_the_worked_examples),
        ("three_levels_two_classes", true, three_levels_two_classes),
        ("four_levels_three_classes", true, four_levels_three_classes),
        ("odd_channels_four_classes", true, odd_channels_four_classes),
        ("logits_by_winograd", true, logits_by_winograd),
        ("ten_steps_of_sgd", true, ten_steps_of_sgd),
        ("ten_steps_of_nesterov_with_clipping", true, ten_steps_of_nesterov_with_clipping),
        ("ten_steps_of_adam", true, ten_steps_of_adam),
        ("ten_steps_of_adamw", true, ten_steps_of_adamw),
        ("a_checkpoint_gives_back_what_was_written", false, a_checkpoint_gives_back_what_was_written),
    ];
    support::run_trials(&[&own[..], &networks::TESTS].concat());
}

const CASES: [&str; 3] = ["three_levels", "four_levels", "odd_channels"];

/// A golden case: its sidecar, and its tensors by name.
struct Golden {
    sidecar: Value,
    network: Network,
    extents: [usize; 3],
    batch: usize,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

impl Golden {
    fn load(name: &str) -> Self {
        let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).expect("a sidecar");
        let sidecar: Value = serde_json::from_str(&text).expect("JSON");
        let mut tensors = BTreeMap::new();
        for file in sidecar["files"].as_array().expect("a list of files") {
            let bytes = std::fs::read(folder().join(file.as_str().expect("a file name"))).expect("a golden file");
            let parsed = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
            for (name, view) in parsed.iter() {
                let data = match view.dtype() {
                    safetensors::Dtype::U8 => view.data().iter().map(|&b| f64::from(b)).collect(),
                    _ => bytemuck::pod_collect_to_vec::<u8, f32>(view.data()).into_iter().map(f64::from).collect(),
                };
                tensors.insert(name.to_owned(), (view.shape().to_vec(), data));
            }
        }
        let network: Network = serde_json::from_value(sidecar["network"].clone()).expect("a network");
        let extents: Vec<usize> = serde_json::from_value(sidecar["extents"].clone()).expect("extents");
        let batch = sidecar["batch"].as_u64().expect("a batch") as usize;
        Self { network, extents: extents.try_into().expect("three extents"), batch, sidecar, tensors }
    }

    /// A tensor in the device's order, channels last.
    fn channels_last(&self, name: &str) -> Vec<f64> {
        let (shape, data) = &self.tensors[name];
        permute(data, shape, &[0, 2, 3, 4, 1])
    }

    fn batch(&self) -> Batch {
        let image = self.channels_last("image").into_iter().map(|x| x as f32).collect();
        let label = self.tensors["labels"].1.iter().map(|&l| l as u32).collect();
        Batch { image, label, cases: vec!["golden".to_owned(); self.batch], ..Batch::default() }
    }

    /// The hash parameters, checked against the sidecar's checksums.
    fn model(&self) -> Model {
        let salt = self.sidecar["salt"].as_u64().expect("a salt") as u32;
        let mut tensors = BTreeMap::new();
        for (name, p) in self.sidecar["parameters"].as_object().expect("parameters") {
            let shape: Vec<usize> = serde_json::from_value(p["shape"].clone()).expect("a shape");
            let scale = p["scale"].as_f64().expect("a scale") as f32;
            let offset = p["offset"].as_f64().expect("an offset") as f32;
            let key = fmix32(fnv1a32(name.bytes()) ^ salt);
            let count: u32 = shape.iter().product::<usize>() as u32;
            let data: Vec<f32> = (0..count).map(|i| unit(fmix32(key.wrapping_add(i))) * scale + offset).collect();
            let sum = fnv1a32(data.iter().flat_map(|x| x.to_le_bytes()));
            assert_eq!(Some(u64::from(sum)), p["checksum"].as_u64(), "checksum of {name}");
            tensors.insert(name.clone(), Tensor { shape, data });
        }
        Model { network: self.network.clone(), preprocessing: None, tensors }
    }
}

fn fnv1a32(bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(0x811C_9DC5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

fn fmix32(mut h: u32) -> u32 {
    h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

/// An odd multiple of 2^-24 in (-1, 1).
fn unit(h: u32) -> f32 {
    (2 * (h >> 8) as i32 + 1 - (1 << 24)) as f32 / (1 << 24) as f32
}

fn hash_matches_the_worked_examples() {
    let hash = |name: &str, i: u32, salt: u32| fmix32(fmix32(fnv1a32(name.bytes()) ^ salt).wrapping_add(i));
    assert_eq!(hash("encoder.0.conv.0.weight", 0, 1), 0x7B61_0F17);
    assert_eq!(hash("decoder.1.up_act.weight", 3, 7), 0x33E4_193B);
    assert_eq!(unit(hash("image", 1000, 12)).to_bits(), 0xBF12_493B);
}

fn loss(name: &str) -> Choice<Losses> {
    Choice::named(name)
}

/// Largest error relative to the largest element.
fn worst(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    found.iter().zip(expected).map(|(f, e)| (f - e).abs() / largest).fold(0.0, |m, e| if e <= m { m } else { e })
}

fn compare_forward_and_backward(name: &str) {
    let gpu = DIRECT.as_ref().expect("ignored without an adapter");
    let golden = Golden::load(name);
    let (model, batch) = (golden.model(), golden.batch());
    let bounds = &golden.sidecar["bounds"];
    for (loss_name, expected) in golden.sidecar["losses"].as_object().expect("losses") {
        let t = TrainingGraph::new(&golden.network, &*loss(loss_name).build(), golden.batch, golden.extents, 1.0)
            .expect("valid");
        let mut wanted = vec![t.logits, t.loss];
        wanted.extend(&t.gradients);
        let feeds = feeds(&t.graph, &model, &batch, &[t.image, t.labels]);
        let values = support::run(gpu, gpu.target(), &t.graph, &feeds, &wanted);
        let logits = worst(&values[0].data, &golden.channels_last("logits"));
        let bound = bounds["logits"].as_f64().expect("a bound");
        println!("{name} {loss_name}: logits {logits:.1e} of {bound:.1e}");
        assert!(logits <= bound, "{name}: logits are off by {logits:e} of the largest, bound {bound:e}");
        let error = (values[1].data[0] - expected["f64"].as_f64().expect("a loss")).abs();
        let bound = bounds["losses"][loss_name].as_f64().expect("a bound");
        println!("{name} {loss_name}: loss {error:.1e} of {bound:.1e}");
        assert!(error <= bound, "{name} {loss_name}: off by {error:e}, bound {bound:e}");
        let Some(bound) = bounds["grad"][loss_name].as_f64() else { continue };
        for (parameter, value) in t.graph.parameters().iter().zip(&values[2..]) {
            let found = parameter.layout.to_torch(&value.data, value.shape());
            let key = format!("grad.{loss_name}.{}", parameter.name);
            let error = worst(&found, &golden.tensors[&key].1);
            assert!(error <= bound, "{name} {key}: off by {error:e} of the largest, bound {bound:e}");
        }
    }
}

/// Winograd's kernels may move a PReLU input across its kink, so gradients are compared by operation (tests/ops.rs).
fn logits_by_winograd() {
    let gpu = DIRECT.as_ref().expect("ignored without an adapter");
    let target = gpu.target().with_algorithms(Algorithms::Winograd);
    for name in CASES {
        let golden = Golden::load(name);
        let graph = InferenceGraph::new(&golden.network, golden.batch, golden.extents).expect("valid");
        let feeds = feeds(&graph.graph, &golden.model(), &golden.batch(), &[graph.image]);
        let values = support::run(gpu, &target, &graph.graph, &feeds, &[graph.logits]);
        let error = worst(&values[0].data, &golden.channels_last("logits"));
        let bound = golden.sidecar["bounds"]["logits_winograd"].as_f64().expect("a bound");
        println!("{name}: logits {error:.1e} of {bound:.1e}");
        assert!(error <= bound, "{name}: logits are off by {error:e} of the largest, bound {bound:e}");
    }
}

fn feeds(
    graph: &Graph,
    model: &Model,
    batch: &Batch,
    inputs: &[vnet_engine::tensor::ValueId],
) -> Vec<(vnet_engine::tensor::ValueId, HostTensor)> {
    let tensor = |value, data: Vec<f64>| (value, HostTensor::new(graph.spec(value).clone(), data));
    let mut feeds = vec![tensor(inputs[0], batch.image.iter().map(|&x| f64::from(x)).collect())];
    if let Some(&labels) = inputs.get(1) {
        feeds.push(tensor(labels, batch.label.iter().map(|&x| f64::from(x)).collect()));
    }
    for p in graph.parameters() {
        let device = p.layout.from_torch(&model.tensors[&p.name].data, &graph.spec(p.value).shape);
        feeds.push(tensor(p.value, device.into_iter().map(f64::from).collect()));
    }
    feeds
}

fn three_levels_two_classes() {
    compare_forward_and_backward("three_levels");
}

fn four_levels_three_classes() {
    compare_forward_and_backward("four_levels");
}

fn odd_channels_four_classes() {
    compare_forward_and_backward("odd_channels");
}

/// The configuration of a recorded training.
fn config(golden: &Golden, recipe: &Value) -> Config {
    let number = |key: &str| recipe[key].as_f64();
    let mut config = Preset::Tiny.config();
    config.network.choose(golden.network.architecture());
    config.training.batch = golden.batch;
    config.training.loss = loss(recipe["loss"].as_str().expect("a loss"));
    let kind = recipe["optimizer"].as_str().expect("an optimiser").to_lowercase();
    config.optimiser.kind = kind.parse().expect("an optimiser");
    let hyperparameters = &mut config.optimiser.hyperparameters;
    hyperparameters.set("momentum", number("momentum").unwrap_or(0.0));
    hyperparameters.set("nesterov", recipe["nesterov"].as_bool().unwrap_or(false));
    hyperparameters.set("beta1", recipe["betas"][0].as_f64().unwrap_or(0.9));
    hyperparameters.set("beta2", recipe["betas"][1].as_f64().unwrap_or(0.999));
    hyperparameters.set("epsilon", number("eps").unwrap_or(1e-8));
    config.optimiser.weight_decay = number("weight_decay").expect("a weight decay");
    config.optimiser.clip_norm = number("max_norm").unwrap_or(0.0);
    config
}

fn compare_training(name: &str, recipe_name: &str) {
    let gpu = DIRECT.as_ref().expect("ignored without an adapter");
    let golden = Golden::load(name);
    let recipe = &golden.sidecar["trajectories"][recipe_name];
    let bounds = &golden.sidecar["bounds"]["trajectories"][recipe_name];
    let config = config(&golden, recipe);
    let mut trainer = Trainer::new(gpu, &golden.network, &config.trainer_settings(), golden.extents).expect("it fits");
    let start = golden.model().to_arena(&trainer.training().graph, trainer.layout());
    trainer.set_parameters(&start);
    let rate = recipe["lr"].as_f64().expect("a learning rate");
    let mut results = Vec::new();
    let mut end = Vec::new();
    for step in 0..11 {
        if step == 10 {
            end = trainer.parameters().expect("the device answers");
        }
        results.extend(trainer.step(&[golden.batch()], rate).expect("a step"));
    }
    results.extend(trainer.finish().expect("the device answers"));
    assert_eq!(results.len(), 11);
    let within = |what: &str, found: f64, expected: &Value, bound: &Value| {
        let (expected, bound) = (expected.as_f64().expect("a number"), bound.as_f64().expect("a bound"));
        let error = (found - expected).abs();
        assert!(error <= bound, "{name} {recipe_name} {what}: {found} is off {expected} by {error:e}, bound {bound:e}");
    };
    for (i, r) in results.iter().enumerate() {
        within(&format!("loss {i}"), r.loss, &recipe["losses"][i], &bounds["losses"][i]);
        within(&format!("norm {i}"), r.gradient_norm, &recipe["gradient_norms"][i], &bounds["gradient_norms"][i]);
    }
    let layout = trainer.layout();
    for (p, w) in trainer.training().graph.parameters().iter().zip(&layout.windows) {
        let norm = |f: &dyn Fn(usize) -> f64| (w.start..w.start + w.len).map(|i| f(i) * f(i)).sum::<f64>().sqrt();
        let value = norm(&|i| f64::from(end[i]));
        let update = norm(&|i| f64::from(end[i]) - f64::from(start[i]));
        within(&p.name, value, &recipe["parameter_norms"][&p.name], &bounds["parameter_norms"][&p.name]);
        within(&p.name, update, &recipe["update_norms"][&p.name], &bounds["update_norms"][&p.name]);
    }
}

fn ten_steps_of_sgd() {
    CASES.iter().for_each(|case| compare_training(case, "sgd"));
}

fn ten_steps_of_nesterov_with_clipping() {
    CASES.iter().for_each(|case| compare_training(case, "nesterov"));
}

fn ten_steps_of_adam() {
    CASES.iter().for_each(|case| compare_training(case, "adam"));
}

fn ten_steps_of_adamw() {
    CASES.iter().for_each(|case| compare_training(case, "adamw"));
}

fn a_checkpoint_gives_back_what_was_written() {
    let golden = Golden::load("odd_channels");
    let model = golden.model();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    model.write(&path).expect("written");
    assert_eq!(Model::read(&path).expect("read"), model);
    let graph = InferenceGraph::new(&golden.network, 1, golden.extents).expect("valid");
    let layout = ArenaLayout::new(&graph.graph);
    let arena = model.to_arena(&graph.graph, &layout);
    assert_eq!(Model::from_arena(&graph.graph, &layout, &arena, &golden.network, None), model);
    let target = Target::webgpu();
    let plan = plan(&Request::inference(&graph.graph, &[graph.logits]), &target).expect("it fits");
    assert_eq!(plan.arena, layout);
}
