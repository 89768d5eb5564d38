//! Folders of volumes: what can be known is checked before anything is computed, a broken volume ends no other.

use super::model_of;
use crate::support::program::{program, refused};
use std::fs;
use std::path::Path;
use vnet_engine::data::io::{Header, Scalar, write_volume_as};
use vnet_engine::data::{Grid, Normalisation, Preparation, Volume};
use vnet_engine::infer::Preprocessing;

/// A folder with a model and `in` with these volumes.
pub fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let preparation = Preparation { patch: [8, 8, 8], ..Preparation::native(Normalisation::ZScoreAll) };
    let preprocessing = serde_json::to_value(Preprocessing::new(&preparation, Vec::new())).expect("JSON");
    let mut model = model_of(4, 3, 0.0);
    model.preprocessing = Some(preprocessing);
    model.write(&folder.path().join("m.safetensors")).expect("written");
    fs::create_dir(folder.path().join("in")).expect("a folder");
    names.iter().for_each(|name| volume(folder.path(), name));
    folder
}

pub fn volume(folder: &Path, name: &str) {
    let grid = Grid::axis_aligned([9, 7, 8], [1.0; 3]);
    let voxels = (0..grid.voxel_count()).map(|v| ((v * 7919) % 1013) as f32 - 300.0).collect();
    let header = Header::for_grid(&grid);
    write_volume_as(&folder.join("in").join(name), &Volume { grid, voxels }, Scalar::Int16, &header).expect("written");
}

const SEGMENT: [&str; 7] = ["segment", "--model", "m.safetensors", "--input", "in", "--output", "out"];

fn segment(folder: &Path, extra: &[&str]) -> (Option<i32>, String, String) {
    let output = program(folder, &[&SEGMENT, extra].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

pub fn a_broken_volume_ends_no_other_and_what_is_missing_can_be_made_up_for() {
    let folder = folder(&["a.nii.gz", "b.nii.gz", "c.nii.gz", "d.nii.gz"]);
    let at = |name: &str| folder.path().join(name);
    let whole = fs::read(at("in/b.nii.gz")).expect("a file");
    fs::write(at("in/b.nii.gz"), &whole[..whole.len() * 2 / 3]).expect("written");
    fs::write(at("in/d.nii.gz"), "no header").expect("written");

    let (status, stdout, stderr) = segment(folder.path(), &["--json"]);
    assert_eq!(status, Some(1), "{stderr}");
    let end = stderr.split("error: ").nth(1).expect("an error");
    assert!(end.starts_with("2 of 4 volumes failed\n"), "{stderr}");
    assert_eq!(end.trim().lines().count(), 3, "{stderr}");
    assert!(end.contains("b.nii.gz") && end.contains("d.nii.gz"), "{stderr}");
    let document: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    let names = |key: &str| -> Vec<String> {
        let list = document[key].as_array().expect("a list").iter();
        list.map(|entry| entry["input"].as_str().expect("a path").to_owned()).collect()
    };
    let input = |name: &str| Path::new("in").join(name).display().to_string();
    assert_eq!(names("volumes"), [input("a.nii.gz"), input("c.nii.gz")]);
    assert_eq!(names("failures"), [input("d.nii.gz"), input("b.nii.gz")], "by header, by voxels");

    volume(folder.path(), "d.nii.gz");
    fs::write(at("in/b.nii.gz"), whole).expect("mended");
    let before = fs::metadata(at("out/a.nii.gz")).and_then(|file| file.modified()).expect("a time");
    let (status, _, stderr) = segment(folder.path(), &[]);
    assert_eq!(status, Some(2), "{stderr}");
    assert!(stderr.contains("--force") && stderr.contains("--continue"), "{stderr}");
    assert!(!at("out/b.nii.gz").exists());
    let (status, stdout, stderr) = segment(folder.path(), &["--continue"]);
    assert_eq!(status, Some(0), "{stderr}");
    let out = |name: &str| format!("{}\n", Path::new("out").join(name).display());
    assert_eq!(stdout, out("b.nii.gz") + &out("d.nii.gz"));
    assert_eq!(fs::metadata(at("out/a.nii.gz")).and_then(|file| file.modified()).expect("a time"), before);
    // With probabilities nothing is done yet but the labels.
    fs::write(at("out/a_prob1.nii.gz"), "").expect("written");
    let (status, stdout, stderr) = segment(folder.path(), &["--continue", "--probabilities"]);
    assert_eq!((status, stdout.lines().count()), (Some(0), 4), "{stderr}");
    let (status, stdout, stderr) = segment(folder.path(), &["--continue", "--probabilities"]);
    assert_eq!((status, stdout.as_str()), (Some(0), ""), "{stderr}");
}

/// Without a device: before there is one.
pub fn nothing_is_computed_that_cannot_be_written() {
    let first = folder(&["a.nii.gz", "a_prob1.nii.gz"]);
    let path = first.path();
    refused(
        path,
        &[&SEGMENT[..], &["--probabilities"]].concat(),
        &["a_prob1.nii.gz: would be written for", "a.nii.gz and for", "rename one"],
    );
    assert!(!path.join("out").exists());
    let one = |output| ["segment", "--model", "m.safetensors", "--input", "in/a.nii.gz", "--output", output];
    refused(path, &one("missing/a.nii.gz"), &["missing: there is no such folder"]);
    fs::create_dir_all(path.join("out/a.nii.gz/inside")).expect("created");
    refused(path, &[&SEGMENT[..], &["--force"]].concat(), &["a.nii.gz: is a folder"]);
    fs::write(path.join("file"), "").expect("written");
    let mut onto = SEGMENT;
    onto[6] = "file";
    refused(path, &onto, &["file: cannot write to the output folder"]);
    // An input is never an output, not even that of another volume.
    let mut itself = SEGMENT;
    itself[6] = "in";
    let before = fs::read(path.join("in/a.nii.gz")).expect("a file");
    let output = program(path, &[&itself[..], &["--force"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read(path.join("in/a.nii.gz")).expect("a file"), before);
}
