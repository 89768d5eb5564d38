//! What is learnt besides plain classes, as a user meets it: regions that overlap, and voxels that are ignored.

#[path = "support/methods.rs"]
mod methods;
mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::program::{program, refused};
use vnet_engine::data::io::{Header, read_label_map, read_volume, write_label_map, write_volume};
use vnet_engine::data::{Grid, LabelMap, Volume};
use vnet_engine::evaluate::{Scoring, evaluate_folders};
use vnet_engine::metrics::Region;
use vnet_engine::nn::{Activation, Model};

const EXTENTS: [usize; 3] = [16, 12, 8];
const CASES: usize = 5;

fn grid() -> Grid {
    Grid::axis_aligned(EXTENTS, [1.5, 1.5, 3.0])
}

/// Boxes within each other: 1 around 2 around 3. Every case has them elsewhere.
fn nested(case: usize) -> Vec<u16> {
    let label = |voxel: usize| {
        let at = [voxel % 16, voxel / 16 % 12, voxel / 192];
        let inside = |low: [usize; 3], high: [usize; 3]| {
            (0..3).all(|axis| (low[axis]..high[axis]).contains(&(at[axis] + if axis == 0 { case % 3 } else { 0 })))
        };
        u16::from(inside([4, 1, 1], [15, 11, 7]))
            + u16::from(inside([6, 3, 2], [13, 9, 6]))
            + u16::from(inside([8, 4, 2], [11, 8, 5]))
    };
    (0..grid().voxel_count()).map(label).collect()
}

