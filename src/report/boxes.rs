//! Box plots with every case as a dot.

use super::axes::{Panel, SMALL, Scale, Slot, draw_title};
use super::canvas::{Anchor, Rect};
use super::svg::{Drawing, Paint, shortened};
use super::{OKABE_ITO, Rgb};
use crate::metrics::{CaseScores, Evaluation, Metric, Region, Summary, percentile};

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

    /// One metric of a region: a group per class, in the unit of the metric's heading.
    pub(super) fn of_classes(evaluation: &'a Evaluation, region: Region, metric: Metric) -> Vec<Self> {
        let factor = metric.heading().1;
        let value = move |s: &CaseScores| s.value(metric).map_or(f64::NAN, |value| value * factor);
        let classes = evaluation.summary.iter().filter(|class| class.region == region);
        let group = |(class, colour): (&crate::metrics::ClassSummary, &Rgb)| {
            let label = class.class;
            let scores = evaluation.cases.iter().filter(move |s| s.region == region && s.class == label);
            Group::new(class.class_name.clone(), *colour, scores.map(|s| (s.case.as_str(), value(s))))
        };
        classes.zip(OKABE_ITO.iter().cycle()).map(group).collect()
    }

    pub(super) fn values(&self) -> Vec<f64> {
        self.cases.iter().map(|case| case.1).collect()
    }
}

/// Draws a panel with a box per group, the `extreme` case named where there is room, and says `absence` if there is no value.
/// A scale that reaches below 0 has a line there.
pub(super) fn draw_boxes(
    drawing: &mut Drawing,
    (area, y): (Rect, Scale),
    [title, absence]: [&str; 2],
    groups: &[Group<'_>],
    extreme: impl Fn(&Group<'_>) -> Extreme,
) {
    let panel = Panel::of_slots(area, y, groups.len());
    draw_title(drawing, panel.area, title);
    panel.draw_y_axis(drawing);
    if groups.iter().all(|group| group.cases.is_empty()) {
        panel.draw_absence(drawing, absence);
    }
    if y.low < 0.0 {
        panel.draw_zero(drawing);
    }
    for (position, group) in groups.iter().enumerate() {
        let slot = panel.slot(position);
        draw_box(drawing, &panel, group, slot);
        if slot.width > 70.0 {
            name_extreme(drawing, &panel, group, slot, extreme(group));
        }
        let mut lines = vec![group.name.clone(), format!("n = {}", group.cases.len())];
        if group.undefined > 0 {
            lines.push(format!("{} undefined", group.undefined));
        }
        panel.caption(drawing, position, &lines);
    }
}

/// Quartiles and median as a box, whiskers to the last case within 1.5 quartile ranges (Tukey 1977), the mean as a ring,
/// and each case.
pub(super) fn draw_box(drawing: &mut Drawing, panel: &Panel, group: &Group<'_>, slot: Slot) {
    let (centre, width) = (slot.centre, slot.box_width());
    let values = group.values();
    let quartile = |percent| percentile(&values, percent);
    let (Some(lower), Some(median), Some(upper)) = (quartile(25.0), quartile(50.0), quartile(75.0)) else { return };
    let reach = 1.5 * (upper - lower);
    let whisker_low = values.iter().copied().find(|value| *value >= lower - reach).unwrap_or(lower);
    let whisker_high = values.iter().rev().copied().find(|value| *value <= upper + reach).unwrap_or(upper);
    let y = |value: f64| panel.at(0.0, value).1;
    let (left, right, paint) = (centre - width / 2.0, centre + width / 2.0, Paint::of(group.colour));
    let (top, bottom) = (y(upper), y(lower));
    drawing.rect(Rect { left, right, top, bottom }, paint.faint(0.22));
    drawing.line(&[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], 2.0, paint);
    for (edge, end) in [(bottom, y(whisker_low)), (top, y(whisker_high))] {
        drawing.line(&[(centre, edge), (centre, end)], 2.0, paint);
        drawing.line(&[(centre - width / 6.0, end), (centre + width / 6.0, end)], 2.0, paint);
    }
    draw_cases(drawing, panel, group, centre, width);
    drawing.line(&[(left, y(median)), (right, y(median))], 4.0, paint);
    drawing.note(format!("median {}", short(median)));
    if let Some(mean) = Summary::of(values.iter().copied().map(Some)).mean {
        drawing.ring((centre, y(mean)), 8.0, paint);
        drawing.note(format!("mean {}", short(mean)));
    }
}

/// Every case as a dot, spread sideways by the golden ratio so that equal values stay apart.
fn draw_cases(drawing: &mut Drawing, panel: &Panel, group: &Group<'_>, centre: f32, width: f32) {
    const GOLDEN: f32 = 0.618_034;
    for (rank, &(case, value)) in group.cases.iter().enumerate() {
        let spread = ((rank as f32 * GOLDEN).fract() - 0.5) * width * 0.7;
        drawing.disc((centre + spread, panel.at(0.0, value).1), 4.5, Paint::of(group.colour).faint(0.75));
        drawing.note(format!("{case}: {}", short(value)));
    }
}

/// Writes the name of the lowest case below it, or of the highest above it; to the right of the box
/// where that is outside the panel.
fn name_extreme(drawing: &mut Drawing, panel: &Panel, group: &Group<'_>, slot: Slot, extreme: Extreme) {
    const DISTANCE: f32 = 20.0;
    let (case, down) = match extreme {
        Extreme::Lowest => (group.cases.first(), DISTANCE),
        Extreme::Highest => (group.cases.last(), -DISTANCE),
    };
    let Some(&(case, value)) = case else { return };
    let y = panel.at(0.0, value).1;
    let inside = panel.area.top + 10.0..panel.area.bottom - 10.0;
    let mut text = |at, room, anchor| drawing.text(&shortened(case, SMALL, room), at, SMALL, anchor, Paint::DIM);
    if inside.contains(&(y + down)) {
        text((slot.centre, y + down), slot.width - 8.0, Anchor::Centre);
    } else {
        let (left, right) = (slot.centre + slot.box_width() / 2.0 + 8.0, slot.centre + slot.width / 2.0);
        text((left, y.clamp(inside.start, inside.end)), right - left, Anchor::Left);
    }
}

/// A score with four significant digits at most.
pub(super) fn short(value: f64) -> String {
    let digits = if value.abs() < 10.0 { 3 } else { 1 };
    format!("{value:.digits$}")
}
