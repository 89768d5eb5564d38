//! What `evaluate` writes for a paper: tolerances, confusion, calibration, and a text in which every number has a source.

use super::methods::check_methods;
use super::{EXTENTS, data_set, grid, json, organ, refused, run};
use serde_json::Value;
use vnet_engine::data::Volume;
use vnet_engine::data::io::{Header, Uncertainty, write_probabilities, write_uncertainty};

const ONE: [&str; 7] = ["evaluate", "--predictions", "first", "--labels", "labels", "--out", "out"];

#[test]
fn every_number_of_the_text_has_a_source() {
    let folder = data_set();
    // A case without prediction, one without anything, and a class whose name has a digit and a bar.
    for (kind, case, organ) in
        [("first", "b", false), ("first", "c", false), ("labels", "c", false), ("first", "d", true)]
    {
        let voxels = if organ { super::organ(1) } else { vec![0; EXTENTS.iter().product()] };
        super::write(&folder.path().join(kind), case, voxels);
    }
    std::fs::write(folder.path().join("dataset.json"), r#"{"labels": {"background": 0, "T2|core": 1, "other": 2}}"#)
        .expect("written");
    json(folder.path(), &[&ONE[..], &["--tolerance", "1.5", "--tolerance", "T2|core=2", "--regions"]].concat());
    let out = folder.path().join("out");
    let text = std::fs::read_to_string(out.join("methods.md")).expect("a text");
    assert!(check_methods(&out) > 60);
    for words in [
        "Predictions of 5 cases",
        "at a tolerance of 1.5 mm, for T2\\|core of 2.0 mm",
        "95 % confidence intervals",
        "9999 resamples",
        "b, T2\\|core (empty prediction)",
        "c, T2\\|core (empty prediction and reference)",
        "n = 4, 1 undefined",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(out.join("report.html").exists());
    let compare =
        ["evaluate", "--compare", "first", "second", "--labels", "labels", "--out", "both", "--names", "A1,B2"];
    json(folder.path(), &compare);
    assert!(check_methods(&folder.path().join("both")) > 100);
}

/// Voxels whose label is ignored are in no cell; the sum is that of the others.
#[test]
fn confusion_counts_voxels_of_all_cases() {
    let folder = data_set();
    // Of class 1, half is ignored in a.
    let label =
        organ(0).iter().enumerate().map(|(v, class)| if *class == 1 && v % 2 == 0 { 9 } else { *class }).collect();
    super::write(&folder.path().join("labels"), "a", label);
    let (scores, _) = json(folder.path(), &[&ONE[..], &["--ignore", "9"]].concat());
    let organ_voxels = organ(0).iter().filter(|class| **class == 1).count();
    // b to e are off by 1 to 4 of 8 voxels along x.
    let missed: usize = (1..5).map(|shift| organ_voxels * shift / 8).sum();
    let all = 5 * organ(0).len() - organ_voxels / 2;
    let found = 9 * organ_voxels / 2 - missed;
    let confusion = &scores["confusion"];
    assert_eq!(confusion["names"], serde_json::json!(["background", "class 1"]));
    let background = all - found - 2 * missed;
    assert_eq!(confusion["voxels"], serde_json::json!([[background, missed], [missed, found]]));
    let csv = std::fs::read_to_string(folder.path().join("out/confusion.csv")).expect("a table");
    assert_eq!(csv.lines().nth(2), Some(format!("1 class 1,{missed},{found}").as_str()));
}

#[test]
fn calibration_needs_the_probabilities_of_every_prediction() {
    let folder = data_set();
    let probabilities = folder.path().join("first");
    let write = |case: &str, p: f32| {
        // Sure of background outside, p inside.
        let voxels = organ(0).iter().map(|class| if *class == 1 { p } else { 0.0 }).collect();
        let volume = Volume { grid: grid(), voxels };
        let path = probabilities.join(format!("{case}_prob1.nii.gz"));
        write_probabilities(&path, &volume, &Header::for_grid(&grid())).expect("written");
    };
    for case in ["a", "b", "c", "d"] {
        write(case, 0.75);
    }
    let arguments = [&ONE[..], &["--probabilities", "first"]].concat();
    let text = refused(folder.path(), &arguments);
    assert!(
        text.contains("first: no probabilities for e; expected a file of the same name as its prediction with _prob1")
    );
    write("e", 0.75);
    // A map of uncertainties is no prediction.
    let volume = Volume { grid: grid(), voxels: vec![0.5; organ(0).len()] };
    for (case, what) in [("a", Uncertainty::Entropy), ("b", Uncertainty::Disagreement)] {
        let path = what.path(&probabilities.join(format!("{case}.nii.gz")));
        write_uncertainty(&path, what, &volume, &Header::for_grid(&grid())).expect("written");
    }
    let (scores, _) = json(folder.path(), &arguments);
    let part = organ(0).iter().filter(|class| **class == 1).count() as f64 / organ(0).len() as f64;
    let number = |value: &Value| value.as_f64().expect("a number");
    let calibration = &scores["calibration"];
    // Inside, the right class has 0.75: off by a quarter, squares 2 / 16, and 1 / 16 of the class.
    assert!((number(&calibration["ece"]) - 0.25 * part).abs() < 1e-12, "{calibration}");
    assert!((number(&calibration["brier"]) - 0.125 * part).abs() < 1e-12);
    assert!((number(&calibration["classes"][0]["brier"]) - 0.0625 * part).abs() < 1e-12);
    assert_eq!(calibration["cases"].as_array().expect("cases").len(), 5);
    assert!(folder.path().join("out/reliability.svg").exists());
    let page = std::fs::read_to_string(folder.path().join("out/report.html")).expect("a page");
    assert!(page.contains("<h2>Calibration</h2>") && page.contains("Reliability of probabilities"));
    check_methods(&folder.path().join("out"));
    write("c", 1.5);
    let text = refused(folder.path(), &arguments);
    assert!(text.contains("c_prob1.nii.gz: holds 1.5, expected probabilities from 0 to 1"), "{text}");
}

#[test]
fn tolerances_are_of_classes() {
    let folder = data_set();
    let score = |scores: &Value| scores["cases"][1]["surface_dice"].as_f64().expect("a score");
    // b is off by a voxel of 1 mm.
    let (near, _) = json(folder.path(), &ONE);
    let (far, _) = json(folder.path(), &[&ONE[..], &["--tolerance", "0.5"]].concat());
    assert_eq!(score(&near), 1.0);
    assert!((0.5..0.95).contains(&score(&far)));
    for (value, words) in [
        ("nose=1", "--tolerance nose: no such class; the classes are class 1"),
        ("-1", "expected a tolerance in mm from 0 to 10000"),
        ("1=x", "expected a tolerance in mm from 0 to 10000"),
    ] {
        let text = refused(folder.path(), &[&ONE[..], &[&format!("--tolerance={value}")]].concat());
        assert!(text.contains(words), "{value}: {text}");
    }
    let text = refused(folder.path(), &[&ONE[..], &["--lesion-iou", "0"]].concat());
    assert!(text.contains("expected a number above 0 and up to 1"), "{text}");
    // The lesion of b, moved by one of eight voxels, has an IoU of 7 / 9.
    for (threshold, found) in [("0.77", 1), ("0.78", 0)] {
        let output = run(folder.path(), &[&ONE[..], &["--lesion-iou", threshold, "--json"]].concat());
        let scores: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(scores["cases"][1]["lesion_true_positives"], found);
    }
    let csv = std::fs::read_to_string(folder.path().join("out/lesions.csv")).expect("a table");
    assert!(csv.contains("\nb,1,missed,") && csv.contains("\nb,1,invented,,"), "{csv}");
}
