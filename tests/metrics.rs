//! Metrics against hand-counted values and brute force on shapes without symmetry.

#[path = "metrics/comparison.rs"]
mod comparison;
#[path = "metrics/golden.rs"]
mod golden;
#[path = "metrics/others.rs"]
mod others;
#[path = "metrics/promise12.rs"]
mod promise12;

use approx::assert_relative_eq;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vnet_engine::metrics::{
    CaseScores, Evaluation, LabelPair, Metric, MetricError, Overlap, Presence, Region, Summary, percentile,
    render_short_table, render_table, score_case, surface_distances,
};

const EXTENTS: [usize; 3] = [7, 5, 6];
const SPACING: [f64; 3] = [0.7, 1.3, 2.9];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn index([x, y, z]: [usize; 3], extents: [usize; 3]) -> usize {
    x + extents[0] * (y + extents[1] * z)
}

fn with_label(voxels: &[[usize; 3]], label: u16, extents: [usize; 3]) -> Vec<u16> {
    let mut labels = vec![0; extents.iter().product()];
    for &voxel in voxels {
        labels[index(voxel, extents)] = label;
    }
    labels
}

/// Random labels 0, 1, 2 in a random part of the volume; `density` of it is foreground.
fn random_labels(rng: &mut ChaCha8Rng, extents: [usize; 3], density: f64) -> Vec<u16> {
    (0..extents.iter().product()).map(|_| if rng.random_bool(density) { rng.random_range(1..=2) } else { 0 }).collect()
}

/// Random voxels around a random box: thick shapes that have an inside.
fn random_blob(rng: &mut ChaCha8Rng, extents: [usize; 3]) -> Vec<u16> {
    let range = extents.map(|n| {
        let start = rng.random_range(0..n - 2);
        start..rng.random_range(start + 2..=n)
    });
    let mut labels = random_labels(rng, extents, 0.03);
    for z in range[2].clone() {
        for y in range[1].clone() {
            for x in range[0].clone() {
                if rng.random_bool(0.95) {
                    labels[index([x, y, z], extents)] = 1;
                }
            }
        }
    }
    labels
}

/// Surface voxels by definition, as coordinates.
fn brute_surface(labels: &[u16], class: u16, extents: [usize; 3]) -> Vec<[usize; 3]> {
    let inside = |at: [i64; 3]| {
        (0..3).all(|axis| at[axis] >= 0 && at[axis] < extents[axis] as i64)
            && labels[index(at.map(|c| c as usize), extents)] == class
    };
    let mut surface = Vec::new();
    for (at, &label) in labels.iter().enumerate() {
        let voxel = [at % extents[0], at / extents[0] % extents[1], at / extents[0] / extents[1]];
        let centre = voxel.map(|c| c as i64);
        let steps = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]];
        let exposed = steps.iter().any(|step| !inside([0, 1, 2].map(|axis| centre[axis] + step[axis])));
        if label == class && exposed {
            surface.push(voxel);
        }
    }
    surface
}

fn brute_distances(from: &[[usize; 3]], to: &[[usize; 3]], spacing: [f64; 3]) -> Vec<f64> {
    let distance = |a: &[usize; 3], b: &[usize; 3]| {
        (0..3).map(|axis| ((a[axis] as f64 - b[axis] as f64) * spacing[axis]).powi(2)).sum::<f64>().sqrt()
    };
    from.iter().map(|a| to.iter().map(|b| distance(a, b)).fold(f64::INFINITY, f64::min)).collect()
}

/// 95th percentile by counting: interpolates between the order statistics on either side of rank 0.95 (n - 1).
fn brute_q95(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let numerator = 95 * (sorted.len() - 1);
    let (below, weight) = (numerator / 100, (numerator % 100) as f64 / 100.0);
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] * (1.0 - weight) + sorted[above] * weight
}

fn check_against_brute_force(
    prediction: &[u16],
    reference: &[u16],
    class: u16,
    extents: [usize; 3],
    spacing: [f64; 3],
) {
    let found = surface_distances(prediction, reference, class, extents, spacing).unwrap();
    let (p, r) = (brute_surface(prediction, class, extents), brute_surface(reference, class, extents));
    if p.is_empty() || r.is_empty() {
        assert_eq!(found, None);
        return;
    }
    let found = found.expect("both shapes exist");
    let (to_r, to_p) = (brute_distances(&p, &r, spacing), brute_distances(&r, &p, spacing));
    let largest = to_r.iter().chain(&to_p).copied().fold(0.0, f64::max);
    let average = to_r.iter().chain(&to_p).sum::<f64>() / (to_r.len() + to_p.len()) as f64;
    assert_relative_eq!(found.hausdorff_mm, largest, max_relative = 1e-12);
    assert_relative_eq!(found.hausdorff95_mm, brute_q95(&to_r).max(brute_q95(&to_p)), max_relative = 1e-12);
    assert_relative_eq!(found.average_mm, average, max_relative = 1e-12);
}

