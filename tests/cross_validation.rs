//! Cross-validation: what its folders hold, that nothing a process does to it changes a bit, and what it chooses.

mod support;

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::program::{program, refused};
use vnet_engine::data::io::{Header, Scalar, read_header, read_label_map, write_label_map, write_volume_as};
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::data::{Grid, LabelMap, Volume};
use vnet_engine::infer::{PostProcessing, Repair};

fn main() {
    support::run_trials(&[
        ("repairs_are_those_of_scipy", false, repairs_are_those_of_scipy),
        (
            "a_killed_one_and_one_in_parts_end_with_the_same_bits",
            true,
            a_killed_one_and_one_in_parts_end_with_the_same_bits,
        ),
        ("crumbs_choose_the_largest_component_and_two_organs_do_not", true, crumbs_and_organs),
        ("two_processes_do_not_work_on_one_fold", true, two_processes_do_not_work_on_one_fold),
        ("what_belongs_to_another_is_refused", false, what_belongs_to_another_is_refused),
    ]);
}

/// A case of tools/golden_postprocess.py.
#[derive(Deserialize)]
struct Golden {
    extents: [usize; 3],
    spacing: [f64; 3],
    labels: String,
    largest_foreground: bool,
    repairs: Vec<Repair>,
    repaired: String,
}

fn repairs_are_those_of_scipy() {
    let text = include_str!("golden/postprocess.json");
    let cases: Vec<Golden> = serde_json::from_str(text).expect("cases");
    assert_eq!(cases.len(), 27);
    let voxels = |digits: &str| -> Vec<u16> { digits.bytes().map(|digit| u16::from(digit - b'0')).collect() };
    for Golden { extents, spacing, labels, largest_foreground, repairs, repaired } in cases {
        let what = format!("{extents:?} {repairs:?}");
        let mut found = LabelMap { grid: Grid::axis_aligned(extents, spacing), voxels: voxels(&labels) };
        PostProcessing { largest_foreground, repairs }.apply(&mut found);
        assert!(found.voxels == voxels(&repaired), "{what}");
    }
}

/// A network of a moment.
const SMALL: [&str; 16] = [
    "--preset",
    "tiny",
    "--folds",
    "2",
    "--set",
    "training.steps=4",
    "--set",
    "training.validate_every=2",
    "--set",
    "training.checkpoint_every=1",
    "--set",
    "network.encoder=[1,1]",
    "--set",
    "network.decoder=[1]",
    "--set",
    "data.patch=[16,16,16]",
];

