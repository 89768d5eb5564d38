//! What is odd about files reaches the person who uses them, whatever the command: once for each kind, with its files.

mod support;

use serde_json::Value;
use std::path::Path;
use support::program::program;
use vnet_engine::data::io::{read_header, read_volume, write_volume_as};
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};

const CASES: usize = 3;

/// Phantoms whose images are in micrometres; that of case 1 has no place in space, too.
fn data_set() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = PhantomSettings { cases: CASES, seed: 2, extents: [24, 20, 16], spacing: [5.0, 5.5, 4.5] };
    for case in write_dataset(&folder.path().join("data"), &settings, |_| ()).expect("written") {
        let (header, volume) =
            (read_header(case.image.first()).expect("read"), read_volume(case.image.first()).expect("read"));
        let image = folder.path().join(format!("data/images/{}.nii", case.name));
        write_volume_as(&image, &volume, header.scalar, &header).expect("written");
        std::fs::remove_file(case.image.first()).expect("removed");
        for path in [&image, &uncompressed(&case.label)] {
            let mut bytes = std::fs::read(path).expect("read");
            bytes[123] = 3;
            if case.name.ends_with('1') {
                // Both codes, in image and label.
                bytes[252..256].fill(0);
            }
            std::fs::write(path, bytes).expect("written");
        }
    }
    folder
}

/// The label map as a file whose bytes can be changed.
fn uncompressed(label: &Path) -> std::path::PathBuf {
    let map = vnet_engine::data::io::read_label_map(label).expect("read");
    let path = label.with_extension("");
    vnet_engine::data::io::write_label_map(&path, &map, &read_header(label).expect("read")).expect("written");
    std::fs::remove_file(label).expect("removed");
    path
}

/// The lines of a text that warn: one for the unit with all files, one for the place with two.
fn assert_told(lines: &[&str], what: &str) {
    assert_eq!(lines.len(), 2, "{what}: {lines:#?}");
    let unit = lines.iter().find(|line| line.contains("micrometres")).expect("the unit");
    assert!(unit.contains("phantom_000.nii") && unit.contains("in 6 files"), "{what}: {unit}");
    let place = lines.iter().find(|line| line.contains("neither sform nor qform")).expect("the place");
    assert!(place.contains("images/phantom_001.nii") && place.contains("in 2 files"), "{what}: {place}");
    assert!(!place.contains("phantom_000"), "{what}: {place}");
}

fn warnings_of(folder: &Path, arguments: &[&str]) -> (Vec<u8>, String) {
    let output = program(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}");
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_told(&lines, &format!("{arguments:?}"));
    assert!(!text.contains("anisotropic"), "what changes no result is for inspect: {text}");
    (output.stdout, text)
}

const TINY: [&str; 8] = [
    "--preset",
    "tiny",
    "--set",
    "data.patch=[16,16,8]",
    "--set",
    "network.encoder=[1,1]",
    "--set",
    "network.decoder=[1]",
];

#[test]
fn training_tells_the_warnings_of_its_data() {
    if vnet_engine::gpu::adapters().is_empty() {
        return;
    }
    let folder = data_set();
    let train = [&["train", "--data", "data", "--out", "run", "--steps", "1"], &TINY[..]].concat();
    warnings_of(folder.path(), &[&train[..], &["--dry-run"]].concat());
    assert!(!folder.path().join("run").exists());

    let (stdout, _) = warnings_of(folder.path(), &[&train[..], &["--json"]].concat());
    let summary: Value = serde_json::from_slice(&stdout).expect("one JSON document");
    let lists = |notices: &[Value]| {
        let counts: Vec<_> = notices.iter().map(|n| n["files"].as_array().expect("files").len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 8, "{notices:?}");
        assert!(notices.iter().any(|n| n["kind"].as_str().expect("a kind").contains("micrometres")), "{notices:?}");
    };
    lists(summary["warnings"].as_array().expect("warnings"));

    let log = std::fs::read_to_string(folder.path().join("run/log.jsonl")).expect("a log");
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let logged: Vec<Value> = events.into_iter().filter(|event| event["event"] == "warning").collect();
    assert!(logged.iter().all(|event| event["step"] == 0 && event["detail"].is_string()), "{logged:?}");
    lists(&logged);

    let report = std::fs::read_to_string(folder.path().join("run/report.html")).expect("a report");
    let facts: Vec<&str> = report.lines().filter(|line| line.contains("<dt>Warning</dt>")).collect();
    assert_told(&facts, "report.html");
}

#[test]
fn a_plan_and_a_preview_tell_the_warnings_of_their_data() {
    if vnet_engine::gpu::adapters().is_empty() {
        return;
    }
    let folder = data_set();
    let (stdout, _) = warnings_of(folder.path(), &["plan", "--data", "data", "--minutes", "0.1"]);
    let plan = String::from_utf8(stdout).expect("text");
    assert_eq!(plan.lines().filter(|line| line.starts_with("# warning: ")).count(), 2, "{plan}");
    let augmented = ["--set", "augmentation.enabled=true", "--samples", "1"];
    let preview = [&["augment", "--data", "data", "--out", "a.png"], &TINY[..], &augmented].concat();
    warnings_of(folder.path(), &preview);
}
