//! Failures on demand: memory that runs out at each allocation, a device that is lost, NaN. Each ends in the
//! reaction that docs/reliability.md describes, and what is on disk stays whole.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::gpu;
use support::notes::Notes;
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::gpu::{Counts, Fault, Gpu, GpuError, GpuOptions};
use vnet_engine::train::{Config, Preset, RunSettings, Setting, Summary, TrainError, Trainer, train, train_on};

const STEPS: u64 = 6;

fn main() {
    support::run_trials(&[
        (
            "memory_that_runs_out_at_each_allocation_is_an_error",
            true,
            memory_that_runs_out_at_each_allocation_is_an_error,
        ),
        ("a_run_that_ran_out_of_memory_goes_on_with_the_same_bits", true, a_run_that_ran_out_of_memory_goes_on),
        ("a_run_goes_on_with_the_same_bits_on_a_new_device", true, a_run_goes_on_with_the_same_bits_on_a_new_device),
        (
            "a_device_that_is_lost_twice_ends_the_run_and_leaves_it_whole",
            true,
            a_device_that_is_lost_twice_ends_the_run,
        ),
        ("one_nan_anywhere_spoils_no_state", true, one_nan_anywhere_spoils_no_state),
        (
            "a_loss_that_is_nan_with_a_finite_gradient_is_told_of_and_changes_nothing",
            true,
            a_loss_that_is_nan_with_a_finite_gradient,
        ),
        ("parameters_that_became_nan_are_restored", true, parameters_that_became_nan_are_restored),
        ("nans_at_every_step_stop_the_run_and_keep_its_checkpoint", true, nans_at_every_step_stop_the_run),
    ]);
}

fn open(fault: Option<Fault>) -> Arc<Gpu> {
    let options = GpuOptions { policy: gpu().target().policy.clone(), ..GpuOptions::default() };
    let gpu = Gpu::open(&options).expect("it was opened before");
    gpu.inject(fault);
    Arc::new(gpu)
}

fn settings(folder: &Path, out: &str, keys: &[&str]) -> RunSettings {
    let data = folder.join("data");
    if !data.exists() {
        let phantoms = PhantomSettings { cases: 4, seed: 4, extents: [32, 32, 16], spacing: [4.0, 4.0, 4.5] };
        write_dataset(&data, &phantoms, |_| ()).expect("written");
    }
    let steps = format!("training.steps={STEPS}");
    let fixed = [
        steps.as_str(),
        "training.validate_every=3",
        "training.checkpoint_every=2",
        "network.encoder=[1,1]",
        "network.decoder=[1]",
        "data.split=[0.5,0.25,0.25]",
    ];
    let config = Config::load(Preset::Tiny, None, &Setting::parse_all(fixed.iter().chain(keys))).expect("valid");
    RunSettings::new(data, folder.join(out), config)
}

/// A run without a failure, and what it counts.
fn reference(folder: &Path) -> (Summary, Counts) {
    // A fault that never comes: dispatches are counted only while one is armed.
    let gpu = open(Some(Fault::DeviceLost { dispatch: u64::MAX }));
    let summary = train(&gpu, &settings(folder, "reference", &[]), &mut ()).expect("a run");
    (summary, gpu.counts())
}

/// Every tensor of every checkpoint and of the model is finite, and there is a checkpoint.
fn assert_whole(run: &Path) {
    let mut files: Vec<_> = std::fs::read_dir(run.join("checkpoint"))
        .expect("a folder of checkpoints")
        .map(|e| e.expect("an entry").path())
        .collect();
    assert!(!files.is_empty(), "{}", run.display());
    files.extend(Some(run.join("model.safetensors")).filter(|m| m.exists()));
    for file in files {
        let bytes = std::fs::read(&file).expect("readable");
        let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("whole");
        for (name, tensor) in tensors.tensors() {
            let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data());
            assert!(numbers.iter().all(|x| x.is_finite()), "{}: {name}", file.display());
        }
    }
}

fn events(run: &Path, name: &str) -> usize {
    let log = std::fs::read_to_string(run.join("log.jsonl")).expect("a log");
    log.lines().filter(|l| l.contains(&format!("\"event\":\"{name}\""))).count()
}

