//! Overlays checked pixel by pixel, plots mark by mark, at positions computed here; the page as text.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use image::RgbImage;
use sha2::{Digest, Sha256};
use std::io::Read;
use vnet_engine::metrics::{CaseScores, Comparison, Evaluation, LabelPair, Region, score_case};
use vnet_engine::report::{
    Curves, HEADER, MARGIN, MAX_VOXELS, OverlayCase, PANEL, Report, ReportError, Rgb, ViewerCase, prediction_colour,
    reference_colour, write_comparison_plot, write_curves, write_dice_plot, write_metric_plot, write_overlay,
    write_report,
};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn read(path: &Path) -> RgbImage {
    image::open(path).unwrap().into_rgb8()
}

fn count(picture: &RgbImage, colour: Rgb) -> usize {
    picture.pixels().filter(|pixel| pixel.0 == colour).count()
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
        members: &[],
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

/// A region of two labels is drawn and scored as one label is, and what is ignored as background.
#[test]
fn overlay_draws_regions_as_one_shape_and_no_ignored_voxel() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, core) = (filled(2..12, 1..5, 1..3, 1), filled(4..9, 2..4, 1..2, 1));
    let both: Vec<u16> = whole.iter().zip(&core).map(|(a, b)| a + b).collect();
    let prediction = filled(3..12, 1..4, 1..3, 1);
    let image = vec![0.0; both.len()];
    let class_names = names(&["whole"]);
    let draw = |reference: &[u16], members: &[Vec<u16>]| {
        let (reference, path) = (Some(reference), folder.path().join("case.png"));
        let (extents, spacing, class_names) = (EXTENTS, SPACING, &class_names[..]);
        let (title, image, prediction) = ("case", &image[..], &prediction[..]);
        write_overlay(
            &path,
            &OverlayCase { title, image, reference, prediction, extents, spacing, class_names, members },
        )
        .unwrap();
        std::fs::read(&path).unwrap()
    };
    let expected = draw(&whole, &[]);
    assert_eq!(draw(&both, &[vec![1, 2]]), expected);
    assert_ne!(draw(&both, &[]), expected);
    // Ignored where nothing is, and nothing is predicted.
    let ignoring = whole.iter().zip(&prediction).enumerate();
    let ignoring: Vec<u16> =
        ignoring.map(|(at, (l, p))| if *l + *p == 0 && at % 3 > 0 { u16::MAX } else { *l }).collect();
    assert_eq!(draw(&ignoring, &[]), expected);
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
        members: &[],
    };
    let path = Path::new("never-written.png");
    let message = write_overlay(path, &case).unwrap_err().to_string();
    assert_eq!(message, "image has 511 voxels, but extents [16, 8, 4] (x, y, z) hold 512");
    let empty = OverlayCase { image: &[], prediction: &[], extents: [16, 0, 4], ..case };
    assert!(matches!(write_overlay(path, &empty), Err(ReportError::Grid { extents: [16, 0, 4], .. })));
    assert!(!path.exists());
}

/// Colours of the first three classes.
const BLUE: &str = "#0072b2";
const VERMILLION: &str = "#d55e00";
const GREEN: &str = "#009e73";
/// Colour of what the page decides.
const INK: &str = "currentColor";

struct Rectangle {
    /// Left, top, right, bottom.
    area: [f64; 4],
    fill: String,
}

struct Line {
    points: Vec<[f64; 2]>,
    stroke: String,
    width: f64,
    note: String,
}

struct Disc {
    centre: [f64; 2],
    fill: String,
    note: String,
}

struct Text {
    text: String,
    at: [f64; 2],
    anchor: String,
}

/// The marks of an SVG plot.
#[derive(Default)]
struct Plot {
    size: [f64; 2],
    title: String,
    rectangles: Vec<Rectangle>,
    lines: Vec<Line>,
    discs: Vec<Disc>,
    texts: Vec<Text>,
}

