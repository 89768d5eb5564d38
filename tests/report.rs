//! Pictures checked pixel by pixel at positions computed here, and the page as text.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use image::RgbImage;
use sha2::{Digest, Sha256};
use std::io::Read;
use vnet_engine::metrics::{Comparison, Evaluation, LabelPair, Region, score_case};
use vnet_engine::report::{
    Curves, HEADER, MARGIN, MAX_VOXELS, OverlayCase, PANEL, Report, ReportError, Rgb, ViewerCase, prediction_colour,
    reference_colour, write_comparison_plot, write_curves, write_dice_plot, write_metric_plot, write_overlay,
    write_report,
};

const WHITE: Rgb = [255; 3];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn read(path: &Path) -> RgbImage {
    image::open(path).unwrap().into_rgb8()
}

fn count(picture: &RgbImage, colour: Rgb) -> usize {
    picture.pixels().filter(|pixel| pixel.0 == colour).count()
}

/// Pixels of a colour inside a rectangle: left, top, right, bottom.
fn count_within(picture: &RgbImage, colour: Rgb, [left, top, right, bottom]: [u32; 4]) -> usize {
    let inside = |x: u32, y: u32| (left..right).contains(&x) && (top..bottom).contains(&y);
    picture.enumerate_pixels().filter(|(x, y, pixel)| inside(*x, *y) && pixel.0 == colour).count()
}

/// Leftmost, topmost, rightmost and bottommost pixel of a colour above the legend and inside one panel.
fn bounds(picture: &RgbImage, colour: Rgb, panel: usize) -> Option<[usize; 4]> {
    let left = MARGIN + panel * (PANEL + MARGIN);
    let of_colour = picture.enumerate_pixels().filter(|(x, y, pixel)| {
        pixel.0 == colour
            && (left..left + PANEL).contains(&(*x as usize))
            && (HEADER..HEADER + PANEL).contains(&(*y as usize))
    });
    of_colour.fold(None, |found: Option<[usize; 4]>, (x, y, _)| {
        let (x, y) = (x as usize, y as usize);
        let [l, t, r, b] = found.unwrap_or([x, y, x, y]);
        Some([l.min(x), t.min(y), r.max(x), b.max(y)])
    })
}

/// A volume of 16 x 8 x 4 voxels of 1 x 2 x 2 mm, 16 x 16 x 8 mm: 32 pixels per mm when all of it is shown.
const EXTENTS: [usize; 3] = [16, 8, 4];
const SPACING: [f64; 3] = [1.0, 2.0, 2.0];

fn filled(x: std::ops::Range<usize>, y: std::ops::Range<usize>, z: std::ops::Range<usize>, label: u16) -> Vec<u16> {
    let mut labels = vec![0; EXTENTS.iter().product()];
    for (at, voxel) in labels.iter_mut().enumerate() {
        let inside = x.contains(&(at % 16)) && y.contains(&(at / 16 % 8)) && z.contains(&(at / 128));
        *voxel = if inside { label } else { 0 };
    }
    labels
}

fn overlay(reference: Option<&[u16]>, prediction: &[u16], image: &[f32], class_names: &[&str]) -> RgbImage {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case.png");
    let class_names = names(class_names);
    let case = OverlayCase {
        title: "case",
        image,
        reference,
        prediction,
        extents: EXTENTS,
        spacing: SPACING,
        class_names: &class_names,
    };
    write_overlay(&path, &case).unwrap();
    read(&path)
}

