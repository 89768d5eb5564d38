//! Dice over cases: every case with a box plot per class, and the histogram (as Fig. 5 of the V-Net paper).

use std::path::Path;

use super::ReportError;
use super::axes::{LegendEntry, Panel, SMALL, Scale, draw_legend, draw_title, range};
use super::boxes::{Extreme, Group, draw_boxes};
use super::canvas::{Anchor, Rect};
use super::svg::{Drawing, Paint};
use crate::metrics::{Evaluation, Metric, Region, Summary};

/// Draws the Dice of every case and foreground class, whole organ, 1600 x 760, replacing `path` in one step; the format is as
/// in [`super::write_curves`].
///
/// Left: each case as a dot over the class's
/// box (quartiles, median; whiskers to the last case within 1.5 quartile ranges, Tukey 1977) with the mean as a
/// ring and the lowest case named. Right: cases per 0.05 of Dice (finer where the range is small).
///
/// # Errors
/// When the file cannot be written.
pub fn write_dice_plot(path: &Path, evaluation: &Evaluation) -> Result<(), ReportError> {
    let classes = Group::of_classes(evaluation, Region::Whole, Metric::Dice);
    let cases = classes.iter().map(|class| class.cases.len() + class.undefined).max().unwrap_or(0);
    let description = format!("Box plots per class and a histogram, {cases} cases.");
    let mut drawing = Drawing::new((1600, 760), "Dice per case", &description);
    let (low, _) = range(classes.iter().flat_map(Group::values));
    let (area, scale) = (Rect::new(95.0, 62.0, 680.0, 610.0), Scale::ratios(low, 0.02));
    draw_boxes(&mut drawing, (area, scale), ["Dice per case", "no defined Dice"], &classes, |_| Extreme::Lowest);
    let key = "box: quartiles, line: median, ring: mean";
    drawing.text(key, (area.right, area.top - 24.0), SMALL, Anchor::Right, Paint::DIM);
    draw_histogram(&mut drawing, Rect::new(885.0, 62.0, 680.0, 610.0), scale, &classes);
    drawing.write(path)
}

fn draw_histogram(drawing: &mut Drawing, area: Rect, x: Scale, classes: &[Group<'_>]) {
    let low = x.low;
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
    let summary = Summary::of(class.values().into_iter().map(Some));
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