impl Plot {
    /// Reads a plot, and checks what holds for all of them: they have a title and a description, no id, known marks only, and
    /// every mark and every text is within the picture.
    fn read(path: &Path) -> Self {
        let svg = std::fs::read_to_string(path).unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let root = document.root_element();
        let attribute = |node: roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap_or_default().to_owned();
        let view: Vec<f64> = attribute(root, "viewBox").split(' ').map(|number| number.parse().unwrap()).collect();
        let mut plot = Self { size: [view[2], view[3]], ..Self::default() };
        assert_eq!((&view[..2], root.attribute("role")), (&[0.0; 2][..], Some("img")));
        assert!(!svg.contains("id=") && !svg.contains("style"));
        let text_of = |node: roxmltree::Node<'_, '_>, tag: &str| {
            let child = node.children().find(|child| child.has_tag_name((root.tag_name().namespace().unwrap(), tag)));
            child.and_then(|child| child.text()).unwrap_or_default().to_owned()
        };
        plot.title = text_of(root, "title");
        assert!(!plot.title.is_empty() && !text_of(root, "desc").is_empty());
        for node in root.children().filter(roxmltree::Node::is_element) {
            let number = |name: &str| {
                let number: f64 = attribute(node, name).parse().unwrap();
                assert!(number.is_finite(), "{name} of {node:?}");
                number
            };
            let (fill, note) = (attribute(node, "fill"), text_of(node, "title"));
            match node.tag_name().name() {
                "title" | "desc" => {}
                "rect" => {
                    let [left, top] = ["x", "y"].map(number);
                    let area = [left, top, left + number("width"), top + number("height")];
                    plot.rectangles.push(Rectangle { area, fill });
                }
                "polyline" => {
                    let point = |pair: &str| {
                        let (x, y) = pair.split_once(',').unwrap();
                        [x, y].map(|number| number.parse().unwrap())
                    };
                    let points = attribute(node, "points").split(' ').map(point).collect();
                    let stroke = attribute(node, "stroke");
                    plot.lines.push(Line { points, stroke, width: number("stroke-width"), note });
                }
                "circle" => plot.discs.push(Disc { centre: [number("cx"), number("cy")], fill, note }),
                "text" => {
                    // The middle of the capitals.
                    let at = [number("x"), number("y") - 0.36 * number("font-size")];
                    let (text, anchor) = (node.text().unwrap_or_default().to_owned(), attribute(node, "text-anchor"));
                    let half = 0.26 * number("font-size") * text.chars().count() as f64;
                    let middle = match anchor.as_str() {
                        "" => at[0] + half,
                        "middle" => at[0],
                        _ => at[0] - half,
                    };
                    plot.check_within(middle - half, at[1]);
                    plot.check_within(middle + half, at[1]);
                    plot.texts.push(Text { text, at, anchor });
                }
                other => panic!("a mark {other}"),
            }
        }
        plot.rectangles.iter().for_each(|r| plot.check_within(r.area[2], r.area[3]));
        plot.lines.iter().flat_map(|line| &line.points).for_each(|&[x, y]| plot.check_within(x, y));
        plot.discs.iter().for_each(|disc| plot.check_within(disc.centre[0], disc.centre[1]));
        plot
    }

    fn check_within(&self, x: f64, y: f64) {
        assert!((0.0..=self.size[0]).contains(&x) && (0.0..=self.size[1]).contains(&y), "{x}, {y} is outside");
    }

    /// Left, top, right and bottom of the panels: their frames are open to the right and to the top.
    fn frames(&self) -> Vec<[f64; 4]> {
        let frame = |line: &Line| match line.points[..] {
            [[left, top], [x, bottom], [right, y]] if x == left && y == bottom && line.stroke == INK => {
                Some([left, top, right, bottom])
            }
            _ => None,
        };
        self.lines.iter().filter_map(frame).collect()
    }

    /// Values and rows of the labels beside a frame.
    fn rows(&self, [left, top, _, bottom]: [f64; 4]) -> Vec<(f64, f64)> {
        let beside = |text: &&Text| {
            text.anchor == "end" && text.at[0] == left - 10.0 && (top - 1.0..bottom + 1.0).contains(&text.at[1])
        };
        self.texts.iter().filter(beside).map(|text| (text.text.parse().unwrap(), text.at[1])).collect()
    }

    /// The row of a value, by the labels beside a frame; the scale is linear.
    fn row(&self, frame: [f64; 4], value: f64) -> f64 {
        let rows = self.rows(frame);
        let ((low, bottom), (high, top)) = (rows[0], rows[rows.len() - 1]);
        let row = |value: f64| bottom + (top - bottom) * (value - low) / (high - low);
        rows.iter().for_each(|&(value, at)| assert!((row(value) - at).abs() < 0.2, "the label {value} is at {at}"));
        row(value)
    }