/// A value between 0 and `below` that looks random.
fn mixed(index: usize, below: u64) -> u64 {
    ((index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % below
}

fn write_labels(path: &Path, grid: &Grid, voxels: Vec<u16>) {
    write_label_map(path, &LabelMap { grid: grid.clone(), voxels }, &Header::for_grid(grid)).expect("written");
}

/// `data/images` and `data/labels` of nested boxes, whose labels `of` (case, voxel, label) changes.
fn data_set(folder: &Path, of: impl Fn(usize, usize, u16) -> u16) {
    for kind in ["images", "labels"] {
        std::fs::create_dir_all(folder.join("data").join(kind)).expect("a folder");
    }
    for case in 0..CASES {
        let labels = nested(case);
        let intensity = |(voxel, label): (usize, &u16)| f32::from(*label) * 30.0 + mixed(voxel * 7 + case, 20) as f32;
        let volume = Volume { voxels: labels.iter().enumerate().map(intensity).collect(), grid: grid() };
        write_volume(&folder.join(format!("data/images/c{case}.nii.gz")), &volume).expect("written");
        let labels = labels.into_iter().enumerate().map(|(voxel, label)| of(case, voxel, label)).collect();
        write_labels(&folder.join(format!("data/labels/c{case}.nii.gz")), &grid(), labels);
    }
}

fn describe(folder: &Path, text: &str) {
    std::fs::write(folder.join("data/dataset.json"), text).expect("written");
}

fn fresh() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Runs a command that succeeds; what it prints.
fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = program(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// `train` of a small network with settings.
fn train(folder: &Path, out: &str, settings: &[&str]) {
    let fixed = [
        "network.encoder=[1,1]",
        "network.decoder=[1]",
        "data.patch=[16,12,8]",
        "data.split=[0.6,0.2,0.2]",
        "training.validate_every=0",
        "optimiser.learning_rate=0.01",
    ];
    let settings = fixed.iter().chain(settings).flat_map(|setting| ["--set", setting]);
    let command = ["train", "--data", "data", "--out", out, "--preset", "tiny"];
    run(folder, &command.into_iter().chain(settings).collect::<Vec<_>>());
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

/// Dice by its definition, of the voxels that count.
fn dice(prediction: &[bool], reference: &[bool]) -> f64 {
    let both = prediction.iter().zip(reference).filter(|(p, r)| **p && **r).count();
    let all = prediction.iter().chain(reference).filter(|inside| **inside).count();
    2.0 * both as f64 / all as f64
}

const REGIONS: [(&str, &[u16]); 3] = [("whole tumour", &[1, 2, 3]), ("core", &[2, 3]), ("enhancing", &[3])];

#[test]
fn regions_are_trained_painted_and_scored() {
    if vnet_engine::gpu::adapters().is_empty() {
        assert!(std::env::var_os("VNET_REQUIRE_GPU").is_none(), "no adapter");
        return;
    }
    let folder = fresh();
    let at = |name: &str| folder.path().join(name);
    data_set(folder.path(), |_, _, label| label);
    let labels = r#"{"background": 0, "whole tumour": [1, 2, 3], "core": [2, 3], "enhancing": 3}"#;
    describe(folder.path(), &format!(r#"{{"labels": {labels}, "regions_class_order": [1, 2, 3]}}"#));
    let dry = ["train", "--data", "data", "--out", "run", "--preset", "tiny", "--dry-run"];
    let loss = ["--set", "training.loss=weighted_cross_entropy"];
    refused(folder.path(), &[&dry[..], &loss].concat(), &["training.loss", "a loss for regions (dice, "]);
    let told = run(folder.path(), &dry);
    assert!(told.contains("labels    0 to 3; regions whole tumour = 1, 2, 3, core = 2, 3, enhancing = 3"), "{told}");

    // Another spacing than the file's: probabilities are interpolated before they are painted.
    train(folder.path(), "run", &["training.steps=60", "data.spacing=[2.0,2.0,3.0]"]);
    let config: toml::Table = std::fs::read_to_string(at("run/config.toml")).expect("text").parse().expect("TOML");
    let expected = json!({"whole tumour": [1, 2, 3], "core": [2, 3], "enhancing": 3});
    assert_eq!(serde_json::to_value(&config["data"]["regions"]).expect("JSON"), expected);
    assert_eq!(serde_json::to_value(&config["data"]["regions_order"]).expect("JSON"), json!([1, 2, 3]));
    let model = Model::read(&at("run/model.safetensors")).expect("a model");
    assert_eq!((model.network.classes, model.network.activation), (3, Activation::Sigmoid));
    let labels = &model.preprocessing.as_ref().expect("preprocessing")["labels"];
    assert_eq!((&labels["regions"], &labels["regions_order"]), (&expected, &json!([1, 2, 3])));
    let curves = std::fs::read_to_string(at("run/curves.svg")).expect("curves");
    assert!(REGIONS.iter().all(|(name, _)| curves.contains(name)));
    assert!(methods::check_methods(&at("run")) > 60);
    let report = std::fs::read_to_string(at("run/report.html")).expect("a report");
    assert!(REGIONS.iter().all(|(name, _)| report.contains(&format!("\"name\":\"{name}\""))));
    assert!(report.contains(r#""labels":[2,3]"#));

    let segment = ["segment", "--model", "run", "--input", "data/images", "--output", "predictions"];
    run(folder.path(), &[&segment[..], &["--probabilities"]].concat());
    let mut expected = Vec::new();
    for case in 0..CASES {
        let of =
            |region: usize| read_volume(&at(&format!("predictions/c{case}_prob{region}.nii.gz"))).expect("written");
        let probabilities = [of(1), of(2), of(3)];
        // nnU-Net's convert_probabilities_to_segmentation, on the grid of the file.
        let mut painted = vec![0u16; grid().voxel_count()];
        for (volume, value) in probabilities.iter().zip(1..) {
            for (label, probability) in painted.iter_mut().zip(&volume.voxels) {
                if *probability > 0.5 {
                    *label = value;
                }
            }
        }
        let prediction = read_label_map(&at(&format!("predictions/c{case}.nii.gz"))).expect("written").voxels;
        assert_eq!(prediction, painted, "case {case}");
        let reference = nested(case);
        for (name, values) in REGIONS {
            let inside = |map: &[u16]| -> Vec<bool> { map.iter().map(|value| values.contains(value)).collect() };
            let (prediction, reference) = (inside(&prediction), inside(&reference));
            let score = dice(&prediction, &reference);
            expected.push((format!("c{case}"), name, score));
            // What everything would score as the tumour.
            let trivial = dice(&vec![true; reference.len()], &reference);
            assert!(name != "whole tumour" || score > trivial, "case {case}: {score}, {trivial} without learning");
        }
    }
    let evaluate = ["evaluate", "--predictions", "predictions", "--labels", "data/labels", "--images", "data/images"];
    for (out, model) in [("scores", &[][..]), ("with", &["--model", "run"])] {
        run(folder.path(), &[&evaluate[..], &["--out", out], model].concat());
        let scores = json_of(&at(out).join("scores.json"));
        for (record, (case, name, dice)) in scores["cases"].as_array().expect("records").iter().zip(&expected) {
            assert_eq!((&record["case"], &record["class_name"]), (&json!(case), &json!(name)));
            assert_eq!(record["dice"].as_f64(), Some(*dice), "{case} {name}");
        }
        assert_eq!(scores["cases"].as_array().expect("records").len(), expected.len());
    }
    // The scores of the test case, once more.
    let test = json_of(&at("run/test/scores.json"));
    let all = json_of(&at("with/scores.json"));
    let all = all["cases"].as_array().expect("records");
    let test = test["cases"].as_array().expect("records");
    assert!(!test.is_empty() && test.iter().all(|scores| all.contains(scores)));

    // Outputs of another kind are not averaged, though there are as many.
    train(folder.path(), "classes", &["training.steps=1", "data.labels.a=[1,2]", "data.labels.b=3"]);
    let both = ["segment", "--model", "run", "--model", "classes", "--input", "data/images", "--output", "mean"];
    refused(
        folder.path(),
        &both,
        &["classes/model.safetensors: its outputs are softmax", "run/model.safetensors sigmoid"],
    );
}

/// Two or three of eight slices are annotated; which of two ignored values the others have says nothing.
#[test]
fn sparse_annotations_train_and_unlabelled_voxels_do_not_matter() {
    if vnet_engine::gpu::adapters().is_empty() {
        assert!(std::env::var_os("VNET_REQUIRE_GPU").is_none(), "no adapter");
        return;
    }
    let folder = fresh();
    let at = |name: &str| folder.path().join(name);
    let organ = |label: u16| u16::from(label > 0);
    let is_annotated = |case: usize, voxel: usize| (voxel / 192 + case).is_multiple_of(3);
    let settings = ["data.ignore=[255,77]", "data.sampling=patch", "data.patch=[8,8,4]", "data.spacing=[1.5,1.5,2.5]"];
    let mut fingerprints = Vec::new();
    for (out, other) in [("one", 255), ("other", 77)] {
        data_set(folder.path(), |case, voxel, label| match is_annotated(case, voxel) {
            true => organ(label),
            false if mixed(voxel, 2) == 0 => 255,
            false => other,
        });
        train(folder.path(), out, &[&settings[..], &["training.steps=3"]].concat());
        fingerprints.push(Model::read(&at(out).join("model_last.safetensors")).expect("a model").fingerprint());
    }
    assert_eq!(fingerprints[0], fingerprints[1]);
    let config: toml::Table = std::fs::read_to_string(at("one/config.toml")).expect("text").parse().expect("TOML");
    assert_eq!(serde_json::to_value(&config["data"]["ignore"]).expect("JSON"), json!([77, 255]));
    assert_eq!(serde_json::to_value(&config["data"]["labels"]).expect("JSON"), json!({"background": 0, "class 1": 1}));

    let settings = ["data.ignore=[255,77]", "training.steps=60"];
    train(folder.path(), "run", &settings);
    run(folder.path(), &["segment", "--model", "run", "--input", "data/images", "--output", "predictions"]);
    for case in 0..CASES {
        let prediction = read_label_map(&at(&format!("predictions/c{case}.nii.gz"))).expect("written").voxels;
        let prediction: Vec<bool> = prediction.into_iter().map(|label| label == 1).collect();
        let reference: Vec<bool> = nested(case).into_iter().map(|label| label > 0).collect();
        let (score, trivial) = (dice(&prediction, &reference), dice(&vec![true; reference.len()], &reference));
        assert!(score > trivial, "case {case}: {score} on all slices, {trivial} without learning");
    }
    // Scores are those of the annotated slices: by the model, and by the option.
    let evaluate = ["evaluate", "--predictions", "predictions", "--labels", "data/labels", "--out"];
    run(folder.path(), &[&evaluate[..], &["model", "--model", "run"]].concat());
    run(folder.path(), &[&evaluate[..], &["option", "--ignore", "255", "--ignore", "77"]].concat());
    let scores = json_of(&at("model/scores.json"))["cases"].clone();
    assert_eq!(scores, json_of(&at("option/scores.json"))["cases"]);
    assert_eq!(scores.as_array().expect("records").len(), CASES);
    for (case, scores) in scores.as_array().expect("records").iter().enumerate() {
        let prediction = read_label_map(&at(&format!("predictions/c{case}.nii.gz"))).expect("written").voxels;
        let annotated = |map: Vec<u16>| -> Vec<bool> {
            map.into_iter().enumerate().map(|(v, label)| is_annotated(case, v) && label > 0).collect()
        };
        assert_eq!(scores["dice"].as_f64(), Some(dice(&annotated(prediction), &annotated(nested(case)))));
    }
}

/// Scores with everything but a box ignored are those of the box cut out, surfaces and parts of the organ included.
#[test]
fn scores_of_what_is_not_ignored_are_those_of_cut_volumes() {
    let folder = fresh();
    let (low, high) = ([2, 1, 2], [13, 10, 8]);
    let extents: [usize; 3] = std::array::from_fn(|axis| high[axis] - low[axis]);
    let random = |salt: usize| (0..grid().voxel_count()).map(move |v| mixed(v * 3 + salt, 4).saturating_sub(1) as u16);
    let inside = |voxel: usize| {
        let at = [voxel % 16, voxel / 16 % 12, voxel / 192];
        (0..3).all(|axis| (low[axis]..high[axis]).contains(&at[axis]))
    };
    let cut = |map: Vec<u16>| map.into_iter().enumerate().filter(|(v, _)| inside(*v)).map(|(_, label)| label).collect();
    for kind in ["predictions", "masked/labels", "cut/predictions", "cut/labels"] {
        std::fs::create_dir_all(folder.path().join(kind)).expect("a folder");
    }
    for case in 0..3 {
        let (prediction, reference): (Vec<u16>, Vec<u16>) = (random(case).collect(), random(case + 9).collect());
        let masked = reference.iter().enumerate().map(|(v, label)| if inside(v) { *label } else { 9 }).collect();
        let small = Grid::axis_aligned(extents, [1.5, 1.5, 3.0]);
        for (path, grid, map) in [
            ("predictions", &grid(), prediction.clone()),
            ("masked/labels", &grid(), masked),
            ("cut/predictions", &small, cut(prediction)),
            ("cut/labels", &small, cut(reference)),
        ] {
            write_labels(&folder.path().join(path).join(format!("c{case}.nii")), grid, map);
        }
    }
    let at = |name: &str| folder.path().join(name);
    let scoring = Scoring { regions: &Region::ALL, ..Scoring::WHOLE };
    let expected = evaluate_folders(&at("cut/predictions"), &at("cut/labels"), &scoring).expect("scored").cases;
    assert!(expected.len() == 3 * 2 * 3 && expected.iter().all(|scores| scores.hd95_mm.is_some()));
    let option = Scoring { ignore: &[9], ..scoring };
    let found = evaluate_folders(&at("predictions"), &at("masked/labels"), &option).expect("scored").cases;
    assert_eq!(found, expected);
    // nnU-Net's way to say it, here with a region.
    let labels = r#"{"background": 0, "all": [1, 2], "lesion": 2, "ignore": 9}"#;
    for set in ["masked", "cut"] {
        let text = format!(r#"{{"labels": {labels}, "regions_class_order": [1, 2]}}"#);
        std::fs::write(at(set).join("dataset.json"), text).expect("written");
    }
    let expected = evaluate_folders(&at("cut/predictions"), &at("cut/labels"), &scoring).expect("scored").cases;
    let found = evaluate_folders(&at("predictions"), &at("masked/labels"), &scoring).expect("scored").cases;
    assert_eq!(found, expected);
    let names: Vec<&str> = found.iter().take(6).map(|scores| scores.class_name.as_str()).collect();
    assert_eq!(names, ["all", "all", "all", "lesion", "lesion", "lesion"]);
}

#[test]
fn what_label_values_contradict_is_named_with_its_key() {
    let folder = fresh();
    data_set(folder.path(), |_, _, label| label);
    let dry = ["train", "--data", "data", "--out", "run", "--preset", "tiny", "--dry-run"];
    let tumour = ["data.regions.whole=[1,2,3]", "data.regions.core=[2,3]"];
    for (settings, words) in [
        (&["data.ignore=many"][..], ["data.ignore", "a label value from 0 to 65535, or a list of them"]),
        (&["data.ignore=70000"], ["data.ignore", "a label value from 0 to 65535, or a list of them"]),
        (&["data.ignore=2"], ["label values 0, 1, 3 occur", "2 in no case"]),
        (&["data.ignore=3", "data.labels.a=[1,2,3]"], ["data.ignore", "3 is that of a"]),
        (&["data.regions=3"], ["data.regions", "a table"]),
        (&["data.regions.whole=[]"], ["data.regions", "whole has none"]),
        (&["data.regions.whole=[0,1]"], ["data.regions", "regions without background"]),
        (&["data.regions.whole=[1,1]"], ["data.regions", "whole has one twice"]),
        (&["data.regions.whole=[1,2]"], ["labels/c0.nii.gz", "has the label value 3"]),
        (&["data.labels.a=[1,2,3]", "data.regions.whole=[1,2]"], ["data.regions", "whole has 1 without 3"]),
        (&["data.labels.a=1", "data.regions.whole=[1,2]"], ["data.regions", "2 of whole is that of none"]),
        (&["data.regions_order=[1]"], ["data.regions_order", "an order only with data.regions"]),
        (&[tumour[0], tumour[1], "data.regions_order=[1]"], ["data.regions_order", "1 of whole"]),
        (&[tumour[0], tumour[1], "data.regions_order=[2,1]"], ["key data.regions_order", "painted later"]),
        (
            &[tumour[0], "training.loss=cross_entropy", "training.loss=weighted_cross_entropy"],
            ["training.loss", "for regions"],
        ),
    ] {
        let set = settings.iter().flat_map(|setting| ["--set", setting]);
        let arguments: Vec<&str> = dry.into_iter().chain(set).collect();
        refused(folder.path(), &arguments, &words);
    }
    let regions = tumour.iter().flat_map(|setting| ["--set", setting]);
    let told = run(folder.path(), &dry.into_iter().chain(regions).collect::<Vec<_>>());
    assert!(told.contains("regions whole = 1, 2, 3, core = 2, 3") && told.contains("network"), "{told}");
    describe(folder.path(), r#"{"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}"#);
    let told = run(folder.path(), &dry);
    assert!(told.contains("labels    0 (background), 1 (a), 2 (b), 3 (ignored)"), "{told}");
    refused(folder.path(), &[&dry[..], &["--set", "data.ignore=2"]].concat(), &["dataset.json", "2 is that of b"]);
}