fn memory_that_runs_out_at_each_allocation_is_an_error() {
    let config =
        Config::load(Preset::Tiny, None, &Setting::parse_all(["network.encoder=[1,1]", "network.decoder=[1]"]));
    let config = config.expect("valid");
    let gpu = open(None);
    let build = || Trainer::new(&gpu, &config.network(1, 2), &config.trainer_settings(), [8, 8, 8]);
    build().expect("it fits");
    let allocations = gpu.counts().allocations;
    assert!(allocations > 10, "{allocations}");
    for allocation in 0..allocations {
        gpu.inject(Some(Fault::OutOfMemory { allocation }));
        let error = build().expect_err("memory ran out");
        assert!(matches!(error, TrainError::Gpu(GpuError::OutOfMemory { .. })), "{allocation}: {error}");
        assert!(error.to_string().contains("--memory low"), "{error}");
    }
    // The device is as good as before.
    gpu.inject(None);
    build().expect("it fits");
}

fn a_run_that_ran_out_of_memory_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (expected, counts) = reference(folder.path());
    for part in 1..8 {
        let allocation = counts.allocations * part / 8;
        let mut settings = settings(folder.path(), &format!("memory{part}"), &[]);
        let gpu = open(Some(Fault::OutOfMemory { allocation }));
        let error = train(&gpu, &settings, &mut ()).expect_err("memory ran out");
        assert!(error.to_string().contains("out of memory"), "{allocation}: {error}");
        settings.resume = settings.out.join("config.toml").exists();
        if settings.resume {
            assert_whole(&settings.out);
        }
        let summary = train(&open(None), &settings, &mut ()).expect("it goes on");
        assert_eq!((&summary.weights, &summary.model), (&expected.weights, &expected.model), "{allocation}");
    }
}

/// Opens a device with each of the faults in turn.
fn train_with(faults: &[Option<Fault>], settings: &RunSettings) -> (Result<Summary, TrainError>, Vec<String>) {
    let opened = AtomicUsize::new(0);
    let mut notes = Notes::default();
    let next = || Ok(open(faults[opened.fetch_add(1, Ordering::Relaxed)]));
    let end = train_on(next, settings, &mut notes);
    (end, notes.0)
}

fn a_run_goes_on_with_the_same_bits_on_a_new_device() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (expected, counts) = reference(folder.path());
    for part in [1, 3, 4, 6, 7] {
        let dispatch = counts.dispatches * part / 8 + part;
        let settings = settings(folder.path(), &format!("lost{part}"), &[]);
        let (end, notes) = train_with(&[Some(Fault::DeviceLost { dispatch }), None], &settings);
        let summary = end.expect("it goes on");
        assert_eq!((&summary.weights, &summary.model), (&expected.weights, &expected.model), "{dispatch}");
        assert!(notes.iter().any(|n| n.contains("the device was lost")), "{notes:?}");
        assert_eq!(events(&settings.out, "device_lost"), 1);
        assert_whole(&settings.out);
    }
}

fn a_device_that_is_lost_twice_ends_the_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (expected, counts) = reference(folder.path());
    let mut settings = settings(folder.path(), "twice", &[]);
    let lost = |part| Some(Fault::DeviceLost { dispatch: counts.dispatches * part / 8 });
    let (end, _) = train_with(&[lost(3), lost(1)], &settings);
    let error = end.expect_err("lost twice");
    assert!(matches!(error, TrainError::Gpu(GpuError::Lost { .. })), "{error}");
    assert_whole(&settings.out);
    settings.resume = true;
    let summary = train(&open(None), &settings, &mut ()).expect("it goes on");
    assert_eq!(summary.weights, expected.weights);
}

fn one_nan_anywhere_spoils_no_state() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_, counts) = reference(folder.path());
    let mut seen = 0;
    for part in 0..12 {
        // Dispatches of forward and backward passes, updates and validations, at no regular distance.
        let dispatch = counts.dispatches * part / 12 + (part * part) % 17;
        let settings = settings(folder.path(), &format!("nan{part}"), &[]);
        let gpu = open(Some(Fault::NotANumber { dispatch, period: 0 }));
        train(&gpu, &settings, &mut ()).unwrap_or_else(|e| panic!("dispatch {dispatch}: {e}"));
        assert_whole(&settings.out);
        seen += usize::from(events(&settings.out, "skipped") + events(&settings.out, "restored") > 0);
    }
    assert!(seen >= 4, "only {seen} of 12 were noticed");
}