fn arguments<'a>(out: &'a str, extra: &[&'a str]) -> Vec<&'a str> {
    [&["cross-validate", "--data", "data", "--out", out], &SMALL[..], extra].concat()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = program(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn phantoms(folder: &Path, cases: usize) {
    let settings = PhantomSettings { cases, seed: 2, extents: [24, 20, 16], spacing: [5.0, 5.5, 4.5] };
    write_dataset(&folder.join("data"), &settings, |_| ()).expect("written");
}

/// Starts, waits for a file, does something meanwhile, and kills.
fn killed_at(folder: &Path, arguments: &[&str], file: &Path, meanwhile: impl FnOnce()) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vnet-engine"))
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let start = Instant::now();
    while !file.exists() {
        assert!(child.try_wait().expect("a child").is_none(), "{} never came", file.display());
        assert!(start.elapsed() < Duration::from_secs(300), "{} never came", file.display());
        std::thread::sleep(Duration::from_millis(2));
    }
    meanwhile();
    child.kill().expect("it lives");
    child.wait().expect("an end");
}

/// Every file that must have the same bits, by its path: all but those with times and locks.
fn results(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![out.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name != "log.jsonl" && !name.ends_with(".lock") && !name.starts_with("events.out.") {
                found.insert(path.strip_prefix(out).expect("below").to_owned(), fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

fn a_killed_one_and_one_in_parts_end_with_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    phantoms(path, 4);
    let document: Value = serde_json::from_str(&succeed(path, &arguments("whole", &["--json"]))).expect("JSON");
    assert_eq!((document["folds"].as_u64(), document["choices"]["cases"].as_u64()), (Some(2), Some(4)));
    let whole = results(&path.join("whole"));
    for file in [
        "cross_validation.json",
        "predictions/phantom_003.nii.gz",
        "evaluation/scores.csv",
        "evaluation/scores.json",
        "evaluation/choices.json",
        "evaluation/report.html",
        "ensemble/ensemble.json",
        "ensemble/fold_1.safetensors",
        "fold_0/model_last.safetensors",
        "fold_0/report.html",
    ] {
        assert!(whole.contains_key(Path::new(file)), "{file}: {:?}", whole.keys());
    }
    // Every case is left out by one fold, and trains in the other.
    let split = |fold: usize, part: &str| -> Vec<String> {
        let text = fs::read(path.join(format!("whole/fold_{fold}/split.json"))).expect("a split");
        serde_json::from_value(serde_json::from_slice::<Value>(&text).expect("JSON")[part].clone()).expect("names")
    };
    assert_eq!(split(0, "train"), split(1, "validation"));
    assert_eq!(split(1, "train"), split(0, "validation"));

    let only = |fold| arguments("parts", &["--only", fold]);
    let parts = path.join("parts");
    killed_at(path, &only("1"), &parts.join("fold_1/checkpoint/step_0000002.safetensors"), || ());
    let first = &split(1, "validation")[0];
    killed_at(path, &only("1"), &parts.join(format!("fold_1/validation/plain/{first}.nii.gz")), || ());
    // What a command leaves open is the folder's.
    let collect = ["cross-validate", "--data", "data", "--out", "parts", "--collect"];
    refused(path, &collect, &["2 of 2 folds are not done: 0, 1", "--only"]);
    succeed(path, &only("1"));
    refused(path, &collect, &["1 of 2 folds are not done: 0;"]);
    succeed(path, &only("0"));
    // A fold from elsewhere, with another configuration, is no part of it.
    let config = parts.join("fold_0/config.toml");
    let whole_text = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, whole_text.replacen("batch = ", "batch = 1", 1)).expect("written");
    refused(path, &collect, &["fold_0: was trained with training.batch"]);
    fs::write(&config, whole_text).expect("written");
    succeed(path, &collect);
    let found = results(&parts);
    assert!(whole.keys().eq(found.keys()), "{:?}\n{:?}", whole.keys(), found.keys());
    let different: Vec<&PathBuf> = whole.keys().filter(|name| whole[*name] != found[*name]).collect();
    assert!(different.is_empty(), "{different:?}");
    assert!(!parts.join("cache").exists());
    ensembles_do_as_they_say(path);
}

/// The ensemble of a cross-validation is its networks, whose mean is that of several `--model`.
fn ensembles_do_as_they_say(path: &Path) {
    let segment = |models: &[&str], output: &str, extra: &[&str]| {
        let models: Vec<&str> = models.iter().flat_map(|model| ["--model", model]).collect();
        let files = ["--input", "data/images", "--output", output];
        succeed(path, &[&["segment"], &models[..], &files, extra].concat());
        let file = |name: &str| fs::read(path.join(output).join(name)).expect("a file");
        [file("phantom_000.nii.gz"), file("phantom_001.nii.gz")]
    };
    let edited = |change: &dyn Fn(&mut Value)| {
        let file = path.join("parts/ensemble/ensemble.json");
        let mut stored: Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
        change(&mut stored);
        fs::write(&file, stored.to_string()).expect("written");
    };
    let members = ["parts/ensemble/fold_0.safetensors", "parts/ensemble/fold_1.safetensors"];
    edited(&|stored| {
        stored["mirroring"] = true.into();
        stored["repairs"][0]["largest_component"] = true.into();
        stored["repairs"][0]["fill_holes"] = false.into();
        stored["repairs"][0]["smallest"] = Value::Null;
    });
    let by_hand = segment(&members, "by_hand", &["--tta", "--largest-component"]);
    assert_eq!(segment(&["parts/ensemble"], "stored", &[]), by_hand);
    let plain = segment(&members, "plain", &[]);
    assert_eq!(segment(&["parts/ensemble"], "off", &["--no-tta", "--no-repairs"]), plain);
    assert_ne!(plain, by_hand);
    let input = ["--input", "data/images", "--output", "refused"];
    edited(&|stored| stored["repairs"][0]["of"] = "liver".into());
    refused(
        path,
        &[&["segment", "--model", "parts/ensemble"], &input[..]].concat(),
        &["ensemble.json", "repairs", "liver"],
    );
    edited(&|stored| stored["members"][0] = "../fold_0/model_last.safetensors".into());
    refused(path, &[&["segment", "--model", "parts/ensemble"], &input[..]].concat(), &["members", "this folder"]);
    refused(path, &["info", "whole/ensemble"], &["an ensemble of 2 models"]);
}

const EXTENTS: [usize; 3] = [24, 20, 16];

/// Balls with these centres and a radius of 3 voxels.
fn balls(centres: &[[usize; 3]]) -> LabelMap {
    let grid = Grid::axis_aligned(EXTENTS, [2.0, 2.0, 2.5]);
    let [nx, ny, _] = EXTENTS;
    let inside = |voxel: usize| {
        let at = [voxel % nx, voxel / nx % ny, voxel / (nx * ny)];
        let squared = |centre: &[usize; 3]| (0..3).map(|axis| at[axis].abs_diff(centre[axis]).pow(2)).sum::<usize>();
        centres.iter().any(|centre| squared(centre) <= 9)
    };
    let voxels = (0..grid.voxel_count()).map(|voxel| u16::from(inside(voxel))).collect();
    LabelMap { grid, voxels }
}

fn write_case(folder: &Path, name: &str, label: &LabelMap) {
    let voxels =
        label.voxels.iter().enumerate().map(|(v, class)| f32::from(*class) * 300.0 + ((v * 7919) % 101) as f32);
    let volume = Volume { grid: label.grid.clone(), voxels: voxels.collect() };
    let header = Header::for_grid(&label.grid);
    for part in ["images", "labels"] {
        fs::create_dir_all(folder.join("data").join(part)).expect("created");
    }
    write_volume_as(&folder.join("data/images").join(name), &volume, Scalar::Int16, &header).expect("written");
    write_label_map(&folder.join("data/labels").join(name), label, &header).expect("written");
}

/// Trains for a moment on balls, puts predictions in the place of the network's, and collects again: the choices then follow
/// from these alone.
fn chosen_for(organs: &[[usize; 3]], prediction: impl Fn(usize, &mut LabelMap)) -> (Value, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let names: Vec<String> = (0..4).map(|case| format!("case_{case}.nii.gz")).collect();
    let moved = |case: usize| -> Vec<[usize; 3]> { organs.iter().map(|&[x, y, z]| [x + case % 2, y, z]).collect() };
    for (case, name) in names.iter().enumerate() {
        write_case(folder.path(), name, &balls(&moved(case)));
    }
    succeed(folder.path(), &arguments("cv", &["--set", "training.checkpoint_every=0", "--set", "training.steps=1"]));
    let mut replaced = 0;
    for fold in 0..2 {
        for (case, name) in names.iter().enumerate() {
            for kind in ["plain", "mirrored"] {
                let file = folder.path().join(format!("cv/fold_{fold}/validation/{kind}/{name}"));
                if file.exists() {
                    let mut map = balls(&moved(case));
                    prediction(case, &mut map);
                    write_label_map(&file, &map, &read_header(&file).expect("a header")).expect("written");
                    replaced += 1;
                }
            }
        }
    }
    assert_eq!(replaced, 8);
    succeed(folder.path(), &["cross-validate", "--data", "data", "--out", "cv", "--collect"]);
    let text = fs::read(folder.path().join("cv/evaluation/choices.json")).expect("choices");
    (serde_json::from_slice(&text).expect("JSON"), folder)
}

/// Sets single voxels.
fn crumbs(map: &mut LabelMap, at: &[[usize; 3]]) {
    for [x, y, z] in at {
        map.voxels[(z * EXTENTS[1] + y) * EXTENTS[0] + x] = 1;
    }
}

fn crumbs_and_organs() {
    let few = |_: usize, map: &mut LabelMap| crumbs(map, &[[1, 1, 1], [2, 18, 14], [21, 2, 13]]);
    let repair = |choices: &Value| choices["chosen"]["repairs"][0].clone();
    let (one, folder) = chosen_for(&[[9, 10, 8]], few);
    assert_eq!(repair(&one)["largest_component"], true, "{one}");
    assert_eq!(one["chosen"]["mirroring"], false, "it gained nothing: {one}");
    // The crumbs are gone and the whole organ is there, in the predictions and in the scores.
    let final_map = read_label_map(&folder.path().join("cv/predictions/case_1.nii.gz")).expect("a map");
    assert_eq!(final_map.voxels, balls(&[[10, 10, 8]]).voxels);
    assert_eq!(one["fold_dice"], serde_json::json!([1.0, 1.0]));
    let stored = fs::read(folder.path().join("cv/ensemble/ensemble.json")).expect("an ensemble");
    let stored: Value = serde_json::from_slice(&stored).expect("JSON");
    assert_eq!(stored["repairs"][0]["largest_component"], true);

    let (two, folder) = chosen_for(&[[5, 10, 8], [17, 10, 8]], few);
    let trials = two["repairs"].as_array().expect("trials");
    let largest = trials.iter().find(|trial| trial["change"].as_str().is_some_and(|text| text.starts_with("largest")));
    let largest = largest.expect("it was tried");
    assert_eq!((&largest["accepted"], repair(&two)["largest_component"].as_bool()), (&Value::Bool(false), Some(false)));
    assert!(largest["reason"].as_str().is_some_and(|reason| reason.contains("falls")), "{largest}");
    // Crumbs of one voxel, 10 mm3, go by their size; both organs stay.
    assert!(repair(&two)["smallest"]["mm3"].as_f64().is_some_and(|size| size > 10.0), "{two}");
    let final_map = read_label_map(&folder.path().join("cv/predictions/case_0.nii.gz")).expect("a map");
    assert_eq!(final_map.voxels, balls(&[[5, 10, 8], [17, 10, 8]]).voxels);

    // Perfect predictions are left alone.
    let (none, _folder) = chosen_for(&[[9, 10, 8]], |_, _| ());
    assert_eq!(repair(&none), serde_json::json!({"largest_component": false, "smallest": null, "fill_holes": false}));
}

fn two_processes_do_not_work_on_one_fold() {
    let folder = tempfile::tempdir().expect("a folder");
    phantoms(folder.path(), 4);
    let endless = arguments("cv", &["--only", "0", "--set", "training.steps=1000000"]);
    let checkpoint = folder.path().join("cv/fold_0/checkpoint/step_0000002.safetensors");
    killed_at(folder.path(), &endless, &checkpoint, || {
        refused(folder.path(), &endless, &["fold_0: another process", "works on this fold", "wait for it"]);
    });
}

/// Before any device is opened: options, data and folds of another cross-validation, and a folder of another kind.
fn what_belongs_to_another_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    phantoms(path, 4);
    let run = |out, extra: &[&'static str], words: &[&str]| refused(path, &arguments(out, extra), words);
    refused(path, &["cross-validate", "--data", "nowhere", "--out", "cv"], &["nowhere"]);
    assert!(!path.join("cv").exists());
    run("cv", &["--collect"], &["2 of 2 folds are not done"]);
    run("cv", &["--only", "2"], &["--only 2: expected a fold from 0 to 1"]);
    run("cv", &["--collect", "--seed", "7"], &["cv: belongs to another", "seed is", "and 7 here", "--out"]);
    run("cv", &["--collect", "--set", "training.batch=3"], &["training.batch is"]);
    let of_others = ["cross-validate", "--data", "data", "--out", "cv", "--collect", "--folds", "3"];
    refused(path, &of_others, &["2 folds instead of 3"]);
    fs::create_dir(path.join("run")).expect("created");
    fs::write(path.join("run/config.toml"), "").expect("written");
    run("run", &["--collect"], &["run: holds a run already"]);
    fs::remove_file(path.join("data/images/phantom_003.nii.gz")).expect("removed");
    fs::remove_file(path.join("data/labels/phantom_003.nii.gz")).expect("removed");
    run("cv", &["--collect"], &["its data set of 4 cases is not that of --data, which has 3"]);
    let few = ["cross-validate", "--data", "data", "--out", "few", "--preset", "tiny", "--folds", "5"];
    refused(path, &few, &["fold", "3"]);
    fs::write(path.join("cv/cross_validation.json"), "{}").expect("written");
    run("cv", &["--collect"], &["cross_validation.json", "missing field"]);
}
