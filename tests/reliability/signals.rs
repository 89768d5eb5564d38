//! Ctrl-C, SIGTERM and SIGHUP.

use super::program::*;
use crate::support::gpu;
use std::cell::Cell;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::train::{Config, Preset, Progress, RunSettings, Setting, TrainError, train};

pub const TESTS: [(&str, bool, fn()); 8] = [
    ("a_validation_ends_after_the_window_in_which_it_is_asked_to", true, within_a_validation),
    ("a_test_ends_after_the_window_in_which_it_is_asked_to", true, within_a_test),
    ("a_signal_ends_a_segmentation_without_half_a_file", true, within_a_segmentation),
    ("a_hang_up_writes_a_checkpoint_and_leaves", true, a_hang_up_writes_a_checkpoint_and_leaves),
    ("a_training_under_nohup_outlives_its_terminal", true, under_nohup),
    ("sigterm_writes_a_checkpoint_and_leaves", true, sigterm_writes_a_checkpoint_and_leaves),
    ("ctrl_c_writes_a_checkpoint_and_leaves", true, ctrl_c_writes_a_checkpoint_and_leaves),
    ("a_second_signal_ends_the_program_at_once", true, a_second_signal_ends_the_program_at_once),
];

/// Undoes what `nohup` hands down to every program below it: these tests may run there.
fn heeds_hang_ups(command: &mut Command) -> &mut Command {
    let reset = || {
        // SAFETY: the default action is no function of this program's.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure calls `signal` alone, which is safe there.
    unsafe { command.pre_exec(reset) }
}

fn stop_and_go_on(name: &str, status: i32, words: &str) {
    let folder = fresh();
    let [run, expected] = ["run", "expected"].map(|name| folder.path().join(name));
    let child = spawn(heeds_hang_ups(&mut start(&data(), &run, ENDLESS)));
    wait_for_steps(&run, 7);
    signal(&child, name);
    let output = child.wait_with_output().expect("an end");
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{message}");
    assert!(message.contains(words) && message.contains("--resume") && !message.contains("error"), "{message}");
    let step = stopped_after(&message);
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

fn a_hang_up_writes_a_checkpoint_and_leaves() {
    stop_and_go_on("HUP", 129, "stopped by SIGHUP");
}

/// A training whose validation and test cases have many windows.
fn many_windows(folder: &Path) -> RunSettings {
    let settings = PhantomSettings { cases: 3, seed: 4, extents: [40, 40, 32], spacing: [3.0, 3.0, 3.0] };
    write_dataset(&folder.join("data"), &settings, |_| ()).expect("written");
    let keys = [
        "training.steps=4",
        "training.validate_every=2",
        "network.encoder=[1,1]",
        "network.decoder=[1]",
        "data.patch=[16,16,16]",
        "data.split=[0.34,0.33,0.33]",
    ];
    let config = Config::load(Preset::Tiny, None, &Setting::parse_all(keys)).expect("valid");
    RunSettings::new(folder.join("data"), folder.join("run"), config)
}

/// Asks for an end when it has been asked `patience` times, from the moment on that it waits for.
struct Ends {
    patience: usize,
    waits_for_the_test: bool,
    asked: Cell<usize>,
    validations: usize,
}

impl Progress for Ends {
    fn validated(&mut self, _step: u64, _dice: &[Option<f64>], _mean: Option<f64>, _best: bool) {
        self.validations += 1;
    }
    fn trained(&mut self) {
        self.waits_for_the_test = false;
    }
    fn stop(&self) -> Option<i32> {
        if self.waits_for_the_test {
            return None;
        }
        self.asked.set(self.asked.get() + 1);
        (self.asked.get() >= self.patience).then_some(15)
    }
}

/// How often a training was asked that is to end at the `patience`th time, the step at which it did, and its validations.
fn ended(folder: &Path, patience: usize, waits_for_the_test: bool) -> (usize, u64, usize) {
    let mut ends = Ends { patience, waits_for_the_test, asked: Cell::new(0), validations: 0 };
    match train(gpu(), &many_windows(folder), &mut ends) {
        Err(TrainError::Interrupted { signal: 15, step, .. }) => (ends.asked.get(), step, ends.validations),
        end => panic!("{end:?}"),
    }
}

/// Asked before each of two steps, then after each window: the fifth time is in the midst of the first validation.
fn within_a_validation() {
    let folder = fresh();
    assert_eq!(ended(folder.path(), 5, false), (5, 2, 0));
    assert!(checkpoint(&folder.path().join("run"), 2).exists());
}

/// Asked before the case, then after each window.
fn within_a_test() {
    let folder = fresh();
    assert_eq!(ended(folder.path(), 4, true), (4, 4, 2));
    let left = std::fs::read_dir(folder.path().join("run/test/predictions")).expect("a folder").count();
    assert_eq!(left, 0, "no prediction, whole or half");
}

fn within_a_segmentation() {
    let folder = fresh();
    let at = |name: &str| folder.path().join(name);
    // Minutes of windows.
    let settings = PhantomSettings { cases: 1, seed: 4, extents: [160, 160, 160], spacing: [1.0; 3] };
    write_dataset(&at("data"), &settings, |_| ()).expect("written");
    let mut command = program();
    command.arg("segment").arg("--model").arg(whole()).arg("--input").arg(at("data/images"));
    let child = spawn(command.arg("--output").arg(at("out")));
    std::thread::sleep(Duration::from_secs(5));
    let begin = Instant::now();
    signal(&child, "TERM");
    let output = child.wait_with_output().expect("an end");
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{message}");
    assert!(message.contains("stopped by SIGTERM; segment --continue"), "{message}");
    // Five seconds on a machine that has nothing else to do.
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert_eq!(std::fs::read_dir(at("out")).expect("a folder").count(), 0, "no output, whole or half");
}

fn under_nohup() {
    let folder = fresh();
    let run = folder.path().join("run");
    let training = start(&data(), &run, 10);
    let mut command = Command::new("nohup");
    command.arg(training.get_program()).args(training.get_args()).current_dir(folder.path());
    let child = spawn(&mut command);
    wait_for_steps(&run, 2);
    signal(&child, "HUP");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}