#[test]
fn overlap_counts_by_hand() {
    let reference = [0, 2, 2, 2, 1, 2, 0, 2, 0, 1, 1];
    let prediction = [2, 2, 0, 2, 2, 1, 0, 2, 0, 1, 0];
    let two = Overlap::count(&prediction, &reference, 2).unwrap();
    assert_eq!(two, Overlap { true_positives: 3, false_positives: 2, false_negatives: 2, true_negatives: 4 });
    let one = Overlap::count(&prediction, &reference, 1).unwrap();
    assert_eq!(one, Overlap { true_positives: 1, false_positives: 1, false_negatives: 2, true_negatives: 7 });
    assert_eq!(one.dice(), Some(2.0 / 5.0));
    assert_eq!(one.iou(), Some(1.0 / 4.0));
    assert_eq!(one.precision(), Some(1.0 / 2.0));
    assert_eq!(one.sensitivity(), Some(1.0 / 3.0));
    assert_relative_eq!(one.relative_volume_difference().unwrap(), -1.0 / 3.0);
    assert_relative_eq!(one.referenced_ml([2.0, 5.0, 10.0]), 0.3);
    assert_relative_eq!(one.predicted_ml([2.0, 5.0, 10.0]), 0.2);
}

#[test]
fn overlap_names_what_is_undefined() {
    let (empty, some) = ([0, 0, 1, 0], [0, 3, 3, 1]);
    let missed = Overlap::count(&empty, &some, 3).unwrap();
    assert_eq!(missed.presence(), Presence::EmptyPrediction);
    assert_eq!((missed.dice(), missed.precision(), missed.sensitivity()), (Some(0.0), None, Some(0.0)));
    assert_eq!(missed.relative_volume_difference(), Some(-1.0));
    let invented = Overlap::count(&some, &empty, 3).unwrap();
    assert_eq!(invented.presence(), Presence::EmptyReference);
    assert_eq!((invented.dice(), invented.precision(), invented.sensitivity()), (Some(0.0), Some(0.0), None));
    assert_eq!(invented.relative_volume_difference(), None);
    let neither = Overlap::count(&empty, &some, 4).unwrap();
    assert_eq!(neither.presence(), Presence::BothEmpty);
    assert_eq!((neither.dice(), neither.iou()), (None, None));
    assert_eq!((neither.precision(), neither.sensitivity()), (None, None));
}

#[test]
fn percentile_is_numpys() {
    // numpy.percentile([1, 2, 4, 8, 9.5, 30], [0, 5, 37, 50, 95, 100])
    let values = [1.0, 2.0, 4.0, 8.0, 9.5, 30.0];
    for (percent, expected) in [(0.0, 1.0), (5.0, 1.25), (37.0, 3.7), (50.0, 6.0), (95.0, 24.875), (100.0, 30.0)] {
        assert_relative_eq!(percentile(&values, percent).unwrap(), expected, max_relative = 1e-14);
    }
    assert_eq!(percentile(&[], 50.0), None);
    assert_eq!(percentile(&[7.5], 95.0), Some(7.5));
}

#[test]
fn summary_leaves_undefined_cases_out_and_counts_them() {
    let summary = Summary::of([Some(4.0), None, Some(1.0), Some(2.0), None, Some(9.0)]);
    assert_eq!((summary.defined, summary.undefined), (4, 2));
    assert_eq!((summary.mean, summary.median), (Some(4.0), Some(3.0)));
    assert_eq!((summary.min, summary.max), (Some(1.0), Some(9.0)));
    assert_relative_eq!(summary.standard_deviation.unwrap(), (38.0f64 / 3.0).sqrt(), max_relative = 1e-15);
    let single = Summary::of([Some(0.25)]);
    assert_eq!((single.mean, single.standard_deviation), (Some(0.25), None));
    let none = Summary::of([None, None, None]);
    assert_eq!((none.undefined, none.mean, none.median, none.min), (3, None, None, None));
}

