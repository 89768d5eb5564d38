//! `vnet-engine plan`, and trainings that name no configuration.

mod support;

use std::fs;
use std::path::Path;
use support::program::{program, refused};
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::train::{Config, Preset};

fn main() {
    support::run_trials(&[
        (
            "a_plan_is_a_configuration_and_the_same_but_for_the_clock",
            true,
            a_plan_is_a_configuration_and_the_same_but_for_the_clock,
        ),
        ("a_training_without_configuration_follows_a_plan", true, a_training_without_configuration_follows_a_plan),
        ("wrong_data_and_files_in_the_way_are_named", false, wrong_data_and_files_in_the_way_are_named),
    ]);
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = program(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    stderr
}

/// A folder with a data set of six cases in `data`.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = PhantomSettings { cases: 6, seed: 4, extents: [32, 28, 16], spacing: [4.0, 4.5, 4.5] };
    write_dataset(&folder.path().join("data"), &settings, |_| ()).expect("written");
    folder
}

/// The lines that do not depend on the clock.
fn timeless(text: &str) -> Vec<&str> {
    let mut dropping = false;
    let mut kept = Vec::new();
    for line in text.lines() {
        dropping |= line.starts_with("# measured");
        if !dropping {
            kept.push(line);
        }
        dropping &= line.starts_with('#');
    }
    kept
}

fn a_plan_is_a_configuration_and_the_same_but_for_the_clock() {
    let folder = data();
    let texts = ["a.toml", "b.toml"].map(|file| {
        succeed(folder.path(), &["plan", "--data", "data", "--out", file, "--minutes", "2"]);
        fs::read_to_string(folder.path().join(file)).expect("a plan")
    });
    assert_eq!(timeless(&texts[0]), timeless(&texts[1]));
    assert!(texts[0].contains("# measured: ") && texts[0].contains("# peak device memory: "), "{}", texts[0]);
    let config = Config::load(Preset::Small, Some(&folder.path().join("a.toml")), &[]).expect("a configuration");
    assert!(config.training.steps >= 300, "{}", texts[0]);
}

fn a_training_without_configuration_follows_a_plan() {
    let folder = data();
    let short = ["--steps", "1", "--set", "training.validate_every=0"];
    let train = |out: &str, extra: &[&str]| {
        let arguments = ["train", "--data", "data", "--out", out];
        succeed(folder.path(), &[&arguments[..], &short, extra].concat())
    };
    let stderr = train("planned", &[]);
    assert!(stderr.contains("configuration: planned from the data"), "{stderr}");
    let stored = folder.path().join("planned/plan.toml");
    let planned = Config::load(Preset::Small, Some(&stored), &[]).expect("a configuration");
    let used = Config::read(&folder.path().join("planned/config.toml")).expect("a configuration");
    assert_eq!((used.data, used.network), (planned.data, planned.network));
    assert!(!folder.path().join("data/plan.toml").exists(), "nothing is written to the data");
    // A plan beside the data that a person has changed is what is used.
    succeed(folder.path(), &["plan", "--data", "data", "--minutes", "1"]);
    let path = folder.path().join("data/plan.toml");
    let text = fs::read_to_string(&path).expect("a plan");
    assert!(text.contains("\nbase = 4\n"), "{text}");
    fs::write(&path, text.replace("\nbase = 4\n", "\nbase = 3\n")).expect("written");
    let stderr = train("changed", &[]);
    assert!(stderr.contains("plan.toml") && !stderr.contains("planned from the data"), "{stderr}");
    let used = Config::read(&folder.path().join("changed/config.toml")).expect("a configuration");
    assert_eq!(used.network.architecture.values.count("base"), 3);
    // A preset needs no plan.
    train("preset", &["--preset", "tiny"]);
    assert!(!folder.path().join("preset/plan.toml").exists());
    refused(folder.path(), &["train", "--data", "data", "--out", "preset"], &["preset", "holds a run already"]);
}

fn wrong_data_and_files_in_the_way_are_named() {
    let folder = data();
    refused(folder.path(), &["plan", "--data", "nowhere"], &["nowhere"]);
    fs::write(folder.path().join("data/plan.toml"), "seed = 1\n").expect("written");
    refused(folder.path(), &["plan", "--data", "data"], &["plan.toml", "--force"]);
    assert_eq!(fs::read_to_string(folder.path().join("data/plan.toml")).expect("there"), "seed = 1\n");
    for minutes in ["0", "-3", "soon", "NaN"] {
        let output = program(folder.path(), &["plan", "--data", "data", "--out", "x", &format!("--minutes={minutes}")]);
        assert_eq!(output.status.code(), Some(2), "{minutes}");
    }
}
