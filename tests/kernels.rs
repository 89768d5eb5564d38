//! Runs with a table of measured kernels.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use support::notes::Notes;
use support::program::{program, refused};
use support::{DIRECT, GPU};
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::gpu::{Gpu, GpuOptions};
use vnet_engine::kernel::{
    Algorithms, ConvolutionKernels, ConvolutionLayer, KernelPolicy, KernelTable, MeasuredChoice,
};
use vnet_engine::ops::{Reason, convolution_kernels};
use vnet_engine::train::{Config, Preset, RunSettings, Setting, Summary, TrainError, Trainer, train};
use vnet_engine::tuning::{read_table, write_table};

/// What makes a training small.
const KEYS: [&str; 6] = [
    "training.steps=4",
    "training.validate_every=2",
    "network.encoder=[1,1]",
    "network.decoder=[1]",
    "data.patch=[16,16,16]",
    "schedule.kind=constant",
];
const TABLE: &str = "kernels.toml";

fn main() {
    support::run_trials(&[
        (
            "a_table_against_the_cost_model_is_followed_to_the_bit",
            true,
            a_table_against_the_cost_model_is_followed_to_the_bit,
        ),
        (
            "a_measured_run_that_was_cut_ends_with_the_same_bits",
            true,
            a_measured_run_that_was_cut_ends_with_the_same_bits,
        ),
        (
            "a_training_follows_its_configuration_on_any_device",
            true,
            a_training_follows_its_configuration_on_any_device,
        ),
        ("a_run_without_its_table_is_not_measured_again", true, a_run_without_its_table_is_not_measured_again),
        ("the_program_measures_once_and_takes_tables", true, the_program_measures_once_and_takes_tables),
        ("wrong_tables_are_wrong_input", true, wrong_tables_are_wrong_input),
    ]);
}

/// A device that follows a table, or is to measure one.
fn measuring(measured: Option<Arc<KernelTable>>) -> Arc<Gpu> {
    let policy = KernelPolicy { algorithms: Algorithms::Measured, measured };
    let options = GpuOptions { policy, ..GpuOptions::default() };
    Arc::new(Gpu::open(&options).expect("it was opened before"))
}

fn phantoms(folder: &Path) {
    let settings = PhantomSettings { cases: 6, seed: 4, extents: [32, 28, 16], spacing: [4.0, 4.5, 4.5] };
    write_dataset(&folder.join("data"), &settings, |_| ()).expect("written");
}

fn settings(folder: &Path, out: &str, kernels: Algorithms) -> RunSettings {
    if !folder.join("data").exists() {
        phantoms(folder);
    }
    let config = Config::load(Preset::Tiny, None, &Setting::parse_all(KEYS)).expect("valid");
    RunSettings::new(folder.join("data"), folder.join(out), Config { kernels, ..config })
}

fn run(gpu: &Arc<Gpu>, settings: &RunSettings) -> (Result<Summary, TrainError>, Vec<String>) {
    let mut notes = Notes::default();
    (train(gpu, settings, &mut notes), notes.0)
}

fn weights(gpu: &Arc<Gpu>, settings: &RunSettings) -> String {
    run(gpu, settings).0.expect("a run").weights
}

/// The other kernels than those that the cost model chooses, for the last convolution of the network; also the former.
fn contradiction(gpu: &Gpu) -> (KernelTable, ConvolutionKernels) {
    use ConvolutionKernels::{Direct, Winograd};
    let layer = ConvolutionLayer::same_5([8, 8], [16; 3], 1);
    let auto = gpu.target().with_algorithms(Algorithms::Auto);
    let (chosen, reason) = convolution_kernels(&layer, &auto);
    assert_eq!(reason, Reason::CostModel);
    let kernels = if chosen == Direct { Winograd } else { Direct };
    let choice = MeasuredChoice { kernels, direct: Default::default(), winograd: Default::default() };
    let (adapter, driver) = (gpu.description().name.clone(), gpu.description().driver.clone());
    (KernelTable { adapter, driver, convolutions: BTreeMap::from([(layer, choice)]) }, kernels)
}

