//! Starting the program, watching its log, and a run that nothing happened to.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};

/// A small training whose steps take milliseconds.
pub const KEYS: [&str; 7] = [
    "training.validate_every=5",
    "training.checkpoint_every=4",
    "network.encoder=[1,1]",
    "network.decoder=[1]",
    "data.patch=[16,16,16]",
    "schedule.kind=constant",
    "training.loader_threads=2",
];
pub const STEPS: u64 = 24;

/// A folder of six cases.
pub static DATA: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    phantoms(&folder.path().join("data"));
    folder
});

pub fn phantoms(folder: &Path) {
    let settings = PhantomSettings { cases: 6, seed: 4, extents: [32, 28, 16], spacing: [4.0, 4.5, 4.5] };
    write_dataset(folder, &settings, |_| ()).expect("written");
}

pub fn data() -> PathBuf {
    DATA.path().join("data")
}

pub fn fresh() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vnet-engine"))
}

/// A training from its start.
pub fn start(data: &Path, run: &Path, steps: u64) -> Command {
    let mut command = program();
    command.arg("train").arg("--data").arg(data).arg("--out").arg(run);
    command.args(["--preset", "tiny", "--steps", &steps.to_string()]);
    KEYS.iter().for_each(|key| {
        command.args(["--set", key]);
    });
    command
}

pub fn resume(run: &Path) -> Command {
    let mut command = program();
    command.arg("train").arg("--data").arg(data()).arg("--out").arg(run).arg("--resume");
    command
}

/// A run of [`STEPS`] steps that nothing happened to.
pub static WHOLE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = fresh();
    succeed(&mut start(&data(), &folder.path().join("run"), STEPS));
    folder
});

pub fn whole() -> PathBuf {
    WHOLE.path().join("run")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{command:?}: {}", text(&output.stderr));
    output
}

/// More steps than anybody waits for.
pub const ENDLESS: u64 = 1_000_000;

#[cfg(unix)]
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().expect("kill");
    assert!(status.success());
}

/// Starts a command in the background.
pub fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

/// Waits until the run's log holds `count` steps.
pub fn wait_for_steps(run: &Path, count: usize) {
    wait_for(run, "step", count);
}

/// Waits until the run's log holds `count` of these events.
pub fn wait_for(run: &Path, event: &str, count: usize) {
    let (patience, event) = (Instant::now(), format!("\"event\":\"{event}\""));
    let seen = || fs::read_to_string(run.join("log.jsonl")).unwrap_or_default().matches(&event).count();
    while seen() < count {
        assert!(patience.elapsed() < Duration::from_secs(600), "no {count} of {event} in {}", run.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The step after which a signal stopped a training, by its message.
pub fn stopped_after(message: &str) -> u64 {
    let step = message.split("after step ").nth(1).and_then(|rest| rest.split(';').next()?.parse().ok());
    step.unwrap_or_else(|| panic!("no step in {message}"))
}

/// The log apart from times, starts, waits for the loader, the cache and files that could not be written.
pub fn log(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("log.jsonl")).expect("a log");
    let mut events: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    events.retain(|e| !["start", "unwritten", "loader", "cache"].iter().any(|name| e["event"] == *name));
    events.iter_mut().for_each(|e| {
        assert!(e.as_object_mut().expect("an object").remove("time").is_some_and(|t| t.as_f64() > Some(1e9)));
    });
    events
}

pub fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoint/step_{step:07}.safetensors"))
}

/// Weights, moments, step, best score, model, scores, curves and log of two runs, bit by bit.
pub fn assert_same_run(found: &Path, expected: &Path, steps: u64) {
    let last = checkpoint(Path::new(""), steps);
    let files = ["model.safetensors", "split.json", "config.toml", "curves.png", "curves.svg", "test/scores.csv"]
        .map(Path::new);
    for file in files.into_iter().chain([last.as_path()]) {
        let read =
            |run: &Path| fs::read(run.join(file)).unwrap_or_else(|e| panic!("{}: {e}", run.join(file).display()));
        assert!(read(found) == read(expected), "{} differs", file.display());
    }
    assert_eq!(log(found), log(expected));
    for folder in [found.to_owned(), found.join("checkpoint")] {
        let left = fs::read_dir(&folder).expect("a folder").filter_map(Result::ok);
        let left: Vec<_> = left.map(|e| e.file_name()).filter(|n| n.to_string_lossy().ends_with(".part")).collect();
        assert!(left.is_empty(), "{left:?} in {}", folder.display());
    }
}