#[test]
fn overlay_outlines_lie_where_the_voxels_are_in_radiological_orientation() {
    // 10 mm along x, so a view of 20 mm: everything is shown at 32 pixels per mm.
    let reference = filled(2..12, 1..3, 1..2, 1);
    let prediction = filled(3..12, 5..6, 1..2, 1);
    let image = vec![0.0; reference.len()];
    let picture = overlay(Some(&reference), &prediction, &image, &["organ"]);
    // Axial: column of x mm is 32 (16 - x), row of y mm is 32 (16 - y). Coronal and sagittal are 8 mm = 256 pixels high.
    let axial = (MARGIN, HEADER);
    let found = bounds(&picture, reference_colour(1), 0).unwrap();
    assert_eq!(found, [axial.0 + 32 * 4, axial.1 + 32 * 10, axial.0 + 32 * 14 - 1, axial.1 + 32 * 14 - 1]);
    let found = bounds(&picture, prediction_colour(1), 0).unwrap();
    assert_eq!(found, [axial.0 + 32 * 4, axial.1 + 32 * 4, axial.0 + 32 * 13 - 1, axial.1 + 32 * 6 - 1]);
    // Centroid of x 2..12 is 6.5, rounded to 7; of y 1..3 is 1.5, rounded to 2: the prediction is not in that coronal.
    let sagittal = (2 * MARGIN + PANEL, HEADER + 128);
    let found = bounds(&picture, reference_colour(1), 1).unwrap();
    let rows = (sagittal.1 + 32 * 4, sagittal.1 + 32 * 6 - 1);
    assert_eq!(found, [sagittal.0 + 32 * 10, rows.0, sagittal.0 + 32 * 14 - 1, rows.1]);
    let coronal = 3 * MARGIN + 2 * PANEL;
    let found = bounds(&picture, reference_colour(1), 2).unwrap();
    assert_eq!(found, [coronal + 32 * 4, rows.0, coronal + 32 * 14 - 1, rows.1]);
    assert_eq!(bounds(&picture, prediction_colour(1), 2), None);
}

#[test]
fn overlay_reference_is_two_pixels_wide_and_the_prediction_one_over_it() {
    let shape = filled(2..12, 1..3, 1..2, 1);
    let image = vec![0.0; shape.len()];
    let picture = overlay(Some(&shape), &shape, &image, &["organ"]);
    let (left, top) = (MARGIN as u32 + 128, HEADER as u32 + 320);
    let middle = top + 64;
    let expected = [[0; 3], prediction_colour(1), reference_colour(1), [0; 3]];
    assert_eq!([left - 1, left, left + 1, left + 2].map(|x| picture.get_pixel(x, middle).0), expected);
    assert_eq!([top - 1, top, top + 1, top + 2].map(|y| picture.get_pixel(left + 90, y).0), expected);
}

#[test]
fn overlay_draws_each_class_in_its_shade() {
    let mut reference = filled(1..12, 1..3, 1..2, 1);
    for (voxel, two) in reference.iter_mut().zip(filled(1..12, 3..5, 1..2, 2)) {
        *voxel += two;
    }
    let prediction = vec![0; reference.len()];
    let picture = overlay(Some(&reference), &prediction, &vec![0.0; reference.len()], &["one", "two"]);
    let [_, top_one, _, bottom_one] = bounds(&picture, reference_colour(1), 0).unwrap();
    let [_, top_two, _, bottom_two] = bounds(&picture, reference_colour(2), 0).unwrap();
    assert_eq!((top_one, bottom_one), (HEADER + 320, HEADER + 447));
    assert_eq!((top_two, bottom_two), (HEADER + 192, HEADER + 319));
    assert_eq!(bounds(&picture, prediction_colour(1), 0), None);
}

#[test]
fn overlay_goes_through_the_prediction_without_reference_and_shows_twice_the_label() {
    // 2 x 4 x 2 mm around (11, 6, 5): twice the largest is 8 mm, so 64 pixels per mm in every panel.
    let prediction = filled(10..12, 2..4, 2..3, 1);
    let picture = overlay(None, &prediction, &vec![0.0; prediction.len()], &["organ"]);
    // x shown 7..15, y 2..10, z 0..8 (5 - 4 = 1..9 does not fit and is moved).
    let found = bounds(&picture, prediction_colour(1), 0).unwrap();
    let (left, top) = (MARGIN + 64 * 3, HEADER + 64 * 2);
    assert_eq!(found, [left, top, left + 127, top + 255]);
    let found = bounds(&picture, prediction_colour(1), 1).unwrap();
    let (left, top) = (2 * MARGIN + PANEL + 64 * 2, HEADER + 64 * 2);
    assert_eq!(found, [left, top, left + 255, top + 127]);
    assert_eq!(count(&picture, reference_colour(1)), 0);
}