    /// Lines of a colour inside a frame, of all lines that are longer than a swatch.
    fn curves(&self, frame: [f64; 4], stroke: &str) -> Vec<&Line> {
        let inside = |line: &Line| line.points.iter().all(|point| within(frame, *point));
        self.lines.iter().filter(|line| line.stroke == stroke && inside(line)).collect()
    }

    fn text(&self, text: &str) -> &Text {
        self.texts.iter().find(|found| found.text == text).unwrap_or_else(|| panic!("no text {text}"))
    }

    fn disc(&self, note: &str) -> &Disc {
        self.discs.iter().find(|disc| disc.note == note).unwrap_or_else(|| panic!("no disc {note}"))
    }

    /// Colour of the swatch beside a name of a legend, which is above the frame.
    fn swatch(&self, frame: [f64; 4], name: &str) -> &str {
        let [x, y] = self.text(name).at;
        assert!(y < frame[1] && x > frame[0], "the name {name} is in the plot");
        let beside = |line: &&Line| line.points.iter().all(|p| (p[1] - y).abs() < 0.2 && (x - 40.0..x).contains(&p[0]));
        &self.lines.iter().find(beside).unwrap_or_else(|| panic!("no swatch of {name}")).stroke
    }
}

fn within([left, top, right, bottom]: [f64; 4], [x, y]: [f64; 2]) -> bool {
    (left - 0.1..=right + 0.1).contains(&x) && (top - 0.1..=bottom + 0.1).contains(&y)
}

#[track_caller]
fn assert_near(found: [f64; 2], expected: [f64; 2]) {
    let near = (found[0] - expected[0]).abs() < 0.15 && (found[1] - expected[1]).abs() < 0.15;
    assert!(near, "{found:?}, expected {expected:?}");
}

/// The plot that `write` writes, which is the same every time.
fn plot(write: impl Fn(&Path) -> Result<(), ReportError>) -> Plot {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first.svg", "second.svg"].map(|name| folder.path().join(name));
    write(&first).unwrap();
    write(&second).unwrap();
    assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
    Plot::read(&first)
}

/// A plot of curves, and the frames of loss, learning rate and Dice.
fn curves(curves: &Curves) -> (Plot, [[f64; 4]; 3]) {
    let plot = plot(|path| write_curves(path, curves));
    assert_eq!(plot.size, [1600.0, 900.0]);
    let frames = plot.frames().try_into().unwrap();
    (plot, frames)
}

#[test]
fn curves_put_dice_where_it_belongs() {
    // Steps 100..300 over the width; Dice 0.2..0.9 over the height.
    let validation = vec![(100, vec![0.25, 0.5]), (200, vec![0.65, f64::NAN]), (300, vec![0.85, 0.4])];
    let (plot, [_, _, frame]) =
        curves(&Curves { validation, class_names: names(&["a < 1", "b"]), ..Curves::default() });
    let [left, top, right, bottom] = frame;
    let at = |step: f64, dice: f64| {
        [left + (right - left) * (step - 100.0) / 200.0, top + (bottom - top) * (0.9 - dice) / 0.7]
    };
    assert!((plot.row(frame, 0.5) - at(100.0, 0.5)[1]).abs() < 0.2);
    for step in [100, 150, 200, 250, 300] {
        let label = plot.texts.iter().find(|t| t.text == step.to_string() && t.at[0] > left - 1.0 && t.at[1] > bottom);
        assert_near(label.unwrap().at, [at(f64::from(step), 0.0)[0], bottom + 20.0]);
    }
    let blue = plot.curves(frame, BLUE);
    assert_eq!((blue.len(), blue[0].points.len()), (1, 3));
    for (found, (step, dice)) in blue[0].points.iter().zip([(100.0, 0.25), (200.0, 0.65), (300.0, 0.85)]) {
        assert_near(*found, at(step, dice));
    }
    // Class b is undefined at step 200: its two points are dots, with no line between them.
    assert!(plot.curves(frame, VERMILLION).is_empty());
    for (step, dice) in [(100.0, 0.5), (300.0, 0.4)] {
        let disc = plot.disc(&format!("step {step}: {dice:.3}"));
        assert_near(disc.centre, at(step, dice));
        assert_eq!(disc.fill, VERMILLION);
    }
    let mean = plot.curves(frame, INK).into_iter().find(|line| line.width == 4.0).unwrap();
    for (found, (step, dice)) in mean.points.iter().zip([(100.0, 0.375), (200.0, 0.65), (300.0, 0.625)]) {
        assert_near(*found, at(step, dice));
    }
    let [ring, hole] = plot.discs.last_chunk().unwrap();
    assert_near(ring.centre, at(200.0, 0.65));
    assert_eq!((ring.centre, hole.fill.as_str()), (hole.centre, "#ffffff"));
    plot.text("best: 0.650 at step 200");
    let swatches = ["a < 1", "b", "mean"].map(|name| plot.swatch(frame, name));
    assert_eq!(swatches, [BLUE, VERMILLION, INK]);
}

