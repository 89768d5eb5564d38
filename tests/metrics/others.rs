//! Surface Dice, lesions, calibration and intervals against surface-distance, panoptica, netcal and scipy
//! (`tools/check_metrics.py golden`).

use std::convert::Infallible;
use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;
use vnet_engine::metrics::{
    Bootstrap, Calibration, CalibrationCounts, Comparison, Evaluation, LabelPair, Lesions, Metric, Region, Wilcoxon,
    score_case, surface_dice,
};

/// Sums of at most a few thousand terms in another order: 2^-52 per term, and a few digits to spare.
const ROUNDING: f64 = 1e-12;

#[derive(Deserialize)]
struct Golden {
    pairs: Vec<Pair>,
    calibration: Vec<Calibrated>,
    bootstrap: Vec<Resampled>,
    spacing: [f64; 3],
    areas: Vec<f64>,
}

#[derive(Deserialize)]
struct Pair {
    extents: [usize; 3],
    spacing: [f64; 3],
    tolerance: f64,
    threshold: f64,
    reference: String,
    prediction: String,
    surface_dice: Option<f64>,
    /// TP, FP, FN, F1, SQ, PQ.
    lesions: [Option<f64>; 6],
}

#[derive(Deserialize)]
struct Calibrated {
    truth: Vec<u16>,
    /// Of each class from 1 on.
    probabilities: Vec<Vec<f32>>,
    ece: f64,
    brier: f64,
    /// ECE and Brier score of each class from 1 on.
    classes: Vec<[f64; 2]>,
}

#[derive(Deserialize)]
struct Resampled {
    values: Vec<f64>,
    indexes: Vec<Vec<usize>>,
    bias: f64,
    acceleration: f64,
    parts: [f64; 2],
    interval: [f64; 2],
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/scores.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("golden data")).expect("JSON")
}

/// Labels of packed bits, the highest bit first.
fn unpacked(bits: &str, count: usize) -> Vec<u16> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(bits).expect("base64");
    bytes.iter().flat_map(|byte| (0..8).map(move |bit| u16::from(byte >> (7 - bit) & 1))).take(count).collect()
}

fn assert_same(found: Option<f64>, expected: Option<f64>, what: &str) {
    match (found, expected) {
        (Some(found), Some(expected)) => {
            assert!((found - expected).abs() <= ROUNDING, "{what}: {found}, not {expected}")
        }
        (found, expected) => assert_eq!(found, expected, "{what}"),
    }
}

#[test]
fn surface_dice_and_lesions_are_those_of_other_programs() {
    let pairs = golden().pairs;
    assert!(pairs.iter().any(|pair| pair.surface_dice == Some(0.0)) && pairs.len() == 14);
    assert!(
        pairs.iter().filter(|pair| pair.lesions[..3].iter().flatten().sum::<f64>() > 2.0).count() >= 3,
        "pairs of several lesions"
    );
    for (number, golden) in pairs.iter().enumerate() {
        let count = golden.extents.iter().product();
        let (prediction, reference) = (unpacked(&golden.prediction, count), unpacked(&golden.reference, count));
        let (extents, spacing) = (golden.extents, golden.spacing);
        let pair = LabelPair { prediction: &prediction, reference: &reference, extents, spacing };
        let found = surface_dice(&pair, 1, golden.tolerance).expect("a score");
        assert_same(found, golden.surface_dice, &format!("surface Dice of pair {number}"));
        let lesions = Lesions::of(&pair, 1, golden.threshold).expect("lesions");
        let counts = [lesions.true_positives(), lesions.false_positives(), lesions.false_negatives()];
        let counts = counts.map(|count| Some(count as f64));
        let scores = [lesions.f1(), lesions.segmentation_quality(), lesions.panoptic_quality()];
        for (found, expected) in counts.into_iter().chain(scores).zip(golden.lesions) {
            assert_same(found, expected, &format!("lesions of pair {number}"));
        }
    }
}