#[test]
fn overlay_image_is_linear_between_voxel_centres_and_windowed() {
    // A ramp along x in steps of 10; 1st and 99th percentile of 512 voxels are 0 and 150.
    let image: Vec<f32> = (0..512).map(|at| (at % 16) as f32 * 10.0).collect();
    let labels = vec![0; 512];
    let picture = overlay(None, &labels, &image, &[]);
    for (x_mm, y_row) in [(3.5, 100), (7.75, 333), (12.1, 60), (15.9, 60), (0.2, 410)] {
        let column = ((16.0 - x_mm) * 32.0) as u32;
        let centre_mm = 16.0 - (f64::from(column) + 0.5) / 32.0;
        let expected = ((centre_mm - 0.5).clamp(0.0, 15.0) * 10.0 / 150.0 * 255.0).round();
        let pixel = picture.get_pixel(MARGIN as u32 + column, HEADER as u32 + y_row).0;
        assert!((f64::from(pixel[0]) - expected).abs() <= 1.0, "x = {x_mm} mm: {pixel:?}, expected {expected}");
        assert_eq!([pixel[0]; 3], pixel);
    }
}

#[test]
fn overlay_shows_missing_intensities_as_black() {
    let mut image: Vec<f32> = vec![f32::NAN; 512];
    image[300..].fill(5.0);
    let picture = overlay(None, &[0; 512], &image, &[]);
    assert!(picture.width() > 0);
    let picture = overlay(None, &[0; 512], &[f32::NAN; 512], &[]);
    assert_eq!(picture.get_pixel(MARGIN as u32 + 100, HEADER as u32 + 100).0, [0; 3]);
}

#[test]
fn overlay_refuses_what_does_not_fit() {
    let class_names = names(&["organ"]);
    let case = OverlayCase {
        title: "",
        image: &[0.0; 511],
        reference: None,
        prediction: &[0; 512],
        extents: EXTENTS,
        spacing: SPACING,
        class_names: &class_names,
    };
    let path = Path::new("never-written.png");
    let message = write_overlay(path, &case).unwrap_err().to_string();
    assert_eq!(message, "image has 511 voxels, but extents [16, 8, 4] (x, y, z) hold 512");
    let empty = OverlayCase { image: &[], prediction: &[], extents: [16, 0, 4], ..case };
    assert!(matches!(write_overlay(path, &empty), Err(ReportError::Grid { extents: [16, 0, 4], .. })));
    assert!(!path.exists());
}

/// Area of the three panels of `curves.png`: left, top, right, bottom.
const LOSS: [u32; 4] = [97, 62, 775, 549];
const DICE: [u32; 4] = [887, 62, 1566, 834];
const BLUE: Rgb = [0, 114, 178];
const VERMILLION: Rgb = [213, 94, 0];
const GREEN: Rgb = [0, 158, 115];

fn curves(curves: &Curves) -> RgbImage {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("curves.png");
    write_curves(&path, curves).unwrap();
    let picture = read(&path);
    assert_eq!(picture.dimensions(), (1600, 900));
    picture
}

/// Mean row of the pixels of a colour within three columns around `x`.
fn row_of(picture: &RgbImage, colour: Rgb, x: u32, [_, top, _, bottom]: [u32; 4]) -> f64 {
    let rows: Vec<f64> = (x - 1..=x + 1)
        .flat_map(|x| (top..bottom).map(move |y| (x, y)))
        .filter(|&(x, y)| picture.get_pixel(x, y).0 == colour)
        .map(|(_, y)| f64::from(y))
        .collect();
    assert!(!rows.is_empty(), "no pixel of {colour:?} near column {x}");
    rows.iter().sum::<f64>() / rows.len() as f64
}