#[test]
fn curves_as_png_are_the_same_marks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("curves.png");
    let drawn = Curves { validation: vec![(100, vec![0.25]), (300, vec![0.85])], ..Curves::default() };
    write_curves(&path, &drawn).unwrap();
    let picture = read(&path);
    assert_eq!(picture.dimensions(), (1600, 900));
    let (plot, [_, _, frame]) = curves(&drawn);
    let [from, to] = plot.curves(frame, BLUE)[0].points[..] else { panic!("not a line") };
    for part in [0.25, 0.5, 0.75] {
        let at = [0, 1].map(|axis| (from[axis] + part * (to[axis] - from[axis])) as u32);
        assert_eq!(picture.get_pixel(at[0], at[1]).0, [0, 114, 178], "{at:?}");
    }
    assert!(count(&picture, [255; 3]) > 1_300_000);
}

#[test]
fn curves_use_a_log_scale_beyond_a_decade_only() {
    // The smoothed curve begins at the first loss; how far it is above the foot, as a part of the height.
    let first = |last: f64, title: &str| {
        let (plot, [frame, ..]) = curves(&Curves { train: vec![(0, 1.0), (10, last)], ..Curves::default() });
        plot.text(title);
        assert_eq!(plot.swatch(frame, "moving average, 5 steps"), BLUE);
        (frame[3] - plot.curves(frame, BLUE)[0].points[0][1]) / (frame[3] - frame[1])
    };
    // Linear: 1..9 with a margin of 5 %.
    assert!((first(9.0, "Training loss") - 0.05 / 1.1).abs() < 3e-4);
    // Logarithmic: 1/1.2 .. 120.
    assert!((first(100.0, "Training loss (log scale)") - 1.2f64.ln() / 144f64.ln()).abs() < 3e-4);
}

#[test]
fn curves_mark_steps_whose_loss_is_not_finite() {
    let mut train: Vec<(u64, f64)> = (0..=100).map(|step| (step, 1.0 - step as f64 / 300.0)).collect();
    let (plot, [frame, ..]) = curves(&Curves { train: train.clone(), ..Curves::default() });
    assert!(plot.curves(frame, VERMILLION).is_empty());
    train[25].1 = f64::NAN;
    train[75].1 = f64::INFINITY;
    let (plot, [frame, ..]) = curves(&Curves { train, ..Curves::default() });
    let marks = plot.curves(frame, VERMILLION);
    assert_eq!(marks.len(), 2);
    for (mark, part) in marks.iter().zip([0.25, 0.75]) {
        let x = frame[0] + (frame[2] - frame[0]) * part;
        assert_near(mark.points[0], [x, frame[3] - 14.0]);
        assert_near(mark.points[1], [x, frame[3]]);
    }
    assert_eq!(plot.swatch(frame, "not finite: 2 of 101 steps"), VERMILLION);
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
        let _ = curves(&one);
    }
    let (plot, frames) = curves(&Curves::default());
    assert!(plot.lines.iter().all(|line| line.stroke == INK) && plot.discs.is_empty());
    let says: Vec<&Text> = plot.texts.iter().filter(|text| text.text.starts_with("no ")).collect();
    assert_eq!(says.len(), 3);
    says.iter().zip(frames).for_each(|(text, frame)| assert!(within(frame, text.at)));
}