#[test]
fn surface_distance_between_two_voxels_uses_each_axis_spacing() {
    let from = with_label(&[[5, 1, 4]], 3, EXTENTS);
    for (to, expected) in [([2, 1, 4], 3.0 * 0.7), ([5, 4, 4], 3.0 * 1.3), ([5, 1, 0], 4.0 * 2.9)] {
        let found = surface_distances(&from, &with_label(&[to], 3, EXTENTS), 3, EXTENTS, SPACING).unwrap().unwrap();
        assert_relative_eq!(found.hausdorff_mm, expected, max_relative = 1e-15);
        assert_relative_eq!(found.hausdorff95_mm, expected, max_relative = 1e-15);
        assert_relative_eq!(found.average_mm, expected, max_relative = 1e-15);
    }
}

#[test]
fn surface_excludes_the_inside_but_counts_the_volumes_end() {
    // A line of five voxels along x in the corner against its end voxel: distances 0, 1, 2, 3, 4 one way, 0 the other.
    let line: Vec<[usize; 3]> = (0..5).map(|x| [x, 0, 0]).collect();
    let (line, end) = (with_label(&line, 1, EXTENTS), with_label(&[[4, 0, 0]], 1, EXTENTS));
    let found = surface_distances(&line, &end, 1, EXTENTS, [2.0, 3.0, 5.0]).unwrap().unwrap();
    assert_eq!(found.hausdorff_mm, 8.0);
    assert_relative_eq!(found.hausdorff95_mm, 7.6, max_relative = 1e-15);
    assert_relative_eq!(found.average_mm, 20.0 / 6.0, max_relative = 1e-15);
    // A full volume has its outermost voxels as surface: a hole's wall in 5 x 5 x 5 is two voxels away from them.
    let extents = [5, 5, 5];
    let (full, mut hollow) = (vec![1; 125], vec![1; 125]);
    hollow[index([2, 2, 2], extents)] = 0;
    let found = surface_distances(&full, &hollow, 1, extents, [1.0; 3]).unwrap().unwrap();
    assert_eq!(found.hausdorff_mm, 1.0);
    assert_relative_eq!(found.average_mm, 6.0 / (98.0 + 98.0 + 6.0), max_relative = 1e-15);
}

#[test]
fn surface_distances_equal_brute_force_on_scattered_voxels() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for round in 0..150 {
        let extents = [rng.random_range(1..9), rng.random_range(1..7), rng.random_range(1..8)];
        let spacing = [rng.random_range(0.2..3.0), rng.random_range(0.2..3.0), rng.random_range(0.2..6.0)];
        let density = [0.02, 0.1, 0.5][round % 3];
        let prediction = random_labels(&mut rng, extents, density);
        let reference = random_labels(&mut rng, extents, 0.1);
        check_against_brute_force(&prediction, &reference, 1 + (round % 2) as u16, extents, spacing);
    }
}

#[test]
fn surface_distances_equal_brute_force_on_thick_shapes() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let extents = [17, 12, 9];
    for _ in 0..25 {
        let (prediction, reference) = (random_blob(&mut rng, extents), random_blob(&mut rng, extents));
        check_against_brute_force(&prediction, &reference, 1, extents, SPACING);
    }
}

#[test]
fn wrong_sizes_and_spacings_are_errors_that_name_the_numbers() {
    let labels = vec![0; 210];
    let error = surface_distances(&labels[1..], &labels, 1, EXTENTS, SPACING).unwrap_err();
    assert_eq!(error.to_string(), "prediction has 209 voxels, but extents [7, 5, 6] (x, y, z) hold 210");
    assert!(matches!(
        surface_distances(&labels, &labels[..7], 1, EXTENTS, SPACING),
        Err(MetricError::VoxelCount { what: "reference", found: 7, expected: 210, .. })
    ));
    for spacing in [[1.0, 0.0, 1.0], [1.0, 1.0, f64::NAN], [-1.0, 1.0, 1.0]] {
        assert!(matches!(surface_distances(&labels, &labels, 1, EXTENTS, spacing), Err(MetricError::Spacing { .. })));
    }
}

