//! The program as a person meets it: wrong input gives one clear line and exit status 2.

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use support::program::{program, refused};
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::kernel::SHADERS;

fn phantoms(folder: &Path, cases: usize) {
    let settings = PhantomSettings { cases, seed: 2, extents: [24, 20, 16], spacing: [5.0, 5.5, 4.5] };
    write_dataset(folder, &settings, |_| ()).expect("written");
}

fn train(folder: &Path, extra: &[&str], words: &[&str]) {
    let mut arguments = vec!["train", "--data", "data", "--out", "run", "--preset", "tiny"];
    arguments.extend(extra);
    refused(folder, &arguments, words);
    assert!(!folder.join("run").join("model.safetensors").exists());
}

fn fresh() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn a_missing_folder_is_named() {
    train(fresh().path(), &[], &["data"]);
}

#[test]
fn a_folder_without_volumes_is_named() {
    let folder = fresh();
    std::fs::create_dir_all(folder.path().join("data/images")).expect("created");
    std::fs::create_dir_all(folder.path().join("data/labels")).expect("created");
    train(folder.path(), &[], &["images"]);
    let empty = fresh();
    std::fs::create_dir(empty.path().join("data")).expect("created");
    train(empty.path(), &[], &["data", "images"]);
}

#[test]
fn a_label_without_an_image_is_named() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 3);
    std::fs::remove_file(folder.path().join("data/images/phantom_001.nii.gz")).expect("removed");
    train(folder.path(), &[], &["phantom_001"]);
}

#[test]
fn shapes_that_differ_are_named() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    let other = PhantomSettings { cases: 1, seed: 3, extents: [20, 20, 16], spacing: [5.5, 5.5, 4.5] };
    write_dataset(&folder.path().join("other"), &other, |_| ()).expect("written");
    let label = "labels/phantom_000.nii.gz";
    std::fs::copy(folder.path().join("other").join(label), folder.path().join("data").join(label)).expect("copied");
    train(folder.path(), &[], &["phantom_000", "20", "24"]);
}

#[test]
fn a_label_value_that_is_no_class_is_named() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    let path = folder.path().join("data/labels/phantom_001.nii.gz");
    let mut labels = vnet_engine::data::io::read_label_map(&path).expect("read");
    let header = vnet_engine::data::io::read_header(&path).expect("read");
    labels.voxels[5] = 300;
    vnet_engine::data::io::write_label_map(&path, &labels, &header).expect("written");
    train(folder.path(), &[], &["phantom_001", "0, 1, 300 occur", "2 to 299 in no case"]);
}

/// Without a preset a plan is made first, which the same data are wrong for.
#[test]
fn a_dry_run_without_preset_names_each_problem_once() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 4);
    for label in ["phantom_001", "phantom_002"] {
        std::fs::remove_file(folder.path().join(format!("data/images/{label}.nii.gz"))).expect("removed");
    }
    let arguments = ["train", "--data", "data", "--out", "run", "--dry-run", "--init", "absent.safetensors"];
    let output = program(folder.path(), &arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("2 problems"), "{text}");
    for word in ["phantom_001", "phantom_002", "absent.safetensors"] {
        assert_eq!(text.lines().filter(|line| line.contains(word)).count(), 1, "{word}: {text}");
    }
}

