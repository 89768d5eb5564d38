//! Disks that fill up, and processes killed within an operation on a file: `tools/fault_files.c`, preloaded.

use super::program::*;
use serde_json::Value;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tempfile::TempDir;

pub const TESTS: [(&str, bool, fn()); 3] = [
    ("a_disk_that_is_full_for_a_while_stops_nothing", true, full_for_a_while),
    ("a_disk_that_stays_full_loses_nothing_that_was_there", true, full_to_the_end),
    ("killed_in_the_midst_of_writing_a_run_ends_with_the_same_bits", true, killed_while_writing),
];

/// tools/fault_files.c as a library to preload.
pub static FAULTS: LazyLock<TempDir> = LazyLock::new(|| {
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
}

/// File operations of a whole run.
static OPERATIONS: LazyLock<u64> = LazyLock::new(|| {
    let counted = Faulty::new();
    succeed(&mut counted.command(("FAULT_KILL_AT", "0")));
    assert_same_run(&counted.run, &whole(), STEPS);
    let record = fs::read_to_string(&counted.record).expect("a record");
    record.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
});

fn unwritten(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let events = text.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
    events.filter(|e| e["event"] == "unwritten").collect()
}

fn full_for_a_while() {
    let faulty = Faulty::new();
    // From the second quarter to the third; an operation that fails is one too.
    let range = format!("{}-{}", *OPERATIONS / 4, *OPERATIONS * 5 / 8);
    let output = succeed(&mut faulty.command(("FAULT_FULL", &range)));
    let message = text(&output.stderr);
    assert!(message.contains("No space left on device") && message.contains("goes on"), "{message}");
    assert!(!unwritten(&faulty.run).is_empty(), "{message}");
    assert_same_run(&faulty.run, &whole(), STEPS);
}

fn full_to_the_end() {
    let faulty = Faulty::new();
    let range = format!("{}-{}", *OPERATIONS / 2, u32::MAX);
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
    // Operations on checkpoints alone, about 16 for each: two processes die in that of step 0, which is before there is a
    // run, the others in their second or third, or between them.
    let moments = [5, 14, 24, 38, 15, 19];
    let checkpoints = format!("{}/checkpoint/", faulty.run.display());
    for at in moments {
        let mut command = faulty.command(("FAULT_KILL_AT", &at.to_string()));
        let output = command.env("FAULT_FOLDER", &checkpoints).output().expect("the program starts");
        assert_eq!(output.status.signal(), Some(9), "operation {at}: {}", text(&output.stderr));
    }
    let record = fs::read_to_string(&faulty.record).expect("a record");
    assert_eq!(record.matches(&checkpoints).count(), moments.len(), "{record}");
    assert!(record.lines().filter(|l| l.starts_with("write")).count() >= 3, "{record}");
    succeed(&mut faulty.command(("FAULT_KILL_AT", "0")));
    assert_same_run(&faulty.run, &whole(), STEPS);
}