#[test]
fn apex_and_base_are_the_outer_thirds_of_the_reference() {
    // 8 slices 2..10 of the reference: thirds of 3, so apex 2..5 and base 7..10. One column of voxels each.
    let extents = [3, 2, 12];
    let column = |range: std::ops::Range<usize>| -> Vec<[usize; 3]> { range.map(|z| [1, 0, z]).collect() };
    let reference = with_label(&column(2..10), 1, extents);
    let prediction = with_label(&column(4..12), 1, extents);
    let pair = LabelPair { prediction: &prediction, reference: &reference, extents, spacing: [10.0, 10.0, 10.0] };
    let scores = score_case("c", &pair, &names(&["organ"]), &Region::ALL).unwrap();
    let of = |region| scores.iter().find(|s: &&CaseScores| s.region == region).unwrap();
    assert_eq!(of(Region::Whole).dice, Some(12.0 / 16.0));
    assert_eq!((of(Region::Apex).volume_reference_ml, of(Region::Apex).volume_prediction_ml), (3.0, 1.0));
    assert_eq!(of(Region::Apex).dice, Some(2.0 / 4.0));
    assert_eq!((of(Region::Base).volume_reference_ml, of(Region::Base).volume_prediction_ml), (3.0, 3.0));
    // Both are cut at the base's end, so what was predicted beyond it does not count there.
    assert_eq!((of(Region::Base).dice, of(Region::Base).hausdorff_mm), (Some(1.0), Some(0.0)));
    assert_eq!(of(Region::Apex).hausdorff_mm, Some(20.0));
}

#[test]
fn thirds_of_a_thin_or_absent_reference() {
    let extents = [2, 2, 4];
    for (slices, expected_ml) in [(0, 0.0), (1, 1.0), (2, 1.0), (4, 1.0)] {
        let voxels: Vec<[usize; 3]> = (0..slices).map(|z| [0, 1, z]).collect();
        let reference = with_label(&voxels, 1, extents);
        let pair = LabelPair { prediction: &[0; 16], reference: &reference, extents, spacing: [10.0; 3] };
        let scores = score_case("thin", &pair, &names(&["organ"]), &[Region::Apex, Region::Base]).unwrap();
        assert_eq!(scores.iter().map(|s| s.volume_reference_ml).collect::<Vec<_>>(), [expected_ml; 2]);
    }
}

/// Three cases of two classes: good, missed class 2, and a case without class 2.
fn evaluation() -> Evaluation {
    let reference = with_label(&[[1, 1, 1], [2, 1, 1], [3, 1, 1]], 1, EXTENTS);
    let mut with_two = reference.clone();
    with_two[index([6, 4, 5], EXTENTS)] = 2;
    let prediction = with_label(&[[2, 1, 1], [3, 1, 1], [4, 1, 1], [5, 1, 1]], 1, EXTENTS);
    let classes = names(&["gland", "tumour"]);
    let score = |case: &str, prediction: &[u16], reference: &[u16]| {
        let pair = LabelPair { prediction, reference, extents: EXTENTS, spacing: SPACING };
        score_case(case, &pair, &classes, &[Region::Whole]).unwrap()
    };
    let cases = [
        score("Case \"A\", left", &with_two, &with_two),
        score("B", &prediction, &with_two),
        score("C", &prediction, &reference),
    ];
    Evaluation::new(cases.concat())
}

#[test]
fn evaluation_summarises_classes_over_defined_cases() {
    let evaluation = evaluation();
    let gland = &evaluation.class_summary(1, Region::Whole).unwrap().scores[&Metric::Dice];
    assert_relative_eq!(gland.mean.unwrap(), (1.0 + 4.0 / 7.0 + 4.0 / 7.0) / 3.0, max_relative = 1e-15);
    let tumour = &evaluation.class_summary(2, Region::Whole).unwrap().scores;
    assert_eq!((tumour[&Metric::Dice].defined, tumour[&Metric::Dice].mean), (2, Some(0.5)));
    assert_eq!((tumour[&Metric::Hd95Mm].undefined, tumour[&Metric::Hd95Mm].mean), (2, Some(0.0)));
    let expected = (gland.mean.unwrap() + 0.5) / 2.0;
    assert_relative_eq!(evaluation.mean_foreground[&Metric::Dice].unwrap(), expected, max_relative = 1e-15);
    assert!(evaluation.class_summary(2, Region::Apex).is_none());
}

