//! Every case's scores as box plots, one panel per metric and one box per class.

use std::path::Path;

use super::ReportError;
use super::axes::{LegendEntry, SMALL, Scale, draw_legend, range};
use super::boxes::{Extreme, Group, draw_boxes};
use super::canvas::{Anchor, Rect};
use super::svg::{Drawing, Paint};
use crate::metrics::{Evaluation, Metric, Region};

/// Panels in three rows.
const PANELS: [Metric; 12] = [
    Metric::Dice,
    Metric::Iou,
    Metric::Precision,
    Metric::Sensitivity,
    Metric::HausdorffMm,
    Metric::Hd95Mm,
    Metric::AssdMm,
    Metric::RelativeVolumeDifference,
    Metric::SurfaceDice,
    Metric::VolumetricSimilarity,
    Metric::LesionF1,
    Metric::LesionPq,
];

const COLUMNS: usize = 4;
const WIDTH: f32 = 330.0;
const HEIGHT: f32 = 400.0;
/// Distance from one panel to the next.
const PITCH: (f32, f32) = (430.0, 530.0);

/// Draws the scores of one region, 1740 x 1660, replacing `path` in one step: boxes and format as in
/// [`super::write_dice_plot`], the worst case named (relative volume difference: the one furthest from 0).
///
/// # Errors
/// When the file cannot be written.
pub fn write_metric_plot(path: &Path, evaluation: &Evaluation, region: Region) -> Result<(), ReportError> {
    let part = if region == Region::Whole { "Whole organ".to_owned() } else { format!("Region: {}", region.key()) };
    let description = "Box plots of twelve metrics per class, with every case as a dot.";
    let mut drawing = Drawing::new((1740, 1660), &part, description);
    drawing.text(&part, (80.0, 26.0), 25.0, Anchor::Left, Paint::INK);
    let key = "box: quartiles, line: median, ring: mean, dots: cases; the worst case is named";
    drawing.text(key, (1710.0, 26.0), SMALL, Anchor::Right, Paint::DIM);
    let classes = Group::of_classes(evaluation, region, Metric::Dice);
    if classes.len() > 1 {
        let entry =
            |class: Group<'_>| LegendEntry { name: class.name, paint: Paint::of(class.colour), width: Some(12.0) };
        let legend: Vec<LegendEntry> = classes.into_iter().map(entry).collect();
        draw_legend(&mut drawing, Rect::new(80.0, 47.0, 1630.0, 26.0), &legend);
    }
    for (position, metric) in PANELS.into_iter().enumerate() {
        let left = 80.0 + (position % COLUMNS) as f32 * PITCH.0;
        let top = 110.0 + (position / COLUMNS) as f32 * PITCH.1;
        let groups = Group::of_classes(evaluation, region, metric);
        let panel = (Rect::new(left, top, WIDTH, HEIGHT), scale(metric, &groups));
        let texts = [metric.heading().0, "undefined in every case"];
        draw_boxes(&mut drawing, panel, texts, &groups, |group| worst(metric, group));
    }
    drawing.write(path)
}

/// Overlaps up to 1, distances from 0, signed differences around 0.
fn scale(metric: Metric, groups: &[Group<'_>]) -> Scale {
    let (low, high) = range(groups.iter().flat_map(Group::values));
    match metric {
        Metric::HausdorffMm | Metric::Hd95Mm | Metric::AssdMm => Scale::distances(high),
        Metric::RelativeVolumeDifference => {
            let (low, high) = (low.min(0.0), high.max(0.0));
            let margin = if high > low { 0.1 * (high - low) } else { 10.0 };
            Scale::linear(low - margin, high + margin)
        }
        _ => Scale::ratios(low, 0.07),
    }
}

fn worst(metric: Metric, group: &Group<'_>) -> Extreme {
    let outer = |case: Option<&(&str, f64)>| case.map_or(0.0, |case| case.1.abs());
    match metric {
        Metric::HausdorffMm | Metric::Hd95Mm | Metric::AssdMm => Extreme::Highest,
        Metric::RelativeVolumeDifference if outer(group.cases.last()) > outer(group.cases.first()) => Extreme::Highest,
        _ => Extreme::Lowest,
    }
}
