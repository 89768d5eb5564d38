//! Paired differences and Wilcoxon's test, against scipy (`tools/golden_volumes.py wilcoxon`).

use std::path::Path;

use serde::Deserialize;
use vnet_engine::metrics::{CaseScores, Comparison, Evaluation, LabelPair, Metric, Region, Wilcoxon, score_case};

#[derive(Deserialize)]
struct Golden {
    differences: Vec<f64>,
    rank_sum: f64,
    p: f64,
    exact: bool,
    count: usize,
}

#[test]
fn wilcoxon_is_scipys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/volumes/wilcoxon.json");
    let cases: Vec<Golden> = serde_json::from_str(&std::fs::read_to_string(path).expect("golden data")).expect("JSON");
    assert!(cases.iter().any(|c| c.exact) && cases.iter().any(|c| !c.exact));
    for (number, case) in cases.iter().enumerate() {
        let found = Wilcoxon::of(&case.differences).expect("a difference");
        assert_eq!(
            (found.count, found.rank_sum, found.exact),
            (case.count, case.rank_sum, case.exact),
            "case {number}"
        );
        // Counts are exact in f64; erfc and scipy's normal distribution are good to a few units in the last place.
        assert!((found.p - case.p).abs() <= 1e-12, "case {number}: p {}, scipy has {}", found.p, case.p);
    }
    assert_eq!(Wilcoxon::of(&[]), None);
    assert_eq!(Wilcoxon::of(&[0.0, -0.0]), None);
}

/// Labels of a row of voxels: `organ` of 12 is class 1.
fn scores(case: &str, predicted: std::ops::Range<usize>, organ: std::ops::Range<usize>) -> CaseScores {
    let row = |range: std::ops::Range<usize>| -> Vec<u16> { (0..12).map(|x| u16::from(range.contains(&x))).collect() };
    let (prediction, reference) = (row(predicted), row(organ));
    let pair =
        LabelPair { prediction: &prediction, reference: &reference, extents: [12, 1, 1], spacing: [2.0, 1.0, 1.0] };
    score_case(case, &pair, &["organ".to_owned()], &[Region::Whole]).expect("scores").remove(0)
}

#[test]
fn pairs_are_by_case_and_undefined_ones_are_counted() {
    // Cases in different orders; in "c" the second set found nothing, so it has no distances.
    let first = Evaluation::new(vec![scores("a", 2..8, 2..10), scores("b", 2..10, 2..10), scores("c", 0..4, 2..10)]);
    let second = Evaluation::new(vec![scores("c", 0..0, 2..10), scores("a", 2..6, 2..10), scores("b", 2..9, 2..10)]);
    let comparison = Comparison::new(["A".to_owned(), "B|C".to_owned()], &first, &second);
    let of = |case: &str, metric: Metric| {
        let found = comparison.cases.iter().find(|pair| pair.case == case && pair.metric == metric).expect("a pair");
        (found.first, found.second, found.difference)
    };
    let (a, b) = (12.0 / 14.0, 8.0 / 12.0);
    assert_eq!(of("a", Metric::Dice), (Some(a), Some(b), Some(a - b)));
    assert_eq!(of("b", Metric::HausdorffMm), (Some(0.0), Some(2.0), Some(-2.0)));
    assert_eq!(of("c", Metric::HausdorffMm), (Some(12.0), None, None));
    let of = |metric: Metric| comparison.summary.iter().find(|s| s.metric == metric).expect("a summary");
    let distance = of(Metric::HausdorffMm);
    assert_eq!((distance.difference.defined, distance.difference.undefined), (2, 1));
    // Means are over the same cases: a and b, 4 and 0 mm against 8 and 2 mm.
    assert_eq!((distance.first.mean, distance.second.mean), (Some(2.0), Some(5.0)));
    let test = of(Metric::Dice).wilcoxon.expect("differences");
    assert_eq!((test.count, test.rank_sum, test.p), (3, 6.0, 0.25));

    let csv = comparison.to_csv();
    assert_eq!(csv.lines().count(), 1 + 3 * Comparison::METRICS.len());
    assert!(csv.contains("\nc,1,whole,hausdorff_mm,12,,\n"), "{csv}");
    let text = comparison.to_markdown();
    assert!(text.contains("| A | B\\|C |"), "{text}");
    assert!(
        text.contains(
            "| organ | whole | Hausdorff distance (mm) | 2.00 ± 2.83 | 5.00 ± 4.24 | -3.00 | 2 (1 left out) |"
        )
    );
    assert!(text.contains("| 3 | 0.250 |"), "{text}");
}
