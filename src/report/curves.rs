//! `curves.png`: training loss, learning rate and validation Dice over the steps of a run.

use std::path::Path;

use super::axes::{LegendLine, Panel, Scale, draw_legend, range};
use super::canvas::{Canvas, Paint, Rect};
use super::{OKABE_ITO, ReportError, Rgb};

const BLACK: Rgb = [20, 20, 20];
const WIDTH: usize = 1600;
const HEIGHT: usize = 900;

/// What happened in a training run, each list in ascending steps. Values may be NaN (a gap) and lists empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curves {
    /// Step and training loss.
    pub train: Vec<(u64, f64)>,
    /// Step and learning rate.
    pub learning_rate: Vec<(u64, f64)>,
    /// Step and validation Dice of every foreground class, 0 to 1.
    pub validation: Vec<(u64, Vec<f64>)>,
    /// Names of the foreground classes.
    pub class_names: Vec<String>,
}

/// Draws the curves to a PNG of 1600 x 900 pixels, replacing `path` in one step.
///
/// Left: the loss of every step, faint, with its exponential moving average, logarithmic when it spans more than a
/// decade; below it the learning rate. Right: the validation Dice per class and its mean, with the best mean marked.
///
/// # Errors
/// When the file cannot be written.
pub fn write_curves(path: &Path, curves: &Curves) -> Result<(), ReportError> {
    let mut canvas = Canvas::new(WIDTH, HEIGHT, [255; 3]);
    let steps = step_scale(curves);
    draw_loss(&mut canvas, Rect::new(95.0, 62.0, 680.0, 488.0), steps, &curves.train);
    draw_learning_rate(&mut canvas, Rect::new(95.0, 670.0, 680.0, 165.0), steps, &curves.learning_rate);
    draw_validation(&mut canvas, Rect::new(885.0, 62.0, 680.0, 773.0), steps, curves);
    canvas.write_png(path)
}

/// One scale of steps for all panels.
fn step_scale(curves: &Curves) -> Scale {
    let train = curves.train.iter().chain(&curves.learning_rate).map(|point| point.0);
    let (low, high) = range(train.chain(curves.validation.iter().map(|point| point.0)).map(|step| step as f64));
    Scale::linear(low, high).whole()
}

fn draw_loss(canvas: &mut Canvas, area: Rect, x: Scale, train: &[(u64, f64)]) {
    let points: Vec<(f64, f64)> = train.iter().map(|&(step, loss)| (step as f64, loss)).collect();
    let y = Scale::around(points.iter().map(|point| point.1));
    let panel = Panel { area, x, y };
    panel.draw_frame(canvas, if y.is_log() { "Training loss (log scale)" } else { "Training loss" }, "step");
    if !points.iter().any(|point| point.1.is_finite()) {
        panel.draw_absence(canvas, if points.is_empty() { "no steps yet" } else { "no finite loss" });
    }
    let every = Paint::line(OKABE_ITO[5], 1.2).faint(0.55);
    let smooth = Paint::line(OKABE_ITO[0], 3.0);
    panel.draw_curve(canvas, &thinned(&points, area.width() as usize), every);
    let span = (points.len() / 40).max(5);
    panel.draw_curve(canvas, &thinned(&moving_average(&points, span), area.width() as usize), smooth);
    let mut legend = vec![
        LegendLine { name: "every step".to_owned(), paint: every },
        LegendLine { name: format!("moving average, {span} steps"), paint: smooth },
    ];
    let broken: Vec<f64> = points.iter().filter(|point| !point.1.is_finite()).map(|point| point.0).collect();
    if !broken.is_empty() {
        let paint = Paint::line(OKABE_ITO[1], 2.0);
        for &step in &broken {
            let (x, _) = panel.at(step, 1.0);
            canvas.line((x, area.bottom - 14.0), (x, area.bottom), paint);
        }
        legend.push(LegendLine { name: format!("not finite: {} of {} steps", broken.len(), points.len()), paint });
    }
    draw_legend(canvas, area, if points.is_empty() { &[] } else { &legend }, true);
}

fn draw_learning_rate(canvas: &mut Canvas, area: Rect, x: Scale, learning_rate: &[(u64, f64)]) {
    let points: Vec<(f64, f64)> = learning_rate.iter().map(|&(step, rate)| (step as f64, rate)).collect();
    let y = Scale::around(points.iter().map(|point| point.1));
    let panel = Panel { area, x, y };
    panel.draw_frame(canvas, if y.is_log() { "Learning rate (log scale)" } else { "Learning rate" }, "step");
    if points.is_empty() {
        panel.draw_absence(canvas, "no steps yet");
    }
    panel.draw_curve(canvas, &thinned(&points, area.width() as usize), Paint::line(OKABE_ITO[2], 3.0));
}

