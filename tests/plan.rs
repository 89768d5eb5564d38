//! `vnet-engine plan`, and trainings that name no configuration.

mod support;

use std::fs;
use std::path::Path;
use support::program::{program, refused};
use vnet_engine::data::io::{read_header, read_label_map, read_volume, write_label_map, write_volume_as};
use vnet_engine::data::phantom::{PhantomSettings, write_dataset};
use vnet_engine::nn::Model;
use vnet_engine::train::{Config, Preset};

fn main() {
    support::run_trials(&[
        (
            "a_plan_is_a_configuration_and_the_same_but_for_the_clock",
            true,
            a_plan_is_a_configuration_and_the_same_but_for_the_clock,
        ),
        (
            "masked_volumes_are_cropped_and_outputs_are_on_the_grid_of_the_file",
            true,
            masked_volumes_are_cropped_and_outputs_are_on_the_grid_of_the_file,
        ),
        ("a_training_without_configuration_follows_a_plan", true, a_training_without_configuration_follows_a_plan),
        ("wrong_data_and_files_in_the_way_are_named", false, wrong_data_and_files_in_the_way_are_named),
    ]);
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = program(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    stderr
}

/// A folder with a data set of six cases in `data`.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = PhantomSettings { cases: 6, seed: 4, extents: [32, 28, 16], spacing: [4.0, 4.5, 4.5] };
    write_dataset(&folder.path().join("data"), &settings, |_| ()).expect("written");
    folder
}

/// The lines that do not depend on the clock.
fn timeless(text: &str) -> Vec<&str> {
    let mut dropping = false;
    let mut kept = Vec::new();
    for line in text.lines() {
        dropping |= line.starts_with("# measured");
        if !dropping {
            kept.push(line);
        }
        dropping &= line.starts_with('#');
    }
    kept
}

fn a_plan_is_a_configuration_and_the_same_but_for_the_clock() {
    let folder = data();
    let texts = ["a.toml", "b.toml"].map(|file| {
        succeed(folder.path(), &["plan", "--data", "data", "--out", file, "--minutes", "2"]);
        fs::read_to_string(folder.path().join(file)).expect("a plan")
    });
    assert_eq!(timeless(&texts[0]), timeless(&texts[1]));
    assert!(texts[0].contains("# measured: ") && texts[0].contains("# peak device memory: "), "{}", texts[0]);
    let config = Config::load(Preset::Small, Some(&folder.path().join("a.toml")), &[]).expect("a configuration");
    assert!(config.training.steps >= 300, "{}", texts[0]);
}

fn a_training_without_configuration_follows_a_plan() {
    let folder = data();
    let short = ["--steps", "1", "--set", "training.validate_every=0"];
    let train = |out: &str, extra: &[&str]| {
        let arguments = ["train", "--data", "data", "--out", out];
        succeed(folder.path(), &[&arguments[..], &short, extra].concat())
    };
    let stderr = train("planned", &[]);
    assert!(stderr.contains("configuration: planned from the data"), "{stderr}");
    let stored = folder.path().join("planned/plan.toml");
    let planned = Config::load(Preset::Small, Some(&stored), &[]).expect("a configuration");
    let used = Config::read(&folder.path().join("planned/config.toml")).expect("a configuration");
    // As text: keys of other kinds of networks are not part of it.
    let network = |config: &Config| toml::to_string(&config.network).expect("a table");
    assert_eq!((&used.data, network(&used)), (&planned.data, network(&planned)));
    assert!(!folder.path().join("data/plan.toml").exists(), "nothing is written to the data");
    // A plan beside the data that a person has changed is what is used.
    succeed(folder.path(), &["plan", "--data", "data", "--minutes", "1"]);
    let path = folder.path().join("data/plan.toml");
    let text = fs::read_to_string(&path).expect("a plan");
    assert!(text.contains("\nfeatures = 8\n"), "{text}");
    fs::write(&path, text.replace("\nfeatures = 8\n", "\nfeatures = 6\n")).expect("written");
    let stderr = train("changed", &[]);
    assert!(stderr.contains("plan.toml") && !stderr.contains("planned from the data"), "{stderr}");
    let used = Config::read(&folder.path().join("changed/config.toml")).expect("a configuration");
    assert_eq!(used.network.architecture.values.count("features"), 6);
    // A preset needs no plan.
    train("preset", &["--preset", "tiny"]);
    assert!(!folder.path().join("preset/plan.toml").exists());
    refused(folder.path(), &["train", "--data", "data", "--out", "preset"], &["preset", "holds a run already"]);
}

/// First and last voxel along each axis of a mask in a phantom.
const MASK: [[usize; 2]; 3] = [[8, 23], [7, 20], [2, 13]];

