//! Reliability diagrams: how often voxels of a probability are what it says, beside how often they should be.

use std::path::Path;

use super::axes::{Panel, SMALL, Scale, draw_title};
use super::canvas::{Anchor, Rect};
use super::svg::{Drawing, Paint, shortened};
use super::{OKABE_ITO, ReportError, Rgb};
use crate::metrics::{Bins, Calibration};

const SIDE: f32 = 330.0;
const PITCH: (f32, f32) = (430.0, 480.0);
const COLUMNS: usize = 4;
/// Classes that are drawn, by descending error; the others are in the table.
const MOST: usize = 11;

/// Draws a diagram of the top label and one per class, replacing `path` in one step; the format is as in [`super::write_curves`].
/// A point per bin, as large as its part of the voxels (on a scale of roots), on the diagonal if it is calibrated.
///
/// # Errors
/// When the file cannot be written.
pub fn write_reliability_plot(path: &Path, calibration: &Calibration) -> Result<(), ReportError> {
    let mut panels: Vec<(String, Option<f64>, Option<f64>, &Bins, Rgb)> = Vec::new();
    if let Some(top) = &calibration.top {
        panels.push(("All classes, top label".to_owned(), calibration.ece, calibration.brier, top, [90, 90, 90]));
    }
    let mut classes: Vec<_> = calibration.classes.iter().zip(OKABE_ITO.iter().cycle()).collect();
    if classes.len() > MOST {
        classes.sort_by(|(a, _), (b, _)| b.ece.unwrap_or(0.0).total_cmp(&a.ece.unwrap_or(0.0)));
        classes.truncate(MOST);
    }
    for (class, colour) in classes {
        panels.push((class.class_name.clone(), class.ece, class.brier, &class.bins, *colour));
    }
    let (columns, rows) = (panels.len().clamp(1, COLUMNS), panels.len().div_ceil(COLUMNS).max(1));
    let size = (80 + (columns as f32 * PITCH.0) as u32, 30 + (rows as f32 * PITCH.1) as u32);
    let mut drawing = Drawing::new(size, "Reliability", "Observed frequency by predicted probability.");
    let key = "up: observed frequency; points: bins, larger with more voxels";
    drawing.text(key, (80.0, 26.0), SMALL, Anchor::Left, Paint::DIM);
    for (position, (name, ece, brier, bins, colour)) in panels.into_iter().enumerate() {
        let left = 80.0 + (position % COLUMNS) as f32 * PITCH.0;
        let top = 95.0 + (position / COLUMNS) as f32 * PITCH.1;
        let area = Rect::new(left, top, SIDE, SIDE);
        let scores = match (ece, brier) {
            (Some(ece), Some(brier)) => format!("ECE {ece:.4}, Brier {brier:.4}"),
            _ => "no voxel".to_owned(),
        };
        draw_diagram(&mut drawing, area, (&name, &scores), bins, colour);
    }
    drawing.write(path)
}

fn draw_diagram(drawing: &mut Drawing, area: Rect, (name, scores): (&str, &str), bins: &Bins, colour: Rgb) {
    let panel = Panel { area, x: Scale::linear(0.0, 1.0), y: Scale::linear(0.0, 1.0) };
    draw_title(drawing, area, &shortened(name, 21.0, SIDE));
    panel.draw_frame(drawing, "predicted probability");
    drawing.line(&[panel.at(0.0, 0.0), panel.at(1.0, 1.0)], 1.5, Paint::DIM);
    let points = bins.points();
    let line: Vec<(f64, f64)> = points.iter().map(|[probability, correct, _]| (*probability, *correct)).collect();
    panel.draw_curve(drawing, &line, 2.0, Paint::of(colour).faint(0.5));
    for [probability, correct, part] in points {
        drawing.disc(panel.at(probability, correct), 4.0 + 10.0 * part.sqrt() as f32, Paint::of(colour).faint(0.8));
        drawing.note(format!("probability {probability:.3}, observed {correct:.3}, {:.2} % of voxels", 100.0 * part));
    }
    drawing.text(scores, (area.left + 10.0, area.top + 16.0), SMALL, Anchor::Left, Paint::INK);
}
