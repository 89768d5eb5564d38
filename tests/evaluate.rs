//! `evaluate` as a user runs it: files, pictures and mistakes.

#[path = "support/methods.rs"]
mod methods;
#[path = "evaluate/paper.rs"]
mod paper;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use vnet_engine::data::io::{Header, Scalar, write_label_map, write_probabilities, write_volume_as};
use vnet_engine::data::{Classes, Grid, LabelMap, Volume};
use vnet_engine::evaluate::figures::choose;
use vnet_engine::evaluate::{CaseFiles, Scoring, evaluate_pairs};
use vnet_engine::metrics::Comparison;
use vnet_engine::report::{first_colour, prediction_colour, reference_colour, second_colour};

const EXTENTS: [usize; 3] = [24, 20, 9];

/// x to the left, z to the head.
fn grid() -> Grid {
    let mut grid = Grid::axis_aligned(EXTENTS, [1.0, 1.0, 3.0]);
    (grid.affine[0][0], grid.affine[0][3]) = (-1.0, 23.0);
    grid
}

/// A box of class 1, `shift` voxels off along x.
fn organ(shift: usize) -> Vec<u16> {
    let inside = |v: usize| {
        let [x, y, z] = [v % 24, v / 24 % 20, v / 480];
        (4 + shift..12 + shift).contains(&x) && (5..14).contains(&y) && (2..8).contains(&z)
    };
    (0..24 * 20 * 9).map(|v| u16::from(inside(v))).collect()
}

fn write(folder: &Path, case: &str, voxels: Vec<u16>) {
    std::fs::create_dir_all(folder).expect("a folder");
    let map = LabelMap { grid: grid(), voxels };
    write_label_map(&folder.join(format!("{case}.nii.gz")), &map, &Header::for_grid(&grid())).expect("written");
}

/// Cases a to e: `first` is off by 0 to 4 voxels, `second` by 3 everywhere but in d.
fn data_set() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("images")).expect("a folder");
    for (shift, case) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        write(&at("labels"), case, organ(0));
        write(&at("first"), case, organ(shift));
        write(&at("second"), case, organ(if case == "d" { 0 } else { 3 }));
        let voxels = (0..24 * 20 * 9).map(|v| (v % 24) as f32).collect();
        let volume = Volume { grid: grid(), voxels };
        let path = at("images").join(format!("{case}.nii.gz"));
        write_volume_as(&path, &volume, Scalar::Int16, &Header::for_grid(&grid())).expect("written");
    }
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vnet-engine")).current_dir(folder).args(arguments).output().expect("it runs")
}

fn pictures(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    found.sort();
    found
}

fn count(path: &Path, colour: [u8; 3]) -> usize {
    image::open(path).expect("a picture").into_rgb8().pixels().filter(|pixel| pixel.0 == colour).count()
}