#[test]
fn curves_put_dice_where_it_belongs() {
    // Steps 100..300 over 680 pixels from 885; Dice 0.2..0.9 over 773 pixels up to row 62.
    let validation = vec![(100, vec![0.25, 0.5]), (200, vec![0.65, f64::NAN]), (300, vec![0.85, 0.4])];
    let picture = curves(&Curves { validation, class_names: names(&["a", "b"]), ..Curves::default() });
    let row = |dice: f64| 62.0 + 773.0 * (0.9 - dice) / 0.7;
    for (x, dice) in [(885.0 + 680.0 * 0.25, 0.45), (885.0 + 680.0 * 0.75, 0.75)] {
        let found = row_of(&picture, BLUE, x as u32, DICE);
        assert!((found - row(dice)).abs() < 2.0, "Dice {dice}: row {found}, expected {}", row(dice));
    }
    // Class b is undefined at step 200: its two points are dots, with no line between them.
    assert_eq!(count_within(&picture, VERMILLION, [885 + 20, 62, 1565 - 20, 640]), 0);
    assert!((row_of(&picture, VERMILLION, 887, DICE) - row(0.5)).abs() < 1.5);
    assert!((row_of(&picture, VERMILLION, 1563, DICE) - row(0.4)).abs() < 1.5);
}

#[test]
fn curves_use_a_log_scale_beyond_a_decade_only() {
    // The smoothed curve begins at the first loss.
    let losses = |last: f64| Curves { train: vec![(0, 1.0), (10, last)], ..Curves::default() };
    let first_row = |picture: &RgbImage| row_of(picture, BLUE, LOSS[0] + 1, LOSS);
    // Linear: 1..9 with a margin of 5 %: the first point is at 0.05 / 1.1 of the height.
    let linear = first_row(&curves(&losses(9.0)));
    assert!((linear - (550.0 - 488.0 * 0.05 / 1.1)).abs() < 3.0, "{linear}");
    // Logarithmic: 1/1.2 .. 120: the first point is at log 1.2 / log 144 of the height.
    let log = first_row(&curves(&losses(100.0)));
    assert!((log - (550.0 - 488.0 * 1.2f64.ln() / 144f64.ln())).abs() < 3.0, "{log}");
}

#[test]
fn curves_mark_steps_whose_loss_is_not_finite() {
    let mut train: Vec<(u64, f64)> = (0..=100).map(|step| (step, 1.0 - step as f64 / 300.0)).collect();
    let foot = [LOSS[0], 537, LOSS[2], 549];
    assert_eq!(count_within(&curves(&Curves { train: train.clone(), ..Curves::default() }), VERMILLION, foot), 0);
    train[25].1 = f64::NAN;
    train[75].1 = f64::INFINITY;
    let picture = curves(&Curves { train, ..Curves::default() });
    for x in [95 + 170, 95 + 510] {
        assert!(count_within(&picture, VERMILLION, [x - 3, 537, x + 3, 549]) >= 11);
    }
    let marks = count_within(&picture, VERMILLION, foot);
    assert!((22..=48).contains(&marks), "two marks of 1 to 2 columns, found {marks} pixels");
}

#[test]
fn curves_survive_nothing_and_little() {
    let points = [f64::NAN, f64::INFINITY, 0.0, -3.0, 1e-30, 1e30];
    for value in points {
        let one = Curves {
            train: vec![(7, value)],
            learning_rate: vec![(7, value)],
            validation: vec![(7, vec![value.clamp(0.0, 1.0), f64::NAN]), (9, vec![])],
            class_names: names(&["only one name"]),
        };
        assert!(count(&curves(&one), WHITE) > 700_000, "{value}");
    }
    let empty = curves(&Curves::default());
    assert_eq!(count_within(&empty, BLUE, LOSS) + count_within(&empty, BLUE, DICE), 0);
}

#[test]
fn curves_draw_a_constant_learning_rate_in_the_middle() {
    let learning_rate = vec![(0, 3e-4), (50, 3e-4)];
    let picture = curves(&Curves { learning_rate, ..Curves::default() });
    let found = row_of(&picture, GREEN, 400, [95, 670, 775, 834]);
    assert!((found - (670.0 + 165.0 / 2.0)).abs() <= 1.5, "{found}");
}

#[test]
fn curves_keep_single_peaks_of_long_runs() {
    let mut train: Vec<(u64, f64)> = (0..200_000).map(|step| (step, 1.0)).collect();
    train[123_457].1 = 5.0;
    let picture = curves(&Curves { train, ..Curves::default() });
    // The faint peak ends 5 % below the top: a column that is not white although grid and legend are elsewhere.
    let x = 95 + (680.0 * 123_457.0 / 199_999.0) as u32;
    let painted = (x - 2..=x + 2).filter(|&x| picture.get_pixel(x, 200).0[0] < 200).count();
    assert!(painted >= 1);
}