/// One cube of eight voxels in the middle of nothing: its code is seen in one place, and the codes of its parts around it.
#[test]
fn the_area_of_every_code_is_that_of_the_table() {
    let Golden { areas, spacing, .. } = golden();
    assert_eq!(areas.len(), 256);
    for code in 1..256usize {
        // Voxels x, y, z of the cube have the bits 7 - 4 x - 2 y - z. Against an empty map nothing is near, and against itself all is.
        let inside = |at: usize| code >> (7 - 4 * (at % 2) - 2 * (at / 2 % 2) - at / 4) & 1 == 1;
        let cube: Vec<u16> = (0..8).map(|at| u16::from(inside(at))).collect();
        // The area of all cubes around: those that hold a part of these voxels.
        let part = |shift: [i64; 3]| {
            let bits = (0..8usize).filter(|at| {
                let from: [i64; 3] = std::array::from_fn(|axis| (at >> axis & 1) as i64 + shift[axis]);
                from.iter().all(|c| (0..2).contains(c)) && inside((from[0] + 2 * from[1] + 4 * from[2]) as usize)
            });
            let code: usize = bits.map(|at| 1 << (7 - 4 * (at & 1) - 2 * (at >> 1 & 1) - (at >> 2 & 1))).sum();
            areas[code]
        };
        let shifts = (0..27).map(|s| [s % 3 - 1, s / 3 % 3 - 1, s / 9 - 1]);
        let expected: f64 = shifts.map(part).sum();
        // A far voxel, alone, has an area of eight corners: the part of both surfaces that is near says what ours is.
        let mut reference = vec![0; 8 * 64];
        let mut prediction = vec![0; 8 * 64];
        for (at, &value) in cube.iter().enumerate() {
            let place = 8 * (1 + at / 2 % 2) + 32 * (1 + at / 4) + 1 + at % 2;
            reference[place] = value;
            prediction[place] = value;
        }
        prediction[8 * 2 + 32 * 2 + 6] = 1;
        let pair = LabelPair { prediction: &prediction, reference: &reference, extents: [8, 4, 16], spacing };
        let found = surface_dice(&pair, 1, 0.0).expect("a score").expect("surfaces");
        let alone: f64 = (0..8).map(|bit| areas[1 << bit]).sum();
        let expected = 2.0 * expected / (2.0 * expected + alone);
        assert!((found - expected).abs() <= ROUNDING, "code {code}: {found}, not {expected}");
    }
}

#[test]
fn calibration_is_netcals() {
    let all = golden().calibration;
    assert_eq!(all.len(), 2);
    for golden in all {
        let of = |class: usize| Ok::<_, Infallible>(golden.probabilities[class - 1].clone());
        let count = golden.probabilities.len();
        let Ok(counts) = CalibrationCounts::of_classes(&golden.truth, count, of);
        let names: Vec<(u16, String)> = (1..=count as u16).map(|class| (class, class.to_string())).collect();
        let found = Calibration::of(vec![("a".to_owned(), counts)], &names);
        assert_same(found.ece, Some(golden.ece), "ECE");
        assert_same(found.brier, Some(golden.brier), "Brier score");
        assert_eq!(found.classes.len(), golden.classes.len());
        for (class, [ece, brier]) in found.classes.iter().zip(golden.classes) {
            assert_same(class.ece, Some(ece), &class.class_name);
            assert_same(class.brier, Some(brier), &class.class_name);
        }
        assert_eq!(found.cases[0].ece, found.ece);
    }
}

/// The same resamples give the same z0, acceleration, parts and ends.
#[test]
fn intervals_are_scipys() {
    let bootstrap = Bootstrap::default();
    let all = golden().bootstrap;
    assert_eq!(all.len(), 3);
    for golden in all {
        let mean = |row: &Vec<usize>| row.iter().map(|&i| golden.values[i]).sum::<f64>() / row.len() as f64;
        let replicates: Vec<f64> = golden.indexes.iter().map(mean).collect();
        let found = bootstrap.of_mean(&golden.values, replicates).expect("an interval");
        for (found, expected) in [
            (found.bias, golden.bias),
            (found.acceleration, golden.acceleration),
            (found.parts[0], golden.parts[0]),
            (found.parts[1], golden.parts[1]),
            (found.interval.low, golden.interval[0]),
            (found.interval.high, golden.interval[1]),
        ] {
            // The replicates are the same to the bit; Φ and its inverse are good to a few units in the last place.
            assert!((found - expected).abs() <= ROUNDING * expected.abs().max(1.0), "{found}, not {expected}");
        }
    }
}

