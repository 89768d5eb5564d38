//! Dice over cases: every case with a box plot per class, and the histogram (as Fig. 5 of the V-Net paper).

use std::path::Path;

use super::axes::{LegendEntry, Panel, SMALL, Scale, draw_legend, draw_title, range};
use super::boxes::{Extreme, Group, draw_box, name_extreme};
use super::canvas::{Anchor, Rect};
use super::svg::{Drawing, Paint};
use super::{OKABE_ITO, ReportError};
use crate::metrics::Summary;

/// Draws the Dice of every case and foreground class, 1600 x 760, replacing `path` in one step; the format is as in
/// [`super::write_curves`].
///
/// `cases` holds a name and one Dice per class (0 to 1, NaN where undefined). Left: each case as a dot over the class's
/// box (quartiles, median; whiskers to the last case within 1.5 quartile ranges, Tukey 1977) with the mean as a
/// ring and the lowest case named. Right: cases per 0.05 of Dice (finer where the range is small).
///
/// # Errors
/// When the file cannot be written.
pub fn write_dice_plot(path: &Path, cases: &[(String, Vec<f64>)], class_names: &[String]) -> Result<(), ReportError> {
    let description = format!("Box plots per class and a histogram, {} cases.", cases.len());
    let mut drawing = Drawing::new((1600, 760), "Dice per case", &description);
    let count = cases.iter().map(|case| case.1.len()).max().unwrap_or(0).max(class_names.len());
    let classes: Vec<Group<'_>> = (0..count).map(|class| class_dice(cases, class_names, class)).collect();
    let (low, _) = range(classes.iter().flat_map(|class| class.cases.iter().map(|case| case.1)));
    let scale = Scale::ratios(low, 0.02);
    draw_boxes(&mut drawing, Rect::new(95.0, 62.0, 680.0, 610.0), scale, &classes);
    draw_histogram(&mut drawing, Rect::new(885.0, 62.0, 680.0, 610.0), scale, &classes);
    drawing.write(path)
}

fn class_dice<'a>(cases: &'a [(String, Vec<f64>)], class_names: &[String], class: usize) -> Group<'a> {
    let values = cases.iter().filter_map(|(case, dice)| dice.get(class).map(|&dice| (case.as_str(), dice)));
    let name = class_names.get(class).cloned().unwrap_or_else(|| format!("class {}", class + 1));
    Group::new(name, OKABE_ITO[class % OKABE_ITO.len()], values)
}

fn draw_boxes(drawing: &mut Drawing, area: Rect, y: Scale, classes: &[Group<'_>]) {
    let panel = Panel::of_slots(area, y, classes.len());
    panel.draw_title(drawing, "Dice per case");
    panel.draw_y_axis(drawing);
    let key = "box: quartiles, line: median, ring: mean";
    drawing.text(key, (area.right, area.top - 24.0), SMALL, Anchor::Right, Paint::DIM);
    if classes.iter().all(|class| class.cases.is_empty()) {
        panel.draw_absence(drawing, "no defined Dice");
    }
    for (position, class) in classes.iter().enumerate() {
        let slot = panel.slot(position);
        let mut lines = vec![class.name.clone(), format!("n = {}", class.cases.len())];
        if class.undefined > 0 {
            lines.push(format!("{} undefined, not shown", class.undefined));
        }
        panel.caption(drawing, position, &lines);
        draw_box(drawing, &panel, class, slot);
        name_extreme(drawing, &panel, class, slot, Extreme::Lowest);
    }
}

fn draw_histogram(drawing: &mut Drawing, area: Rect, x: Scale, classes: &[Group<'_>]) {
    let low = x.low();
    let width = if low >= 0.7 { 0.02 } else { 0.05 };
    let bins = ((1.0 - low) / width).round().max(1.0) as usize;
    let counts: Vec<Vec<usize>> = classes.iter().map(|class| histogram(&class.cases, low, width, bins)).collect();
    let most = counts.iter().flatten().copied().max().unwrap_or(0);
    draw_title(drawing, area, "Number of cases");
    let legend: Vec<LegendEntry> = classes.iter().map(legend_entry).collect();
    let area = draw_legend(drawing, area, &legend);
    let panel = Panel { area, x, y: Scale::linear(0.0, most.max(1) as f64 * 1.1).whole() };
    panel.draw_frame(drawing, "Dice");
    let bar = 1.0 / classes.len().max(1) as f64;
    for (position, (class, counts)) in classes.iter().zip(&counts).enumerate() {
        for (bin, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let from = low + width * bin as f64;
            let start = from + width * (0.06 + 0.88 * bar * position as f64);
            let (left, top) = panel.at(start, count as f64);
            let (right, bottom) = panel.at(start + width * 0.88 * bar, 0.0);
            drawing.rect(Rect { left, top, right, bottom }, Paint::of(class.colour).faint(0.9));
            drawing.note(format!("{}, {from:.2} to {:.2}: {count}", class.name, from + width));
        }
    }
}

/// A class with its mean and standard deviation.
fn legend_entry(class: &Group<'_>) -> LegendEntry {
    let summary = Summary::of(class.cases.iter().map(|case| Some(case.1)));
    let spread = summary.standard_deviation.map_or_else(String::new, |sd| format!(" ± {sd:.3}"));
    let mean = summary.mean.map_or_else(|| "undefined".to_owned(), |mean| format!("{mean:.3}{spread}"));
    LegendEntry { name: format!("{}: {mean}", class.name), paint: Paint::of(class.colour), width: Some(12.0) }
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
