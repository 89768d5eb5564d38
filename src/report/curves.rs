//! `curves.svg`: training loss, learning rate and validation Dice over the steps of a run.

use std::path::Path;

use super::axes::{LegendEntry, Panel, Scale, draw_legend, draw_title, range};
use super::canvas::Rect;
use super::svg::{Drawing, Paint};
use super::{OKABE_ITO, ReportError};

/// The record of a training run, each list in ascending steps. Values may be NaN (a gap) and lists empty.
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

/// Foreground classes with a colour and a name of their own. Of more, those that the last validation found worst and best
/// have them, and all others are grey.
const NAMED: usize = 12;
const WORST_AND_BEST: usize = 3;

/// Draws the curves, 1600 x 900, replacing `path` in one step: as PNG where the path ends with `.png`, else as SVG.
///
/// Left: the loss of every step, faint, with its exponential moving average, logarithmic when it spans more than a
/// decade; below it the learning rate. Right: the validation Dice per class and its mean, with the best mean marked.
///
/// # Errors
/// When the file cannot be written.
pub fn write_curves(path: &Path, curves: &Curves) -> Result<(), ReportError> {
    let mut drawing = Drawing::new((1600, 900), "Training curves", &describe(curves));
    let steps = step_scale(curves);
    draw_loss(&mut drawing, Rect::new(95.0, 62.0, 680.0, 488.0), steps, &curves.train);
    draw_learning_rate(&mut drawing, Rect::new(95.0, 670.0, 680.0, 165.0), steps, &curves.learning_rate);
    draw_validation(&mut drawing, Rect::new(885.0, 62.0, 680.0, 773.0), steps, curves);
    drawing.write(path)
}

/// The curves in a sentence.
fn describe(curves: &Curves) -> String {
    let loss =
        curves.train.last().map_or_else(String::new, |(step, loss)| format!(" The loss of step {step} is {loss:.4}."));
    let best = best(curves)
        .map_or_else(String::new, |(step, dice)| format!(" The best mean Dice is {dice:.3} at step {step}."));
    format!("Training loss, learning rate and validation Dice over the steps.{loss}{best}")
}

/// One scale of steps for all panels.
fn step_scale(curves: &Curves) -> Scale {
    let train = curves.train.iter().chain(&curves.learning_rate).map(|point| point.0);
    let (low, high) = range(train.chain(curves.validation.iter().map(|point| point.0)).map(|step| step as f64));
    Scale::linear(low, high).whole()
}

fn draw_loss(drawing: &mut Drawing, area: Rect, x: Scale, train: &[(u64, f64)]) {
    let points = plotted(train);
    let y = Scale::around(points.iter().map(|point| point.1));
    draw_title(drawing, area, if y.log { "Training loss (log scale)" } else { "Training loss" });
    let [every, smooth, broken] = [OKABE_ITO[5], OKABE_ITO[0], OKABE_ITO[1]].map(Paint::of);
    let every = every.faint(0.55);
    let span = (points.len() / 40).max(5);
    let infinite: Vec<f64> = points.iter().filter(|point| !point.1.is_finite()).map(|point| point.0).collect();
    let entry = |name: String, paint, width| LegendEntry { name, paint, width: Some(width) };
    let mut legend = Vec::new();
    if !points.is_empty() {
        legend.push(entry("every step".to_owned(), every, 1.2));
        legend.push(entry(format!("moving average, {span} steps"), smooth, 3.0));
    }
    if !infinite.is_empty() {
        legend.push(entry(format!("not finite: {} of {} steps", infinite.len(), points.len()), broken, 2.0));
    }
    let area = draw_legend(drawing, area, &legend);
    let panel = Panel { area, x, y };
    panel.draw_frame(drawing, "step");
    if infinite.len() == points.len() {
        panel.draw_absence(drawing, if points.is_empty() { "no steps yet" } else { "no finite loss" });
    }
    let columns = area.width() as usize;
    panel.draw_curve(drawing, &thinned(&points, columns), 1.2, every);
    panel.draw_curve(drawing, &thinned(&moving_average(&points, span), columns), 3.0, smooth);
    for step in infinite {
        let (x, _) = panel.at(step, 1.0);
        drawing.line(&[(x, area.bottom - 14.0), (x, area.bottom)], 2.0, broken);
    }
}

fn draw_learning_rate(drawing: &mut Drawing, area: Rect, x: Scale, learning_rate: &[(u64, f64)]) {
    let points = plotted(learning_rate);
    let y = Scale::around(points.iter().map(|point| point.1));
    let panel = Panel { area, x, y };
    draw_title(drawing, panel.area, if y.log { "Learning rate (log scale)" } else { "Learning rate" });
    panel.draw_frame(drawing, "step");
    if points.is_empty() {
        panel.draw_absence(drawing, "no steps yet");
    }
    panel.draw_curve(drawing, &thinned(&points, area.width() as usize), 3.0, Paint::of(OKABE_ITO[2]));
}