#[test]
fn dice_plot_counts_cases_in_bins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dice.png");
    // Scale from 0.7: bins of 0.02 over 680 pixels from 885; three cases in 0.86..0.88 make the axis end at 3.3.
    let dice = [0.865, 0.87, 0.871, 0.93, 0.7201, f64::NAN];
    let cases: Vec<(String, Vec<f64>)> = dice.iter().map(|&d| (format!("Case{d}"), vec![d])).collect();
    write_dice_plot(&path, &cases, &names(&["organ"])).unwrap();
    let picture = read(&path);
    let column = |dice: f64| 885 + (680.0 * (dice - 0.7) / 0.3) as u32;
    let height = |dice: f64| {
        let background = |y: &u32| picture.get_pixel(column(dice), *y).0[0] > 200;
        f64::from(672 - (62..672).rev().find(background).unwrap() - 1)
    };
    let per_case = 610.0 / 3.3;
    for (dice, cases) in [(0.87, 3.0), (0.93, 1.0), (0.73, 1.0), (0.89, 0.0)] {
        assert!((height(dice) - cases * per_case).abs() <= 1.5, "Dice {dice}: {} pixels", height(dice));
    }
}

#[test]
fn dice_plot_draws_the_median_and_survives_empty_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dice.png");
    let cases: Vec<(String, Vec<f64>)> =
        [0.5, 0.62, 0.9, 0.75, 0.81].iter().map(|&d| (String::new(), vec![f64::NAN, d])).collect();
    write_dice_plot(&path, &cases, &names(&["none", "organ"])).unwrap();
    // Second of two slots of 340 pixels; Dice 0.4..1 over 610 pixels. The median's line is 4 pixels of full colour.
    let centre = 95 + 340 + 170;
    let row = 62.0 + 610.0 * (1.0 - 0.75) / 0.6;
    let found = row_of(&read(&path), VERMILLION, centre - 65, [0, row as u32 - 12, 0, row as u32 + 12]);
    assert!((found - row).abs() < 1.5, "{found} {row}");
    write_dice_plot(&path, &[], &[]).unwrap();
    write_dice_plot(&path, &[("a".to_owned(), vec![])], &names(&["organ"])).unwrap();
}

/// Scores with the given Dice and relative volume difference of class 1.
fn scored(values: &[(f64, f64)]) -> Evaluation {
    let labels = filled(2..12, 1..3, 1..2, 1);
    let pair = LabelPair { prediction: &labels, reference: &labels, extents: EXTENTS, spacing: SPACING };
    let record = |(number, &(dice, difference)): (usize, &(f64, f64))| {
        let mut scores =
            score_case(&format!("c{number}"), &pair, &names(&["organ"]), &[Region::Whole]).unwrap().remove(0);
        scores.dice = dice.is_finite().then_some(dice);
        scores.relative_volume_difference = Some(difference);
        scores
    };
    Evaluation::new(values.iter().enumerate().map(record).collect())
}

#[test]
fn metric_plot_puts_medians_where_they_belong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.png");
    let values = [(0.5, -0.2), (0.62, 0.1), (0.9, 0.4), (0.75, 0.05), (0.81, 0.0), (f64::NAN, 0.0)];
    write_metric_plot(&path, &scored(&values), Region::Whole).unwrap();
    let picture = read(&path);
    assert_eq!(picture.dimensions(), (1740, 1130));
    // Panels of 330 x 400 pixels at 80 + 430 column, 110 + 530 row; boxes are 110 wide. Dice: scale from 0.4; median 0.75
    // of five. Relative volume difference in percent: -26 to 46; median of six is 2.5.
    for (left, top, share) in [(80, 110, (1.0 - 0.75) / 0.6), (80 + 3 * 430, 640, (46.0 - 2.5) / 72.0)] {
        let row = f64::from(top) + 400.0 * share;
        let found = row_of(&picture, BLUE, left + 165 - 48, [0, row as u32 - 8, 0, row as u32 + 8]);
        assert!((found - row).abs() < 1.5, "row {found}, expected {row}");
    }
    // No records: axes, and words instead of boxes.
    write_metric_plot(&path, &scored(&[]), Region::Apex).unwrap();
    assert_eq!(count(&read(&path), BLUE), 0);
}