#[test]
fn a_truncated_volume_is_named() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    let path = folder.path().join("data/labels/phantom_001.nii.gz");
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    train(folder.path(), &[], &["phantom_001", "cut short"]);
    refused(folder.path(), &["inspect", "data/labels/phantom_001.nii.gz"], &["1 of 1"]);
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    std::fs::write(folder.path().join("c.toml"), "[optimiser]\nlerning_rate = 0.1\n").expect("written");
    train(folder.path(), &["--config", "c.toml"], &["c.toml", "optimiser.lerning_rate", "optimiser.learning_rate"]);
    train(folder.path(), &["--set", "training.stepz=4"], &["training.stepz", "training.steps"]);
    let key = "augmentation.rotation.degrees";
    train(folder.path(), &["--set", "augmentation.rotation.degres=[9,9,9]"], &["augmentation.rotation.degres", key]);
    train(folder.path(), &["--set", "augmentation.rotation.degrees=[9,9,999]"], &[key, "180", "999"]);
    train(folder.path(), &["--set", "augmentation.blur.range=[1,0.5]"], &["augmentation.blur.range", "0.5"]);
    train(folder.path(), &["--set", "augmentation.noise.probability=2"], &["augmentation.noise.probability", "0 to 1"]);
    train(folder.path(), &["--set", "data.foreground=-1"], &["data.foreground", "-1"]);
    train(folder.path(), &["--set", "data.sampling=patches"], &["data.sampling", "patches", "whole"]);
    train(folder.path(), &["--set", "data.cache=2 GB"], &["data.cache", "2 GB", "GiB"]);
    train(folder.path(), &["--set", "training.steps=many"], &["training.steps", "whole number", "many"]);
    train(folder.path(), &["--set", "data.patch=[1,2]"], &["data.patch", "[x, y, z]"]);
    train(folder.path(), &["--set", "network.base=0"], &["base", "0"]);
    train(folder.path(), &["--steps", "0"], &["--steps 0: key training.steps: expected at least 1"]);
    train(folder.path(), &["--set", "data.spacing=[1, 1, 0]"], &["data.spacing", "0.01 to 100", "0.0"]);
    train(folder.path(), &["--set", "data.spacing=own"], &["data.spacing", "\"native\" or [x, y, z] in mm", "own"]);
    train(folder.path(), &["--set", "data.interpolation=quintic"], &["quintic", "cubic"]);
    train(folder.path(), &["--set", "data.ct_window=[3, 1, 2, 1]"], &["data.ct_window", "lower < upper"]);
    train(folder.path(), &["--set", "data.normalisation=ct"], &["\"ct\"", "ct_window"]);
    std::fs::write(folder.path().join("d.toml"), "seed = 1\n[optimiser\n").expect("written");
    train(folder.path(), &["--config", "d.toml"], &["d.toml:2"]);
}

#[test]
fn no_adapter_says_what_to_install() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    let output = Command::new(env!("CARGO_BIN_EXE_vnet-engine"))
        .args(["train", "--data", "data", "--out", "run", "--preset", "tiny"])
        .current_dir(folder.path())
        .env("VK_DRIVER_FILES", "/nonexistent.json")
        .env("VK_ICD_FILENAMES", "/nonexistent.json")
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // On systems without Vulkan these variables mean nothing, and there is an adapter.
    if cfg!(target_os = "linux") {
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("no GPU adapter") && text.contains("mesa-vulkan-drivers"), "{text}");
    }
}

#[test]
fn a_device_that_is_not_there_is_named() {
    if vnet_engine::gpu::adapters().is_empty() {
        return;
    }
    refused(fresh().path(), &["devices", "--device", "abacus"], &["abacus"]);
}

#[test]
fn models_that_are_none_are_named() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 1);
    std::fs::write(folder.path().join("m.safetensors"), b"this is no model").expect("written");
    let segment = |model: &str, words: &[&str]| {
        refused(folder.path(), &["segment", "--model", model, "--input", "data/images", "--output", "out"], words);
    };
    segment("m.safetensors", &["m.safetensors", "safetensors"]);
    segment("absent.safetensors", &["absent.safetensors"]);
    refused(folder.path(), &["info", "m.safetensors"], &["m.safetensors"]);
    refused(folder.path(), &["info", "--preset", "tiny", "--batch", "0"], &["--batch", "1 to 10000"]);
}

#[test]
fn predictions_without_labels_are_named() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    std::fs::remove_file(folder.path().join("data/labels/phantom_000.nii.gz")).expect("removed");
    let arguments = ["evaluate", "--predictions", "data/images", "--labels", "data/labels", "--out", "scores"];
    refused(folder.path(), &arguments, &["phantom_000"]);
}

#[test]
fn evaluation_of_labels_against_themselves_is_perfect() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    let arguments = ["evaluate", "--predictions", "data/labels", "--labels", "data/labels", "--out", "scores"];
    let output = program(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let csv = std::fs::read_to_string(folder.path().join("scores/scores.csv")).expect("scores");
    let rows: Vec<&str> = csv.lines().skip(1).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|r| r.split(',').nth(2) == Some("1")), "{csv}");
    assert!(folder.path().join("scores/scores.json").exists() && folder.path().join("scores/dice.svg").exists());
}

