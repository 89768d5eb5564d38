//! Damaged checkpoints and disks that fill up.

use super::program::*;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tempfile::TempDir;

pub const TESTS: [(&str, bool, fn()); 5] = [
    ("a_damaged_checkpoint_is_told_of_and_the_one_before_is_used", true, damaged_checkpoint),
    ("a_disk_that_is_full_for_a_while_stops_nothing", true, full_for_a_while),
    ("a_disk_that_stays_full_loses_nothing_that_was_there", true, full_to_the_end),
    ("killed_in_the_midst_of_writing_a_run_ends_with_the_same_bits", true, killed_while_writing),
    ("the_fingerprint_of_the_weights_is_told_everywhere", true, fingerprints),
];

fn copy_run(from: &Path, to: &Path) {
    for folder in ["checkpoint", "overlays"] {
        fs::create_dir_all(to.join(folder)).expect("created");
        for entry in fs::read_dir(from.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            fs::copy(&path, to.join(folder).join(path.file_name().expect("a name"))).expect("copied");
        }
    }
    for file in ["config.toml", "split.json", "log.jsonl", "model.safetensors"] {
        fs::copy(from.join(file), to.join(file)).expect("copied");
    }
}

fn damaged_checkpoint() {
    let folder = fresh();
    let run = folder.path().join("run");
    copy_run(&whole(), &run);
    let newest = checkpoint(&run, STEPS);
    let mut bytes = fs::read(&newest).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&newest, bytes).expect("written");
    let message = text(&succeed(&mut resume(&run)).stderr);
    for word in ["step_0000024.safetensors", "is damaged", "going on from the one before, step 20"] {
        assert!(message.contains(word), "{word:?} is not in {message}");
    }
    assert!(run.join("checkpoint/step_0000024.safetensors.damaged").exists());
    assert_same_run(&run, &whole(), STEPS);
    // With none that is whole there is nothing to go on from.
    for step in [20, STEPS] {
        fs::write(checkpoint(&run, step), "x").expect("written");
    }
    let output = resume(&run).output().expect("the program starts");
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("no checkpoint can be used") && message.contains("step_0000020"), "{message}");
}

/// tools/fault_files.c as a library to preload.
static FAULTS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = fresh();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/fault_files.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.path().join("faults.so")).arg(source).arg("-ldl");
    assert!(compiler.status().expect("cc").success());
    folder
});

struct Faulty {
    folder: TempDir,
    run: PathBuf,
    record: PathBuf,
}

impl Faulty {
    fn new() -> Self {
        let folder = fresh();
        let root = folder.path().canonicalize().expect("a folder");
        Self { run: root.join("run"), record: root.join("record"), folder }
    }

    fn command(&self, fault: (&str, &str)) -> Command {
        let begun = self.run.join("config.toml").exists();
        let mut command = if begun { resume(&self.run) } else { start(&data(), &self.run, STEPS) };
        command
            .env("LD_PRELOAD", FAULTS.path().join("faults.so"))
            .env("FAULT_FOLDER", format!("{}/", self.run.display()))
            .env("FAULT_RECORD", &self.record)
            .env("FAULT_CHUNK", "16384")
            .env(fault.0, fault.1);
        command
    }

    /// File operations of a whole run.
    fn operations() -> u64 {
        let counted = Self::new();
        succeed(&mut counted.command(("FAULT_KILL_AT", "0")));
        assert_same_run(&counted.run, &whole(), STEPS);
        let record = fs::read_to_string(&counted.record).expect("a record");
        record.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    }
}

fn unwritten(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let events = text.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
    events.filter(|e| e["event"] == "unwritten").collect()
}

fn full_for_a_while() {
    let faulty = Faulty::new();
    let operations = Faulty::operations();
    // From the second quarter to the third; an operation that fails is one too.
    let range = format!("{}-{}", operations / 4, operations * 5 / 8);
    let output = succeed(&mut faulty.command(("FAULT_FULL", &range)));
    let message = text(&output.stderr);
    assert!(message.contains("No space left on device") && message.contains("goes on"), "{message}");
    assert!(!unwritten(&faulty.run).is_empty(), "{message}");
    assert_same_run(&faulty.run, &whole(), STEPS);
}

fn full_to_the_end() {
    let faulty = Faulty::new();
    let operations = Faulty::operations();
    let range = format!("{}-{}", operations / 2, u32::MAX);
    let output = faulty.command(("FAULT_FULL", &range)).output().expect("the program starts");
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    let error = message.lines().last().unwrap_or_default();
    assert!(error.starts_with("error: ") && error.contains("No space left on device"), "{message}");
    assert!(error.contains(&faulty.run.display().to_string()), "{message}");
    succeed(&mut resume(&faulty.run));
    assert_same_run(&faulty.run, &whole(), STEPS);
    // From the first operation on there is no run, and it can be started again.
    let other = Faulty::new();
    let output = other.command(("FAULT_FULL", "1-1000000")).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    succeed(&mut start(&data(), &other.run, 1));
    drop((faulty.folder, other.folder));
}

fn killed_while_writing() {
    let faulty = Faulty::new();
    let mut places = Vec::new();
    // Operations of each process: that of the first is behind step 0's checkpoint or in it.
    for at in [4, 25, 61, 40, 97, 75] {
        let output = faulty.command(("FAULT_KILL_AT", &at.to_string())).output().expect("the program starts");
        if output.status.success() {
            break;
        }
        let record = fs::read_to_string(&faulty.record).unwrap_or_default();
        places.push(record.lines().last().unwrap_or_default().to_owned());
    }
    assert!(
        places.len() >= 3 && places.iter().any(|p| p.starts_with("write") && p.contains("/checkpoint/")),
        "{places:?}"
    );
    succeed(&mut faulty.command(("FAULT_KILL_AT", "0")));
    assert_same_run(&faulty.run, &whole(), STEPS);
}

fn fingerprints() {
    let event = log(&whole()).pop().expect("an event");
    assert_eq!((&event["event"], &event["step"]), (&"finished".into(), &STEPS.into()));
    let hexadecimal = |v: &Value| v.as_str().is_some_and(|t| t.len() == 64 && t.chars().all(|c| c.is_ascii_hexdigit()));
    assert!(hexadecimal(&event["weights"]) && hexadecimal(&event["model"]), "{event}");
    let output = succeed(program().arg("info").arg("--json").arg(whole()));
    let info: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(info["fingerprint"], event["model"]);
    assert_eq!((&info["checkpoint"]["fingerprint"], &info["checkpoint"]["step"]), (&event["weights"], &STEPS.into()));
    let shown = text(&succeed(program().arg("info").arg(whole())).stdout);
    let model = text(&succeed(program().arg("info").arg(whole().join("model.safetensors"))).stdout);
    assert!(model.contains(event["model"].as_str().expect("text")), "{model}");
    for key in ["weights", "model"] {
        assert!(shown.contains(event[key].as_str().expect("text")), "{key}: {shown}");
    }
    // Another seed, other weights.
    let folder = fresh();
    let run = folder.path().join("run");
    let printed = text(&succeed(start(&data(), &run, 2).args(["--seed", "1"])).stdout);
    let other = log(&run).pop().expect("an event");
    assert_ne!(other["weights"], event["weights"]);
    assert!(printed.contains(other["weights"].as_str().expect("text")), "{printed}");
}
