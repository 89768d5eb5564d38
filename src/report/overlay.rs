//! A case as one picture: axial, sagittal and coronal slices with the outlines of reference and prediction (as Fig. 4
//! and 6 of the V-Net paper).
//!
//! The slices go through the centroid of the reference, else of the prediction, else the volume's centre. All three
//! share one scale; the part shown is centred on the labels and twice their size, so a label far from the rest stays
//! visible: it widens the view. Intensities are windowed between the 1st and 99th percentile of the volume.

use std::collections::BTreeMap;
use std::path::Path;

use super::canvas::{Anchor, Canvas, Rect, text_width};
use super::slice::{Plane, SliceView, outline};
use super::{ReportError, Rgb, check_maps};
use crate::metrics::{IGNORED, Overlap};

/// Side in pixels of the square that each panel is centred in.
pub const PANEL: usize = 512;
/// Space in pixels around and between panels.
pub const MARGIN: usize = 16;
/// Height in pixels of the title above the panels.
pub const HEADER: usize = 56;

const LEGEND_ROW: usize = 34;
/// Classes of the legend; others have outlines, and their number stands below.
const MOST_ROWS: usize = 12;
pub(super) const BACKGROUND: Rgb = [18, 18, 20];
pub(super) const LIGHT: Rgb = [225, 225, 225];
pub(super) const DIM: Rgb = [165, 165, 165];

/// An image with its segmentation, in canonical orientation (RAS+), x fastest.
#[derive(Debug, Clone, Copy)]
pub struct OverlayCase<'a> {
    /// Title above the picture.
    pub title: &'a str,
    /// Intensities in any unit.
    pub image: &'a [f32],
    /// Reference labels, where there are some.
    pub reference: Option<&'a [u16]>,
    /// Predicted labels.
    pub prediction: &'a [u16],
    /// Extents x, y, z in voxels.
    pub extents: [usize; 3],
    /// Spacing x, y, z in mm.
    pub spacing: [f64; 3],
    /// Names of the foreground classes; the first names label 1. Labels without a name are not outlined.
    pub class_names: &'a [String],
    /// Of regions, for each name the labels that it stands for, which may overlap; empty for classes.
    pub members: &'a [Vec<u16>],
}

impl OverlayCase<'_> {
    /// Whether a label is part of a class or region, counted from 1.
    pub(super) fn contains(&self, class: u16, label: u16) -> bool {
        match self.members.get(usize::from(class) - 1) {
            Some(labels) => labels.contains(&label),
            None => label == class,
        }
    }

    /// Overlap of labels and the reference, of the voxels that are scored; none without a reference.
    pub(super) fn overlap(&self, labels: &[u16], class: u16) -> Option<Overlap> {
        Overlap::count_where(labels, self.reference?, |label| self.contains(class, label)).ok()
    }
}

/// Colour of the reference's outline of a class (label from 1): cool colours.
pub fn reference_colour(class: u16) -> Rgb {
    shade(class, [[86, 180, 233], [0, 158, 115], [130, 130, 255]])
}

/// Colour of the prediction's outline of a class (label from 1): warm colours.
pub fn prediction_colour(class: u16) -> Rgb {
    shade(class, [[240, 150, 0], [240, 228, 66], [235, 90, 40]])
}

/// Colour of the outline of a class (label from 1) in the first of two predictions: blues.
pub fn first_colour(class: u16) -> Rgb {
    shade(class, [[60, 160, 255], [0, 230, 230], [150, 150, 255]])
}

/// Colour of the outline of a class (label from 1) in the second of two predictions: as predictions.
pub fn second_colour(class: u16) -> Rgb {
    prediction_colour(class)
}

fn shade(class: u16, shades: [Rgb; 3]) -> Rgb {
    shades[usize::from(class.max(1) - 1) % shades.len()]
}

/// Two predictions of one image, in canonical orientation (RAS+), x fastest.
#[derive(Debug, Clone, Copy)]
pub struct ComparisonCase<'a> {
    /// Image, reference and grid; the prediction is the first one.
    pub case: OverlayCase<'a>,
    /// Labels of the second prediction.
    pub second: &'a [u16],
    /// What the predictions are called.
    pub names: [&'a str; 2],
}

/// A label map that is outlined; later layers are drawn over earlier ones.
struct Layer<'a> {
    name: &'a str,
    /// Whether it is what the others are scored against.
    is_reference: bool,
    labels: &'a [u16],
    /// Pixels.
    thickness: usize,
    colour: fn(u16) -> Rgb,
}

const REFERENCE: Layer<'static> =
    Layer { name: "reference", is_reference: true, labels: &[], thickness: 2, colour: reference_colour };
