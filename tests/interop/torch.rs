//! The PyTorch module as text; `tools/interop.py` runs it.

use super::{model, network};
use vnet_engine::interop::{export_torch, weights_path};
use vnet_engine::nn::{Activation, Model};

pub const TESTS: [(&str, bool, fn()); 2] = [
    ("a_torch_module_names_its_network_and_weights", false, module),
    ("a_torch_module_says_that_its_outputs_are_regions", false, regions),
];

/// Of regions, the module says so.
fn regions() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("regions.py");
    export_torch(&model(network().with_activation(Activation::Sigmoid)), &path).expect("exported");
    let text = std::fs::read_to_string(&path).expect("read");
    assert!(text.contains("NETWORK = {\"activation\": \"sigmoid\", \"base\": 4, "), "{text}");
}

fn module() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("prostate.py");
    let model = model(network());
    export_torch(&model, &path).expect("exported");
    assert_eq!(weights_path(&path), folder.path().join("prostate.safetensors"));
    assert_eq!(Model::read(&weights_path(&path)).expect("read"), model);
    let text = std::fs::read_to_string(&path).expect("read");
    for line in [
        "NETWORK = {\"base\": 4, \"classes\": 3, \"decoder\": [2, 1], \"encoder\": [1, 2, 1], \"in_channels\": 2}",
        "PREPROCESSING = {\"canonical\": True, \"class_names\": [\"a\", \"\\\"b\\\"\", \"c\"], \
         \"normalisation\": \"z_score_all\", \"patch\": [16, 8, 8]}",
        "WEIGHTS = \"prostate.safetensors\"",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
    }
    assert!(export_torch(&model, &folder.path().join("prostate")).expect_err("no ending").to_string().contains(".py"));
}