fn plotted(values: &[(u64, f64)]) -> Vec<(f64, f64)> {
    values.iter().map(|&(step, value)| (step as f64, value)).collect()
}

fn draw_validation(drawing: &mut Drawing, area: Rect, x: Scale, curves: &Curves) {
    let of_class = |class: usize| -> Vec<(f64, f64)> {
        let dice = |values: &[f64]| values.get(class).copied().unwrap_or(f64::NAN);
        curves.validation.iter().map(|(step, values)| (*step as f64, dice(values))).collect()
    };
    let all = || curves.validation.iter().flat_map(|point| point.1.iter().copied());
    let (low, high) = range(all());
    let y = Scale::linear((low * 10.0 - 0.2).floor().max(0.0) / 10.0, (high * 10.0 + 0.2).ceil() / 10.0);
    draw_title(drawing, area, "Validation Dice");
    let classes = curves.validation.iter().map(|point| point.1.len()).max().unwrap_or(0);
    let named = named(curves, classes);
    let colour = |class: usize| match named.iter().position(|&named| named == class) {
        Some(at) => Paint::of(OKABE_ITO[at % OKABE_ITO.len()]),
        None => Paint::DIM.faint(0.35),
    };
    let mut legend = Vec::new();
    let best = best(curves);
    if let Some((step, dice)) = best {
        let name =
            |class: usize| curves.class_names.get(class).cloned().unwrap_or_else(|| format!("class {}", class + 1));
        legend.push(LegendEntry { name: format!("best: {dice:.3} at step {step}"), paint: Paint::INK, width: None });
        if classes > 1 {
            legend.push(LegendEntry { name: "mean".to_owned(), paint: Paint::INK, width: Some(4.0) });
        }
        legend.extend(named.iter().map(|&c| LegendEntry { name: name(c), paint: colour(c), width: Some(2.5) }));
        if classes > named.len() {
            let others = format!("{} other classes", classes - named.len());
            legend.push(LegendEntry { name: others, paint: Paint::DIM.faint(0.35), width: Some(1.0) });
        }
    }
    let panel = Panel { area: draw_legend(drawing, area, &legend), x, y };
    panel.draw_frame(drawing, "step");
    let Some((step, dice)) = best else {
        let why = if curves.validation.is_empty() { "no validation yet" } else { "no defined Dice" };
        return panel.draw_absence(drawing, why);
    };
    for class in (0..classes).filter(|class| !named.contains(class)) {
        panel.draw_curve(drawing, &of_class(class), 1.0, colour(class));
    }
    for &class in &named {
        let points = of_class(class);
        panel.draw_curve(drawing, &points, 2.5, colour(class));
        draw_dots(drawing, &panel, &points, colour(class));
    }
    if classes > 1 {
        let mean: Vec<(f64, f64)> =
            curves.validation.iter().map(|(step, values)| (*step as f64, mean(values))).collect();
        panel.draw_curve(drawing, &mean, 4.0, Paint::INK);
    }
    drawing.ring(panel.at(step as f64, dice), 9.0, Paint::INK);
}

/// The classes that are named: all, or of many those that the last validation found worst and best, in ascending order.
fn named(curves: &Curves, classes: usize) -> Vec<usize> {
    if classes <= NAMED {
        return (0..classes).collect();
    }
    let Some((_, last)) = curves.validation.last() else { return Vec::new() };
    let mut ranked: Vec<usize> = (0..last.len()).filter(|&class| last[class].is_finite()).collect();
    ranked.sort_by(|&a, &b| last[a].total_cmp(&last[b]));
    let best = ranked.len().saturating_sub(WORST_AND_BEST).max(WORST_AND_BEST.min(ranked.len()));
    let mut named: Vec<usize> =
        ranked[..WORST_AND_BEST.min(ranked.len())].iter().chain(&ranked[best..]).copied().collect();
    named.sort_unstable();
    named
}

/// Step and value of the best mean Dice.
fn best(curves: &Curves) -> Option<(u64, f64)> {
    let means = curves.validation.iter().map(|(step, values)| (*step, mean(values)));
    means.filter(|point| point.1.is_finite()).reduce(|a, b| if b.1 > a.1 { b } else { a })
}

/// Marks single validations while there are few enough to tell apart.
fn draw_dots(drawing: &mut Drawing, panel: &Panel, points: &[(f64, f64)], paint: Paint) {
    if points.len() <= 60 {
        for &(step, dice) in points.iter().filter(|point| point.1.is_finite()) {
            drawing.disc(panel.at(step, dice), 4.0, paint);
            drawing.note(format!("step {step}: {dice:.3}"));
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