#[test]
fn csv_has_empty_fields_and_a_note_where_undefined() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scores.csv");
    std::fs::write(&path, "an older and much longer file ".repeat(100)).unwrap();
    evaluation().write(folder.path()).unwrap();
    let csv = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 7);
    assert!(lines[0].starts_with(
        "case,class,dice,iou,precision,sensitivity,hausdorff_mm,hd95_mm,assd_mm,volume_reference_ml,\
         volume_prediction_ml,volume_difference_ml,relative_volume_difference,"
    ));
    assert!(lines[0].ends_with(",region,note"));
    assert!(lines[1].starts_with("\"Case \"\"A\"\", left\",1,1,1,1,1,0,0,0,"));
    assert!(lines[4].starts_with("B,2,0,0,,0,,,,0.002639"), "{}", lines[4]);
    assert!(lines[4].ends_with(",whole,empty prediction"));
    assert_eq!(lines[6], "C,2,,,,,,,,0,0,0,,0,,,,0,0,0,,,,whole,empty prediction and reference");
    let fields = lines[0].matches(',').count();
    assert!(lines[3..].iter().all(|line| line.matches(',').count() == fields));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no temporary file is left");
}

#[test]
fn json_reads_back_and_uses_the_csv_names() {
    let folder = tempfile::tempdir().unwrap();
    evaluation().write(folder.path()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("scores.json")).unwrap();
    let back: Evaluation = serde_json::from_str(&text).unwrap();
    assert_eq!(back.cases.len(), 6);
    assert_eq!(back.cases[3].presence, Presence::EmptyPrediction);
    assert_eq!(back.cases[3].hd95_mm, None);
    assert_relative_eq!(back.cases[2].dice.unwrap(), 4.0 / 7.0, max_relative = 1e-15);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for metric in Metric::ALL {
        assert!(json["summary"][1]["scores"][metric.key()]["undefined"].is_u64(), "{}", metric.key());
        assert!(json["mean_foreground"].get(metric.key()).is_some(), "{}", metric.key());
    }
}

#[cfg(unix)]
#[test]
fn written_files_have_the_permissions_of_ordinary_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (ours, ordinary) = (folder.path().join("scores.csv"), folder.path().join("ordinary.csv"));
    evaluation().write(folder.path()).unwrap();
    std::fs::write(&ordinary, "").unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&ordinary));
}

#[test]
fn an_unwritable_path_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let (path, message) = (absent.join("scores.csv"), evaluation().write(&absent).unwrap_err().to_string());
    assert!(message.starts_with(&format!("cannot write {}: ", path.display())), "{message}");
}

#[test]
fn table_is_aligned_and_marks_undefined_scores() {
    let table = render_table(&evaluation());
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 1 + 1 + 6 + 1 + 10);
    let dice_ends = lines[0].find("Dice").unwrap() + 4;
    for line in lines.iter().filter(|line| !line.starts_with("---")) {
        let end = line.char_indices().nth(dice_ends).map_or(line.len(), |(at, _)| at);
        assert!(!line[..end].ends_with(' '), "the Dice column ends at {dice_ends}: {line}");
        assert!(line[end..].starts_with("  "), "{line}");
    }
    let missed = lines.iter().find(|line| line.starts_with("B ") && line.contains("tumour")).unwrap();
    let cells: Vec<&str> = missed.split_whitespace().collect();
    assert_eq!(cells[..9], ["B", "tumour", "0.000", "0.000", "-", "0.000", "-", "-", "-"]);
    assert!(missed.ends_with("  empty prediction"));
    assert!(!lines[0].contains("region"));
}

/// Sixty rows of cases become ten, the lowest by Dice; of few classes the statistics stay.
#[test]
fn a_long_table_is_cut_and_says_so() {
    let pair = |right: u16| {
        let reference: Vec<u16> = (0..60).map(|x| u16::from(x < 30)).collect();
        let prediction: Vec<u16> = (0..60).map(|x| u16::from(x < right)).collect();
        let pair =
            LabelPair { prediction: &prediction, reference: &reference, extents: [60, 1, 1], spacing: [1.0, 1.0, 1.0] };
        score_case(&format!("case{right}"), &pair, &names(&["organ"]), &[Region::Whole]).unwrap()
    };
    let few = Evaluation::new((1..4).flat_map(pair).collect());
    assert_eq!(render_short_table(&few, "scores.csv"), render_table(&few));
    let many = Evaluation::new((0..60).flat_map(pair).collect());
    let table = render_short_table(&many, "out/scores.csv");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 1 + 1 + 10 + 1 + 5 + 1);
    // The longer the prediction up to 30 voxels, the better.
    assert!(lines[2].starts_with("case0 ") && lines[11].starts_with("case9 "), "{table}");
    assert_eq!(lines[18], "the 10 lowest of 60 rows by Dice; all of them are in out/scores.csv");
}
