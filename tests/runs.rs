//! Runs with averaged parameters, early stopping, and parameters of another model to start from.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::GPU;
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::gpu::Gpu;
use vnet_engine::nn::Model;
use vnet_engine::train::{Config, Preset, Progress, RunSettings, Setting, StepResult, train};

fn main() {
    support::run_trials(&[
        (
            "an_averaged_run_that_was_cut_ends_with_the_same_bits",
            true,
            an_averaged_run_that_was_cut_ends_with_the_same_bits,
        ),
        ("averages_are_kept_and_the_last_parameters_too", true, averages_are_kept_and_the_last_parameters_too),
        ("a_run_without_gain_ends_early", true, a_run_without_gain_ends_early),
        (
            "a_run_cut_to_the_steps_it_has_done_ends_with_a_model",
            true,
            a_run_cut_to_the_steps_it_has_done_ends_with_a_model,
        ),
        (
            "a_fine_tuning_that_was_cut_ends_with_the_same_bits",
            true,
            a_fine_tuning_that_was_cut_ends_with_the_same_bits,
        ),
        ("a_model_of_other_depth_starts_what_both_have", true, a_model_of_other_depth_starts_what_both_have),
        ("a_head_of_other_classes_starts_anew", true, a_head_of_other_classes_starts_anew),
        ("a_model_of_other_channels_starts_with_their_sum", true, a_model_of_other_channels_starts_with_their_sum),
        ("other_differences_of_a_model_are_named", true, other_differences_of_a_model_are_named),
    ]);
}

fn gpu() -> &'static Arc<Gpu> {
    GPU.as_ref().expect("ignored without an adapter")
}

/// Keeps what is told.
#[derive(Default)]
struct Heard {
    losses: Vec<f64>,
    notes: Vec<String>,
}

impl Progress for Heard {
    fn step(&mut self, result: &StepResult) {
        self.losses.push(result.loss);
    }
    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

fn settings(folder: &Path, out: &str, keys: &[&str]) -> RunSettings {
    let data = folder.join("data");
    if !data.exists() {
        let phantoms = PhantomSettings { cases: 6, seed: 4, extents: [32, 28, 16], spacing: [4.0, 4.5, 4.5] };
        write_dataset(&data, &phantoms, |_| ()).expect("written");
    }
    let fixed = [
        "training.steps=6",
        "training.validate_every=2",
        "training.checkpoint_every=3",
        "network.encoder=[1,1]",
        "network.decoder=[1]",
        "data.patch=[16,16,16]",
        "schedule.kind=constant",
    ];
    let config = Config::load(Preset::Tiny, None, &Setting::parse_all(fixed.iter().chain(keys))).expect("valid");
    RunSettings::new(data, folder.join(out), config)
}

fn run(settings: &RunSettings) -> Heard {
    let mut heard = Heard::default();
    train(gpu(), settings, &mut heard).expect("a run");
    heard
}

/// Tensors of a safetensors file, by name.
fn tensors(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect()
}

fn an_averaged_run_that_was_cut_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Both runs validate after the same steps, a run that ends after its third there too.
    let keys = ["training.ema_decay=0.6", "training.validate_every=3"];
    let whole = settings(folder.path(), "whole", &keys);
    let expected = run(&whole);
    let mut cut = settings(folder.path(), "cut", &keys);
    cut.config.training.steps = 3;
    run(&cut);
    (cut.config.training.steps, cut.resume) = (6, true);
    assert_eq!(run(&cut).losses, expected.losses[3..]);
    let checkpoint = "checkpoint/step_0000006.safetensors";
    let (a, b) = (tensors(&whole.out.join(checkpoint)), tensors(&cut.out.join(checkpoint)));
    assert!(a.keys().any(|name| name == "ema/head.weight"), "{:?}", a.keys());
    assert_eq!(a, b);
    assert_eq!(tensors(&whole.out.join("model.safetensors")), tensors(&cut.out.join("model.safetensors")));
}

