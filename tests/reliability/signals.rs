//! Ctrl-C and SIGTERM.

use super::program::*;

pub const TESTS: [(&str, bool, fn()); 3] = [
    ("sigterm_writes_a_checkpoint_and_leaves", true, sigterm_writes_a_checkpoint_and_leaves),
    ("ctrl_c_writes_a_checkpoint_and_leaves", true, ctrl_c_writes_a_checkpoint_and_leaves),
    ("a_second_signal_ends_the_program_at_once", true, a_second_signal_ends_the_program_at_once),
];

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