fn names(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

#[test]
fn figures_of_one_set() {
    let folder = data_set();
    let arguments = ["evaluate", "--predictions", "first", "--labels", "labels", "--out", "scores", "--regions"];
    let output = run(folder.path(), &[&arguments[..], &["--images", "images"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let scores = folder.path().join("scores");
    for file in ["scores.csv", "scores.json", "dice.svg", "metrics.svg", "metrics_apex.svg", "metrics_base.svg"] {
        assert!(scores.join(file).metadata().expect(file).len() > 0);
    }
    // Dice falls from a to e.
    let overlays = pictures(&scores.join("overlays"));
    assert_eq!(names(&overlays), ["best_a.png", "median_c.png", "worst_e.png"]);
    for overlay in &overlays {
        assert!(count(overlay, reference_colour(1)) > 100 && count(overlay, prediction_colour(1)) > 100);
    }
}

#[test]
fn two_sets_side_by_side() {
    let folder = data_set();
    let arguments = ["evaluate", "--compare", "first", "second", "--labels", "labels", "--out", "out"];
    let output = run(folder.path(), &[&arguments[..], &["--images", "images", "--names", "one, two"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let out = folder.path().join("out");
    let json = std::fs::read_to_string(out.join("comparison.json")).expect("JSON");
    let comparison: Comparison = serde_json::from_str(&json).expect("a comparison");
    assert_eq!(comparison.names, ["one", "two"]);
    let text = std::fs::read_to_string(out.join("comparison.md")).expect("text");
    assert_eq!(String::from_utf8_lossy(&output.stdout), text);
    assert!(text.starts_with("| class | region | metric | one | two |"), "{text}");
    // A row per case and metric, in the order of the JSON, whose last digit may be read differently.
    let csv = std::fs::read_to_string(out.join("comparison.csv")).expect("CSV");
    assert_eq!((csv.lines().count(), comparison.cases.len()), (1 + 5 * 12, 5 * 12));
    for (line, pair) in csv.lines().skip(1).zip(&comparison.cases) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[..4], [&pair.case, "1", "whole", pair.metric.key()]);
        for (field, value) in fields[4..].iter().zip([pair.first, pair.second, pair.difference]) {
            let off = field.parse::<f64>().expect("a number") - value.expect("a score");
            assert!(off.abs() < 1e-15, "{line}");
        }
    }
    // Differences of Dice: a 3/8, b 2/8, c 1/8, d -3/8, e -1/8.
    let overlays = pictures(&out.join("overlays"));
    assert_eq!(names(&overlays), ["first_better_a.png", "median_c.png", "second_better_d.png"]);
    for overlay in &overlays {
        assert!(count(overlay, second_colour(1)) > 100, "{}", overlay.display());
    }
    // In a the first prediction is the reference, whose outline covers the outer pixel of its own.
    assert!(overlays.iter().all(|overlay| count(overlay, first_colour(1)) > 100));
    let svg = std::fs::read_to_string(out.join("comparison.svg")).expect("a plot");
    let plot = roxmltree::Document::parse(&svg).expect("XML");
    assert_eq!(plot.root_element().attribute("viewBox"), Some("0 0 1660 1060"));
    // Three metrics of five cases: a line per case with both scores, and a dot for each.
    let notes = |tag: &str| plot.descendants().filter(|n| n.tag_name().name() == tag && n.has_children()).count();
    assert!(notes("polyline") >= 15 && notes("circle") >= 45, "{} {}", notes("polyline"), notes("circle"));
}

#[test]
fn mistakes_are_named() {
    let folder = data_set();
    let remove = |name: &str| std::fs::remove_file(folder.path().join(name)).expect("removed");
    remove("second/b.nii.gz");
    remove("images/e.nii.gz");
    let compare = ["evaluate", "--compare", "first", "second", "--labels", "labels", "--out", "out"];
    let one = ["evaluate", "--predictions", "first", "--labels", "labels", "--out", "out"];
    for (arguments, words) in [
        (compare.to_vec(), "second: no prediction for b"),
        ([&one[..], &["--images", "images"]].concat(), "images: no image for e"),
        ([&compare[..], &["--names", "one"]].concat(), "expected two names"),
        ([&compare[..], &["--predictions", "first"]].concat(), "cannot be used with"),
        (one[..1].iter().chain(&one[3..]).copied().collect(), "--predictions"),
    ] {
        let output = run(folder.path(), &arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
}

/// What the program says in JSON, and that it succeeds.
fn json(folder: &Path, arguments: &[&str]) -> (serde_json::Value, String) {
    let output = run(folder, &[arguments, &["--json"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    (serde_json::from_slice(&output.stdout).expect("JSON"), stderr)
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    stderr
}

const ONE: [&str; 7] = ["evaluate", "--predictions", "first", "--labels", "labels", "--out", "out"];

/// Cases and classes of the records of an evaluation.
fn rows(evaluation: &serde_json::Value) -> Vec<(String, u64)> {
    let cases = evaluation["cases"].as_array().expect("records");
    let row = |scores: &serde_json::Value| {
        (scores["case"].as_str().expect("a name").to_owned(), scores["class"].as_u64().expect("a number"))
    };
    cases.iter().map(row).collect()
}

fn cases_of(evaluation: &serde_json::Value) -> Vec<String> {
    rows(evaluation).into_iter().map(|(case, _)| case).collect()
}

#[test]
fn a_label_without_prediction_is_named_and_left_out_only_on_request() {
    let folder = data_set();
    for case in ["b", "d"] {
        std::fs::remove_file(folder.path().join(format!("first/{case}.nii.gz"))).expect("removed");
    }
    let text = refused(folder.path(), &ONE);
    assert!(text.contains("first: no prediction for b, d; expected"), "{text}");
    assert!(!folder.path().join("out").exists());
    let (scores, stderr) = json(folder.path(), &[&ONE[..], &["--partial"]].concat());
    assert_eq!(cases_of(&scores), ["a", "c", "e"]);
    let note = "first: 3 of 5 labels are scored, no prediction for b, d";
    assert!(stderr.contains(note), "{stderr}");
    let stored = std::fs::read_to_string(folder.path().join("out/scores.json")).expect("scores");
    let stored: serde_json::Value = serde_json::from_str(&stored).expect("JSON");
    for document in [&scores, &stored] {
        assert_eq!(document["warnings"], serde_json::json!([note]));
    }
    // A comparison is of the cases that both have.
    let compare = ["evaluate", "--compare", "first", "second", "--labels", "labels", "--out", "out"];
    assert!(refused(folder.path(), &compare).contains("no prediction for b, d; expected"));
    let (comparison, _) = json(folder.path(), &[&compare[..], &["--partial"]].concat());
    let mut compared = cases_of(&comparison_rows(&comparison));
    compared.dedup();
    assert_eq!((compared, &comparison["warnings"]), (vec!["a".into(), "c".into(), "e".into()], &stored["warnings"]));
    // Nothing at all is no evaluation.
    for case in ["a", "c", "e"] {
        std::fs::rename(
            folder.path().join(format!("first/{case}.nii.gz")),
            folder.path().join(format!("first/x{case}.nii.gz")),
        )
        .expect("renamed");
    }
    let text = refused(folder.path(), &[&ONE[..], &["--partial"]].concat());
    for words in ["2 problems", "no prediction for a, b, c, d, e", "labels: no label for xa, xc, xe"] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
}

/// A comparison with the records' names as in an evaluation.
fn comparison_rows(comparison: &serde_json::Value) -> serde_json::Value {
    serde_json::json!({ "cases": comparison["cases"] })
}

#[test]
fn every_broken_file_is_named() {
    let folder = data_set();
    for file in ["first/b.nii.gz", "first/d.nii.gz", "labels/d.nii.gz"] {
        let path = folder.path().join(file);
        let bytes = std::fs::read(&path).expect("read");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    }
    let text = refused(folder.path(), &ONE);
    assert!(text.contains("3 problems"), "{text}");
    for file in ["first/b.nii.gz", "first/d.nii.gz", "labels/d.nii.gz"] {
        assert_eq!(text.lines().filter(|line| line.contains(&format!("{file}: "))).count(), 1, "{file}: {text}");
    }
}

/// 17 and 2035 are two classes, in every case; a `dataset.json` beside the labels names them and one that never occurs.
#[test]
fn the_values_that_occur_or_are_declared_are_scored() {
    let folder = data_set();
    let of = |value: u16| organ(0).iter().map(|&class| class * value).collect::<Vec<u16>>();
    for (kind, case, value) in [("labels", "a", 17), ("first", "a", 17), ("labels", "b", 2035), ("first", "b", 17)] {
        write(&folder.path().join(kind), case, of(value));
    }
    for case in ["c", "d", "e"] {
        write(&folder.path().join("labels"), case, of(0));
        write(&folder.path().join("first"), case, of(0));
    }
    let (scores, _) = json(folder.path(), &ONE);
    let expected: Vec<(String, u64)> = ["a", "b", "c", "d", "e"]
        .iter()
        .flat_map(|case| [((*case).to_owned(), 17), ((*case).to_owned(), 2035)])
        .collect();
    assert_eq!(rows(&scores), expected);
    let found = |at: usize| (&scores["cases"][at]["presence"], &scores["cases"][at]["dice"]);
    assert_eq!(found(0), (&"both".into(), &1.0.into()));
    assert_eq!(found(1), (&"both_empty".into(), &serde_json::Value::Null));
    assert_eq!((found(2).0, found(3).0), (&"empty_reference".into(), &"empty_prediction".into()));
    assert_eq!(found(9), (&"both_empty".into(), &serde_json::Value::Null));
    std::fs::write(
        folder.path().join("dataset.json"),
        r#"{"labels": {"background": 0, "left": 17, "brain stem": 16, "right": 2035}}"#,
    )
    .expect("written");
    let (scores, _) = json(folder.path(), &ONE);
    let classes = scores["summary"].as_array().expect("records").iter();
    let classes: Vec<_> = classes.map(|c| (c["class"].as_u64().expect("a value"), c["class_name"].clone())).collect();
    assert_eq!(classes, [(16, "brain stem".into()), (17, "left".into()), (2035, "right".into())]);
    std::fs::write(folder.path().join("dataset.json"), r#"{"labels": {"background": 0, "left": 17, "ignore": 2035}}"#)
        .expect("written");
    let (scores, _) = json(folder.path(), &ONE);
    let expected: Vec<(String, u64)> = ["a", "b", "c", "d", "e"].map(|case| (case.to_owned(), 17)).into();
    assert_eq!(rows(&scores), expected);
}

/// Values that are one class are scored as one, under the value that is written; others are mistakes.
#[test]
fn classes_that_are_given_merge_values_and_allow_no_others() {
    let folder = data_set();
    let at = |name: &str| folder.path().join(name);
    let spread = organ(0).iter().enumerate().map(|(v, &class)| class * (2 + (v % 2) as u16)).collect();
    write(&at("labels"), "a", spread);
    write(&at("first"), "a", organ(0).iter().map(|&class| class * 3).collect());
    let classes = Classes::new([("tumour".to_owned(), vec![3, 2]), ("organ".to_owned(), vec![255])]).expect("classes");
    let pair = |case: &str| CaseFiles {
        case: case.to_owned(),
        prediction: at("first").join(format!("{case}.nii.gz")),
        label: at("labels").join(format!("{case}.nii.gz")),
        image: None,
    };
    let scoring = Scoring { classes: Some(&classes), ..Scoring::WHOLE };
    let found = evaluate_pairs(&[pair("a")], &scoring).expect("scores");
    let rows: Vec<_> = found.cases.iter().map(|s| (s.class, s.class_name.as_str(), s.dice)).collect();
    assert_eq!(rows, [(3, "tumour", Some(1.0)), (255, "organ", None)]);
    let error = evaluate_pairs(&[pair("a"), pair("b")], &scoring).expect_err("1 is no class").to_string();
    for file in ["labels/b.nii.gz", "first/b.nii.gz"] {
        let words = format!("{file}: voxel x, y, z = ");
        assert!(
            error.contains(&words)
                && error.contains("has the label value 1, expected 0 (background), 3, 2 (tumour), 255 (organ)"),
            "{error}"
        );
    }
}

/// What the header says makes a map of probabilities, not the name of the file.
#[test]
fn maps_of_probabilities_are_known_by_what_is_in_them() {
    let folder = data_set();
    for kind in ["labels", "first"] {
        write(&folder.path().join(kind), "a_prob1", organ(0));
    }
    let volume = Volume { grid: grid(), voxels: vec![0.25; 24 * 20 * 9] };
    for name in ["b_prob1.nii.gz", "c_prob2.mha"] {
        write_probabilities(&folder.path().join("first").join(name), &volume, &Header::for_grid(&grid()))
            .expect("written");
    }
    let (scores, _) = json(folder.path(), &ONE);
    assert_eq!(cases_of(&scores), ["a", "a_prob1", "b", "c", "d", "e"]);
}

#[test]
fn oddities_of_files_are_told_once_with_the_scores() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in ["labels", "first"] {
        let dir = folder.path().join(kind);
        std::fs::create_dir_all(&dir).expect("a folder");
        for case in ["a", "b"] {
            let path = dir.join(format!("{case}.mha"));
            let map = LabelMap { grid: grid(), voxels: organ(0) };
            write_label_map(&path, &map, &Header::for_grid(&grid())).expect("written");
            // Without its matrix.
            let bytes = std::fs::read(&path).expect("read");
            let start = bytes.windows(15).position(|w| w == b"TransformMatrix").expect("a matrix");
            let end = start + bytes[start..].iter().position(|&byte| byte == b'\n').expect("a line") + 1;
            std::fs::write(&path, [&bytes[..start], &bytes[end..]].concat()).expect("written");
        }
    }
    let (scores, stderr) = json(folder.path(), &ONE);
    let told: Vec<&str> = stderr.lines().filter(|line| line.contains("TransformMatrix is absent")).collect();
    assert!(told.len() == 1 && told[0].starts_with("warning: ") && told[0].contains("in 4 files"), "{stderr}");
    assert_eq!(scores["warnings"].as_array().expect("a list").len(), 1);
}

/// Peak resident bytes of an evaluation of this many pairs, which are one label map by many names.
#[cfg(target_os = "linux")]
fn peak_bytes(folder: &Path, pairs: usize) -> u64 {
    let folder = folder.join(pairs.to_string());
    for kind in ["labels", "first"] {
        let kind = folder.join(kind);
        std::fs::create_dir_all(&kind).expect("a folder");
        for pair in 0..pairs {
            std::fs::hard_link(folder.join("../one.nii.gz"), kind.join(format!("c{pair:02}.nii.gz"))).expect("linked");
        }
    }
    #[expect(clippy::zombie_processes, reason = "wait4 waits for it, and says what it took")]
    let child = Command::new(env!("CARGO_BIN_EXE_vnet-engine"))
        .current_dir(&folder)
        .args(ONE)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it runs");
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to values of the right type; `rusage` is plain numbers, for which zeros are values.
    let (waited, usage) = unsafe {
        let waited = libc::wait4(child.id() as libc::pid_t, &raw mut status, 0, usage.as_mut_ptr());
        (waited, usage.assume_init())
    };
    assert_eq!((waited, status), (child.id() as libc::pid_t, 0));
    usage.ru_maxrss as u64 * 1024
}

/// Were all pairs held at once, 32 more of them would take their label maps more.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_number_of_pairs() {
    let folder = tempfile::tempdir().expect("a folder");
    let grid = Grid::axis_aligned([96, 90, 80], [1.0; 3]);
    let voxels: Vec<u16> = (0..grid.voxel_count()).map(|v| u16::from(v % 96 < 40 && v / 8640 < 30)).collect();
    let held = 32 * 2 * size_of_val(voxels.as_slice()) as u64;
    let map = LabelMap { grid: grid.clone(), voxels };
    write_label_map(&folder.path().join("one.nii.gz"), &map, &Header::for_grid(&grid)).expect("written");
    let [few, many] = [8, 40].map(|pairs| peak_bytes(folder.path(), pairs));
    assert!(many < few + held / 4, "{many} bytes for 40 pairs, {few} for 8; 32 pairs of label maps are {held}");
}

#[test]
fn best_median_and_worst_are_different_cases() {
    let of = |values: &[f64]| -> Vec<(&str, String)> {
        let cases = values.iter().enumerate().map(|(i, v)| (i.to_string(), *v)).collect();
        choose(cases, ["best", "median", "worst"]).into_iter().map(|c| (c.role, c.case)).collect()
    };
    let expected = |pairs: &[(&'static str, &str)]| -> Vec<(&str, String)> {
        pairs.iter().map(|(role, case)| (*role, (*case).to_owned())).collect()
    };
    assert_eq!(of(&[]), []);
    assert_eq!(of(&[0.5]), expected(&[("best", "0")]));
    assert_eq!(of(&[0.5, 0.7]), expected(&[("best", "1"), ("median", "0")]));
    assert_eq!(of(&[0.5, 0.1, 0.9, 0.2]), expected(&[("best", "2"), ("median", "3"), ("worst", "1")]));
}
