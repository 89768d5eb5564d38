//! Which values of label maps are which classes, from the data set to the scores, as a user meets it.

mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use support::program::{program, refused};
use vnet_engine::data::io::{Header, read_label_map, write_label_map, write_volume};
use vnet_engine::data::{Grid, LabelMap, Volume};
use vnet_engine::nn::Model;

const EXTENTS: [usize; 3] = [16, 12, 8];

/// Cases c0, c1, … whose label maps have a box of each value, and images with contrast; case 1 has the first value alone.
fn data_set(folder: &Path, cases: usize, values: &[u16]) {
    let grid = Grid::axis_aligned(EXTENTS, [1.5, 1.5, 3.0]);
    for kind in ["images", "labels"] {
        std::fs::create_dir_all(folder.join("data").join(kind)).expect("a folder");
    }
    for case in 0..cases {
        let of = |v: usize| {
            let [x, y, z] = [v % 16, v / 16 % 12, v / 192];
            let inside = (3..9).contains(&y) && (2..6).contains(&z);
            let position = (x / 3).checked_sub(1).filter(|_| inside && x < 3 + 3 * values.len());
            position.filter(|&at| case != 1 || at == 0).map_or(0, |at| values[at])
        };
        let voxels: Vec<u16> = (0..grid.voxel_count()).map(of).collect();
        let intensities = voxels.iter().enumerate().map(|(v, &l)| f32::from(l.min(9)) + ((v * 7 + case) % 5) as f32);
        let volume = Volume { grid: grid.clone(), voxels: intensities.collect() };
        write_volume(&folder.join(format!("data/images/c{case}.nii.gz")), &volume).expect("written");
        let map = LabelMap { grid: grid.clone(), voxels };
        write_label_map(&folder.join(format!("data/labels/c{case}.nii.gz")), &map, &Header::for_grid(&grid))
            .expect("written");
    }
}

fn fresh() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

const DRY: [&str; 8] = ["train", "--data", "data", "--out", "run", "--preset", "tiny", "--dry-run"];

#[test]
fn label_values_that_are_no_classes_are_named_before_anything_is_trained() {
    let way_on = "--set data.labels.NAME=VALUE";
    for (values, words) in [
        (&[255][..], ["0, 255 occur", "1 to 254 in no case", "labels/c0.nii.gz", way_on]),
        (&[1, 3], ["0, 1, 3 occur", "2 in no case", "labels/c0.nii.gz", way_on]),
        (&[0], ["no label map has a voxel of a class", "label values: 0", "data", "1 and above"]),
    ] {
        let folder = fresh();
        data_set(folder.path(), 3, values);
        refused(folder.path(), &DRY, &words);
        let real = &DRY[..DRY.len() - 1];
        refused(folder.path(), real, &words);
        assert!(!folder.path().join("run").exists());
    }
}

#[test]
fn a_blank_image_is_named_before_anything_is_trained() {
    let folder = fresh();
    data_set(folder.path(), 3, &[1]);
    let grid = Grid::axis_aligned(EXTENTS, [1.5, 1.5, 3.0]);
    let blank = Volume { voxels: vec![0.0; grid.voxel_count()], grid };
    write_volume(&folder.path().join("data/images/c2.nii.gz"), &blank).expect("written");
    refused(folder.path(), &DRY, &["images/c2.nii.gz: every voxel has the value 0", "blank image"]);
}