const PREDICTION: Layer<'static> =
    Layer { name: "prediction", is_reference: false, labels: &[], thickness: 1, colour: prediction_colour };

/// Draws a case to a PNG, replacing `path` in one step.
///
/// Panels are [`PANEL`] pixels along the longest side shown, [`MARGIN`] apart, below a title of [`HEADER`] pixels. The
/// reference's outline is two pixels wide, the prediction's one, drawn over it; both lie inside their shape.
///
/// # Errors
/// When a map does not fill the extents, the volume is empty, or the file cannot be written.
pub fn write_overlay(path: &Path, case: &OverlayCase<'_>) -> Result<(), ReportError> {
    draw(path, case, &layers(case))
}

fn layers<'a>(case: &OverlayCase<'a>) -> Vec<Layer<'a>> {
    let reference = case.reference.map(|labels| Layer { labels, ..REFERENCE });
    reference.into_iter().chain([Layer { labels: case.prediction, ..PREDICTION }]).collect()
}

/// Draws two predictions of a case as [`write_overlay`] does one: both with outlines two pixels wide, the second over the
/// first, and the reference, where there is one, in white, one pixel wide, over both.
///
/// # Errors
/// As [`write_overlay`].
pub fn write_comparison_overlay(path: &Path, comparison: &ComparisonCase<'_>) -> Result<(), ReportError> {
    let case = &comparison.case;
    let [first, second] = comparison.names;
    let mut layers = vec![
        Layer { name: first, labels: case.prediction, thickness: 2, colour: first_colour, ..PREDICTION },
        Layer { name: second, labels: comparison.second, thickness: 2, colour: second_colour, ..PREDICTION },
    ];
    layers.extend(case.reference.map(|labels| Layer { labels, thickness: 1, colour: |_| [255; 3], ..REFERENCE }));
    draw(path, case, &layers)
}

fn draw(path: &Path, case: &OverlayCase<'_>, layers: &[Layer<'_>]) -> Result<(), ReportError> {
    check(case, layers)?;
    let (listed, left_out) = listed(case, layers);
    let rows = listed.len() + usize::from(left_out > 0);
    let width = 3 * PANEL + 4 * MARGIN;
    let height = HEADER + PANEL + MARGIN + rows * LEGEND_ROW + if rows > 0 { MARGIN } else { 0 };
    let mut canvas = Canvas::new(width, height, BACKGROUND);
    let (left, title_width) = (MARGIN as f32, (width - 2 * MARGIN) as f32);
    canvas.text_within(case.title, (left, HEADER as f32 / 2.0), 28.0, title_width, LIGHT);
    let focus = Focus::of(case, layers);
    let window = window(case.image);
    for (column, plane) in Plane::ALL.into_iter().enumerate() {
        let view = SliceView { plane, position: focus.voxel[plane.axes()[2]], shown: focus.shown, scale: focus.scale };
        let square = (MARGIN + column * (PANEL + MARGIN), HEADER);
        draw_panel(&mut canvas, case, layers, &view, square, window);
    }
    for (row, &class) in listed.iter().enumerate() {
        draw_legend(&mut canvas, case, layers, (row, class));
    }
    if left_out > 0 {
        let y = HEADER + PANEL + MARGIN + listed.len() * LEGEND_ROW + LEGEND_ROW / 2;
        let text = format!("{left_out} more classes");
        canvas.text_within(&text, (MARGIN as f32, y as f32), 20.0, title_width, DIM);
    }
    canvas.write_png(path)
}

/// The classes (from 1) of the legend and the number of those that it leaves out: all classes, or of many the largest in
/// all maps together, in ascending order.
fn listed(case: &OverlayCase<'_>, layers: &[Layer<'_>]) -> (Vec<u16>, usize) {
    let mut classes: Vec<u16> = (1..=u16::MAX).take(case.class_names.len()).collect();
    let all = classes.len();
    if all > MOST_ROWS {
        let mut voxels = BTreeMap::<u16, usize>::new();
        for &label in layers.iter().flat_map(|layer| layer.labels) {
            *voxels.entry(label).or_default() += 1;
        }
        let size = |class| voxels.iter().filter(|&(&label, _)| case.contains(class, label)).map(|(_, n)| n).sum();
        classes.sort_by_cached_key(|&class| std::cmp::Reverse::<usize>(size(class)));
        classes.truncate(MOST_ROWS);
        classes.sort_unstable();
    }
    let left_out = all - classes.len();
    (classes, left_out)
}

/// An error where image or labels do not fill the extents, or there is nothing to fill.
pub(super) fn check_case(case: &OverlayCase<'_>) -> Result<(), ReportError> {
    check(case, &layers(case))
}