#[test]
fn curves_name_many_classes_above_the_plot() {
    let class_names: Vec<String> = (0..80).map(|n| format!("structure {n:02}")).collect();
    let validation = vec![(1, vec![0.5; 80]), (2, vec![0.6; 80])];
    let (plot, [_, _, frame]) = curves(&Curves { validation, class_names, ..Curves::default() });
    assert!(frame[3] - frame[1] > 400.0);
    let named: Vec<&Text> = plot.texts.iter().filter(|text| text.text.starts_with("structure ")).collect();
    let rest = plot.text(&format!("{} other classes", 80 - named.len()));
    named.into_iter().chain([rest]).for_each(|text| assert!(text.at[1] < frame[1]));
}

#[test]
fn curves_draw_a_constant_learning_rate_in_the_middle() {
    let (plot, [_, frame, _]) = curves(&Curves { learning_rate: vec![(0, 3e-4), (50, 3e-4)], ..Curves::default() });
    let middle = (frame[1] + frame[3]) / 2.0;
    let curve = plot.curves(frame, GREEN);
    assert_near(curve[0].points[0], [frame[0], middle]);
    assert_near(curve[0].points[1], [frame[2], middle]);
}

#[test]
fn curves_keep_single_peaks_of_long_runs() {
    let mut train: Vec<(u64, f64)> = (0..200_000).map(|step| (step, 1.0)).collect();
    train[123_457].1 = 5.0;
    let (plot, [frame, ..]) = curves(&Curves { train, ..Curves::default() });
    let faint = plot.curves(frame, "#56b4e9");
    assert!(faint[0].points.len() < 5000, "{} points", faint[0].points.len());
    let peak = faint[0].points.iter().copied().reduce(|a, b| if b[1] < a[1] { b } else { a }).unwrap();
    // The margin is 5 % of the values.
    let x = frame[0] + (frame[2] - frame[0]) * 123_457.0 / 199_999.0;
    assert_near(peak, [x, frame[1] + (frame[3] - frame[1]) * 0.05 / 1.1]);
}

/// An evaluation of cases with these Dice of classes 1, 2, …; NaN is undefined.
fn with_dice(cases: &[(String, Vec<f64>)], class_names: &[&str]) -> Evaluation {
    let record = |case: &str, (class, name): (u16, &str), dice: f64| {
        let absent = CaseScores::absent(case, (class, name), Region::Whole);
        CaseScores { dice: dice.is_finite().then_some(dice), ..absent }
    };
    let classes = || (1..).zip(class_names.iter().copied());
    let records = |(case, dice): &(String, Vec<f64>)| {
        classes().zip(dice).map(|(class, &dice)| record(case, class, dice)).collect::<Vec<_>>()
    };
    Evaluation::new(cases.iter().flat_map(records).collect())
}

#[test]
fn dice_plot_counts_cases_in_bins() {
    // Scale from 0.7: bins of 0.02; three cases in 0.86..0.88 make the axis end at 3.3.
    let dice = [0.865, 0.87, 0.871, 0.93, 0.7201, f64::NAN];
    let cases: Vec<(String, Vec<f64>)> = dice.iter().map(|&d| (format!("Case <{d}> & more"), vec![d])).collect();
    let plot = plot(|path| write_dice_plot(path, &with_dice(&cases, &["organ"])));
    let [boxes, frame] = plot.frames()[..] else { panic!("two panels") };
    let [left, top, right, bottom] = frame;
    let x = |dice: f64| left + (right - left) * (dice - 0.7) / 0.3;
    let bars: Vec<&Rectangle> =
        plot.rectangles.iter().filter(|r| r.fill == BLUE && within(frame, [r.area[0], r.area[1]])).collect();
    assert_eq!(bars.len(), 3);
    for (bar, (from, cases)) in bars.iter().zip([(0.72, 1.0), (0.86, 3.0), (0.92, 1.0)]) {
        let height = (bottom - top) * cases / 3.3;
        assert_near([bar.area[0], bar.area[1]], [x(from + 0.06 * 0.02), bottom - height]);
        assert_near([bar.area[2], bar.area[3]], [x(from + 0.94 * 0.02), bottom]);
    }
    assert_eq!(plot.swatch(frame, "organ: 0.851 ± 0.078"), BLUE);
    // Every defined case has its dot, and the lowest is named within the frame.
    for dice in &dice[..5] {
        assert_eq!(plot.disc(&format!("Case <{dice}> & more: {dice:.3}")).fill, BLUE);
        let row = plot.disc(&format!("Case <{dice}> & more: {dice:.3}")).centre[1];
        assert!((row - plot.row(boxes, *dice)).abs() < 0.2);
    }
    let name = plot.text("Case <0.7201> & more").at;
    assert!(within(boxes, name) && (8.0..40.0).contains(&(name[1] - plot.row(boxes, 0.7201))));
    plot.text("n = 5");
    plot.text("1 undefined");
}

