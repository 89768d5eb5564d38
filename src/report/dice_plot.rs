//! Dice over cases: every case with a box plot per class, and the histogram (as Fig. 5 of the V-Net paper).

use std::path::Path;

use super::axes::{GREY, INK, LegendLine, Panel, Scale, draw_legend, range};
use super::boxes::{Extreme, Group, draw_box, name_extreme};
use super::canvas::{Anchor, Canvas, Paint, Rect};
use super::{OKABE_ITO, ReportError};
use crate::metrics::Summary;

/// Draws the Dice of every case and foreground class to a PNG of 1600 x 760 pixels, replacing `path` in one step.
///
/// `cases` holds a name and one Dice per class (0 to 1, NaN where undefined). Left: each case as a dot over the class's
/// box (quartiles, median; whiskers to the last case within 1.5 quartile ranges, Tukey 1977) with the mean as a white
/// dot and the lowest case named. Right: cases per 0.05 of Dice (finer where the range is small).
///
/// # Errors
/// When the file cannot be written.
pub fn write_dice_plot(path: &Path, cases: &[(String, Vec<f64>)], class_names: &[String]) -> Result<(), ReportError> {
    let mut canvas = Canvas::new(1600, 760, [255; 3]);
    let count = cases.iter().map(|case| case.1.len()).max().unwrap_or(0).max(class_names.len());
    let classes: Vec<Group<'_>> = (0..count).map(|class| class_dice(cases, class_names, class)).collect();
    let (low, _) = range(classes.iter().flat_map(|class| class.cases.iter().map(|case| case.1)));
    let low = if low.is_finite() { ((low * 10.0 - 0.2).floor() / 10.0).clamp(0.0, 0.9) } else { 0.0 };
    draw_boxes(&mut canvas, Rect::new(95.0, 62.0, 680.0, 610.0), Scale::linear(low, 1.0), &classes);
    draw_histogram(&mut canvas, Rect::new(885.0, 62.0, 680.0, 610.0), low, &classes);
    canvas.write_png(path)
}

fn class_dice<'a>(cases: &'a [(String, Vec<f64>)], class_names: &[String], class: usize) -> Group<'a> {
    let values = cases.iter().filter_map(|(case, dice)| dice.get(class).map(|&dice| (case.as_str(), dice)));
    let name = class_names.get(class).cloned().unwrap_or_else(|| format!("class {}", class + 1));
    Group::new(name, OKABE_ITO[class % OKABE_ITO.len()], values)
}

fn draw_boxes(canvas: &mut Canvas, area: Rect, y: Scale, classes: &[Group<'_>]) {
    let panel = Panel { area, x: Scale::linear(0.0, classes.len().max(1) as f64), y };
    panel.draw_title(canvas, "Dice per case");
    panel.draw_y_axis(canvas);
    let key = "box: quartiles, line: median, ring: mean";
    canvas.text(key, (area.right, area.top - 24.0), 18.0, Anchor::Right, GREY);
    if classes.iter().all(|class| class.cases.is_empty()) {
        panel.draw_absence(canvas, "no defined Dice");
    }
    for (position, class) in classes.iter().enumerate() {
        let (centre, _) = panel.at(position as f64 + 0.5, 0.0);
        let slot = area.width() / classes.len() as f32;
        let name = format!("{} (n = {})", class.name, class.cases.len());
        canvas.text(&name, (centre, area.bottom + 22.0), 20.0, Anchor::Centre, INK);
        if class.undefined > 0 {
            let note = format!("{} undefined, not shown", class.undefined);
            canvas.text(&note, (centre, area.bottom + 48.0), 18.0, Anchor::Centre, GREY);
        }
        draw_box(canvas, &panel, class, centre, (slot * 0.5).min(150.0));
        name_extreme(canvas, &panel, class, centre, Extreme::Lowest);
    }
}

fn draw_histogram(canvas: &mut Canvas, area: Rect, low: f64, classes: &[Group<'_>]) {
    let width = if low >= 0.7 { 0.02 } else { 0.05 };
    let bins = ((1.0 - low) / width).round().max(1.0) as usize;
    let counts: Vec<Vec<usize>> = classes.iter().map(|class| histogram(&class.cases, low, width, bins)).collect();
    let most = counts.iter().flatten().copied().max().unwrap_or(0);
    let panel = Panel { area, x: Scale::linear(low, 1.0), y: Scale::linear(0.0, most.max(1) as f64 * 1.1).whole() };
    panel.draw_frame(canvas, "Number of cases", "Dice");
    let bar = 1.0 / classes.len().max(1) as f64;
    let mut legend = Vec::new();
    for (position, (class, counts)) in classes.iter().zip(&counts).enumerate() {
        for (bin, &count) in counts.iter().enumerate() {
            let start = low + width * (bin as f64 + 0.06 + 0.88 * bar * position as f64);
            let (left, top) = panel.at(start, count as f64);
            let (right, bottom) = panel.at(start + width * 0.88 * bar, 0.0);
            canvas.fill(Rect { left, top, right, bottom }, class.colour, 0.9);
        }
        let summary = Summary::of(class.cases.iter().map(|case| Some(case.1)));
        let spread = summary.standard_deviation.map_or_else(String::new, |sd| format!(" ± {sd:.3}"));
        let mean = summary.mean.map_or_else(|| "undefined".to_owned(), |mean| format!("{mean:.3}{spread}"));
        legend.push(LegendLine { name: format!("{}: {mean}", class.name), paint: Paint::line(class.colour, 10.0) });
    }
    let left_half = Rect { right: area.left + area.width() * 0.62, ..area };
    draw_legend(canvas, left_half, &legend, true);
}

/// Cases per bin of `width` from `low`; 1.0 belongs to the last bin.
fn histogram(cases: &[(&str, f64)], low: f64, width: f64, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    for (_, dice) in cases {
        let bin = ((dice - low) / width + 1e-9).max(0.0) as usize;
        counts[bin.min(bins - 1)] += 1;
    }
    counts
}