#[test]
fn comparison_plot_joins_the_scores_of_a_case() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("comparison.png");
    let (first, second) = (scored(&[(0.9, 0.0), (0.8, 0.0)]), scored(&[(0.7, 0.0), (0.85, 0.0)]));
    let comparison = Comparison::new(["one".to_owned(), "two".to_owned()], &first, &second);
    write_comparison_plot(&path, &comparison).unwrap();
    let picture = read(&path);
    // Dice: 0.6 to 1 over 430 pixels from row 110, columns 95 to 535; the first set at 27 %, the second at 73 %.
    let row = |dice: f64| 110.0 + 430.0 * (1.0 - dice) / 0.4;
    let around = |dice: f64| [0, row(dice) as u32 - 7, 0, row(dice) as u32 + 7];
    let (left, right) = (95 + (440.0 * 0.27) as u32, 95 + (440.0 * 0.73) as u32);
    let near = |x: u32, dice: f64, colour: Rgb| {
        let [_, top, _, bottom] = around(dice);
        let close = |a: u8, b: u8| a.abs_diff(b) < 30;
        let is = |p: Rgb| (0..3).all(|channel| close(p[channel], colour[channel]));
        (top..bottom)
            .flat_map(|y| (x - 5..x + 5).map(move |x| (x, y)))
            .filter(|&(x, y)| is(picture.get_pixel(x, y).0))
            .count()
    };
    for (x, dice, colour) in [(left, 0.9, BLUE), (left, 0.8, BLUE), (right, 0.7, VERMILLION), (right, 0.85, VERMILLION)]
    {
        assert!(near(x, dice, colour) > 40, "Dice {dice}: {} pixels", near(x, dice, colour));
    }
    // Half way the first case's line is blue (it was better), the second's vermilion.
    let middle = 95 + 220;
    let tint = |dice: f64| {
        let column = (row(dice) as u32 - 3..row(dice) as u32 + 3).map(|y| picture.get_pixel(middle, y).0);
        column.min_by_key(|p| p.iter().map(|c| u32::from(*c)).sum::<u32>()).unwrap()
    };
    let (first, second) = (tint(0.8), tint(0.825));
    assert!(first[2] > first[0] + 50 && second[0] > second[2] + 50, "{first:?} {second:?}");
    // Nothing to compare.
    let nothing = Comparison::new(["a".to_owned(), "b".to_owned()], &scored(&[]), &scored(&[]));
    write_comparison_plot(&path, &nothing).unwrap();
}

fn evaluation() -> Evaluation {
    let (reference, prediction) = (filled(2..12, 1..3, 1..2, 1), filled(3..12, 1..3, 1..2, 1));
    let class_names = names(&["gland & <capsule>", "tumour"]);
    let pair = LabelPair { prediction: &prediction, reference: &reference, extents: EXTENTS, spacing: SPACING };
    Evaluation::new(score_case("<script>alert(1)</script>", &pair, &class_names, &[Region::Whole]).unwrap())
}

#[test]
fn report_is_one_file_with_everything_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let (picture, page) = (folder.path().join("a.png"), folder.path().join("report.html"));
    std::fs::write(&picture, b"\x89PNG not really\xff").unwrap();
    let facts = [("data \"path\"".to_owned(), "a<b & 'c'".to_owned())];
    let images = [("1 < 2 \"quoted\"".to_owned(), picture)];
    let evaluation = evaluation();
    let report =
        Report { title: "Run <7>", facts: &facts, images: &images, viewer: &[], evaluation: Some(&evaluation) };
    write_report(&page, &report).unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<title>Run &lt;7&gt;</title>") && html.contains("<h1>Run &lt;7&gt;</h1>"));
    assert!(html.contains("<dt>data &quot;path&quot;</dt><dd>a&lt;b &amp; &#39;c&#39;</dd>"));
    assert!(html.contains("src=\"data:image/png;base64,iVBORyBub3QgcmVhbGx5/w==\""));
    assert!(html.contains("alt=\"1 &lt; 2 &quot;quoted&quot;\""));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && html.contains("gland &amp; &lt;capsule&gt;"));
    assert!(elements(&html, "script").iter().all(|script| script.starts_with("'use strict';")));
    for loaded in ["<script>alert", "http:", "https:", "src=\"/", "url(", "<link"] {
        assert!(!html.contains(loaded), "{loaded}");
    }
    // Dice 2 * 18 / 38 of the gland; the tumour is in neither map.
    assert!(html.contains("<td class=\"name\">whole</td><td>0.947</td>"));
    assert!(html.contains("<td class=\"note\">empty prediction and reference</td>"));
    assert_eq!(html.matches("<tr>").count(), html.matches("</tr>").count());
}