#[test]
fn dice_plot_names_the_lowest_case_beside_the_box_at_the_foot() {
    let cases: Vec<(String, Vec<f64>)> = [0.01, 0.02, 0.6].iter().map(|&d| (format!("c{d}"), vec![d])).collect();
    let plot = plot(|path| write_dice_plot(path, &with_dice(&cases, &["organ"])));
    let frame = plot.frames()[0];
    let (name, body) = (plot.text("c0.01"), &plot.rectangles[1].area);
    assert!(within(frame, [name.at[0], name.at[1] + 8.0]) && name.at[0] > body[2], "{:?}", name.at);
}

#[test]
fn dice_plot_draws_the_median_and_survives_empty_input() {
    let cases: Vec<(String, Vec<f64>)> =
        [0.5, 0.62, 0.9, 0.75, 0.81].iter().map(|&d| (String::new(), vec![f64::NAN, d])).collect();
    let drawn = plot(|path| write_dice_plot(path, &with_dice(&cases, &["none", "organ"])));
    // The second of two slots; Dice 0.4..1.
    let [left, top, right, bottom] = drawn.frames()[0];
    let median = drawn.lines.iter().find(|line| line.note == "median 0.750").unwrap();
    let (centre, row) = (left + (right - left) * 0.75, top + (bottom - top) * (1.0 - 0.75) / 0.6);
    assert_near(median.points[0], [centre - 68.0, row]);
    assert_near(median.points[1], [centre + 68.0, row]);
    assert_eq!((median.stroke.as_str(), median.width), (VERMILLION, 4.0));
    assert_near(drawn.disc("mean 0.716").centre, [centre, top + (bottom - top) * (1.0 - 0.716) / 0.6]);
    let empty = plot(|path| write_dice_plot(path, &with_dice(&[], &[])));
    empty.text("no defined Dice");
    plot(|path| write_dice_plot(path, &with_dice(&[("a".to_owned(), vec![f64::NAN])], &["organ"])));
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
    let values = [(0.5, -0.2), (0.62, 0.1), (0.9, 0.4), (0.75, 0.05), (0.81, 0.0), (f64::NAN, 0.0)];
    let drawn = plot(|path| write_metric_plot(path, &scored(&values), Region::Whole));
    assert_eq!((drawn.size, drawn.title.as_str(), drawn.frames().len()), ([1740.0, 1660.0], "Whole organ", 12));
    // Dice: scale from 0.4; median 0.75 of five. Relative volume difference in percent: -26 to 46; median of six is 2.5.
    for (panel, note, share) in [(0, "median 0.750", (1.0 - 0.75) / 0.6), (7, "median 2.500", (46.0 - 2.5) / 72.0)] {
        let [left, top, right, bottom] = drawn.frames()[panel];
        let median = drawn.lines.iter().find(|line| line.note == note).unwrap();
        let row = top + (bottom - top) * share;
        assert_near(median.points[0], [(left + right) / 2.0 - 66.0, row]);
        assert_near(median.points[1], [(left + right) / 2.0 + 66.0, row]);
        assert_eq!(median.stroke, BLUE);
    }
    drawn.text("1 undefined");
    // No records: axes, and words instead of boxes.
    let empty = plot(|path| write_metric_plot(path, &scored(&[]), Region::Apex));
    assert!(empty.lines.iter().all(|line| line.stroke == INK) && empty.discs.is_empty());
    assert_eq!(empty.texts.iter().filter(|text| text.text == "undefined in every case").count(), 12);
}

