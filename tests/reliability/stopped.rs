//! Killed, interrupted, started twice.

use super::program::*;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

pub const TESTS: [(&str, bool, fn()); 5] = [
    ("killed_at_any_time_a_run_ends_with_the_same_bits", true, killed_at_any_time_a_run_ends_with_the_same_bits),
    ("sigterm_writes_a_checkpoint_and_leaves", true, sigterm_writes_a_checkpoint_and_leaves),
    ("ctrl_c_writes_a_checkpoint_and_leaves", true, ctrl_c_writes_a_checkpoint_and_leaves),
    ("a_second_signal_ends_the_program_at_once", true, a_second_signal_ends_the_program_at_once),
    ("a_run_folder_takes_one_process", true, a_run_folder_takes_one_process),
];

/// More steps than anybody waits for.
const ENDLESS: u64 = 1_000_000;

/// `tools/fault_kill.py` in short.
fn killed_at_any_time_a_run_ends_with_the_same_bits() {
    let folder = fresh();
    let run = folder.path().join("run");
    // Times from the middle of the start to the last steps, as they come on this machine.
    for steps in [0, 1, 6, 13, 20] {
        let begun = run.join("config.toml").exists();
        let mut command = if begun { resume(&run) } else { start(&data(), &run, STEPS) };
        let mut child = spawn(&mut command);
        if steps == 0 {
            std::thread::sleep(Duration::from_millis(150));
        } else {
            wait_for_steps(&run, steps);
        }
        child.kill().expect("SIGKILL");
        let output = child.wait_with_output().expect("an end");
        assert!(output.status.signal() == Some(9) || output.status.success(), "{}", text(&output.stderr));
    }
    succeed(&mut resume(&run));
    assert_same_run(&run, &whole(), STEPS);
}

fn stop_and_go_on(name: &str, status: i32, words: &str) {
    let folder = fresh();
    let [run, expected] = ["run", "expected"].map(|name| folder.path().join(name));
    let child = spawn(&mut start(&data(), &run, ENDLESS));
    wait_for_steps(&run, 7);
    signal(&child, name);
    let output = child.wait_with_output().expect("an end");
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{message}");
    assert!(message.contains(words) && message.contains("--resume") && !message.contains("error"), "{message}");
    let step: u64 =
        message.split("after step ").nth(1).and_then(|t| t.split(';').next()?.parse().ok()).expect("a step");
    assert!(checkpoint(&run, step).exists(), "{message}");
    let last = step + 3;
    succeed(resume(&run).args(["--steps", &last.to_string()]));
    succeed(&mut start(&data(), &expected, last));
    assert_same_run(&run, &expected, last);
}

fn sigterm_writes_a_checkpoint_and_leaves() {
    stop_and_go_on("TERM", 143, "stopped by SIGTERM");
}

fn ctrl_c_writes_a_checkpoint_and_leaves() {
    stop_and_go_on("INT", 130, "stopped by Ctrl-C");
}

fn a_second_signal_ends_the_program_at_once() {
    let folder = fresh();
    let run = folder.path().join("run");
    let child = spawn(start(&data(), &run, ENDLESS).args(["--set", "training.checkpoint_every=0"]));
    wait_for_steps(&run, 3);
    // While it is stopped both arrive, so there is no time for a checkpoint between them.
    ["STOP", "INT", "TERM", "CONT"].iter().for_each(|name| signal(&child, name));
    let output = child.wait_with_output().expect("an end");
    let message = text(&output.stderr);
    assert!(matches!(output.status.code(), Some(130 | 143)), "{:?}: {message}", output.status);
    assert!(!message.contains("--resume"), "{message}");
    let checkpoints: Vec<_> = std::fs::read_dir(run.join("checkpoint")).expect("a folder").collect();
    assert_eq!(checkpoints.len(), 1, "only that of the start: {checkpoints:?}");
}

fn a_run_folder_takes_one_process() {
    let folder = fresh();
    let run = folder.path().join("run");
    let mut first = spawn(&mut start(&data(), &run, ENDLESS));
    wait_for_steps(&run, 3);
    let second = resume(&run).output().expect("the program starts");
    let message = text(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{message}");
    assert!(message.contains(&format!("another process (process {}) trains here", first.id())), "{message}");
    let before = log(&run).len();
    wait_for_steps(&run, before + 2);
    first.kill().expect("SIGKILL");
    first.wait().expect("an end");
    assert!(run.join("run.lock").exists(), "the file stays behind");
    succeed(resume(&run).args(["--steps", "4"]));
}