#[test]
fn report_names_the_picture_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let fails = |picture: &str| {
        let images = [("caption".to_owned(), PathBuf::from(picture))];
        let report = Report { title: "t", facts: &[], images: &images, viewer: &[], evaluation: None };
        write_report(&page, &report).unwrap_err().to_string()
    };
    assert!(fails("/absent/overlay.png").starts_with("cannot read /absent/overlay.png: "));
    assert_eq!(fails("/absent/scores.csv"), "/absent/scores.csv: expected a .png, .jpg or .svg picture");
    assert!(!page.exists());
}

/// What is between every `<tag>` and `</tag>`.
fn elements<'a>(html: &'a str, tag: &str) -> Vec<&'a str> {
    let (start, end) = (format!("<{tag}>"), format!("</{tag}>"));
    html.split(&start).skip(1).map(|rest| rest.split(&end).next().unwrap()).collect()
}

/// A page with one case in its viewer.
fn viewer_page(case: &OverlayCase<'_>, heading: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (page, picture) = (folder.path().join("report.html"), folder.path().join("case.png"));
    write_overlay(&picture, case).unwrap();
    let viewer = [ViewerCase::new(heading, case, Some(picture)).unwrap()];
    let report = Report { title: "t", facts: &[], images: &[], viewer: &viewer, evaluation: None };
    write_report(&page, &report).unwrap();
    std::fs::read_to_string(&page).unwrap()
}