#[test]
fn comparison_plot_joins_the_scores_of_a_case() {
    let (first, second) = (scored(&[(0.9, 0.0), (0.8, 0.0)]), scored(&[(0.7, 0.0), (0.85, 0.0)]));
    let comparison = Comparison::new(["<one>".to_owned(), "two".to_owned()], &first, &second);
    let drawn = plot(|path| write_comparison_plot(path, &comparison));
    assert_eq!((drawn.size, drawn.title.as_str()), ([1660.0, 1060.0], "<one> beside two"));
    drawn.text("<one> (left)");
    // Dice: 0.6 to 1; the first set at 27 % of the width, the second at 73 %.
    let [left, top, right, bottom] = drawn.frames()[0];
    let at = |part: f64, dice: f64| [left + (right - left) * part, top + (bottom - top) * (1.0 - dice) / 0.4];
    // The first set was better in the first case, the second one in the other.
    for (case, first, second, better) in [(0, 0.9, 0.7, BLUE), (1, 0.8, 0.85, VERMILLION)] {
        for (part, dice, colour) in [(0.27, first, BLUE), (0.73, second, VERMILLION)] {
            let disc = drawn.disc(&format!("c{case}: {dice:.3}"));
            assert_near(disc.centre, at(part, dice));
            assert_eq!(disc.fill, colour);
        }
        let note = format!("c{case}: {first:.3} and {second:.3}");
        let line = drawn.lines.iter().find(|line| line.note == note).unwrap();
        assert_near(line.points[0], at(0.27, first));
        assert_near(line.points[1], at(0.73, second));
        assert_eq!(line.stroke, better);
    }
    // Below, the differences 0.2 and -0.05 around a line at 0.
    let frame = drawn.frames()[1];
    for (case, difference) in [(0, 0.2), (1, -0.05)] {
        let row = drawn.disc(&format!("c{case}: {difference:.3}")).centre[1];
        assert!((row - drawn.row(frame, difference)).abs() < 0.2);
    }
    let zero = drawn.row(frame, 0.0);
    assert!(drawn.curves(frame, INK).iter().any(|line| line.width == 1.5 && (line.points[0][1] - zero).abs() < 0.2));
    // Nothing to compare.
    let nothing = Comparison::new(["a".to_owned(), "b".to_owned()], &scored(&[]), &scored(&[]));
    plot(|path| write_comparison_plot(path, &nothing)).text("no case with both scores");
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
    let [plot, foreign] = ["plot.svg", "foreign.svg"].map(|name| folder.path().join(name));
    write_curves(&plot, &Curves { class_names: names(&["</svg><script>"]), ..Curves::default() }).unwrap();
    std::fs::write(&foreign, "<svg onload='alert(1)'/>").unwrap();
    let images = [("1 < 2 \"quoted\"".to_owned(), picture), ("plot".to_owned(), plot), ("foreign".to_owned(), foreign)];
    let evaluation = evaluation();
    let report =
        Report { title: "Run <7>", facts: &facts, images: &images, viewer: &[], evaluation: Some(&evaluation) };
    write_report(&page, &report).unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<title>Run &lt;7&gt;</title>") && html.contains("<h1>Run &lt;7&gt;</h1>"));
    assert!(html.contains("<dt>data &quot;path&quot;</dt><dd>a&lt;b &amp; &#39;c&#39;</dd>"));
    assert!(html.contains("src=\"data:image/png;base64,iVBORyBub3QgcmVhbGx5/w==\""));
    assert!(html.contains("alt=\"1 &lt; 2 &quot;quoted&quot;\""));
    // Plots are elements of the page; pictures of others, which may hold anything, are not.
    assert_eq!(html.matches("<svg class=\"plot\" role=\"img\"").count(), 1);
    assert!(html.contains("src=\"data:image/svg+xml;base64,") && !html.contains("onload"));
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
        members: &[],
    };
    let html = viewer_page(&case, "Worst: <b>");
    let grey = |at: usize| match at {
        37 => 0,
        38 => 255,
        _ => ((at % 16) as f32 * 10.0 / 150.0 * 255.0).round() as u8,
    };
    assert_eq!(volume(&html, "image-0"), (0..512).map(grey).collect::<Vec<_>>());
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
        members: &[],
    };
    let html = viewer_page(&case, "large");
    let description = &description(&html)[0];
    assert_eq!(description["extents"], serde_json::json!([126, 150, 140]));
    assert_eq!(description["spacing"], serde_json::json!([2.0, 1.2, 3.0]));
    assert!(description["note"].as_str().unwrap().contains("the volume has 0.5 × 0.6 × 3 mm"));
    // Four voxels of 0, 1, 2, 3 have the mean 1.5, half of the window; the last block has a single 0.
    let first_row = &volume(&html, "image-0")[..126];
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
        members: &[],
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
        members: &[],
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