/// Frozen parameters are those of the model that the run starts from, in the end and after a restart; the stored configuration says which.
fn a_fine_tuning_that_was_cut_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = settings(folder.path(), "first", &["training.steps=2"]);
    run(&first);
    let keys = [
        "optimiser.freeze=[\"encoder.*\"]",
        "optimiser.groups=[{parameters=\"decoder.*\", learning_rate_factor=0.25}]",
        "optimiser.weight_decay=0.01",
        "training.ema_decay=0.5",
        "training.validate_every=3",
        "seed=3",
    ];
    let start = |out: &str| {
        let init = Some(first.out.join("model_last.safetensors"));
        RunSettings { init, ..settings(folder.path(), out, &keys) }
    };
    let whole = start("whole");
    let expected = run(&whole);
    let mut cut = start("cut");
    cut.config.training.steps = 3;
    run(&cut);
    // As the program resumes: with the stored configuration.
    let stored = Config::load(Preset::Small, Some(&cut.out.join("config.toml")), &[]).expect("a configuration");
    assert_eq!(stored.optimiser.freeze, ["encoder.*"]);
    assert_eq!(stored.optimiser.groups, cut.config.optimiser.groups);
    cut = RunSettings { config: stored, resume: true, init: None, ..cut };
    cut.config.training.steps = 6;
    let heard = run(&cut);
    assert_eq!(heard.losses, expected.losses[3..]);
    assert!(heard.notes.iter().all(|note| note.contains("configuration (training.steps);")), "{:?}", heard.notes);
    let checkpoint = "checkpoint/step_0000006.safetensors";
    assert_eq!(tensors(&whole.out.join(checkpoint)), tensors(&cut.out.join(checkpoint)));
    let (before, after) =
        (tensors(&first.out.join("model_last.safetensors")), tensors(&whole.out.join("model.safetensors")));
    for (name, bytes) in &after {
        assert_eq!(before[name] == *bytes, name.starts_with("encoder."), "{name}");
    }
    let error = settings(folder.path(), "wrong", &["optimiser.freeze=[\"encodr.*\"]"]);
    let text = train(gpu(), &error, &mut Heard::default()).expect_err("no such parameter").to_string();
    assert!(
        text.starts_with("optimiser.freeze: expected a pattern of names") && text.contains("such as encoder.*"),
        "{text}"
    );
    assert!(!error.out.exists(), "no folder is made");
}

/// From three levels to two and to four: what both networks have is taken, the rest starts anew.
fn a_model_of_other_depth_starts_what_both_have() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let levels = |out: &str, encoder: &str, decoder: &str| {
        let keys =
            [&format!("network.encoder={encoder}")[..], &format!("network.decoder={decoder}"), "training.steps=1"];
        settings(
            folder.path(),
            out,
            &[&keys[..], &["optimiser.learning_rate=1e-30", "data.split=[1,0,0]", "seed=9"]].concat(),
        )
    };
    let first = RunSettings { ..levels("first", "[1,1,1]", "[1,1]") };
    run(&first);
    let given = tensors(&first.out.join("model.safetensors"));
    for (out, encoder, decoder, words) in [
        ("fewer", "[1,1]", "[1]", ["anew: decoder.0.* (1)", "not used: decoder.0.* (1), decoder.1.*"]),
        ("more", "[1,1,1,1]", "[1,1,1]", ["anew: decoder.1.* (1), decoder.2.*", "encoder.3.* ("]),
    ] {
        let mut other = levels(out, encoder, decoder);
        other.init = Some(first.out.join("model.safetensors"));
        let notes = run(&other).notes;
        assert!(notes.iter().any(|note| words.iter().all(|word| note.contains(word))), "{notes:?}");
        let plain = levels(&format!("{out}_plain"), encoder, decoder);
        run(&plain);
        let [found, new] = [&other, &plain].map(|run| tensors(&run.out.join("model.safetensors")));
        for (name, bytes) in &found {
            let taken = given.get(name).filter(|bytes| bytes.len() == new[name].len());
            // The steps move zeros by 1e-30.
            let values = |bytes: &[u8]| -> Vec<f32> {
                let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
                values.into_iter().map(|value| if value.abs() < 1e-20 { 0.0 } else { value }).collect()
            };
            assert_eq!(values(bytes), values(taken.unwrap_or(&new[name])), "{out} {name}");
        }
        assert!(found.iter().any(|(name, bytes)| name.starts_with("encoder.1") && given[name] == *bytes));
    }
}

