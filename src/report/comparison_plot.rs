//! Two sets of predictions as a picture: above, both scores of every case joined by a line; below, their differences.

use std::path::Path;

use super::axes::{GREY, INK, Panel, Scale, range};
use super::boxes::{Group, draw_box};
use super::canvas::{Anchor, Canvas, Paint, Rect};
use super::{FIRST, ReportError, SECOND};
use crate::metrics::{Comparison, Metric, PairedSummary, Region, probability};

const PANELS: [Metric; 3] = [Metric::Dice, Metric::Hd95Mm, Metric::AssdMm];
const WIDTH: f32 = 440.0;
const PITCH: f32 = 545.0;

/// Draws a comparison of whole organs to a PNG of 1660 x 1060 pixels, replacing `path` in one step. Per metric (Dice,
/// HD95, average surface distance) and class: scores of the first set left, of the second right, one line per case in
/// the colour of the better one; below first less second, as a box with a dot per case, and p of Wilcoxon's test.
///
/// # Errors
/// When the file cannot be written.
pub fn write_comparison_plot(path: &Path, comparison: &Comparison) -> Result<(), ReportError> {
    let mut canvas = Canvas::new(1660, 1060, [255; 3]);
    let mut x = 95.0;
    for (name, colour, side) in [(&comparison.names[0], FIRST, "left"), (&comparison.names[1], SECOND, "right")] {
        canvas.disc((x + 8.0, 32.0), 8.0, colour, 1.0);
        let text = format!("{name} ({side})");
        canvas.text_within(&text, (x + 26.0, 32.0), 24.0, 560.0, INK);
        x += 80.0 + canvas.text_width(&text, 24.0).min(560.0);
    }
    canvas.text("lines: cases, in the colour of the better one", (1630.0, 32.0), 18.0, Anchor::Right, GREY);
    for (column, metric) in PANELS.into_iter().enumerate() {
        let left = 95.0 + column as f32 * PITCH;
        let classes: Vec<&PairedSummary> =
            comparison.summary.iter().filter(|s| s.metric == metric && s.region == Region::Whole).collect();
        draw_pairs(&mut canvas, Rect::new(left, 110.0, WIDTH, 430.0), comparison, &classes, metric);
        draw_differences(&mut canvas, Rect::new(left, 640.0, WIDTH, 320.0), comparison, &classes, metric);
    }
    canvas.write_png(path)
}

/// Case and both scores, where they are defined.
fn pairs<'a>(comparison: &'a Comparison, class: &PairedSummary) -> Vec<(&'a str, f64, f64)> {
    let (label, metric) = (class.class, class.metric);
    let same =
        move |p: &&crate::metrics::PairedScore| p.class == label && p.region == Region::Whole && p.metric == metric;
    let both = |p: &'a crate::metrics::PairedScore| Some((p.case.as_str(), p.first?, p.second?));
    comparison.cases.iter().filter(same).filter_map(both).collect()
}

fn draw_pairs(canvas: &mut Canvas, area: Rect, comparison: &Comparison, classes: &[&PairedSummary], metric: Metric) {
    let all: Vec<Vec<(&str, f64, f64)>> = classes.iter().map(|class| pairs(comparison, class)).collect();
    let (low, high) = range(all.iter().flatten().flat_map(|pair| [pair.1, pair.2]));
    let y = match metric {
        Metric::Dice if low.is_finite() => Scale::linear(((low * 10.0 - 0.2).floor() / 10.0).clamp(0.0, 0.9), 1.0),
        Metric::Dice => Scale::linear(0.0, 1.0),
        _ if high > 0.0 => Scale::linear(0.0, high * 1.08),
        _ => Scale::linear(0.0, 1.0),
    };
    let panel = Panel { area, x: Scale::linear(0.0, classes.len().max(1) as f64), y };
    panel.draw_title(canvas, metric.heading().0);
    panel.draw_y_axis(canvas);
    if all.iter().all(Vec::is_empty) {
        panel.draw_absence(canvas, "no case with both scores");
    }
    for (position, pairs) in all.iter().enumerate() {
        let [from, to] = [0.27, 0.73].map(|part| position as f64 + part);
        for &(_, first, second) in pairs {
            let better = if metric == Metric::Dice { first > second } else { first < second };
            let colour = if first == second {
                GREY
            } else if better {
                FIRST
            } else {
                SECOND
            };
            canvas.line(panel.at(from, first), panel.at(to, second), Paint::line(colour, 2.0).faint(0.6));
        }
        for &(_, first, second) in pairs {
            canvas.disc(panel.at(from, first), 5.5, FIRST, 0.9);
            canvas.disc(panel.at(to, second), 5.5, SECOND, 0.9);
        }
    }
    name_classes(canvas, &panel, classes, 22.0);
}

fn draw_differences(
    canvas: &mut Canvas,
    area: Rect,
    comparison: &Comparison,
    classes: &[&PairedSummary],
    metric: Metric,
) {
    let group = |class: &&PairedSummary| {
        let pairs = pairs(comparison, class);
        let differences = pairs.into_iter().map(|(case, first, second)| (case, first - second));
        Group::new(class.class_name.clone(), [90, 90, 90], differences)
    };
    let groups: Vec<Group<'_>> = classes.iter().map(group).collect();
    let (low, high) = range(groups.iter().flat_map(Group::values).chain([0.0]));
    let margin = if high > low { 0.12 * (high - low) } else { 0.1 };
    let y = Scale::linear(low - margin, high + margin);
    let panel = Panel { area, x: Scale::linear(0.0, classes.len().max(1) as f64), y };
    panel.draw_title(canvas, if metric == Metric::Dice { "Left less right" } else { "Left less right (mm)" });
    panel.draw_y_axis(canvas);
    canvas.line(panel.at(0.0, 0.0), panel.at(classes.len().max(1) as f64, 0.0), Paint::line(INK, 2.0));
    let [above, below] = if metric == Metric::Dice { ["left", "right"] } else { ["right", "left"] };
    for (side, sign, y) in [(above, "above", area.top + 14.0), (below, "below", area.bottom - 14.0)] {
        canvas.text(&format!("{sign} 0: {side} better"), (area.right - 6.0, y), 16.0, Anchor::Right, GREY);
    }
    let slot = area.width() / classes.len().max(1) as f32;
    for (position, (group, class)) in groups.iter().zip(classes).enumerate() {
        let centre = panel.at(position as f64 + 0.5, 0.0).0;
        draw_box(canvas, &panel, group, centre, (slot * 0.4).min(110.0));
        let p = class.wilcoxon.map_or_else(
            || "p undefined".to_owned(),
            |test| match probability(test.p) {
                p if p.starts_with('<') => format!("p {p}"),
                p => format!("p = {p}"),
            },
        );
        let text = format!("{p}, n = {}", group.cases.len());
        canvas.text_centred(&text, (centre, area.bottom + 46.0), 18.0, slot - 8.0, GREY);
    }
    name_classes(canvas, &panel, classes, 22.0);
}

fn name_classes(canvas: &mut Canvas, panel: &Panel, classes: &[&PairedSummary], below: f32) {
    let slot = panel.area.width() / classes.len().max(1) as f32;
    for (position, class) in classes.iter().enumerate() {
        let centre = panel.at(position as f64 + 0.5, 0.0).0;
        canvas.text_centred(&class.class_name, (centre, panel.area.bottom + below), 18.0, slot - 8.0, INK);
    }
}
