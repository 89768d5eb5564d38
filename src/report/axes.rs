//! Scales with round ticks, and the framed panel of a plot.

use super::canvas::{Anchor, Rect};
use super::svg::{Drawing, Paint, room, shortened};

/// Em of labels, of secondary text, and of titles.
pub(super) const TEXT: f32 = 18.0;
pub(super) const SMALL: f32 = 16.0;
const TITLE: f32 = 21.0;
/// From one line of small text to the next.
const LINE: f32 = 22.0;

/// The range of an axis, linear or logarithmic to base 10.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub(super) low: f64,
    high: f64,
    pub(super) log: bool,
    /// Ticks are no closer than this: 1 for counts and steps.
    least_step: f64,
}

impl Scale {
    /// A linear scale; an empty range becomes 0 to 1, a point the middle of one.
    pub(crate) fn linear(low: f64, high: f64) -> Self {
        let (low, high) = match low {
            _ if high > low && (high - low).is_finite() => (low, high),
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

    /// A scale of ratios from 0 to 1: from a tenth that is `margin` or more below the lowest value, up to 1.
    pub(super) fn ratios(lowest: f64, margin: f64) -> Self {
        let low =
            if lowest.is_finite() { ((lowest * 10.0 - margin * 10.0).floor() / 10.0).clamp(0.0, 0.9) } else { 0.0 };
        Self::linear(low, 1.0)
    }

    /// A scale of distances: from 0 to above the highest value.
    pub(super) fn distances(highest: f64) -> Self {
        Self::linear(0.0, if highest > 0.0 { highest * 1.12 } else { 1.0 })
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
    /// A panel of `count` slots side by side, one for each class.
    pub(super) fn of_slots(area: Rect, y: Scale, count: usize) -> Self {
        Self { area, x: Scale::linear(0.0, count.max(1) as f64), y }
    }

    pub(super) fn slot(&self, position: usize) -> Slot {
        let edge = |position: usize| self.at(position as f64, self.y.low).0;
        let (left, right) = (edge(position), edge(position + 1));
        Slot { centre: (left + right) / 2.0, width: right - left }
    }

    /// Writes lines below a slot: the name of its class, then secondary text. A shortened line is a note in full.
    pub(super) fn caption(&self, drawing: &mut Drawing, position: usize, lines: &[String]) {
        let Slot { centre, width } = self.slot(position);
        let name_size = if width < 160.0 { SMALL } else { TEXT };
        for (line, text) in lines.iter().enumerate() {
            let (size, paint) = if line == 0 { (name_size, Paint::INK) } else { (SMALL, Paint::DIM) };
            let at = (centre, self.area.bottom + LINE * (line + 1) as f32);
            let shown = shortened(text, size, width - 8.0);
            drawing.text(&shown, at, size, Anchor::Centre, paint);
            if shown != *text {
                drawing.note(text.clone());
            }
        }
    }

    /// Pixel of a point of the plot.
    pub(crate) fn at(&self, x: f64, y: f64) -> (f32, f32) {
        let right = self.area.left + self.x.position(x) as f32 * self.area.width();
        (right, self.area.bottom - self.y.position(y) as f32 * self.area.height())
    }

    /// Draws frame, grid, tick labels and the name of the x axis below.
    pub(crate) fn draw_frame(&self, drawing: &mut Drawing, x_name: &str) {
        let Rect { left, top, right, bottom } = self.area;
        for (value, label) in self.x.ticks((self.area.width() / 110.0) as usize) {
            let (x, _) = self.at(value, self.y.low);
            drawing.line(&[(x, top), (x, bottom)], 1.0, Paint::GRID);
            drawing.text(&label, (x, bottom + 20.0), TEXT, Anchor::Centre, Paint::INK);
        }
        self.draw_y_axis(drawing);
        drawing.text(x_name, ((left + right) / 2.0, bottom + 44.0), TEXT, Anchor::Centre, Paint::DIM);
    }

    /// Draws horizontal grid lines with their labels, and the frame.
    pub(crate) fn draw_y_axis(&self, drawing: &mut Drawing) {
        let Rect { left, top, right, bottom } = self.area;
        for (value, label) in self.y.ticks((self.area.height() / 55.0) as usize) {
            let (_, y) = self.at(self.x.low, value);
            drawing.line(&[(left, y), (right, y)], 1.0, Paint::GRID);
            drawing.text(&label, (left - 10.0, y), TEXT, Anchor::Right, Paint::INK);
        }
        drawing.line(&[(left, top), (left, bottom), (right, bottom)], 1.5, Paint::DIM);
    }

    /// Draws a line at 0 across the panel.
    pub(super) fn draw_zero(&self, drawing: &mut Drawing) {
        drawing.line(&[self.at(self.x.low, 0.0), self.at(self.x.high, 0.0)], 1.5, Paint::INK);
    }

    /// Says in the middle that there is nothing to see.
    pub(crate) fn draw_absence(&self, drawing: &mut Drawing, text: &str) {
        let centre = ((self.area.left + self.area.right) / 2.0, (self.area.top + self.area.bottom) / 2.0);
        drawing.text(text, centre, TEXT, Anchor::Centre, Paint::DIM);
    }

    /// Draws the finite runs of a curve as lines; a lone point becomes a dot.
    pub(crate) fn draw_curve(&self, drawing: &mut Drawing, points: &[(f64, f64)], width: f32, paint: Paint) {
        for run in points.split(|point| !point.1.is_finite()).filter(|run| !run.is_empty()) {
            let pixels: Vec<(f32, f32)> = run.iter().map(|&(x, y)| self.at(x, y)).collect();
            match pixels[..] {
                [lone] => drawing.disc(lone, width + 1.0, paint),
                _ => drawing.line(&pixels, width, paint),
            }
        }
    }
}

/// Draws a title above an area.
pub(super) fn draw_title(drawing: &mut Drawing, area: Rect, title: &str) {
    drawing.text(title, (area.left, area.top - 24.0), TITLE, Anchor::Left, Paint::INK);
}

/// The part of a panel that a class has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub centre: f32,
    pub width: f32,
}

impl Slot {
    /// Width of a box in it.
    pub(super) fn box_width(&self) -> f32 {
        (self.width * 0.4).min(140.0)
    }
}

/// A name in a legend, and how its curve is painted.
pub(crate) struct LegendEntry {
    pub name: String,
    pub paint: Paint,
    /// Width of the line; `None` for a ring.
    pub width: Option<f32>,
}

/// Draws a legend in rows at the top of `area`, at most a quarter of it or one row; names beyond are counted. What is left
/// of the area for the plot.
pub(crate) fn draw_legend(drawing: &mut Drawing, area: Rect, entries: &[LegendEntry]) -> Rect {
    const ROW: f32 = 26.0;
    const SWATCH: f32 = 26.0;
    const GAP: f32 = 8.0;
    /// Room for the number of names that are not shown.
    const REST: f32 = 110.0;
    let rows = ((area.height() / 4.0 / ROW) as usize).max(1);
    let (mut x, mut row) = (area.left, 0);
    let middle = |row: usize| area.top + (row as f32 + 0.3) * ROW;
    for (position, LegendEntry { name, paint, width }) in entries.iter().enumerate() {
        let name = shortened(name, SMALL, area.width() - SWATCH - GAP);
        let needed = SWATCH + GAP + room(&name, SMALL);
        let last_row = row + 1 == rows;
        let right = if last_row && position + 1 < entries.len() { area.right - REST } else { area.right };
        if x > area.left && x + needed > right {
            if last_row {
                let rest = format!("and {} more", entries.len() - position);
                drawing.text(&rest, (x, middle(row)), SMALL, Anchor::Left, Paint::DIM);
                break;
            }
            (x, row) = (area.left, row + 1);
        }
        let y = middle(row);
        match width {
            Some(width) => drawing.line(&[(x, y), (x + SWATCH, y)], *width, *paint),
            None => drawing.ring((x + SWATCH / 2.0, y), 7.0, *paint),
        }
        drawing.text(&name, (x + SWATCH + GAP, y), SMALL, Anchor::Left, Paint::INK);
        x += needed + 20.0;
    }
    let rows = if entries.is_empty() { 0.0 } else { (row + 1) as f32 };
    Rect { top: area.top + rows * ROW, ..area }
}