/// A volume of the page's first case.
fn volume(html: &str, kind: &str) -> Vec<u8> {
    let start = format!("id=\"viewer-0-{kind}\">");
    let packed = html.split(&start).nth(1).unwrap().split("</script>").next().unwrap();
    let mut bytes = Vec::new();
    ZlibDecoder::new(STANDARD.decode(packed).unwrap().as_slice()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn description(html: &str) -> serde_json::Value {
    let text = html.split("id=\"viewer-cases\">").nth(1).unwrap().split("</script>").next().unwrap();
    serde_json::from_str(text).unwrap()
}

#[test]
fn viewer_holds_the_volumes() {
    let (reference, prediction) = (filled(2..12, 1..3, 1..2, 1), filled(3..12, 1..3, 1..2, 2));
    // 1st and 99th percentile of 512 voxels are 0 and 150, the highest is cut off.
    let mut image: Vec<f32> = (0..512).map(|at| (at % 16) as f32 * 10.0).collect();
    (image[37], image[38]) = (f32::NAN, 1e9);
    let class_names = names(&["gland", "tumour"]);
    let title = "</script><b>";
    let case = OverlayCase {
        title,
        image: &image,
        reference: Some(&reference),
        prediction: &prediction,
        extents: EXTENTS,
        spacing: SPACING,
        class_names: &class_names,
    };
    let html = viewer_page(&case, "Worst: <b>");
    let grey = |at: usize| match at {
        37 => 0,
        38 => 255,
        _ => ((at % 16) as f32 * 10.0 / 150.0 * 255.0).round() as u8,
    };
    assert_eq!(volume(&html, "image"), (0..512).map(grey).collect::<Vec<_>>());
    let bytes = |labels: &[u16]| labels.iter().flat_map(|l| l.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(volume(&html, "reference"), bytes(&reference));
    assert_eq!(volume(&html, "prediction"), bytes(&prediction));
    let description = &description(&html)[0];
    assert_eq!(description["case"], title);
    assert_eq!(description["extents"], serde_json::json!(EXTENTS));
    assert_eq!(description["spacing"], serde_json::json!(SPACING));
    // Centroid of x 2..12 is 6.5, of y 1..3 is 1.5, both rounded up.
    assert_eq!(description["centre"], serde_json::json!([7, 2, 1]));
    assert_eq!(description["classes"][0]["dice"], 0.0);
    assert!(html.contains("Worst: &lt;b&gt;</label>") && html.contains("alt=\"Worst: &lt;b&gt;\""));
    assert_eq!(html.matches("</script>").count(), html.matches("<script").count());
}

#[test]
fn viewer_coarsens_what_is_too_large() {
    // Five times as many voxels as a page holds: x and y are halved, as they are the finest, then x again.
    let extents = [501, 300, 140];
    let count = extents.iter().product::<usize>();
    assert!(count > 4 * MAX_VOXELS && count < 8 * MAX_VOXELS);
    let image: Vec<f32> = (0..count).map(|at| (at % extents[0] % 4) as f32).collect();
    let prediction: Vec<u16> = (0..count).map(|at| u16::from(at % extents[0] % 4 == 2)).collect();
    let class_names = names(&["organ"]);
    let case = OverlayCase {
        title: "large",
        image: &image,
        reference: None,
        prediction: &prediction,
        extents,
        spacing: [0.5, 0.6, 3.0],
        class_names: &class_names,
    };
    let html = viewer_page(&case, "large");
    let description = &description(&html)[0];
    assert_eq!(description["extents"], serde_json::json!([126, 150, 140]));
    assert_eq!(description["spacing"], serde_json::json!([2.0, 1.2, 3.0]));
    assert!(description["note"].as_str().unwrap().contains("the volume has 0.5 × 0.6 × 3 mm"));
    // Four voxels of 0, 1, 2, 3 have the mean 1.5, half of the window; the last block has a single 0.
    let first_row = &volume(&html, "image")[..126];
    assert_eq!(first_row[..125], [128; 125]);
    assert_eq!(first_row[125], 0);
    // The middle of four voxels is the third.
    let labels = volume(&html, "prediction");
    assert_eq!(labels[..250], [1, 0].repeat(125));
    assert!(!html.contains("id=\"viewer-0-reference\""));
    // Base64 of at most as many bytes as voxels, and zlib's 5 bytes per block of 16 KiB and 6 besides.
    assert!(html.len() < 200_000 + 4 * (MAX_VOXELS + MAX_VOXELS / 3000) / 3 + labels.len() / 10);
}

#[test]
fn viewer_refuses_what_does_not_fit() {
    let class_names = names(&["organ"]);
    let labels = vec![0; 512];
    let case = OverlayCase {
        title: "",
        image: &[0.0; 512],
        reference: Some(&labels[1..]),
        prediction: &labels,
        extents: EXTENTS,
        spacing: SPACING,
        class_names: &class_names,
    };
    let message = ViewerCase::new("", &case, None).unwrap_err().to_string();
    assert_eq!(message, "reference has 511 voxels, but extents [16, 8, 4] (x, y, z) hold 512");
}

#[test]
fn report_allows_its_own_scripts_and_styles_only() {
    let labels = filled(2..12, 1..3, 1..2, 1);
    let class_names = names(&["organ"]);
    let case = OverlayCase {
        title: "",
        image: &[0.0; 512],
        reference: None,
        prediction: &labels,
        extents: EXTENTS,
        spacing: SPACING,
        class_names: &class_names,
    };
    let html = viewer_page(&case, "");
    let policy = html.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    let hash = |text: &&str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let hashes = |tag: &str| elements(&html, tag).iter().map(hash).collect::<Vec<_>>().join(" ");
    let expected = format!(
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src {}; script-src {}",
        hashes("style"),
        hashes("script")
    );
    assert_eq!(policy, expected);
    assert_eq!((elements(&html, "style").len(), elements(&html, "script").len()), (1, 2));
    assert!(!html.contains(" style=\"") && !html.contains(" onclick="));
}