fn runs_on(plan: &vnet_engine::plan::Plan, layer: &str) -> ConvolutionKernels {
    let winograd = plan.kernels_of(layer).iter().any(|shader| shader.starts_with("winograd"));
    if winograd { ConvolutionKernels::Winograd } else { ConvolutionKernels::Direct }
}

fn a_table_against_the_cost_model_is_followed_to_the_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let auto = GPU.as_ref().expect("ignored without an adapter");
    let (table, kernels) = contradiction(auto);
    let gpu = measuring(Some(Arc::new(table.clone())));
    let [a, b] = ["a", "b"].map(|out| settings(folder.path(), out, Algorithms::Measured));
    let network = a.config.network(1, 2);
    let plan = |gpu: &Gpu| {
        Trainer::plan_for(&network, &a.config.trainer_settings(), [16; 3], gpu.target()).expect("it fits").1
    };
    let (of_table, of_model) = (plan(&gpu), plan(auto));
    assert_eq!(runs_on(&of_table, "decoder.0.conv.0"), kernels);
    assert_ne!(runs_on(&of_model, "decoder.0.conv.0"), kernels);
    assert_eq!(of_table.kernels_of("encoder.1.conv.0"), of_model.kernels_of("encoder.1.conv.0"), "not in the table");

    let found = weights(&gpu, &a);
    assert_eq!(found, weights(&gpu, &b));
    assert_ne!(found, weights(auto, &settings(folder.path(), "auto", Algorithms::Auto)), "other kernels, other bits");
    assert_eq!(read_table(&a.out.join(TABLE)).expect("stored"), table);
    assert!(!folder.path().join("auto").join(TABLE).exists());
}

/// Whatever the device was opened for, and even with a table at hand.
fn a_training_follows_its_configuration_on_any_device() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let auto = GPU.as_ref().expect("ignored without an adapter");
    let direct = DIRECT.as_ref().expect("ignored without an adapter");
    let with_table = measuring(Some(Arc::new(contradiction(auto).0)));
    let found = [("direct", direct), ("auto", auto), ("table", &with_table)]
        .map(|(out, gpu)| weights(gpu, &settings(folder.path(), out, Algorithms::Direct)));
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0], found[2]);
    assert_ne!(
        found[0],
        weights(direct, &settings(folder.path(), "naive", Algorithms::Naive)),
        "other kernels, other bits"
    );
}

fn a_measured_run_that_was_cut_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut cut = settings(folder.path(), "cut", Algorithms::Measured);
    cut.config.training.steps = 2;
    let (summary, notes) = run(&measuring(None), &cut);
    summary.expect("a run");
    // 1->4 and 8->8 at full extents, 8->8 at half.
    assert!(notes.iter().any(|note| note == "timing the kernels of 3 convolutions"), "{notes:?}");
    let measured = std::fs::read(cut.out.join(TABLE)).expect("stored");
    let table = read_table(&cut.out.join(TABLE)).expect("a table");
    let convolutions = &table.convolutions;
    assert_eq!(convolutions.len(), 3);
    assert!(convolutions.values().all(|c| c.direct.as_nanos() > 0 && c.winograd.as_nanos() > 0), "{convolutions:?}");
    let faster = |c: &MeasuredChoice| (c.winograd < c.direct) == (c.kernels == ConvolutionKernels::Winograd);
    assert!(convolutions.values().all(faster), "{convolutions:?}");

    let whole = settings(folder.path(), "whole", Algorithms::Measured);
    let expected = weights(&measuring(Some(Arc::new(table))), &whole);
    (cut.config.training.steps, cut.resume) = (4, true);
    let (summary, notes) = run(&measuring(None), &cut);
    assert_eq!(summary.expect("a run").weights, expected);
    assert!(!notes.iter().any(|note| note.contains("timing") || note.contains("kernels")), "{notes:?}");
    assert_eq!(std::fs::read(cut.out.join(TABLE)).expect("stored"), measured);
}

