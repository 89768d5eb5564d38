//! The same bits twice, with everything on that could disturb them.

use super::program::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub const TESTS: [(&str, bool, fn()); 1] =
    [("two_runs_give_the_same_bits_with_everything_on", true, two_runs_give_the_same_bits_with_everything_on)];

const LAST: u64 = 10;

/// Augmentation, gradients accumulated over two passes, Winograd's kernels, validations at steps 5 and 10.
const ON: [&str; 6] = [
    "augmentation.enabled=true",
    "data.sampling=patch",
    "training.batch=2",
    "training.accumulation=2",
    "kernels=winograd",
    "training.loader_threads=1",
];

fn trained(run: &Path, changes: &[&str]) {
    let mut command = start(&data(), run, LAST);
    ON.iter().chain(changes).for_each(|key| {
        command.args(["--set", key]);
    });
    succeed(&mut command);
}

/// Files below a folder, by their names within it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(&inner).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).expect("below").to_owned();
                    found.insert(name, fs::read(&path).expect("read"));
                }
            }
        }
    }
    found
}

/// Tensors, and what is said of them apart from the configuration and the checksum over all.
fn contents(file: &[u8]) -> (BTreeMap<String, Vec<u8>>, Value) {
    let tensors = safetensors::SafeTensors::deserialize(file).expect("a safetensors file");
    let (_, header) = safetensors::SafeTensors::read_metadata(file).expect("a header");
    let metadata = header.metadata().as_ref().expect("metadata");
    let mut state: Value = serde_json::from_str(&metadata["vnet_engine_checkpoint"]).expect("JSON");
    state.as_object_mut().expect("an object").remove("blake3").expect("a checksum");
    let origin = state["origin"].as_object_mut().expect("an object");
    ["config", "config_blake3"].iter().for_each(|key| drop(origin.remove(*key).expect("a configuration")));
    (tensors.iter().map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect(), state)
}

/// Every file is the same: byte by byte, but for times in the log and in TensorBoard's events, the process in the lock, and
/// the number of threads where the configuration is told.
fn assert_same_folder(found: &Path, expected: &Path) {
    assert_eq!(log(found), log(expected));
    let [mut a, mut b] = [found, expected].map(files);
    for files in [&mut a, &mut b] {
        let all = files.len();
        files.retain(|name, _| !name.to_string_lossy().starts_with("events.out.tfevents."));
        assert_eq!(files.len(), all - 1, "one file of events");
    }
    assert!(a.len() > 10, "{:?}", a.keys());
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let one = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).expect("text");
        text.replace("loader_threads = 2", "loader_threads = 1").replace("loader_threads 2", "loader_threads 1")
    };
    for file in ["log.jsonl", "run.lock"] {
        assert!(a.remove(Path::new(file)).is_some() && b.remove(Path::new(file)).is_some(), "{file}");
    }
    for (name, a) in &a {
        let b = &b[name];
        let same = match name {
            name if name.starts_with("checkpoint") => contents(a) == contents(b),
            name if ["config.toml", "report.html"].iter().any(|text| name.ends_with(text)) => one(a) == one(b),
            _ => a == b,
        };
        assert!(same, "{} differs", name.display());
    }
}

fn two_runs_give_the_same_bits_with_everything_on() {
    let folder = fresh();
    let [first, again, threads] = ["first", "again", "threads"].map(|name| folder.path().join(name));
    trained(&first, &[]);
    trained(&again, &[]);
    assert_same_folder(&again, &first);
    trained(&threads, &["training.loader_threads=2"]);
    assert_same_folder(&threads, &first);
    // Each of them has a part in the bits, so each was on.
    for off in ["augmentation.enabled=false", "training.accumulation=1", "kernels=direct"] {
        let run = folder.path().join(off);
        trained(&run, &[off]);
        let last = |run: &Path| contents(&fs::read(checkpoint(run, LAST)).expect("read")).0;
        assert!(last(&run) != last(&first), "{off} changes nothing");
    }
}
