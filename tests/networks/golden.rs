//! Networks of other programs: MONAI's VNet with batch normalisation and ELU, and nnU-Net's residual encoder. Logits, loss, every
//! gradient and ten steps; and the same network from the other program's state dictionary.
//!
//! `tools/golden_networks.py` made the files, and says how their bounds follow.

use super::{Golden, feeds, loss, worst};
use crate::support::{self, DIRECT};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use vnet_engine::interop::{Layout, import};
use vnet_engine::nn::model::{Tensor, parameter_shapes, write_tensors};
use vnet_engine::nn::{InferenceGraph, Model, TrainingGraph};
use vnet_engine::train::{Preset, Trainer};

pub const TESTS: [(&str, bool, fn()); 6] = [
    ("vnet_of_monai", true, || compare("monai_vnet")),
    ("ten_steps_of_monais_vnet", true, || compare_steps("monai_vnet")),
    ("residual_unet_of_nnunet", true, || compare("residual_unet")),
    ("ten_steps_of_nnunets_residual_unet", true, || compare_steps("residual_unet")),
    ("state_dictionary_of_monais_vnet", false, || compare_import("monai_vnet", Layout::Monai)),
    ("state_dictionary_of_nnunets_residual_unet", false, || compare_import("residual_unet", Layout::NnUnet)),
];

const LOSS: &str = "dice_cross_entropy";

/// The parameters. Where the other program's convolution before a normalisation has no bias, it is zero.
fn parameters(golden: &Golden) -> Model {
    let mut model = golden.model();
    for (name, shape) in parameter_shapes(&golden.network) {
        let is_optional = has_no_effect(&name);
        model.tensors.entry(name).or_insert_with_key(|name| {
            assert!(is_optional, "{name} is not in the file");
            Tensor { data: vec![0.0; shape.iter().product()], shape }
        });
    }
    model
}

