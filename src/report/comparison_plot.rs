//! Two sets of predictions as a picture: above, both scores of every case joined by a line; below, their differences.

use std::path::Path;

use super::axes::{Panel, SMALL, Scale, draw_title, range};
use super::boxes::{Group, draw_box, short};
use super::canvas::{Anchor, Rect};
use super::svg::{Drawing, Paint, room, shortened};
use super::{FIRST, ReportError, SECOND};
use crate::metrics::{Comparison, Metric, PairedSummary, Region, probability};

const PANELS: [Metric; 3] = [Metric::Dice, Metric::Hd95Mm, Metric::AssdMm];
const WIDTH: f32 = 440.0;
const PITCH: f32 = 545.0;

/// Draws a comparison of whole organs, 1660 x 1060, replacing `path` in one step; the format is as in
/// [`super::write_curves`]. Per metric (Dice, HD95, average surface distance) and class: scores of the first set left,
/// of the second right, one line per case in the colour of the better one; below it first minus second, as a box with a
/// dot per case, and p of Wilcoxon's test.
///
/// # Errors
/// When the file cannot be written.
pub fn write_comparison_plot(path: &Path, comparison: &Comparison) -> Result<(), ReportError> {
    const NAME: f32 = 21.0;
    let [first, second] = &comparison.names;
    let description = "Scores of both for every case, and their differences as box plots.";
    let mut drawing = Drawing::new((1660, 1060), &format!("{first} beside {second}"), description);
    let mut x = 95.0;
    for (name, colour, side) in [(first, FIRST, "left"), (second, SECOND, "right")] {
        let text = shortened(&format!("{name} ({side})"), NAME, 520.0);
        drawing.disc((x + 8.0, 32.0), 8.0, Paint::of(colour));
        drawing.text(&text, (x + 26.0, 32.0), NAME, Anchor::Left, Paint::INK);
        x += 60.0 + room(&text, NAME);
    }
    let key = "lines: cases, in the colour of the better one";
    drawing.text(key, (1630.0, 32.0), SMALL, Anchor::Right, Paint::DIM);
    for (column, metric) in PANELS.into_iter().enumerate() {
        let left = 95.0 + column as f32 * PITCH;
        let classes: Vec<&PairedSummary> =
            comparison.summary.iter().filter(|s| s.metric == metric && s.region == Region::Whole).collect();
        draw_pairs(&mut drawing, Rect::new(left, 110.0, WIDTH, 430.0), comparison, &classes, metric);
        draw_differences(&mut drawing, Rect::new(left, 640.0, WIDTH, 320.0), comparison, &classes, metric);
    }
    drawing.write(path)
}

/// Case and both scores, where they are defined.
fn pairs<'a>(comparison: &'a Comparison, class: &PairedSummary) -> Vec<(&'a str, f64, f64)> {
    let (label, metric) = (class.class, class.metric);
    let same =
        move |p: &&crate::metrics::PairedScore| p.class == label && p.region == Region::Whole && p.metric == metric;
    let both = |p: &'a crate::metrics::PairedScore| Some((p.case.as_str(), p.first?, p.second?));
    comparison.cases.iter().filter(same).filter_map(both).collect()
}

fn draw_pairs(drawing: &mut Drawing, area: Rect, comparison: &Comparison, classes: &[&PairedSummary], metric: Metric) {
    let all: Vec<Vec<(&str, f64, f64)>> = classes.iter().map(|class| pairs(comparison, class)).collect();
    let (low, high) = range(all.iter().flatten().flat_map(|pair| [pair.1, pair.2]));
    let y = match metric {
        Metric::Dice => Scale::ratios(low, 0.02),
        _ => Scale::distances(high),
    };
    let panel = Panel::of_slots(area, y, classes.len());
    draw_title(drawing, panel.area, metric.heading().0);
    panel.draw_y_axis(drawing);
    if all.iter().all(Vec::is_empty) {
        panel.draw_absence(drawing, "no case with both scores");
    }
    for (position, pairs) in all.iter().enumerate() {
        let [from, to] = [0.27, 0.73].map(|part| position as f64 + part);
        for &(case, first, second) in pairs {
            let better = if metric == Metric::Dice { first > second } else { first < second };
            let paint = match (first == second, better) {
                (true, _) => Paint::DIM,
                (_, true) => Paint::of(FIRST),
                (_, false) => Paint::of(SECOND),
            };
            drawing.line(&[panel.at(from, first), panel.at(to, second)], 2.0, paint.faint(0.6));
            drawing.note(format!("{case}: {} and {}", short(first), short(second)));
        }
        for &(case, first, second) in pairs {
            for (x, score, colour) in [(from, first, FIRST), (to, second, SECOND)] {
                drawing.disc(panel.at(x, score), 5.5, Paint::of(colour).faint(0.9));
                drawing.note(format!("{case}: {}", short(score)));
            }
        }
        panel.caption(drawing, position, &[classes[position].class_name.clone()]);
    }
}

fn draw_differences(
    drawing: &mut Drawing,
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
    let panel = Panel::of_slots(area, y, classes.len());
    draw_title(drawing, panel.area, if metric == Metric::Dice { "Left minus right" } else { "Left minus right (mm)" });
    panel.draw_y_axis(drawing);
    panel.draw_zero(drawing);
    let [above, below] = if metric == Metric::Dice { ["left", "right"] } else { ["right", "left"] };
    for (side, sign, y) in [(above, "above", area.top + 14.0), (below, "below", area.bottom - 14.0)] {
        drawing.text(&format!("{sign} 0: {side} better"), (area.right - 6.0, y), 14.5, Anchor::Right, Paint::DIM);
    }
    for (position, (group, class)) in groups.iter().zip(classes).enumerate() {
        draw_box(drawing, &panel, group, panel.slot(position));
        let p = class.wilcoxon.map_or_else(
            || "p undefined".to_owned(),
            |test| match probability(test.p) {
                p if p.starts_with('<') => format!("p {p}"),
                p => format!("p = {p}"),
            },
        );
        panel.caption(drawing, position, &[class.class_name.clone(), p, format!("n = {}", group.cases.len())]);
    }
}