#[test]
fn intervals_are_the_same_again_and_hold_the_mean() {
    let bootstrap = Bootstrap::default();
    let values: Vec<f64> = (0..20).map(|i| f64::from(i * i % 23) / 23.0).collect();
    let shifted: Vec<f64> = values.iter().map(|value| value + 1.0).collect();
    let samples = [values.clone(), vec![], vec![0.5], vec![0.1; 7], shifted, values[..5].to_vec()];
    let found = bootstrap.means(&samples);
    assert_eq!(found, bootstrap.means(&samples));
    let first = found[0].expect("an interval");
    let mean = values.iter().sum::<f64>() / 20.0;
    assert!(first.low < mean && mean < first.high);
    // Half a width is about two standard errors: 1.96 with the normal law, here with 19 degrees of freedom and BCa.
    let deviation = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 19.0;
    let half = (first.high - first.low) / 2.0 / (deviation / 20.0).sqrt();
    assert!((1.75..2.1).contains(&half), "{half}");
    assert_eq!((found[1], found[2]), (None, None));
    assert_eq!(found[3].map(|interval| (interval.low, interval.high)), Some((0.1, 0.1)));
    // Samples of one size are resampled alike.
    let shifted = found[4].expect("an interval");
    assert!((shifted.low - first.low - 1.0).abs() < ROUNDING && (shifted.high - first.high - 1.0).abs() < ROUNDING);
    assert_eq!(bootstrap.draw(3, 10), bootstrap.draw(3, 10));
    assert_ne!(bootstrap.draw(3, 10), bootstrap.draw(4, 10));
}

#[test]
fn effect_sizes_by_hand() {
    // Ranks of 1, -2, 3, 4: W+ 8 of 10.
    let test = Wilcoxon::of(&[1.0, -2.0, 3.0, 4.0]).expect("differences");
    assert_eq!(test.rank_biserial(), 2.0 * 8.0 / 10.0 - 1.0);
    let organ = |case: &str, right: usize| {
        let reference: Vec<u16> = (0..12).map(|x| u16::from(x < 6)).collect();
        let prediction: Vec<u16> = (0..12).map(|x| u16::from(x < right)).collect();
        let (extents, spacing) = ([12, 1, 1], [1.0; 3]);
        let pair = LabelPair { prediction: &prediction, reference: &reference, extents, spacing };
        score_case(case, &pair, &["organ".to_owned()], &[Region::Whole]).expect("scores").remove(0)
    };
    let set = |rights: [usize; 3]| {
        Evaluation::new(["a", "b", "c"].into_iter().zip(rights).map(|(case, right)| organ(case, right)).collect())
    };
    // Volumetric similarities 1, 10/11, 4/5 and 1, 4/5, 2/3.
    let comparison = Comparison::new(["A".to_owned(), "B".to_owned()], &set([6, 5, 4]), &set([6, 4, 3]));
    let row = comparison.summary.iter().find(|row| row.metric == Metric::VolumetricSimilarity).expect("a row");
    let differences = [0.0, 10.0 / 11.0 - 0.8, 0.8 - 2.0 / 3.0];
    let mean = differences.iter().sum::<f64>() / 3.0;
    let deviation = (differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
    assert!((row.cohens_dz.expect("a spread") - mean / deviation).abs() < ROUNDING);
    assert_eq!(row.rank_biserial, Some(1.0));
    let interval = row.difference.interval.expect("an interval");
    assert!(interval.low >= 0.0 && interval.low < mean && mean < interval.high);
}