fn draw_validation(canvas: &mut Canvas, area: Rect, x: Scale, curves: &Curves) {
    let of_class = |class: usize| -> Vec<(f64, f64)> {
        let dice = |values: &[f64]| values.get(class).copied().unwrap_or(f64::NAN);
        curves.validation.iter().map(|(step, values)| (*step as f64, dice(values))).collect()
    };
    let all = || curves.validation.iter().flat_map(|point| point.1.iter().copied());
    let (low, high) = range(all());
    let panel = Panel {
        area,
        x,
        y: Scale::linear((low * 10.0 - 0.2).floor().max(0.0) / 10.0, (high * 10.0 + 0.2).ceil() / 10.0),
    };
    panel.draw_frame(canvas, "Validation Dice", "step");
    if !all().any(f64::is_finite) {
        panel.draw_absence(canvas, if curves.validation.is_empty() { "no validation yet" } else { "no defined Dice" });
        return;
    }
    let classes = curves.validation.iter().map(|point| point.1.len()).max().unwrap_or(0);
    let mut legend = Vec::new();
    for class in 0..classes {
        let paint = Paint::line(OKABE_ITO[class % OKABE_ITO.len()], 2.5);
        let points = of_class(class);
        panel.draw_curve(canvas, &points, paint);
        draw_dots(canvas, &panel, &points, paint);
        let name = curves.class_names.get(class).cloned().unwrap_or_else(|| format!("class {}", class + 1));
        legend.push(LegendLine { name, paint });
    }
    let mean: Vec<(f64, f64)> = curves.validation.iter().map(|(step, values)| (*step as f64, mean(values))).collect();
    let best = mean.iter().filter(|point| point.1.is_finite()).copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
    if classes > 1 {
        let paint = Paint::line(BLACK, 4.0);
        panel.draw_curve(canvas, &mean, paint);
        legend.push(LegendLine { name: "mean".to_owned(), paint });
    }
    if let Some((step, dice)) = best {
        canvas.disc(panel.at(step, dice), 9.0, BLACK, 1.0);
        canvas.disc(panel.at(step, dice), 6.0, [255; 3], 1.0);
        let name = format!("best: {dice:.3} at step {step}");
        legend.push(LegendLine { name, paint: Paint::line(BLACK, 0.0).faint(0.0) });
    }
    draw_legend(canvas, area, &legend, false);
}

/// Marks single validations while there are few enough to tell apart.
fn draw_dots(canvas: &mut Canvas, panel: &Panel, points: &[(f64, f64)], paint: Paint) {
    if points.len() <= 60 {
        for &(step, dice) in points.iter().filter(|point| point.1.is_finite()) {
            canvas.disc(panel.at(step, dice), 4.0, paint.colour, 1.0);
        }
    }
}

/// Mean of the defined values; NaN when there is none.
fn mean(values: &[f64]) -> f64 {
    let defined: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    defined.iter().sum::<f64>() / defined.len() as f64
}

/// Exponential moving average of weight 2 / (span + 1), with the start's bias removed as in Adam (Kingma and Ba 2015,
/// arXiv:1412.6980, section 3). Values that are not finite are skipped.
fn moving_average(points: &[(f64, f64)], span: usize) -> Vec<(f64, f64)> {
    let keep = 1.0 - 2.0 / (span as f64 + 1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let finite = points.iter().filter(|point| point.1.is_finite());
    finite
        .map(|&(step, value)| {
            sum = keep * sum + (1.0 - keep) * value;
            weight = keep * weight + (1.0 - keep);
            (step, sum / weight)
        })
        .collect()
}

/// At most about four points per pixel column, keeping each stretch's first, lowest, highest and last point, so that
/// the outline stays exact.
fn thinned(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    let stretch = points.len().div_ceil(columns.max(1));
    if stretch <= 4 {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(4 * columns);
    for chunk in points.chunks(stretch) {
        let by_value = |a: &&usize, b: &&usize| chunk[**a].1.total_cmp(&chunk[**b].1);
        let finite: Vec<usize> = (0..chunk.len()).filter(|&at| chunk[at].1.is_finite()).collect();
        let lowest = finite.iter().min_by(by_value);
        let highest = finite.iter().max_by(by_value);
        let mut chosen: Vec<usize> = [lowest, highest].into_iter().flatten().copied().collect();
        chosen.extend([0, chunk.len() - 1]);
        chosen.sort_unstable();
        chosen.dedup();
        kept.extend(chosen.into_iter().map(|at| chunk[at]));
    }
    kept
}