fn averages_are_kept_and_the_last_parameters_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Without validation cases the model that is kept is that of the last step.
    let keys = ["training.ema_decay=0.6", "data.split=[1,0,0]"];
    let averaged = settings(folder.path(), "averaged", &keys);
    let plain = settings(folder.path(), "plain", &keys[1..]);
    let (losses, plain_losses) = (run(&averaged).losses, run(&plain).losses);
    assert_eq!(losses, plain_losses, "averaging changes no step");
    let of = |name: &str| tensors(&averaged.out.join(name));
    assert_eq!(of("model_ema.safetensors"), of("model.safetensors"));
    assert_ne!(of("model_last.safetensors"), of("model.safetensors"));
    assert_eq!(of("model_last.safetensors"), tensors(&plain.out.join("model_last.safetensors")));
    assert_eq!(tensors(&plain.out.join("model.safetensors")), tensors(&plain.out.join("model_last.safetensors")));
    assert!(!plain.out.join("model_ema.safetensors").exists());
}

fn a_run_without_gain_ends_early() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Steps that change no bit of a parameter: the first validation stays the best.
    let keys =
        ["training.patience=2", "training.steps=40", "optimiser.learning_rate=1e-30", "training.checkpoint_every=0"];
    let early = settings(folder.path(), "early", &keys);
    let heard = run(&early);
    assert_eq!(heard.losses.len(), 6, "the first validation is after step 2, two more follow");
    assert!(heard.notes.iter().any(|note| note.contains("training.patience")), "{:?}", heard.notes);
    let log = std::fs::read_to_string(early.out.join("log.jsonl")).expect("a log");
    assert!(log.contains(r#""event":"early_stop","step":6,"best_step":2"#), "{log}");
    assert!(early.out.join("checkpoint/step_0000006.safetensors").exists());
    // Resumed, it ends where it did.
    let resumed = RunSettings { resume: true, ..early.clone() };
    assert!(run(&resumed).losses.is_empty());
    let count = || std::fs::read_to_string(early.out.join("log.jsonl")).expect("a log").matches("early_stop").count();
    assert_eq!(count(), 1, "told once");
    let mut on = resumed;
    on.config.training.patience = 0;
    on.config.training.steps = 7;
    assert_eq!(run(&on).losses.len(), 1, "without patience it goes on");
    assert_eq!(count(), 0, "and was no end");
}

fn a_head_of_other_classes_starts_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = settings(folder.path(), "first", &[]);
    run(&first);
    let path = first.out.join("model.safetensors");
    let mut three = Model::read(&path).expect("a model");
    // The same network as if it had been trained on three classes.
    three.network.classes = 3;
    for (name, shape) in vnet_engine::nn::model::parameter_shapes(&three.network) {
        let tensor = three.tensors.get_mut(&name).expect("a parameter");
        let elements = shape.iter().product();
        tensor.data.resize(elements, 0.25);
        tensor.shape = shape;
    }
    let other = folder.path().join("three.safetensors");
    three.write(&other).expect("written");
    let start = |out: &str, init: &Path| {
        // So small a rate that the start is the end.
        let mut fine = settings(folder.path(), out, &["optimiser.learning_rate=1e-30", "data.split=[1,0,0]", "seed=9"]);
        fine.init = Some(init.to_owned());
        let heard = run(&fine);
        let log = std::fs::read_to_string(fine.out.join("log.jsonl")).expect("a log");
        (heard, log, tensors(&fine.out.join("model.safetensors")))
    };
    let (heard, log, found) = start("other", &other);
    assert!(
        heard.notes.iter().any(|n| n.contains("head") && n.contains("2 classes instead of 3")),
        "{:?}",
        heard.notes
    );
    assert!(log.contains("initialised") && log.contains("2 classes instead of 3"), "{log}");
    let given = tensors(&path);
    for (name, bytes) in &found {
        assert_eq!(given[name] == *bytes, !name.starts_with("head."), "{name}");
    }
    let (heard, log, found) = start("same", &path);
    assert!(heard.notes.iter().all(|n| !n.contains("head")) && log.contains("all parameters of"), "{:?}", heard.notes);
    assert_eq!(found, given, "with the same classes the head is kept");
}

