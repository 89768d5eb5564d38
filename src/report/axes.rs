//! Scales with round ticks, and the framed panel of a plot.

use super::Rgb;
use super::canvas::{Anchor, Canvas, Paint, Rect};

/// Colour of titles and labels.
pub(crate) const INK: Rgb = [38, 38, 38];
/// Colour of secondary text and frames.
pub(crate) const GREY: Rgb = [110, 110, 110];
const GRID: Rgb = [228, 228, 228];
const TEXT: f32 = 20.0;

/// The range of an axis, linear or logarithmic to base 10.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    log: bool,
    /// Ticks are no closer than this: 1 for counts and steps.
    least_step: f64,
}

impl Scale {
    /// A linear scale; an empty range becomes 0 to 1, a point the middle of one.
    pub(crate) fn linear(low: f64, high: f64) -> Self {
        if high > low && (high - low).is_finite() {
            return Self { low, high, log: false, least_step: 0.0 };
        }
        let (low, high) = match low {
            _ if !low.is_finite() => (0.0, 1.0),
            0.0 => (-0.5, 0.5),
            _ => (low - low.abs() * 0.5, low + low.abs() * 0.5),
        };
        Self { low, high, log: false, least_step: 0.0 }
    }

    /// The same scale with ticks at whole numbers only.
    pub(crate) fn whole(self) -> Self {
        Self { least_step: 1.0, ..self }
    }

    /// A scale around the finite values with a margin; logarithmic when all are positive and span over a decade.
    pub(crate) fn around(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = range(values);
        if low > 0.0 && high / low > 10.0 {
            return Self { low: low / 1.2, high: high * 1.2, log: true, least_step: 0.0 };
        }
        let margin = (high - low) * 0.05;
        Self::linear(low - margin, high + margin)
    }

    pub(crate) fn is_log(&self) -> bool {
        self.log
    }

    /// Position of a value, 0 at the low end and 1 at the high end.
    pub(crate) fn position(&self, value: f64) -> f64 {
        if self.log {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Round values inside the range with their labels, about `count` of them.
    pub(crate) fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        if self.log { self.log_ticks(count) } else { self.linear_ticks(count) }
    }

    fn linear_ticks(&self, count: usize) -> Vec<(f64, String)> {
        let raw = (self.high - self.low) / count.max(1) as f64;
        let magnitude = 10f64.powf(raw.log10().floor());
        let factor = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|f| f * magnitude >= raw * 0.999).unwrap_or(10.0);
        let step = (factor * magnitude).max(self.least_step);
        let (first, last) = ((self.low / step - 1e-9).ceil() as i64, (self.high / step + 1e-9).floor() as i64);
        (first..=last).map(|i| i as f64 * step).map(|value| (value, label(value, step))).collect()
    }

    fn log_ticks(&self, count: usize) -> Vec<(f64, String)> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let span = (self.high / self.low).log10();
        let mantissas: &[f64] = if span < count as f64 / 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let stride = (span / count as f64).ceil().max(1.0) as i32;
        let mut ticks = Vec::new();
        for decade in decades.filter(|decade| decade.rem_euclid(stride) == 0) {
            for mantissa in mantissas {
                let value = mantissa * 10f64.powi(decade);
                if (self.low..=self.high).contains(&value) {
                    let plain = (-3..5).contains(&decade);
                    ticks.push((value, if plain { label(value, value) } else { format!("{mantissa}e{decade}") }));
                }
            }
        }
        ticks
    }
}

