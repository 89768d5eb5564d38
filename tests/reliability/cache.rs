//! The cache of prepared volumes on disk: whatever happens to it, the weights are those of a run without one.

use super::program::*;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const TESTS: [(&str, bool, fn()); 3] = [
    ("wherever_volumes_are_kept_the_weights_are_the_same", true, wherever_volumes_are_kept),
    ("two_runs_share_a_cache_at_the_same_time", true, two_runs_at_the_same_time),
    ("the_cache_of_a_run_goes_with_its_end_and_not_before", true, gone_with_the_end),
];
#[cfg(target_os = "linux")]
pub const FAULTY: [(&str, bool, fn()); 2] = [
    ("killed_while_it_writes_the_cache_a_run_ends_with_the_same_bits", true, killed_while_writing),
    ("a_full_disk_costs_the_cache_and_nothing_else", true, full),
];

/// A training of [`STEPS`] steps that keeps nothing in memory.
fn without_memory(run: &Path, more: &[&str]) -> Command {
    let mut command = start(&data(), run, STEPS);
    ["data.cache=0B"].iter().chain(more).for_each(|key| {
        command.args(["--set", key]);
    });
    command
}

/// The weights, the best model and the log are those of the run that nothing happened to.
fn assert_same_weights(run: &Path) {
    for file in ["model.safetensors", "model_last.safetensors", "curves.svg"] {
        assert!(fs::read(run.join(file)).expect("read") == fs::read(whole().join(file)).expect("read"), "{file}");
    }
    assert_eq!(log(run), log(&whole()));
}

/// The last `cache` event.
fn in_cache(run: &Path) -> Option<Value> {
    let text = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let mut events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    events.rfind(|event| event["event"] == "cache")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    assert!(files.iter().all(|file| file.extension().is_some_and(|e| e != "part")), "{files:?}");
    files
}

fn shared(folder: &Path) -> String {
    format!("data.cache_dir={}", folder.display())
}

fn wherever_volumes_are_kept() {
    let folder = fresh();
    let run = |name: &str| folder.path().join(name);
    assert_eq!(in_cache(&whole()), None, "memory has room");
    succeed(&mut without_memory(&run("nowhere"), &["data.cache_dir=none"]));
    assert_same_weights(&run("nowhere"));
    assert_eq!(in_cache(&run("nowhere")), None);
    let cache = folder.path().join("shared/cache");
    let one = [shared(&cache)];
    let one: Vec<&str> = one.iter().map(String::as_str).collect();
    succeed(&mut without_memory(&run("first"), &one));
    assert_same_weights(&run("first"));
    let made = in_cache(&run("first")).expect("it was used");
    // Four cases train and one validates, with its label on the grid of the file.
    assert_eq!((made["entries"].as_u64(), made["made"].as_u64()), (Some(6), Some(6)), "{made}");
    let files = entries(&cache);
    assert_eq!(files.len(), 6);
    // Two entries are damaged, one is cut short, one is of another kind.
    let prepared = files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "prepared"));
    for (file, damage) in prepared.zip([1, 2, 3, 4]) {
        let mut bytes = fs::read(file).expect("read");
        let middle = bytes.len() / 2;
        match damage {
            1 | 2 => bytes[middle] ^= damage,
            3 => bytes.truncate(middle),
            _ => bytes = b"something else".to_vec(),
        }
        fs::write(file, bytes).expect("written");
    }
    let output = succeed(&mut without_memory(&run("again"), &one));
    assert_same_weights(&run("again"));
    let again = in_cache(&run("again")).expect("it was used");
    assert_eq!(again["entries"].as_u64(), Some(6), "{again}");
    let notes = text(&output.stderr).lines().filter(|line| line.contains("made anew")).count();
    assert_eq!(notes, 4, "{}", text(&output.stderr));
    // A folder that cannot be.
    let file = folder.path().join("file");
    fs::write(&file, "no folder").expect("written");
    let output = succeed(&mut without_memory(&run("refused"), &[&shared(&file.join("cache"))]));
    assert_eq!(text(&output.stderr).matches("cannot keep prepared volumes").count(), 1, "{}", text(&output.stderr));
    assert_same_weights(&run("refused"));
}

fn two_runs_at_the_same_time() {
    let folder = fresh();
    let cache = folder.path().join("cache");
    let runs = ["one", "two"].map(|name| folder.path().join(name));
    let children = runs.each_ref().map(|run| spawn(&mut without_memory(run, &[&shared(&cache)])));
    for child in children {
        let output = child.wait_with_output().expect("an end");
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("anew"), "{}", text(&output.stderr));
    }
    runs.iter().for_each(|run| assert_same_weights(run));
    assert_eq!(entries(&cache).len(), 6);
}

fn gone_with_the_end() {
    let folder = fresh();
    let run = folder.path().join("run");
    let mut child = spawn(&mut without_memory(&run, &[]));
    wait_for_steps(&run, 8);
    child.kill().expect("SIGKILL");
    child.wait().expect("an end");
    assert!(!entries(&run.join("cache")).is_empty(), "it is kept for --resume");
    succeed(&mut resume(&run));
    assert!(!run.join("cache").exists());
    assert_same_weights(&run);
}

#[cfg(target_os = "linux")]
fn faulty(run: &Path, fault: (&str, &str)) -> Command {
    let begun = run.join("config.toml").exists();
    let mut command = if begun { resume(run) } else { without_memory(run, &[]) };
    command.env("LD_PRELOAD", super::disk::FAULTS.path().join("faults.so"));
    command.env("FAULT_FOLDER", format!("{}/cache/", run.display())).env("FAULT_CHUNK", "16384").env(fault.0, fault.1);
    command
}

#[cfg(target_os = "linux")]
fn killed_while_writing() {
    use std::os::unix::process::ExitStatusExt;
    let folder = fresh();
    let run = folder.path().canonicalize().expect("a folder").join("run");
    // An entry of 32 x 28 x 16 voxels has a few operations for its header and six or more for its voxels.
    for at in [1, 4, 7, 12] {
        let output = faulty(&run, ("FAULT_KILL_AT", &at.to_string())).output().expect("the program starts");
        assert_eq!(output.status.signal(), Some(9), "operation {at}: {}", text(&output.stderr));
    }
    succeed(&mut faulty(&run, ("FAULT_KILL_AT", "0")));
    assert!(!run.join("cache").exists(), "with what the killed ones left");
    assert_same_weights(&run);
}

#[cfg(target_os = "linux")]
fn full() {
    let folder = fresh();
    let run = folder.path().canonicalize().expect("a folder").join("run");
    let output = succeed(&mut faulty(&run, ("FAULT_FULL", "9-1000000")));
    let message = text(&output.stderr);
    assert_eq!(message.matches("cannot keep prepared volumes").count(), 1, "{message}");
    assert!(message.contains("No space left on device"), "{message}");
    assert_same_weights(&run);
}