/// The gradient does not depend on the sum that is reported as the loss: the step takes place, and the log says so.
fn a_loss_that_is_nan_with_a_finite_gradient() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (expected, _) = reference(folder.path());
    let settings = settings(folder.path(), "loss", &[]);
    let trainer =
        Trainer::new(&open(None), &settings.config.network(1, 2), &settings.config.trainer_settings(), [16, 32, 32])
            .expect("it fits");
    let plan = trainer.executor().plan();
    let of_a_step: Vec<usize> = plan.programs.iter().flat_map(|p| p.dispatches.iter().map(|d| d.kernel)).collect();
    let loss = of_a_step.iter().position(|k| plan.kernels[*k].shader == "soft_dice_loss").expect("a loss");
    // Behind step 2's: before the first validation every dispatch is a step's.
    let gpu = open(Some(Fault::NotANumber { dispatch: (of_a_step.len() + loss) as u64, period: 0 }));
    let mut notes = Notes::default();
    let summary = train(&gpu, &settings, &mut notes).expect("it goes on");
    assert_eq!((&summary.weights, &summary.model), (&expected.weights, &expected.model));
    assert_eq!((events(&settings.out, "nonfinite_loss"), events(&settings.out, "skipped")), (1, 0), "{:?}", notes.0);
    let log = std::fs::read_to_string(settings.out.join("log.jsonl")).expect("a log");
    let line = log.lines().find(|l| l.contains("nonfinite_loss")).expect("an event");
    assert!(line.contains("\"step\":2,\"loss\":\"NaN\""), "{line}");
    assert_eq!(notes.0.len(), 1, "{:?}", notes.0);
    assert!(notes.0[0].contains("step 2: the loss is not finite"), "{:?}", notes.0);
}

/// The last dispatch of a step is the optimiser's: the parameters themselves are spoilt.
fn parameters_that_became_nan_are_restored() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = settings(folder.path(), "parameters", &["health.nonfinite_steps=2"]);
    let trainer =
        Trainer::new(&open(None), &settings.config.network(1, 2), &settings.config.trainer_settings(), [16, 32, 32])
            .expect("it fits");
    let programs = &trainer.executor().plan().programs;
    let dispatches: u64 = programs.iter().map(|p| p.dispatches.len() as u64).sum();
    drop(trainer);
    // Step 2, whose checkpoint is due at once, and step 3.
    for step in [2, 3] {
        let run = RunSettings { out: folder.path().join(format!("step{step}")), ..settings.clone() };
        let gpu = open(Some(Fault::NotANumber { dispatch: dispatches * step - 1, period: 0 }));
        let mut notes = Notes::default();
        train(&gpu, &run, &mut notes).expect("restored");
        assert_whole(&run.out);
        assert_eq!(events(&run.out, "restored"), 1, "{:?}", notes.0);
        let log = std::fs::read_to_string(run.out.join("log.jsonl")).expect("a log");
        let expected = format!("\"step\":{},", step / 2 * 2 - if step == 2 { 2 } else { 0 });
        let line = log.lines().find(|l| l.contains("\"event\":\"restored\"")).expect("a restoration");
        assert!(line.contains(&expected) && line.contains("\"learning_rate_factor\":0.5"), "{line}");
    }
}

fn nans_at_every_step_stop_the_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let keys = ["health.nonfinite_steps=2", "health.most_restorations=2"];
    let mut settings = settings(folder.path(), "always", &keys);
    let gpu = open(Some(Fault::NotANumber { dispatch: 0, period: 1 }));
    let error = train(&gpu, &settings, &mut ()).expect_err("it cannot learn");
    assert!(matches!(error, TrainError::Unhealthy { .. }), "{error}");
    assert!(error.to_string().contains("--resume"), "{error}");
    assert_eq!((events(&settings.out, "restored"), events(&settings.out, "unhealthy")), (2, 1));
    assert!(events(&settings.out, "skipped") >= 2);
    assert_whole(&settings.out);
    settings.resume = true;
    let summary = train(&open(None), &settings, &mut ()).expect("it goes on");
    assert!(!summary.weights.is_empty());
    assert_whole(&settings.out);
}