fn a_run_without_its_table_is_not_measured_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (table, kernels) = contradiction(GPU.as_ref().expect("ignored without an adapter"));
    let mut settings = settings(folder.path(), "run", Algorithms::Measured);
    settings.config.training.steps = 2;
    weights(&measuring(Some(Arc::new(table.clone()))), &settings);
    (settings.config.training.steps, settings.resume) = (3, true);
    let path = settings.out.join(TABLE);
    std::fs::remove_file(&path).expect("it was stored");
    let error = run(&measuring(None), &settings).0.expect_err("its table is gone").to_string();
    assert!(error.contains(TABLE) && error.contains("cannot read"), "{error}");
    assert!(!path.exists());

    let mut other = table;
    let choice = other.convolutions.values_mut().next().expect("an entry");
    choice.kernels = match kernels {
        ConvolutionKernels::Direct => ConvolutionKernels::Winograd,
        ConvolutionKernels::Winograd => ConvolutionKernels::Direct,
    };
    other.adapter = "another adapter".to_owned();
    write_table(&path, &other).expect("written");
    let notes = run(&measuring(None), &settings).1;
    for words in ["measured_kernels.8->8, 16x16x16, batch 1", "choice of kernels", "measured on another adapter"] {
        assert!(notes.iter().any(|note| note.contains(words)), "{words} is not in {notes:?}");
    }
}

/// What the program prints as JSON.
fn json(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let output = program(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a JSON document")
}

fn trained(folder: &Path, out: &str, kernels: &str) -> serde_json::Value {
    let sets = KEYS.iter().flat_map(|key| ["--set", *key]);
    let fixed = ["train", "--data", "data", "--preset", "tiny", "--json", "--out", out, "--kernels", kernels];
    json(folder, &fixed.into_iter().chain(sets).collect::<Vec<_>>())
}

fn the_program_measures_once_and_takes_tables() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    phantoms(folder.path());
    let first = trained(folder.path(), "first", "measured");
    let second = trained(folder.path(), "second", "first/kernels.toml");
    assert!(first["weights"].is_string());
    assert_eq!(first["weights"], second["weights"]);
    let tables = ["first", "second"].map(|run| std::fs::read_to_string(folder.path().join(run).join(TABLE)));
    let [first, second] = tables.map(|table| table.expect("stored"));
    assert_eq!(first, second);
    let config = std::fs::read_to_string(folder.path().join("second/config.toml")).expect("stored");
    assert!(config.contains("kernels = \"measured\""), "{config}");

    let rows = |arguments: &[&str]| json(folder.path(), arguments)["convolutions"].as_array().expect("rows").clone();
    for row in rows(&["info", "first", "--json"]) {
        assert_eq!(row["chosen_by"], "measured");
        assert!(row["direct_seconds"].as_f64() > Some(0.0) && row["winograd_seconds"].as_f64() > Some(0.0), "{row}");
    }
    assert!(rows(&["info", "first", "--json", "--kernels", "auto"]).iter().all(|r| r["chosen_by"] == "cost model"));
    let bench = ["bench", "--model", "first", "--json", "--forward-only", "--whole", "--steps", "1"];
    assert!(rows(&bench).iter().all(|row| row["chosen_by"] == "measured"));
}

fn wrong_tables_are_wrong_input() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    phantoms(folder.path());
    let text = "adapter = \"a\"\ndriver = \"b\"\n[[convolution]]\nextents = [16, -1, 16]\n";
    std::fs::write(folder.path().join("wrong.toml"), text).expect("written");
    let train = ["train", "--data", "data", "--preset", "tiny", "--out", "run", "--kernels", "wrong.toml"];
    refused(folder.path(), &train, &["wrong.toml:4", "extents", "-1"]);
    let file = std::fs::File::create(folder.path().join("large.toml")).expect("created");
    file.set_len(1 << 30).expect("a sparse file");
    refused(folder.path(), &["info", "--preset", "tiny", "--kernels", "large.toml"], &["large.toml", "1048576 bytes"]);
    refused(folder.path(), &["info", "--preset", "tiny", "--kernels", "none.toml"], &["none.toml"]);
    refused(folder.path(), &["info", "--preset", "tiny", "--kernels", "measured"], &["--kernels measured", TABLE]);
    assert!(!folder.path().join("run").exists());
}
