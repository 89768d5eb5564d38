//! Every case's scores as box plots, one panel per metric and one box per class.

use std::path::Path;

use super::axes::{GREY, INK, Panel, Scale, range};
use super::boxes::{Extreme, Group, draw_box, name_extreme};
use super::canvas::{Anchor, Canvas, Paint, Rect};
use super::{OKABE_ITO, ReportError};
use crate::metrics::{Evaluation, Metric, Region};

/// Panels in two rows.
const PANELS: [Metric; 8] = [
    Metric::Dice,
    Metric::Iou,
    Metric::Precision,
    Metric::Sensitivity,
    Metric::HausdorffMm,
    Metric::Hd95Mm,
    Metric::AssdMm,
    Metric::RelativeVolumeDifference,
];

const COLUMNS: usize = 4;
const WIDTH: f32 = 330.0;
const HEIGHT: f32 = 400.0;
/// Distance from one panel to the next.
const PITCH: (f32, f32) = (430.0, 530.0);

/// Draws the scores of one region to a PNG of 1740 x 1130 pixels, replacing `path` in one step: boxes as in
/// [`super::write_dice_plot`], the worst case named (relative volume difference: the one furthest from 0).
///
/// # Errors
/// When the file cannot be written.
pub fn write_metric_plot(path: &Path, evaluation: &Evaluation, region: Region) -> Result<(), ReportError> {
    let mut canvas = Canvas::new(1740, 1130, [255; 3]);
    let part = if region == Region::Whole { "Whole organ".to_owned() } else { format!("Region: {}", region.key()) };
    canvas.text(&part, (80.0, 32.0), 28.0, Anchor::Left, INK);
    let key = "box: quartiles, line: median, ring: mean, dots: cases; the worst case is named";
    canvas.text(key, (1710.0, 32.0), 18.0, Anchor::Right, GREY);
    for (position, metric) in PANELS.into_iter().enumerate() {
        let left = 80.0 + (position % COLUMNS) as f32 * PITCH.0;
        let top = 110.0 + (position / COLUMNS) as f32 * PITCH.1;
        draw_panel(&mut canvas, Rect::new(left, top, WIDTH, HEIGHT), &groups(evaluation, region, metric), metric);
    }
    canvas.write_png(path)
}

/// One group per class, in the unit of the metric's heading.
fn groups(evaluation: &Evaluation, region: Region, metric: Metric) -> Vec<Group<'_>> {
    let classes = evaluation.summary.iter().filter(|class| class.region == region);
    let factor = metric.heading().1;
    let group = |(position, class): (usize, &crate::metrics::ClassSummary)| {
        let label = class.class;
        let scores = evaluation.cases.iter().filter(move |s| s.region == region && s.class == label);
        let value = |s: &crate::metrics::CaseScores| s.value(metric).map_or(f64::NAN, |value| value * factor);
        let values = scores.map(|s| (s.case.as_str(), value(s)));
        Group::new(class.class_name.clone(), OKABE_ITO[position % OKABE_ITO.len()], values)
    };
    classes.enumerate().map(group).collect()
}

/// Overlaps up to 1, distances from 0, signed differences around 0.
fn scale(metric: Metric, groups: &[Group<'_>]) -> Scale {
    let (low, high) = range(groups.iter().flat_map(Group::values));
    let low = if low.is_finite() { low } else { 0.0 };
    match metric {
        Metric::HausdorffMm | Metric::Hd95Mm | Metric::AssdMm if high > 0.0 => Scale::linear(0.0, high * 1.12),
        Metric::HausdorffMm | Metric::Hd95Mm | Metric::AssdMm => Scale::linear(0.0, 1.0),
        Metric::RelativeVolumeDifference => {
            let (low, high) = (low.min(0.0), high.max(0.0));
            let margin = if high > low { 0.1 * (high - low) } else { 10.0 };
            Scale::linear(low - margin, high + margin)
        }
        _ => Scale::linear(((low * 10.0 - 0.7).floor() / 10.0).clamp(0.0, 0.9), 1.0),
    }
}

fn draw_panel(canvas: &mut Canvas, area: Rect, groups: &[Group<'_>], metric: Metric) {
    let panel = Panel { area, x: Scale::linear(0.0, groups.len().max(1) as f64), y: scale(metric, groups) };
    panel.draw_title(canvas, metric.heading().0);
    panel.draw_y_axis(canvas);
    if groups.iter().all(|group| group.cases.is_empty()) {
        panel.draw_absence(canvas, "undefined in every case");
    }
    if metric == Metric::RelativeVolumeDifference {
        canvas.line(panel.at(0.0, 0.0), panel.at(groups.len().max(1) as f64, 0.0), Paint::line(GREY, 1.5));
    }
    let slot = area.width() / groups.len().max(1) as f32;
    for (position, group) in groups.iter().enumerate() {
        let centre = panel.at(position as f64 + 0.5, 0.0).0;
        draw_box(canvas, &panel, group, centre, (slot * 0.5).min(110.0));
        if slot > 70.0 {
            name_extreme(canvas, &panel, group, centre, worst(metric, group));
        }
        canvas.text_centred(&group.name, (centre, area.bottom + 22.0), 18.0, slot - 8.0, INK);
        let count = format!("n = {}", group.cases.len());
        canvas.text_centred(&count, (centre, area.bottom + 44.0), 17.0, slot - 8.0, GREY);
        if group.undefined > 0 {
            let note = format!("{} undefined", group.undefined);
            canvas.text_centred(&note, (centre, area.bottom + 65.0), 17.0, slot - 8.0, GREY);
        }
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
