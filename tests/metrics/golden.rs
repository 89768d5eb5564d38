//! Scores of 200 random pairs of shapes against MONAI and SimpleITK (`tools/golden_volumes.py metrics`).
//!
//! MONAI takes the surfaces of a shape that we take, and its distances. SimpleITK's own Hausdorff distance is that of
//! solids (a voxel within the other shape has distance 0), so its filters are given contours there; its average
//! Hausdorff distance is the larger of two means, not the mean over both surfaces, which is taken from its distance
//! maps.

use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;
use vnet_engine::metrics::{LabelPair, Region, score_case};

/// mm; MONAI computes distances in float32.
const TOLERANCE_MM: f64 = 1e-4;

#[derive(Deserialize)]
struct Case {
    extents: [usize; 3],
    spacing: [f64; 3],
    prediction: String,
    reference: String,
    monai: Scores,
    simpleitk: Scores,
}

#[derive(Deserialize)]
struct Scores {
    dice: Option<f64>,
    hausdorff: f64,
    hd95: f64,
    average: f64,
}

/// Labels of packed bits, the highest bit first.
fn unpacked(bits: &str, count: usize) -> Vec<u16> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(bits).expect("base64");
    let labels: Vec<u16> =
        bytes.iter().flat_map(|byte| (0..8).map(move |bit| u16::from(byte >> (7 - bit) & 1))).take(count).collect();
    assert_eq!(labels.len(), count);
    labels
}

#[test]
fn scores_of_monai_and_simpleitk() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/volumes/metrics.json");
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).expect("golden data")).expect("cases");
    assert_eq!(cases.len(), 200);
    for (number, case) in cases.iter().enumerate() {
        let count = case.extents.iter().product();
        let (prediction, reference) = (unpacked(&case.prediction, count), unpacked(&case.reference, count));
        let (extents, spacing) = (case.extents, case.spacing);
        let pair = LabelPair { prediction: &prediction, reference: &reference, extents, spacing };
        let scores = score_case("random", &pair, &["organ".to_owned()], &[Region::Whole]).expect("scores").remove(0);
        let dice = case.simpleitk.dice.expect("SimpleITK's Dice");
        // A ratio of the same whole numbers, printed with nine digits.
        assert!((scores.dice.expect("not empty") - dice).abs() <= 1e-9, "case {number}: {:?}, not {dice}", scores.dice);
        for (who, expected) in [("MONAI", &case.monai), ("SimpleITK", &case.simpleitk)] {
            for (what, found, expected) in [
                ("Hausdorff", scores.hausdorff_mm, expected.hausdorff),
                ("HD95", scores.hd95_mm, expected.hd95),
                ("average", scores.assd_mm, expected.average),
            ] {
                let found = found.expect("surfaces");
                let off = (found - expected).abs();
                assert!(off <= TOLERANCE_MM, "case {number}, {what}: {found}, but {who} has {expected}");
            }
        }
    }
}
