//! Damaged checkpoints, and what the files say.

use super::program::*;
use serde_json::Value;
use std::fs;
use std::path::Path;

pub const TESTS: [(&str, bool, fn()); 2] = [
    ("a_damaged_checkpoint_is_told_of_and_the_one_before_is_used", true, damaged_checkpoint),
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