/// Whether it may be a bias that MONAI's VNet has not: of a decoder's convolutions.
fn has_no_effect(name: &str) -> bool {
    name.starts_with("decoder.") && name.contains(".conv.") && name.ends_with(".bias")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn compare(name: &str) {
    let gpu = DIRECT.as_ref().expect("ignored without an adapter");
    let golden = Golden::load(name);
    let (model, batch, bounds) = (parameters(&golden), golden.batch(), &golden.sidecar["bounds"]);
    let within = |what: &str, error: f64, bound: &Value| {
        println!("{name} {what}: {error:.1e} of {:.1e}", number(bound));
        assert!(error <= number(bound), "{name}: {what} is off by {error:e}, bound {bound}");
    };
    let loss = loss(LOSS).build();
    let t = TrainingGraph::new(&golden.network, &*loss, golden.batch, golden.extents, 1.0).expect("valid");
    let wanted = [&[t.logits, t.loss], &t.gradients[..]].concat();
    let given = feeds(&t.graph, &model, &batch, &[t.image, t.labels]);
    let values = support::run(gpu, gpu.target(), &t.graph, &given, &wanted);
    within("logits", worst(&values[0].data, &golden.channels_last("logits")), &bounds["logits"]);
    within("loss", (values[1].data[0] - number(&golden.sidecar["loss"])).abs(), &bounds["loss"]);
    let mut largest = (0.0, String::new());
    for (parameter, value) in t.graph.parameters().iter().zip(&values[2..]) {
        let key = format!("grad.{}", parameter.name);
        if !golden.tensors.contains_key(&key) {
            assert!(parameter.name.contains(".running_") || has_no_effect(&parameter.name), "{key} is not in the file");
            continue;
        }
        let found = parameter.layout.to_torch(&value.data, value.shape());
        let expected = &golden.tensors[&key].1;
        let sum = golden.sidecar["scales"][&parameter.name].as_f64().unwrap_or(0.0);
        let scale = expected.iter().fold(sum, |most, x| most.max(x.abs()));
        let error = found.iter().zip(expected).map(|(f, e)| (f - e).abs() / scale).fold(0.0, f64::max);
        assert!(found.iter().all(|x| x.is_finite()) && found.len() == expected.len(), "{}", parameter.name);
        largest = if error > largest.0 { (error, parameter.name.clone()) } else { largest };
    }
    within(&format!("gradient of {}", largest.1), largest.0, &bounds["grad"]);
    let graph = InferenceGraph::new(&golden.network, golden.batch, golden.extents).expect("valid");
    let given = feeds(&graph.graph, &model, &batch, &[graph.image]);
    let values = support::run(gpu, gpu.target(), &graph.graph, &given, &[graph.logits]);
    within("prediction", worst(&values[0].data, &golden.channels_last("evaluated")), &bounds["evaluated"]);
}

fn compare_steps(name: &str) {
    let gpu = DIRECT.as_ref().expect("ignored without an adapter");
    let golden = Golden::load(name);
    let (recipe, steps) = (&golden.sidecar["recipe"], &golden.sidecar["steps"]);
    let mut config = Preset::Tiny.config();
    config.network.choose(golden.network.architecture());
    config.training.batch = golden.batch;
    config.training.loss = loss(LOSS);
    config.optimiser.kind = "sgd".parse().expect("an optimiser");
    config.optimiser.hyperparameters.set("momentum", number(&recipe["momentum"]));
    config.optimiser.hyperparameters.set("nesterov", recipe["nesterov"].as_bool().expect("a switch"));
    config.optimiser.weight_decay = number(&recipe["weight_decay"]);
    config.optimiser.clip_norm = 0.0;
    let mut trainer = Trainer::new(gpu, &golden.network, &config.trainer_settings(), golden.extents).expect("it fits");
    let start = parameters(&golden).to_arena(&trainer.training().graph, trainer.layout());
    trainer.set_parameters(&start);
    let (mut results, mut end) = (Vec::new(), Vec::new());
    for step in 0..11 {
        if step == 10 {
            end = trainer.parameters().expect("the device answers");
        }
        results.extend(trainer.step(&[golden.batch()], number(&recipe["lr"])).expect("a step"));
    }
    results.extend(trainer.finish().expect("the device answers"));
    let mut bounds = golden.sidecar["bounds"]["steps"].as_array().expect("bounds").iter();
    let mut within = |what: &str, found: f64, expected: &Value| {
        let (error, bound) = ((found - number(expected)).abs(), number(bounds.next().expect("a bound for each")));
        assert!(error <= bound, "{name} {what}: {found} is off {expected} by {error:e}, bound {bound:e}");
    };
    for (i, expected) in steps["losses"].as_array().expect("losses").iter().enumerate() {
        within(&format!("loss {i}"), results[i].loss, expected);
    }
    let layout = trainer.layout();
    let windows: BTreeMap<&str, _> = (trainer.training().graph.parameters().iter())
        .map(|p| p.name.as_str())
        .zip(layout.windows.iter().map(|w| w.start..w.start + w.len))
        .collect();
    let norm = |name: &str, f: &dyn Fn(usize) -> f64| windows[name].clone().map(|i| f(i) * f(i)).sum::<f64>().sqrt();
    for (parameter, expected) in steps["parameter_norms"].as_object().expect("norms") {
        within(parameter, norm(parameter, &|i| f64::from(end[i])), expected);
    }
    for (parameter, expected) in steps["update_norms"].as_object().expect("norms") {
        within(parameter, norm(parameter, &|i| f64::from(end[i]) - f64::from(start[i])), expected);
    }
    let compared = steps["parameter_norms"].as_object().expect("norms");
    assert!(windows.keys().all(|name| compared.contains_key(*name) || has_no_effect(name)));
}

/// The other program's names for the same tensors give the same model. Biases that a normalisation takes away are left out.
fn compare_import(name: &str, layout: Layout) {
    let golden = Golden::load(name);
    let model = parameters(&golden);
    let mut state = BTreeMap::new();
    for (theirs, own) in golden.sidecar["names"].as_object().expect("names") {
        let tensor = model.tensors.get(own.as_str().expect("a name")).cloned();
        let weight = theirs.strip_suffix(".bias").map(|module| &golden.sidecar["names"][format!("{module}.weight")]);
        let without = || {
            let weight = &model.tensors[weight.expect("a bias").as_str().expect("a name")];
            Tensor { shape: vec![weight.shape[0]], data: vec![0.5; weight.shape[0]] }
        };
        state.insert(theirs.clone(), tensor.unwrap_or_else(without));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.safetensors");
    write_tensors(&path, &state, HashMap::new()).expect("written");
    let imported = import(&path).expect("it is such a network");
    assert_eq!((imported.layout, &imported.model.network), (layout, &golden.network));
    assert_eq!(imported.model.tensors, model.tensors);
}