#[test]
fn the_challenges_score_is_100_for_labels_against_themselves() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    let means = "dice = 0.9\nassd_mm = 2\nhd95_mm = 5\nabsolute_relative_volume_difference = 0.1\n";
    let text = ["whole", "apex", "base"].map(|region| format!("[{region}]\n{means}")).concat();
    std::fs::write(folder.path().join("observer.toml"), text).expect("written");
    let mut arguments = vec!["evaluate", "--predictions", "data/labels", "--labels", "data/labels", "--out", "scores"];
    arguments.extend(["--observer", "observer.toml"]);
    let output = program(folder.path(), &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("PROMISE12 score 100.00 ± 0.00 (2 cases, 0 undefined)"), "{text}");
    let csv = std::fs::read_to_string(folder.path().join("scores/promise12.csv")).expect("scores");
    assert_eq!(csv, "case,score\nphantom_000,100\nphantom_001,100\n");
    let scores = std::fs::read_to_string(folder.path().join("scores/scores.csv")).expect("scores");
    assert_eq!(["whole", "apex", "base"].map(|region| scores.matches(&format!(",{region},")).count()), [2, 2, 2]);
    std::fs::write(folder.path().join("observer.toml"), "[whole]\n").expect("written");
    refused(folder.path(), &arguments, &["observer.toml", "dice"]);
}

/// Predictions in one format, labels in another, in PROMISE12's layout.
#[test]
fn formats_mix_in_an_evaluation() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    std::fs::create_dir(folder.path().join("promise")).expect("created");
    for case in ["phantom_000", "phantom_001"] {
        let path = folder.path().join(format!("data/labels/{case}.nii.gz"));
        let labels = vnet_engine::data::io::read_label_map(&path).expect("read");
        let header = vnet_engine::data::io::read_header(&path).expect("read");
        let to = folder.path().join(format!("promise/{case}_segmentation.mhd"));
        vnet_engine::data::io::write_label_map(&to, &labels, &header).expect("written");
        let image = folder.path().join(format!("data/images/{case}.nii.gz"));
        let volume = vnet_engine::data::io::read_volume(&image).expect("read");
        let to = folder.path().join(format!("promise/{case}.mha"));
        vnet_engine::data::io::write_volume(&to, &volume).expect("written");
    }
    let arguments = ["evaluate", "--predictions", "data/labels", "--labels", "promise", "--out", "scores"];
    let output = program(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let csv = std::fs::read_to_string(folder.path().join("scores/scores.csv")).expect("scores");
    assert_eq!(csv.lines().skip(1).filter(|r| r.split(',').nth(2) == Some("1")).count(), 2, "{csv}");
    let output = program(folder.path(), &["inspect", "--json", "promise/phantom_000.mha"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&json["dtype"], &json["shape"]), (&"float32".into(), &serde_json::json!([24, 20, 16])));
    refused(folder.path(), &["inspect", "promise"], &["1 of 1 volumes cannot be read"]);
}

#[test]
fn a_run_folder_in_use_is_not_overwritten() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    std::fs::create_dir(folder.path().join("run")).expect("created");
    std::fs::write(folder.path().join("run/log.jsonl"), "precious\n").expect("written");
    if vnet_engine::gpu::adapters().is_empty() {
        return;
    }
    train(folder.path(), &[], &["run", "--resume"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("run/log.jsonl")).expect("kept"), "precious\n");
    refused(
        folder.path(),
        &["train", "--data", "data", "--out", "elsewhere", "--resume"],
        &["elsewhere", "no run to resume"],
    );
}

#[test]
fn wrong_usage_has_status_2_and_help_has_status_0() {
    let folder = fresh();
    assert_eq!(program(folder.path(), &["train"]).status.code(), Some(2));
    assert_eq!(program(folder.path(), &["info"]).status.code(), Some(2));
    assert_eq!(program(folder.path(), &["--help"]).status.code(), Some(0));
}