/// A model of three channels starts a training on one: its first weights are summed, its projection is left out.
fn a_model_of_other_channels_starts_with_their_sum() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = settings(folder.path(), "first", &[]);
    run(&first);
    let mut three = Model::read(&first.out.join("model.safetensors")).expect("a model");
    let one = three.tensors["encoder.0.conv.0.weight"].clone();
    three.network.in_channels = 3;
    for (name, shape) in vnet_engine::nn::model::parameter_shapes(&three.network) {
        if three.tensors.get(&name).is_none_or(|tensor| tensor.shape != shape) {
            // Channel 0 is the old one, 1 half of it, 2 its negative half.
            let part = |i: usize| one.data[i / 375 * 125 + i % 125] * [1.0, 0.5, -0.5][i / 125 % 3];
            let count = shape.iter().product();
            let data = if name.contains("conv") { (0..count).map(part).collect() } else { vec![0.5; count] };
            three.tensors.insert(name, vnet_engine::nn::model::Tensor { shape, data });
        }
    }
    let other = folder.path().join("three.safetensors");
    three.write(&other).expect("written");
    let mut fine = settings(folder.path(), "fine", &["optimiser.learning_rate=1e-30", "data.split=[1,0,0]", "seed=9"]);
    fine.init = Some(other);
    let heard = run(&fine);
    let words = "1 input channel instead of 3: the weights of encoder.0.conv.0.weight are summed over the old channels";
    assert!(heard.notes.iter().any(|note| note.contains(words) && note.contains("left out")), "{:?}", heard.notes);
    let log = std::fs::read_to_string(fine.out.join("log.jsonl")).expect("a log");
    assert!(log.contains("initialised") && log.contains(words), "{log}");
    // 1 + 1/2 - 1/2 of each weight.
    assert_eq!(tensors(&fine.out.join("model.safetensors")), tensors(&first.out.join("model.safetensors")));
}

fn other_differences_of_a_model_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = settings(folder.path(), "first", &["training.steps=1"]);
    run(&first);
    for (key, words) in [
        (
            "network.base=6",
            ["tensor decoder.0.conv.0.weight", "expected F32 [12, 12, 5, 5, 5], or", "found F32 [8, 8, 5, 5, 5]"],
        ),
        (
            "network.base=2",
            ["tensor decoder.0.conv.0.weight", "expected F32 [4, 4, 5, 5, 5], or", "found F32 [8, 8, 5, 5, 5]"],
        ),
    ] {
        let mut other = settings(folder.path(), "other", &[key]);
        other.init = Some(first.out.join("model.safetensors"));
        let error = train(gpu(), &other, &mut Heard::default()).expect_err(key).to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{key}: {error}");
        assert!(!other.out.join("config.toml").exists(), "{key}: no run was started");
    }
}

fn a_run_cut_to_the_steps_it_has_done_ends_with_a_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = settings(folder.path(), "run", &["training.validate_every=0"]);
    run(&whole);
    for name in ["step_0000006.safetensors", "../model.safetensors"] {
        std::fs::remove_file(whole.out.join("checkpoint").join(name)).expect("as if it had been killed after step 3");
    }
    let mut cut = RunSettings { resume: true, ..whole };
    cut.config.training.steps = 3;
    assert!(run(&cut).losses.is_empty());
    assert!(cut.out.join("model.safetensors").exists() && cut.out.join("test/scores.json").exists());
}