#[test]
fn what_dataset_json_declares_decides() {
    let folder = fresh();
    data_set(folder.path(), 3, &[1, 2]);
    let declare = |labels: &str| {
        let path = folder.path().join("data/dataset.json");
        std::fs::write(path, format!(r#"{{"labels": {labels}}}"#)).expect("written");
    };
    let undeclared = "voxel x, y, z = [6, 3, 2] has the label value 2, expected 0 (background), 1 (organ)";
    for labels in [r#"{"0": "background", "1": "organ"}"#, r#"{"background": 0, "organ": 1}"#] {
        declare(labels);
        refused(folder.path(), &DRY, &["labels/c0.nii.gz", "labels/c2.nii.gz", undeclared]);
    }
    for (labels, words) in [
        (r#"{"background": 0, "core": 2, "whole": [1, 2]}"#, "dataset.json: regions_class_order is missing"),
        (r#"{"background": 0, "organ": 1, "ignore": 1}"#, "(1 is that of organ)"),
    ] {
        declare(labels);
        refused(folder.path(), &DRY, &[words, "data.labels"]);
    }
}

#[test]
fn what_is_no_table_of_classes_is_named_with_its_key() {
    let folder = fresh();
    data_set(folder.path(), 3, &[255]);
    for (settings, words) in [
        (&["data.labels=255"][..], ["data.labels", "a table"]),
        (&["data.labels.organ=-1"], ["data.labels", "a label value from 0 to 65535, a range"]),
        (&["data.labels.organ=large"], ["data.labels", "a range of label values like"]),
        (&["data.labels.organ=[]"], ["data.labels", "organ has none"]),
        (&["data.labels.organ=255", "data.labels.tumour=[3,255]"], ["data.labels", "255 is in organ and in tumour"]),
        (&["data.labels.background=0"], ["data.labels", "2 to 256 classes"]),
        (&["data.labels.organ=254"], ["has the label value 255", "expected 0 (background), 254 (organ)"]),
    ] {
        let set = settings.iter().flat_map(|setting| ["--set", setting]);
        let arguments: Vec<&str> = DRY.into_iter().chain(set).collect();
        refused(folder.path(), &arguments, &words);
    }
    std::fs::write(folder.path().join("c.toml"), "[data.labels]\n\"a.b\" = 1\nc = 1\n").expect("written");
    let config = ["--config", "c.toml"];
    refused(folder.path(), &[&DRY[..], &config].concat(), &["c.toml: key data.labels", "1 is in a.b and in c"]);
    refused(
        folder.path(),
        &["plan", "--data", "data", "--set", "training.steps=3"],
        &["training.steps=3", "plan takes data.labels, data.ignore, data.regions"],
    );
    let augment = ["augment", "--data", "data", "--out", "a.png"];
    refused(folder.path(), &augment, &["0, 255 occur"]);
}

/// Runs a command that succeeds; what it prints.
fn run(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = program(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn values_of(path: &Path) -> BTreeSet<u16> {
    read_label_map(path).expect("a label map").voxels.into_iter().collect()
}

/// Value and name of the classes of an evaluation.
fn classes_of(evaluation: &Value) -> Vec<Value> {
    let summary = evaluation["summary"].as_array().expect("records");
    summary.iter().map(|class| json!([class["class"], class["class_name"]])).collect()
}

/// Values 255, and 2 and 3 as one class, in configuration, model, test scores, predictions and evaluation.
#[test]
fn a_training_speaks_the_values_of_its_data_set() {
    if vnet_engine::gpu::adapters().is_empty() {
        return;
    }
    let folder = fresh();
    let at = |name: &str| folder.path().join(name);
    data_set(folder.path(), 6, &[255, 2, 3]);
    let set = [
        "data.labels.organ=255",
        "data.labels.tumour=[3, 2]",
        "network.encoder=[1,1]",
        "network.decoder=[1]",
        "data.patch=[16,12,8]",
        "data.split=[0.34,0.16,0.5]",
        "training.steps=40",
        "optimiser.learning_rate=0.01",
    ];
    let set: Vec<&str> = set.iter().flat_map(|setting| ["--set", setting]).collect();
    run(folder.path(), &[&DRY[..7], &set].concat());
    let config: toml::Table = std::fs::read_to_string(at("run/config.toml")).expect("text").parse().expect("TOML");
    let labels = json!({"background": 0, "organ": 255, "tumour": [3, 2]});
    assert_eq!(serde_json::to_value(&config["data"]["labels"]).expect("JSON"), labels);
    let model = Model::read(&at("run/model.safetensors")).expect("a model");
    let preprocessing = model.preprocessing.expect("preprocessing");
    assert_eq!(model.network.classes, 3);
    assert_eq!(
        (&preprocessing["labels"], &preprocessing["class_names"]),
        (&labels, &json!(["background", "tumour", "organ"]))
    );
    let classes = [json!([3, "tumour"]), json!([255, "organ"])];
    let scores = std::fs::read_to_string(at("run/test/scores.json")).expect("scores");
    let scores: Value = serde_json::from_str(&scores).expect("JSON");
    assert_eq!(classes_of(&scores), classes);

    run(folder.path(), &["segment", "--model", "run", "--input", "data/images", "--output", "predictions"]);
    let seen: BTreeSet<u16> = (0..6).flat_map(|case| values_of(&at(&format!("predictions/c{case}.nii.gz")))).collect();
    assert!(seen.is_subset(&BTreeSet::from([0, 3, 255])) && seen.contains(&255), "{seen:?}");
    let evaluate = [
        "evaluate",
        "--predictions",
        "predictions",
        "--labels",
        "data/labels",
        "--images",
        "data/images",
        "--out",
        "scores",
    ];
    let scores = |extra: &[&str]| -> Value {
        serde_json::from_slice(&run(folder.path(), &[&evaluate[..], &["--json"], extra].concat())).expect("JSON")
    };
    assert_eq!(classes_of(&scores(&["--model", "run"])), classes);
    let plain = [json!([2, "class 2"]), json!([3, "class 3"]), json!([255, "class 255"])];
    assert_eq!(classes_of(&scores(&[])), plain);
    // The scores of the test cases, once more.
    let all = scores(&["--model", "run"]);
    let stored = std::fs::read_to_string(at("run/test/scores.json")).expect("scores");
    let stored: Value = serde_json::from_str(&stored).expect("JSON");
    for scores in stored["cases"].as_array().expect("records") {
        assert!(all["cases"].as_array().expect("records").contains(scores), "{scores}");
    }
    run(folder.path(), &[&["augment", "--data", "data", "--out", "a.png", "--samples", "1"], &set[..4]].concat());
    // A run that goes on has the same classes.
    run(folder.path(), &["train", "--data", "data", "--out", "run", "--resume", "--steps", "41"]);
}
