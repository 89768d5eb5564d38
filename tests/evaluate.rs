//! `evaluate` as a user runs it: files, pictures and mistakes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use vnet_engine::data::io::{Header, Scalar, write_label_map, write_volume_as};
use vnet_engine::data::{Grid, LabelMap, Volume};
use vnet_engine::evaluate::figures::choose;
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
    for file in ["scores.csv", "scores.json", "dice.png", "metrics.png", "metrics_apex.png", "metrics_base.png"] {
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
    assert_eq!((csv.lines().count(), comparison.cases.len()), (1 + 5 * 8, 5 * 8));
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
    let plot = image::open(out.join("comparison.png")).expect("a picture").into_rgb8();
    assert_eq!(plot.dimensions(), (1660, 1060));
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
        (compare.to_vec(), "second: no prediction of b"),
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
