//! The challenge's score at its fixed points, and files of observers that are refused.

use vnet_engine::data::io::{Header, write_label_map};
use vnet_engine::data::{Grid, LabelMap};
use vnet_engine::evaluate::{Scoring, evaluate_folders};
use vnet_engine::metrics::{CaseScores, LabelPair, Observer, Region, RegionMeans, score_case};

const MEANS: RegionMeans =
    RegionMeans { dice: 0.9, assd_mm: 2.0, hd95_mm: 5.0, absolute_relative_volume_difference: 0.1 };

fn observer() -> Observer {
    let apex = RegionMeans { dice: 0.8, ..MEANS };
    Observer { whole: MEANS, apex, base: RegionMeans { hd95_mm: 4.0, ..MEANS } }
}

/// Records of a case whose prediction is its reference, in all regions.
fn perfect(case: &str) -> Vec<CaseScores> {
    let mut labels = vec![0; 5 * 4 * 9];
    (1..8).for_each(|z| labels[z * 20 + 7] = 1);
    let pair = LabelPair { prediction: &labels, reference: &labels, extents: [5, 4, 9], spacing: [1.0, 2.0, 3.0] };
    score_case(case, &pair, &["organ".to_owned()], &Region::ALL).expect("scores")
}

#[test]
fn a_perfect_case_has_100_and_the_observer_85() {
    let mut cases = perfect("a");
    cases.extend(perfect("b"));
    for scores in &mut cases[3..] {
        let means = match scores.region {
            Region::Whole => observer().whole,
            Region::Apex => observer().apex,
            Region::Base => observer().base,
        };
        scores.dice = Some(means.dice);
        (scores.assd_mm, scores.hd95_mm) = (Some(means.assd_mm), Some(means.hd95_mm));
        // The sign of the difference does not matter.
        scores.relative_volume_difference = Some(-means.absolute_relative_volume_difference);
    }
    let scores = observer().scores(&cases);
    assert_eq!(scores[0], ("a".to_owned(), Some(100.0)));
    assert_eq!(scores[1].0, "b");
    assert!((scores[1].1.expect("a score") - 85.0).abs() < 1e-12, "{scores:?}");
}

#[test]
fn scores_are_linear_and_never_negative() {
    let mut whole = perfect("a").remove(0);
    // 100 - 15 · 0.05 / 0.1, 100 - 15 · 3 / 2, 100 - 15 · 40 / 5 < 0, 100 - 15 · 0.3 / 0.1.
    (whole.dice, whole.assd_mm, whole.hd95_mm) = (Some(0.95), Some(3.0), Some(40.0));
    whole.relative_volume_difference = Some(0.3);
    let expected = (92.5 + 77.5 + 0.0 + 55.0) / 4.0;
    assert!((observer().region_score(&whole).expect("a score") - expected).abs() < 1e-12);
    // Nothing was found: there are no distances.
    let mut labels = vec![0; 5 * 4 * 9];
    (1..8).for_each(|z| labels[z * 20 + 7] = 1);
    let nothing = vec![0; labels.len()];
    let of = |prediction: &[u16], reference: &[u16]| {
        let pair = LabelPair { prediction, reference, extents: [5, 4, 9], spacing: [1.0, 2.0, 3.0] };
        let cases = score_case("c", &pair, &["organ".to_owned()], &Region::ALL).expect("scores");
        observer().scores(&cases)[0].1
    };
    // Nothing but the apex's Dice, whose observer is far from perfect: 100 - 15 · 1 / 0.2 = 25 of twelve times 100.
    assert!((of(&nothing, &labels).expect("a score") - 25.0 / 12.0).abs() < 1e-12);
    assert_eq!(of(&labels, &nothing), None);
}

#[test]
fn observers_are_read_from_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("observer.toml");
    let table = |name: &str, dice: f64, hd95: f64| {
        format!("[{name}]\ndice = {dice}\nassd_mm = 2\nhd95_mm = {hd95}\nabsolute_relative_volume_difference = 0.1\n")
    };
    let whole = table("whole", 0.9, 5.0);
    std::fs::write(&path, format!("{whole}{}{}", table("apex", 0.8, 5.0), table("base", 0.9, 4.0))).expect("written");
    assert_eq!(Observer::read(&path), Ok(observer()));
    for (text, words) in [
        (whole.clone(), "apex"),
        (format!("{whole}{}{}", table("apex", 1.0, 5.0), table("base", 0.9, 4.0)), "key apex.dice"),
        (format!("{whole}{}{}", table("apex", 0.8, 5.0), table("base", 0.9, 0.0)), "key base.hd95_mm"),
        (whole.replace("dice", "dise"), "dise"),
    ] {
        std::fs::write(&path, text).expect("written");
        let error = Observer::read(&path).expect_err(words);
        assert!(error.contains("observer.toml") && error.contains(words) && !error.contains('\n'), "{error}");
    }
}

/// Apex is towards the feet, whichever way z runs in the file.
#[test]
fn regions_follow_the_patient() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let extents = [5, 4, 9];
    let spacing = [1.0, 2.0, 3.0];
    let upright = Grid::axis_aligned(extents, spacing);
    let mut turned = upright.clone();
    (turned.affine[2][2], turned.affine[2][3]) = (-3.0, 24.0);
    // The prediction lacks the two lowest slices of the organ and is right above.
    let organ = |slices: std::ops::Range<usize>| -> Vec<u16> {
        (0..180).map(|v| u16::from(slices.contains(&(v / 20)) && v % 20 == 7)).collect()
    };
    let flipped = |labels: &[u16]| -> Vec<u16> { labels.chunks(20).rev().flatten().copied().collect() };
    for (name, grid) in [("upright", &upright), ("turned", &turned)] {
        for (kind, slices) in [("predicted", 3..8), ("labels", 1..8)] {
            let dir = folder.path().join(name).join(kind);
            std::fs::create_dir_all(&dir).expect("a folder");
            let voxels = if name == "turned" { flipped(&organ(slices)) } else { organ(slices) };
            let map = LabelMap { grid: grid.clone(), voxels };
            write_label_map(&dir.join("a.nii.gz"), &map, &Header::for_grid(grid)).expect("written");
        }
    }
    let dice = |name: &str| -> Vec<Option<f64>> {
        let dir = folder.path().join(name);
        let scoring = Scoring { regions: &Region::ALL, ..Scoring::WHOLE };
        let found = evaluate_folders(&dir.join("predicted"), &dir.join("labels"), &scoring).expect("scores");
        found.cases.iter().map(|scores| scores.dice).collect()
    };
    // Seven slices: thirds of two, so the apex (1, 2) is missed and the base is perfect.
    assert_eq!(dice("upright"), [Some(10.0 / 12.0), Some(0.0), Some(1.0)]);
    assert_eq!(dice("turned"), dice("upright"));
}
