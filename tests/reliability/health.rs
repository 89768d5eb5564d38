//! What `[health]` does about a network that predicts one class throughout.

use super::program::*;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

pub const TESTS: [(&str, bool, fn()); 4] = [
    ("a_collapse_is_counted_across_a_kill", true, counted_across_a_kill),
    ("a_signal_during_a_collapse_writes_a_checkpoint_beside_the_good_ones", true, signalled),
    ("a_collapsed_training_is_stopped_and_can_be_resumed", true, stopped),
    ("a_collapsed_training_is_restored_to_where_it_knew_more", true, restored),
];

/// A weight decay that takes hold as the learning rate rises, and takes all weights to 0.
fn collapsing(run: &Path, steps: u64, keys: &[&str]) -> Command {
    let mut command = start(&data(), run, steps);
    let decay = ["optimiser.kind=adamw", "optimiser.learning_rate=1e-3", "optimiser.weight_decay=1000"];
    let rhythm = ["schedule.warm_up=20", "training.validate_every=1", "training.checkpoint_every=1"];
    for key in decay.iter().chain(&rhythm).chain(&["health.collapsed_validations=2"]).chain(keys) {
        command.args(["--set", key]);
    }
    command
}

fn steps_of(log: &[Value], event: &str) -> Vec<u64> {
    log.iter().filter(|e| e["event"] == event).map(|e| e["step"].as_u64().expect("a step")).collect()
}

fn stopped() {
    let folder = fresh();
    let run = folder.path().join("run");
    let output = collapsing(&run, STEPS, &["health.collapsed=stop"]).output().expect("the program starts");
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    let error = message.lines().last().unwrap_or_default();
    for word in ["error: ", "2 validations in a row that predict one class throughout", "health says stop", "--resume"]
    {
        assert!(error.contains(word), "{word:?} is not in {message}");
    }
    let events = log(&run);
    let [end] = steps_of(&events, "unhealthy")[..] else { panic!("{message}") };
    assert_eq!(steps_of(&events, "collapsed"), [end - 1, end]);
    assert!(steps_of(&events, "restored").is_empty() && steps_of(&events, "finished").is_empty());
    // What it was when it still knew two classes is kept, and can be gone on from.
    assert!(checkpoint(&run, end - 2).exists() && !checkpoint(&run, end - 1).exists());
    succeed(resume(&run).args(["--set", "optimiser.weight_decay=0", "--set", "health.collapsed=continue"]));
    assert_eq!(steps_of(&log(&run), "finished"), [STEPS]);
}

fn restored() {
    let folder = fresh();
    let run = folder.path().join("run");
    let mut command = collapsing(&run, STEPS, &["health.collapsed=restore", "health.learning_rate_factor=1e-6"]);
    let output = succeed(&mut command);
    let message = text(&output.stderr);
    let events = log(&run);
    let dice = events.iter().filter_map(|e| e["mean_dice"].as_f64().filter(|_| e["event"] == "validation"));
    let best = format!("best validation Dice {:.4}", dice.reduce(f64::max).expect("validations"));
    assert!(text(&output.stdout).contains(&best), "{best}, also after a restoration: {}", text(&output.stdout));
    let at = events.iter().position(|e| e["event"] == "restored").unwrap_or_else(|| panic!("{message}"));
    assert_eq!(steps_of(&events, "restored").len(), 1, "{message}");
    let [to, from] = ["step", "from"].map(|key| events[at][key].as_u64().expect("a step"));
    // Steps 1 to `to` knew two classes; both checkpoints since then were withheld.
    assert_eq!(steps_of(&events[..at], "collapsed"), [from - 1, from], "{message}");
    assert!(to >= 1 && to + 2 == from, "from {from} to {to}");
    assert_eq!(events[at]["learning_rate_factor"].as_f64(), Some(1e-6));
    assert!(events[at]["reason"].as_str().is_some_and(|r| r.contains("2 validations in a row")), "{}", events[at]);
    // The steps after it are done again, and change next to nothing.
    let again = &events[at..];
    assert_eq!(steps_of(again, "step"), (to + 1..=STEPS).collect::<Vec<_>>());
    assert!(steps_of(again, "collapsed").is_empty(), "{message}");
    assert_eq!(std::fs::read_dir(run.join("checkpoint")).expect("a folder").count(), 2, "the newest two");
}

fn counted_across_a_kill() {
    let folder = fresh();
    let [run, expected] = ["run", "expected"].map(|name| folder.path().join(name));
    let keys = ["health.collapsed=restore", "health.learning_rate_factor=1e-6", "health.collapsed_validations=5"];
    succeed(&mut collapsing(&expected, STEPS, &keys));
    let mut child = spawn(&mut collapsing(&run, STEPS, &keys));
    wait_for(&run, "collapsed", 2);
    child.kill().expect("SIGKILL");
    child.wait().expect("an end");
    succeed(&mut resume(&run));
    assert_eq!(steps_of(&log(&expected), "restored").len(), 1);
    assert_same_run(&run, &expected, STEPS);
}

fn signalled() {
    let folder = fresh();
    let run = folder.path().join("run");
    let child = spawn(&mut collapsing(&run, ENDLESS, &["health.collapsed=continue"]));
    wait_for(&run, "collapsed", 4);
    signal(&child, "TERM");
    let message = text(&child.wait_with_output().expect("an end").stderr);
    let step = stopped_after(&message);
    assert!(checkpoint(&run, step).exists(), "{message}");
    // The newest two from before are there as well.
    assert_eq!(std::fs::read_dir(run.join("checkpoint")).expect("a folder").count(), 3, "{message}");
    succeed(resume(&run).args(["--steps", &(step + 2).to_string()]));
}