/// Smallest and largest finite value; (infinity, -infinity) when there is none.
pub(crate) fn range(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let finite = values.into_iter().filter(|value| value.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// A tick's label with as many decimals as the step between ticks needs.
fn label(value: f64, step: f64) -> String {
    if value == 0.0 && step >= 1.0 {
        return "0".to_owned();
    }
    let exponent = step.abs().log10().floor() as i32;
    if !(1e-4..1e6).contains(&step) {
        return format!("{value:.1e}");
    }
    if step >= 1000.0 || (value.abs() >= 10_000.0 && step >= 100.0) {
        return format!("{}k", (value / 100.0).round() / 10.0);
    }
    let half_step = (step / 10f64.powi(exponent) - 2.5).abs() < 1e-6;
    let decimals = (-exponent + i32::from(half_step)).max(0) as usize;
    format!("{value:.decimals$}")
}

/// One plot: an area in the picture with its scales.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panel {
    pub area: Rect,
    pub x: Scale,
    pub y: Scale,
}

impl Panel {
    /// Pixel of a point of the plot.
    pub(crate) fn at(&self, x: f64, y: f64) -> (f32, f32) {
        let right = self.area.left + self.x.position(x) as f32 * self.area.width();
        (right, self.area.bottom - self.y.position(y) as f32 * self.area.height())
    }

    /// Draws frame, grid, tick labels, a title above and the name of the x axis below.
    pub(crate) fn draw_frame(&self, canvas: &mut Canvas, title: &str, x_name: &str) {
        self.draw_title(canvas, title);
        for (value, label) in self.x.ticks((self.area.width() / 110.0) as usize) {
            let (x, _) = self.at(value, 0.0);
            canvas.line((x, self.area.top), (x, self.area.bottom), Paint::line(GRID, 1.0));
            canvas.text(&label, (x, self.area.bottom + 20.0), TEXT, Anchor::Centre, INK);
        }
        self.draw_y_axis(canvas);
        canvas.text(
            x_name,
            ((self.area.left + self.area.right) / 2.0, self.area.bottom + 46.0),
            TEXT,
            Anchor::Centre,
            GREY,
        );
    }

    /// Draws the title above the frame.
    pub(crate) fn draw_title(&self, canvas: &mut Canvas, title: &str) {
        canvas.text(title, (self.area.left, self.area.top - 24.0), 26.0, Anchor::Left, INK);
    }

    /// Draws horizontal grid lines with their labels, and the frame.
    pub(crate) fn draw_y_axis(&self, canvas: &mut Canvas) {
        for (value, label) in self.y.ticks((self.area.height() / 55.0) as usize) {
            let y = self.area.bottom - self.y.position(value) as f32 * self.area.height();
            canvas.line((self.area.left, y), (self.area.right, y), Paint::line(GRID, 1.0));
            canvas.text(&label, (self.area.left - 10.0, y), TEXT, Anchor::Right, INK);
        }
        let Rect { left, top, right, bottom } = self.area;
        let frame = [(left, top), (left, bottom), (right, bottom)];
        canvas.polyline(
            &frame,
            Paint::line(GREY, 1.5),
            Rect::new(left - 2.0, top, right - left + 2.0, bottom - top + 2.0),
        );
    }

    /// Says in the middle that there is nothing to see.
    pub(crate) fn draw_absence(&self, canvas: &mut Canvas, text: &str) {
        let centre = ((self.area.left + self.area.right) / 2.0, (self.area.top + self.area.bottom) / 2.0);
        canvas.text(text, centre, TEXT, Anchor::Centre, GREY);
    }

    /// Draws the finite runs of a curve as lines; a lone point becomes a dot.
    pub(crate) fn draw_curve(&self, canvas: &mut Canvas, points: &[(f64, f64)], paint: Paint) {
        for run in points.split(|point| !point.1.is_finite()).filter(|run| !run.is_empty()) {
            let pixels: Vec<(f32, f32)> = run.iter().map(|&(x, y)| self.at(x, y)).collect();
            if let [lone] = pixels[..] {
                canvas.disc(lone, paint.width + 1.0, paint.colour, paint.alpha);
            }
            canvas.polyline(&pixels, paint, self.area);
        }
    }
}

/// A line of a legend: its name and how its curve is painted.
pub(crate) struct LegendLine {
    pub name: String,
    pub paint: Paint,
}

/// Draws a legend on a light ground into a corner of `area`: right, and at the top or at the bottom.
pub(crate) fn draw_legend(canvas: &mut Canvas, area: Rect, lines: &[LegendLine], at_top: bool) {
    const ROW: f32 = 28.0;
    const SWATCH: f32 = 44.0;
    if lines.is_empty() {
        return;
    }
    let longest = lines.iter().map(|line| canvas.text_width(&line.name, TEXT)).fold(0.0, f32::max);
    let text_width = longest.min(area.width() - SWATCH - 40.0);
    let (width, height) = (text_width + SWATCH + 24.0, lines.len() as f32 * ROW + 12.0);
    let top = if at_top { area.top + 8.0 } else { area.bottom - height - 8.0 };
    let ground = Rect::new(area.right - width - 8.0, top, width, height);
    canvas.fill(ground, [255, 255, 255], 0.85);
    for (row, line) in lines.iter().enumerate() {
        let y = ground.top + 6.0 + (row as f32 + 0.5) * ROW;
        let x = ground.left + 10.0;
        canvas.line((x, y), (x + SWATCH - 12.0, y), line.paint);
        canvas.text_within(&line.name, (x + SWATCH, y), TEXT, text_width, INK);
    }
}
