//! Reliability diagrams: how often voxels of a probability are what it says, beside how often they should be.

use std::path::Path;

use super::axes::{Panel, SMALL, Scale, draw_title};
use super::canvas::{Anchor, Rect};
use super::svg::{Drawing, Paint, shortened};
use super::{OKABE_ITO, ReportError, Rgb};
use crate::metrics::{Bins, Calibration, ClassCalibration};

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
    let of_class = |(class, colour): (&ClassCalibration, &Rgb)| Diagram {
        name: class.class_name.clone(),
        scores: class.ece.zip(class.brier),
        bins: class.bins.clone(),
        colour: *colour,
    };
    let mut classes: Vec<Diagram> = calibration.classes.iter().zip(OKABE_ITO.iter().cycle()).map(of_class).collect();
    if classes.len() > MOST {
        let error = |diagram: &Diagram| diagram.scores.map_or(0.0, |(ece, _)| ece);
        classes.sort_by(|a, b| error(b).total_cmp(&error(a)));
        classes.truncate(MOST);
    }
    let top = calibration.top.clone().map(|bins| Diagram {
        name: "All classes, top label".to_owned(),
        scores: calibration.ece.zip(calibration.brier),
        bins,
        colour: [90, 90, 90],
    });
    let panels: Vec<Diagram> = top.into_iter().chain(classes).collect();
    let (columns, rows) = (panels.len().clamp(1, COLUMNS), panels.len().div_ceil(COLUMNS).max(1));
    let size = (80 + (columns as f32 * PITCH.0) as u32, 30 + (rows as f32 * PITCH.1) as u32);
    let mut drawing = Drawing::new(size, "Reliability", "Observed frequency by predicted probability.");
    let key = "up: observed frequency; points: bins, larger with more voxels";
    drawing.text(key, (80.0, 26.0), SMALL, Anchor::Left, Paint::DIM);
    for (position, diagram) in panels.iter().enumerate() {
        let left = 80.0 + (position % COLUMNS) as f32 * PITCH.0;
        let top = 95.0 + (position / COLUMNS) as f32 * PITCH.1;
        diagram.draw(&mut drawing, Rect::new(left, top, SIDE, SIDE));
    }
    drawing.write(path)
}

/// One diagram.
struct Diagram {
    name: String,
    /// ECE and Brier score.
    scores: Option<(f64, f64)>,
    bins: Bins,
    colour: Rgb,
}

impl Diagram {
    fn draw(&self, drawing: &mut Drawing, area: Rect) {
        let panel = Panel { area, x: Scale::linear(0.0, 1.0), y: Scale::linear(0.0, 1.0) };
        let paint = Paint::of(self.colour);
        draw_title(drawing, area, &shortened(&self.name, 21.0, SIDE));
        panel.draw_frame(drawing, "predicted probability");
        drawing.line(&[panel.at(0.0, 0.0), panel.at(1.0, 1.0)], 1.5, Paint::DIM);
        let points = self.bins.points();
        let line: Vec<(f64, f64)> = points.iter().map(|[probability, correct, _]| (*probability, *correct)).collect();
        panel.draw_curve(drawing, &line, 2.0, paint.faint(0.5));
        for [probability, correct, part] in points {
            drawing.disc(panel.at(probability, correct), 4.0 + 10.0 * part.sqrt() as f32, paint.faint(0.8));
            let part = 100.0 * part;
            drawing.note(format!("probability {probability:.3}, observed {correct:.3}, {part:.2} % of voxels"));
        }
        let scores = match self.scores {
            Some((ece, brier)) => format!("ECE {ece:.4}, Brier {brier:.4}"),
            None => "no voxel".to_owned(),
        };
        drawing.text(&scores, (area.left + 10.0, area.top + 16.0), SMALL, Anchor::Left, Paint::INK);
    }
}
