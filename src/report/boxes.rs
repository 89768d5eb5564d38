//! Box plots with every case as a dot.

use super::Rgb;
use super::axes::{GREY, Panel};
use super::canvas::{Anchor, Canvas, Paint, Rect};
use crate::metrics::{Summary, percentile};

/// The values of some cases.
pub(super) struct Group<'a> {
    pub name: String,
    pub colour: Rgb,
    /// Case and value, ascending by value.
    pub cases: Vec<(&'a str, f64)>,
    /// Number of cases without a finite value.
    pub undefined: usize,
}

/// The case that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extreme {
    Lowest,
    Highest,
}

impl<'a> Group<'a> {
    pub(super) fn new(name: String, colour: Rgb, values: impl Iterator<Item = (&'a str, f64)>) -> Self {
        let (mut cases, undefined): (Vec<_>, Vec<_>) = values.partition(|case| case.1.is_finite());
        cases.sort_by(|a, b| a.1.total_cmp(&b.1));
        Self { name, colour, cases, undefined: undefined.len() }
    }

    pub(super) fn values(&self) -> Vec<f64> {
        self.cases.iter().map(|case| case.1).collect()
    }
}

/// Quartiles and median as a box, whiskers to the last case within 1.5 quartile ranges (Tukey 1977), the mean as a white
/// dot, and each case.
pub(super) fn draw_box(canvas: &mut Canvas, panel: &Panel, group: &Group<'_>, centre: f32, width: f32) {
    let values = group.values();
    let quartile = |percent| percentile(&values, percent);
    let (Some(lower), Some(median), Some(upper)) = (quartile(25.0), quartile(50.0), quartile(75.0)) else { return };
    let reach = 1.5 * (upper - lower);
    let whisker_low = values.iter().copied().find(|value| *value >= lower - reach).unwrap_or(lower);
    let whisker_high = values.iter().rev().copied().find(|value| *value <= upper + reach).unwrap_or(upper);
    let y = |value: f64| panel.at(0.0, value).1;
    let (left, right) = (centre - width / 2.0, centre + width / 2.0);
    let body = Rect { left, right, top: y(upper), bottom: y(lower) };
    canvas.fill(body, group.colour, 0.22);
    let edge = Paint::line(group.colour, 2.0);
    for (from, to) in [((left, body.top), (right, body.top)), ((left, body.bottom), (right, body.bottom))] {
        canvas.line(from, to, edge);
    }
    for (x, from, to) in [(left, body.top, body.bottom), (right, body.top, body.bottom)] {
        canvas.line((x, from), (x, to), edge);
    }
    canvas.line((centre, body.bottom), (centre, y(whisker_low)), edge);
    canvas.line((centre, body.top), (centre, y(whisker_high)), edge);
    for end in [whisker_low, whisker_high] {
        canvas.line((centre - width / 6.0, y(end)), (centre + width / 6.0, y(end)), edge);
    }
    draw_cases(canvas, panel, group, centre, width);
    canvas.line((left, y(median)), (right, y(median)), Paint::line(group.colour, 4.0));
    if let Some(mean) = Summary::of(values.iter().copied().map(Some)).mean {
        canvas.disc((centre, y(mean)), 8.0, group.colour, 1.0);
        canvas.disc((centre, y(mean)), 5.5, [255; 3], 1.0);
    }
}

/// Every case as a dot, spread sideways by the golden ratio so that equal values stay apart.
fn draw_cases(canvas: &mut Canvas, panel: &Panel, group: &Group<'_>, centre: f32, width: f32) {
    const GOLDEN: f32 = 0.618_034;
    for (rank, &(_, value)) in group.cases.iter().enumerate() {
        let spread = ((rank as f32 * GOLDEN).fract() - 0.5) * width * 0.7;
        let at = (centre + spread, panel.at(0.0, value).1);
        canvas.disc(at, 4.5, group.colour, 0.75);
    }
}

/// Writes the name of the lowest case below it, or of the highest above it.
pub(super) fn name_extreme(canvas: &mut Canvas, panel: &Panel, group: &Group<'_>, centre: f32, extreme: Extreme) {
    let (case, down) = match extreme {
        Extreme::Lowest => (group.cases.first(), 20.0),
        Extreme::Highest => (group.cases.last(), -20.0),
    };
    if let Some(&(case, value)) = case {
        canvas.text(case, (centre, panel.at(0.0, value).1 + down), 17.0, Anchor::Centre, GREY);
    }
}