fn check(case: &OverlayCase<'_>, layers: &[Layer<'_>]) -> Result<(), ReportError> {
    let reference = layers.iter().filter(|layer| layer.is_reference).map(|layer| ("reference", layer.labels.len()));
    let predictions = layers.iter().map(|layer| ("prediction", layer.labels.len()));
    let maps = [("image", case.image.len())].into_iter().chain(reference).chain(predictions);
    check_maps(case.extents, case.spacing, maps)
}

/// Where to look.
struct Focus {
    /// The voxel that the three slices share.
    voxel: [usize; 3],
    /// Part shown per axis, in mm.
    shown: [(f64, f64); 3],
    /// Pixels per mm.
    scale: f64,
}

impl Focus {
    fn of(case: &OverlayCase<'_>, layers: &[Layer<'_>]) -> Self {
        let spread = |layer: &Layer<'_>| Spread::of(layer.labels, case.extents);
        let reference = case.reference.and_then(|labels| Spread::of(labels, case.extents));
        let both: Vec<Spread> = layers.iter().filter_map(spread).collect();
        let centre = case.extents.map(|n| n / 2);
        let voxel = reference.as_ref().or(both.first()).map_or(centre, |spread| spread.centroid);
        let size = |axis: usize| case.extents[axis] as f64 * case.spacing[axis];
        let labelled: Option<[(f64, f64); 3]> = (!both.is_empty()).then(|| {
            std::array::from_fn(|axis| {
                let low = both.iter().map(|spread| spread.first[axis]).min().unwrap_or(0);
                let high = both.iter().map(|spread| spread.last[axis] + 1).max().unwrap_or(0);
                (low as f64 * case.spacing[axis], high as f64 * case.spacing[axis])
            })
        });
        let largest = |ranges: &[(f64, f64); 3]| ranges.iter().map(|(low, high)| high - low).fold(0.0, f64::max);
        let shown = std::array::from_fn(|axis| match &labelled {
            None => (0.0, size(axis)),
            Some(ranges) => {
                let side = (2.0 * largest(ranges)).min(size(axis));
                let start = (ranges[axis].0 + ranges[axis].1 - side) / 2.0;
                let start = start.clamp(0.0, size(axis) - side);
                (start, start + side)
            }
        });
        Self { voxel, shown, scale: PANEL as f64 / largest(&shown) }
    }
}

/// Centroid and box of all foreground voxels, ignored ones apart.
pub(super) struct Spread {
    pub(super) centroid: [usize; 3],
    first: [usize; 3],
    last: [usize; 3],
}

impl Spread {
    pub(super) fn of(labels: &[u16], extents: [usize; 3]) -> Option<Self> {
        let (mut sum, mut count) = ([0u64; 3], 0u64);
        let (mut first, mut last) = (extents, [0; 3]);
        for at in (0..labels.len()).filter(|&at| ![0, IGNORED].contains(&labels[at])) {
            let voxel = [at % extents[0], at / extents[0] % extents[1], at / (extents[0] * extents[1])];
            for axis in 0..3 {
                sum[axis] += voxel[axis] as u64;
                first[axis] = first[axis].min(voxel[axis]);
                last[axis] = last[axis].max(voxel[axis]);
            }
            count += 1;
        }
        let rounded = |total: u64| ((total + count / 2) / count) as usize;
        (count > 0).then(|| Self { centroid: sum.map(rounded), first, last })
    }
}

/// The 1st and 99th percentile of the finite intensities; a constant image becomes black.
pub(super) fn window(image: &[f32]) -> (f32, f32) {
    let mut finite: Vec<f32> = image.iter().copied().filter(|value| value.is_finite()).collect();
    let Some(last) = finite.len().checked_sub(1) else { return (0.0, 1.0) };
    let mut percentile = |percent: usize| *finite.select_nth_unstable_by(last * percent / 100, f32::total_cmp).1;
    let (low, high) = (percentile(1), percentile(99));
    if high > low { (low, high) } else { (low, low + 1.0) }
}