#[test]
fn info_prints_the_papers_figures() {
    let output = program(fresh().path(), &["info", "--preset", "paper"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    for word in ["65,175,314 parameters", "encoder.4     372", "decoder.0     551", "training, batch 2"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

fn has_adapter() -> bool {
    !vnet_engine::gpu::adapters().is_empty()
}

/// Runs a command that prints one JSON document.
fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = program(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn positive(value: &Value) {
    assert!(value.as_f64().is_some_and(|v| v > 0.0), "{value}");
}

#[test]
fn bench_times_layers_kernels_and_whole_runs_beside_the_roofline() {
    if !has_adapter() {
        return;
    }
    let folder = fresh();
    let network = ["bench", "--preset", "tiny", "--patch", "12,10,8", "--steps", "1"];
    let arguments = |more: &[&'static str]| [&network[..], more].concat();
    let all = json(folder.path(), &arguments(&["--json"]));
    positive(&all["roofline"]["copy_gb_per_s"]);
    positive(&all["roofline"]["fma_gflop_per_s"]);
    assert_eq!(all["patch"], serde_json::json!([12, 10, 8]));
    for kind in ["forward", "training"] {
        let run = &all[kind];
        for key in ["seconds", "flops", "gflop_per_s", "gb_per_s", "roofline_share", "voxels_per_s", "memory_bytes"] {
            positive(&run[key]);
        }
        let rows = |of: &str| run[of].as_array().expect("rows").clone();
        for row in rows("layers").iter().chain(&rows("kernels")) {
            positive(&row["dispatches"]);
            assert!(row["seconds"].as_f64().is_some_and(|s| s >= 0.0), "{row}");
        }
        let has = |layer: &str, pass: &str| rows("layers").iter().any(|r| r["layer"] == layer && r["pass"] == pass);
        assert!(["encoder.0.conv.0", "encoder.3.conv.2", "decoder.1.up", "head"].iter().all(|l| has(l, "forward")));
        assert_eq!(has("encoder.1.conv.0", "backward"), kind == "training");
        assert_eq!(has("update", "update"), kind == "training");
        assert!(rows("kernels").iter().any(|r| r["op"] == "conv3d"));
    }
    let part = json(folder.path(), &arguments(&["--json", "--forward-only", "--layer", "decoder.1"]));
    assert!(part["training"].is_null());
    let layers = part["forward"]["layers"].as_array().expect("rows");
    assert!(!layers.is_empty() && layers.iter().all(|r| r["layer"].as_str().is_some_and(|l| l.contains("decoder.1"))));
    let whole = json(folder.path(), &arguments(&["--json", "--forward-only", "--whole"]));
    assert!(whole["forward"]["layers"].is_null());
    let output = program(folder.path(), &arguments(&["--forward-only"]));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in ["roofline of", "GFLOP/s", "forward by layer", "encoder.2.conv.1", "forward by kernel", "voxels/s"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn bench_times_one_convolution() {
    if !has_adapter() {
        return;
    }
    let layer = json(fresh().path(), &["bench", "--conv", "3,5,4x7x6", "--steps", "2", "--json"]);
    assert_eq!(layer["convolution"]["extents"], serde_json::json!([4, 7, 6]));
    for kind in ["forward", "input_gradient", "weight_gradient", "forward_and_backward"] {
        positive(&layer[kind]["seconds"]);
        positive(&layer[kind]["gflop_per_s"]);
        assert_eq!(layer[kind]["all_seconds"].as_array().map(Vec::len), Some(2));
    }
}

#[test]
fn bench_names_what_is_wrong() {
    let folder = fresh();
    let bench = |arguments: &[&str], words: &[&str]| {
        refused(folder.path(), &[&["bench"], arguments].concat(), words);
    };
    bench(&["--conv", "32,32"], &["--conv", "32,32,32x64x64"]);
    bench(&["--conv", "0,32,4x4x4"], &["--conv"]);
    bench(&["--steps", "0"], &["--steps", "1 to 10000"]);
    bench(&["--preset", "tiny", "--conv", "1,2,3x3x3"], &["--preset", "--conv"]);
    bench(&["--model", "absent.safetensors"], &["absent.safetensors"]);
    bench(&["--preset", "tiny", "--layer", "encoder.9"], &["encoder.9", "encoder.0.conv.0"]);
    if has_adapter() {
        bench(&["--preset", "tiny", "--patch", "4096,4096,4096", "--whole"], &["smaller patch"]);
    }
}

#[test]
fn train_profile_writes_a_trace_and_a_table_and_goes_on() {
    if !has_adapter() {
        return;
    }
    let folder = fresh();
    phantoms(&folder.path().join("data"), 4);
    let set = ["network.encoder=[1,1]", "network.decoder=[1]", "data.patch=[16,16,8]", "training.steps=4"];
    let mut arguments = vec!["train", "--data", "data", "--out", "run", "--preset", "tiny", "--profile"];
    set.iter().for_each(|key| arguments.extend(["--set", key]));
    let output = program(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(folder.path().join("run").join(name)).expect(name);
    let trace: Value = serde_json::from_str(&read("profile.json")).expect("JSON");
    assert_eq!(trace["otherData"]["step"], 3);
    let events: Vec<&Value> =
        trace["traceEvents"].as_array().expect("events").iter().filter(|e| e["ph"] == "X").collect();
    for event in &events {
        assert!(event["ts"].as_f64().is_some_and(|t| t >= 0.0) && event["dur"].as_f64().is_some_and(|d| d >= 0.0));
    }
    let of = |name: &str, category: &str| events.iter().filter(|e| e["name"] == name && e["cat"] == category).count();
    assert_eq!([of("forward", "pass"), of("backward", "pass"), of("update", "pass")], [1, 1, 1]);
    assert_eq!(of("encoder.1.conv.0", "conv3d"), 1);
    assert_eq!(of("encoder.1.conv.0", "conv3d_grad_weight"), 1);
    assert!(events.iter().any(|e| e["cat"] == "kernel"));
    let table = read("profile.txt");
    for word in ["step 3 on", "encoder.1.conv.0", "update", "conv3d_grad_weight", "roofline"] {
        assert!(table.contains(word), "{word:?} is not in {table}");
    }
    assert_eq!(read("log.jsonl").lines().filter(|l| l.contains("\"event\":\"step\"")).count(), 4);
    refused(
        folder.path(),
        &["train", "--data", "data", "--out", "other", "--profile", "--dry-run"],
        &["--profile", "--dry-run"],
    );
}

#[test]
fn a_preview_names_what_it_cannot_draw() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    let augment = |extra: &[&str], words: &[&str]| {
        let arguments = [&["augment", "--data", "data", "--out", "a.png"], extra].concat();
        refused(folder.path(), &arguments, words);
        assert!(!folder.path().join("a.png").exists());
    };
    augment(&["--case", "phantom_0001"], &["data", "phantom_0001", "phantom_001"]);
    augment(&["--preset", "tiny"], &["augmentation.enabled"]);
}

#[test]
fn doctor_finds_every_kernel_within_its_bound() {
    if !has_adapter() {
        return;
    }
    let report = json(fresh().path(), &["doctor", "--json"]);
    let kernels = report["kernels"].as_array().expect("kernels");
    let names: Vec<&str> = kernels.iter().filter_map(|k| k["kernel"].as_str()).collect();
    for (kernel, _) in SHADERS {
        // These ask for subgroups of eight.
        let lanes =
            kernel.starts_with("gemm_subgroup") || kernel.contains("_lanes") || kernel.ends_with("_plane_transposed");
        assert!(names.contains(kernel) || lanes, "{kernel} is not tried");
    }
    let expected: Vec<&str> = SHADERS.iter().map(|shader| shader.0).filter(|name| !names.contains(name)).collect();
    let untried = report["untried"].as_array().expect("untried");
    assert_eq!(untried.iter().filter_map(|name| name.as_str()).collect::<Vec<_>>(), expected);
    for kernel in kernels {
        assert_eq!(kernel["passed"], true, "{kernel}");
        assert!(kernel["error"].as_f64() <= kernel["bound"].as_f64(), "{kernel}");
    }
    let presets = report["presets"].as_array().expect("presets");
    assert_eq!(presets.iter().map(|p| p["preset"].as_str()).collect::<Vec<_>>(), ["tiny", "small", "paper"].map(Some));
    assert_eq!(presets[2]["parameters"], 65_175_314);
    presets.iter().for_each(|preset| positive(&preset["seconds_at_the_roofline"]));
}

#[test]
fn completions_and_manual_know_every_command() {
    let folder = fresh();
    let commands = [
        "train",
        "cross-validate",
        "segment",
        "augment",
        "evaluate",
        "phantom",
        "demo",
        "info",
        "inspect",
        "bench",
        "doctor",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let output = program(folder.path(), &["completions", shell]);
        let script = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(
            commands.iter().all(|command| script.contains(command)) && script.contains("largest-component"),
            "{shell}"
        );
    }
    let output = program(folder.path(), &["man", "manual"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let page = |name: &str| std::fs::read_to_string(folder.path().join("manual").join(name)).expect(name);
    assert!(page("vnet-engine.1").contains(".TH vnet-engine 1"));
    for command in commands {
        let name = format!("vnet-engine-{command}.1");
        let text = page(&name);
        assert!(text.contains(&format!(".TH vnet-engine-{command} 1")), "{text}");
    }
    assert!(page("vnet-engine-train.1").contains("Examples:"));
    refused(folder.path(), &["completions", "sh"], &["sh", "bash"]);
    std::fs::write(folder.path().join("file"), "").expect("written");
    refused(folder.path(), &["man", "file"], &["file", "cannot write the manual"]);
}

#[test]
fn bash_completes_commands_options_and_values() {
    let folder = fresh();
    let script = program(folder.path(), &["completions", "bash"]).stdout;
    std::fs::write(folder.path().join("completions"), script).expect("written");
    let complete = |words: &str, current: &str, previous: &str| {
        let command = format!(
            "source ./completions; COMP_WORDS=({words} '{current}'); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _vnet__engine vnet-engine '{current}' {previous}; echo ${{COMPREPLY[@]}}"
        );
        let output = Command::new("bash").current_dir(folder.path()).args(["-c", &command]).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commands) = complete("vnet-engine", "tr", "vnet-engine") else { return };
    assert_eq!(commands, "train");
    assert_eq!(complete("vnet-engine train", "--mem", "train").as_deref(), Some("--memory --memory-budget"));
    assert_eq!(complete("vnet-engine train --preset", "", "--preset").as_deref(), Some("paper small tiny"));
}

#[test]
fn evaluate_prints_its_scores_as_json() {
    let folder = fresh();
    phantoms(&folder.path().join("data"), 2);
    let arguments = ["evaluate", "--predictions", "data/labels", "--labels", "data/labels", "--out", "scores"];
    let printed = json(folder.path(), &[&arguments[..], &["--json"]].concat());
    let written = std::fs::read_to_string(folder.path().join("scores/scores.json")).expect("scores");
    assert_eq!(printed, serde_json::from_str::<Value>(&written).expect("JSON"));
    assert_eq!(printed["mean_foreground"]["dice"], 1.0);
    let compare = ["evaluate", "--compare", "data/labels", "data/labels", "--names", "a,b", "--labels", "data/labels"];
    let printed = json(folder.path(), &[&compare[..], &["--out", "comparison", "--json"]].concat());
    assert_eq!(printed["names"], serde_json::json!(["a", "b"]));
}

#[test]
fn train_and_segment_print_json_and_nothing_else_when_quiet() {
    if !has_adapter() {
        return;
    }
    let folder = fresh();
    phantoms(&folder.path().join("data"), 6);
    let mut arguments = vec!["train", "--data", "data", "--out", "run", "--preset", "tiny", "--quiet", "--json"];
    let set = ["network.encoder=[1,1]", "network.decoder=[1]", "data.patch=[16,16,8]", "training.steps=3"];
    set.iter().for_each(|key| arguments.extend(["--set", key]));
    let output = program(folder.path(), &arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), text.as_str()), (Some(0), ""));
    let summary: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(summary["steps"], 3);
    let report =
        std::fs::read_to_string(folder.path().join(summary["report"].as_str().expect("a path"))).expect("report");
    // One of six cases is tested on: it is worst, median and best.
    assert_eq!(summary["test"]["cases"].as_array().map(Vec::len), Some(1));
    assert!(report.contains("id=\"viewer-0-reference\"") && !report.contains("id=\"viewer-1-image\""));
    let segment = ["segment", "--model", "run", "--input", "data/images/phantom_000.nii.gz", "--output", "a.nii.gz"];
    let written = json(folder.path(), &[&segment[..], &["-q", "--json", "--probabilities"]].concat());
    let volume = &written["volumes"][0];
    assert_eq!(volume["probabilities"], serde_json::json!(["a_prob1.nii.gz"]));
    positive(&volume["seconds"]);
    refused(folder.path(), &["info", "--preset", "tiny", "-q", "-v"], &["--quiet", "--verbose"]);
}

#[test]
fn help_of_a_command_ends_with_examples() {
    let folder = fresh();
    for command in ["train", "segment", "evaluate", "doctor", "completions", "man"] {
        let output = program(folder.path(), &[command, "--help"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let examples = text.split("Example").nth(1).expect(command);
        assert!(examples.contains(&format!("vnet-engine {command}")), "{text}");
    }
}

#[test]
fn what_cannot_be_exchanged_with_other_programs_is_named() {
    use vnet_engine::nn::model::{Tensor, parameter_shapes};
    let folder = fresh();
    let at = folder.path();
    let export = |out| ["export", "--model", "m.safetensors", "--format", "onnx", "--out", out];
    refused(at, &export("a.onnx"), &["m.safetensors", "No such file"]);
    let network = vnet_engine::nn::Network::new(
        1,
        2,
        vnet_engine::nn::vnet::VNet { base: 1, encoder: vec![1, 1], decoder: vec![1] },
    );
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let data = vec![0.5; shape.iter().product()];
        (name, Tensor { shape, data })
    };
    let tensors = parameter_shapes(&network).into_iter().map(tensor).collect();
    let model = vnet_engine::nn::Model { network, preprocessing: None, tensors };
    model.write(&at.join("m.safetensors")).expect("written");
    refused(at, &export("a.pb"), &["a.pb: expected a name that ends in .onnx"]);
    std::fs::write(at.join("a.onnx"), "mine").expect("written");
    refused(at, &export("a.onnx"), &["a.onnx: exists; --force replaces it"]);
    assert_eq!(std::fs::read(at.join("a.onnx")).expect("read"), b"mine");
    let torch = ["export", "--model", "m.safetensors", "--format", "torch", "--out", "m.py", "--force"];
    refused(at, &torch, &["m.safetensors: is what is read; give another output"]);

    std::fs::write(at.join("a.pt"), b"PK\x03\x04").expect("written");
    refused(at, &["import", "--from", "a.pt", "--out", "n.safetensors"], &["a.pt: expected a file of torch.save"]);
    assert!(!at.join("n.safetensors").exists());
    let forward = ["forward", "--model", "m.safetensors", "--input", "m.safetensors", "--output", "l.safetensors"];
    refused(at, &forward, &["m.safetensors: expected a tensor image, found"]);

    // Nothing that is read is written over, by whatever path.
    let before = std::fs::read(at.join("m.safetensors")).expect("read");
    std::fs::create_dir(at.join("run")).expect("created");
    std::fs::write(at.join("run/model.safetensors"), &before).expect("written");
    std::fs::write(at.join("image.safetensors"), "an image").expect("written");
    for (model, output) in [("m.safetensors", "./m.safetensors"), ("run", "run/model.safetensors")] {
        let ends = ["--output", output, "--force"];
        let forward = ["forward", "--model", model, "--input", "image.safetensors"];
        refused(at, &[&forward[..], &ends].concat(), &["is what is read"]);
        let import = ["import", "--from", "image.safetensors", "--preprocessing", model];
        refused(at, &[&import[..], &ends].concat(), &["is what is read"]);
        assert_eq!(std::fs::read(at.join(output)).expect("read"), before);
    }
}