/// As [`data`], with zeros outside of [`MASK`]; the label map of the last case has a voxel there, all others none.
fn masked() -> tempfile::TempDir {
    let folder = data();
    for at in 0..6 {
        let path = |of: &str| folder.path().join(format!("data/{of}/phantom_00{at}.nii.gz"));
        let header = read_header(&path("images")).expect("read");
        let mut image = read_volume(&path("images")).expect("read");
        let mut label = read_label_map(&path("labels")).expect("read");
        let [nx, ny, _] = image.grid.extents;
        for voxel in 0..image.voxels.len() {
            let place = [voxel % nx, voxel / nx % ny, voxel / nx / ny];
            if (0..3).all(|axis| (MASK[axis][0]..=MASK[axis][1]).contains(&place[axis])) {
                image.voxels[voxel] = image.voxels[voxel].max(1.0);
            } else {
                (image.voxels[voxel], label.voxels[voxel]) = (0.0, 0);
            }
        }
        label.voxels[0] = u16::from(at == 5);
        write_volume_as(&path("images"), &image, header.scalar, &header).expect("written");
        write_label_map(&path("labels"), &label, &header).expect("written");
    }
    folder
}

/// A plan that crops and tries two configurations; its training; a segmentation: background outside of the mask, on the file's grid.
fn masked_volumes_are_cropped_and_outputs_are_on_the_grid_of_the_file() {
    let folder = masked();
    let name = |at: usize| format!("\"phantom_00{at}\"");
    let split = format!(
        "{{\"train\": [{}, {}], \"validation\": [{}, {}, {}], \"test\": [{}]}}",
        name(0),
        name(5),
        name(1),
        name(2),
        name(3),
        name(4)
    );
    fs::write(folder.path().join("data/split.json"), split).expect("written");
    let told =
        succeed(folder.path(), &["plan", "--data", "data", "--minutes", "0.2", "--trials", "2", "--out", "plan.toml"]);
    // One case in six loses foreground, more than one in twenty: volumes are taken whole.
    let text = fs::read_to_string(folder.path().join("plan.toml")).expect("a plan");
    assert!(!text.contains("crop = ") && !told.contains("outside of the box"), "{text}");
    assert!(text.contains("# measured: rules: the configuration of the rules, batch"), "{text}");
    assert!(
        text.contains("# measured: wide: network.features = 16, a smaller patch, batch") && text.contains("standard"),
        "{text}"
    );
    // Without that voxel they are cropped.
    let label = folder.path().join("data/labels/phantom_005.nii.gz");
    let (header, mut map) = (read_header(&label).expect("read"), read_label_map(&label).expect("read"));
    map.voxels[0] = 0;
    write_label_map(&label, &map, &header).expect("written");
    succeed(folder.path(), &["plan", "--data", "data", "--minutes", "0.2", "--trials", "1", "--out", "crop.toml"]);
    let text = fs::read_to_string(folder.path().join("crop.toml")).expect("a plan");
    assert!(
        text.contains("\ncrop = \"nonzero\"\n") && text.contains("81 % of the voxels of the median case"),
        "{text}"
    );
    assert!(text.contains("normalisation = \"z_score_non_zero\"") && !text.contains("rules: "), "{text}");
    map.voxels[0] = 1;
    write_label_map(&label, &map, &header).expect("written");
    let train = ["train", "--data", "data", "--out", "run", "--config", "crop.toml", "--steps", "2"];
    let told = succeed(folder.path(), &train);
    let warning = "foreground outside of the box of non-zero voxels";
    assert!(told.contains(warning) && told.contains("phantom_005.nii.gz: ") && told.contains("1 of "), "{told}");
    let model = Model::read(&folder.path().join("run/model.safetensors")).expect("a model");
    assert_eq!(model.preprocessing.expect("how volumes are prepared")["crop"], "nonzero");
    let (input, output) = ("data/images/phantom_004.nii.gz", "label.nii.gz");
    succeed(folder.path(), &["segment", "--model", "run", "--input", input, "--output", output, "--probabilities"]);
    let (found, image) = (
        read_label_map(&folder.path().join(output)).expect("a label map"),
        read_volume(&folder.path().join(input)).expect("an image"),
    );
    assert!(found.grid.same_grid(&image.grid), "{:?}", found.grid);
    let probability = read_volume(&folder.path().join("label_prob1.nii.gz")).expect("probabilities");
    assert!(probability.grid.same_grid(&image.grid));
    let mut within = 0.0f32;
    for ((label, probability), image) in found.voxels.iter().zip(&probability.voxels).zip(&image.voxels) {
        assert!(*image != 0.0 || (*label, *probability) == (0, 0.0));
        within = within.max(*probability);
    }
    assert!(within > 0.0, "within the mask there is a probability");
}

fn wrong_data_and_files_in_the_way_are_named() {
    let folder = data();
    refused(folder.path(), &["plan", "--data", "nowhere"], &["nowhere"]);
    fs::write(folder.path().join("data/plan.toml"), "seed = 1\n").expect("written");
    refused(folder.path(), &["plan", "--data", "data"], &["plan.toml", "--force"]);
    assert_eq!(fs::read_to_string(folder.path().join("data/plan.toml")).expect("there"), "seed = 1\n");
    for minutes in ["0", "-3", "soon", "NaN"] {
        let output = program(folder.path(), &["plan", "--data", "data", "--out", "x", &format!("--minutes={minutes}")]);
        assert_eq!(output.status.code(), Some(2), "{minutes}");
    }
}