fn draw_panel(
    canvas: &mut Canvas,
    case: &OverlayCase<'_>,
    layers: &[Layer<'_>],
    view: &SliceView,
    square: (usize, usize),
    levels: (f32, f32),
) {
    let (width, height) = view.size();
    let (left, top) = draw_slice(canvas, view, case.image, (case.extents, case.spacing), (square, PANEL), levels);
    for layer in layers {
        let labels = view.labels(layer.labels, case.extents, case.spacing);
        for (class, _) in (1..=u16::MAX).zip(case.class_names) {
            for (x, y) in outline(&labels, width, |label| case.contains(class, label), layer.thickness) {
                canvas.set(left + x, top + y, (layer.colour)(class));
            }
        }
    }
    let area = Rect::new(left as f32, top as f32, width as f32, height as f32);
    let square = Rect::new(square.0 as f32, square.1 as f32, PANEL as f32, PANEL as f32);
    draw_annotations(canvas, view, area, square);
}

/// Draws a slice in the middle of a square, given by its corner and side; grey values between two levels. Where the slice's
/// corner lies.
pub(super) fn draw_slice(
    canvas: &mut Canvas,
    view: &SliceView,
    image: &[f32],
    (extents, spacing): ([usize; 3], [f64; 3]),
    (square, side): ((usize, usize), usize),
    (low, high): (f32, f32),
) -> (usize, usize) {
    let (width, height) = view.size();
    let (left, top) = (square.0 + (side - width.min(side)) / 2, square.1 + (side - height.min(side)) / 2);
    for (at, intensity) in view.intensities(image, extents, spacing).into_iter().enumerate() {
        // NaN becomes 0: black.
        let grey = ((intensity - low) / (high - low) * 255.0).round() as u8;
        canvas.set(left + at % width, top + at / width, [grey; 3]);
    }
    (left, top)
}

/// Patient directions at the slice's edges; plane, slice number and a length bar at the square's foot.
fn draw_annotations(canvas: &mut Canvas, view: &SliceView, area: Rect, square: Rect) {
    let middle = ((area.left + area.right) / 2.0, (area.top + area.bottom) / 2.0);
    let [left, right, top, bottom] = view.plane.directions();
    let inks = [LIGHT, BACKGROUND];
    canvas.text_rimmed(left, (area.left + 8.0, middle.1), 20.0, Anchor::Left, inks);
    canvas.text_rimmed(right, (area.right - 8.0, middle.1), 20.0, Anchor::Right, inks);
    canvas.text_rimmed(top, (middle.0, area.top + 14.0), 20.0, Anchor::Centre, inks);
    canvas.text_rimmed(bottom, (middle.0, area.bottom - 14.0), 20.0, Anchor::Centre, inks);
    let axis = ["x", "y", "z"][view.plane.axes()[2]];
    let caption = format!("{}, {axis} = {}", view.plane.name(), view.position);
    canvas.text_rimmed(&caption, (square.left + 8.0, square.bottom - 16.0), 20.0, Anchor::Left, inks);
    let lengths = [100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0];
    let fitting = lengths.into_iter().find(|mm| mm * view.scale <= square.width() as f64 / 3.0);
    if let Some(mm) = fitting {
        let (end, y) = (square.right - 10.0, square.bottom - 14.0);
        let start = end - (mm * view.scale) as f32;
        canvas.polyline(&[(start, y), (end, y)], 6.0, BACKGROUND, 1.0);
        canvas.polyline(&[(start, y), (end, y)], 3.0, LIGHT, 1.0);
        canvas.text_rimmed(&format!("{mm} mm"), (start - 8.0, y - 2.0), 18.0, Anchor::Right, inks);
    }
}

/// One class: the colours of its outlines, its name and each prediction's Dice over the whole volume.
fn draw_legend(canvas: &mut Canvas, case: &OverlayCase<'_>, layers: &[Layer<'_>], (row, class): (usize, u16)) {
    let y = (HEADER + PANEL + MARGIN + row * LEGEND_ROW + LEGEND_ROW / 2) as f32;
    let mut x = MARGIN as f32;
    for layer in layers {
        canvas.polyline(&[(x, y), (x + 30.0, y)], 4.0, (layer.colour)(class), 1.0);
        let width = text_width(layer.name, 20.0).min(300.0);
        canvas.text_within(layer.name, (x + 40.0, y), 20.0, width, DIM);
        x += 66.0 + width;
    }
    let predictions: Vec<&Layer<'_>> = layers.iter().filter(|layer| !layer.is_reference).collect();
    let dice = |layer: &&Layer<'_>| {
        let overlap = case.overlap(layer.labels, class)?;
        let dice = overlap.dice().map_or_else(|| "absent from both".to_owned(), |dice| format!("Dice {dice:.3}"));
        Some(if predictions.len() > 1 { format!("{dice} ({})", layer.name) } else { dice })
    };
    let scores: Vec<String> = predictions.iter().filter_map(dice).collect();
    let mut text = case.class_names[usize::from(class) - 1].clone();
    if !scores.is_empty() {
        text = format!("{text}: {}", scores.join(", "));
    }
    canvas.text_within(&text, (x, y), 22.0, (3 * PANEL + 3 * MARGIN) as f32 - x, LIGHT);
}
