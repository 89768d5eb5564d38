//! The live view of a training: five lines at the bottom of a terminal, drawn in place. Messages scroll by above.

use super::progress::{duration, short};
use console::{Term, style};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};
use vnet_engine::train::{Part, Started, StepResult};

/// Time between two drawings.
const INTERVAL: Duration = Duration::from_millis(100);
/// Columns of names, and of the values after them.
const NAME: usize = 7;
const VALUE: usize = 8;
/// Columns of the text after a sparkline.
const AFTER: usize = 25;
/// The widest sparkline.
const WIDEST: usize = 120;

/// The view and where it is drawn.
pub struct Live {
    bar: ProgressBar,
    view: View,
    drawn: Option<Instant>,
}

impl Live {
    pub fn start(run: &Started<'_>) -> Self {
        let bar = ProgressBar::new(run.steps).with_position(run.step);
        let template = "step   {pos}/{len} {wide_bar:.cyan/dim} {percent:>3} %  {elapsed} gone, {prefix} left\n{msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is valid").progress_chars("━╸─"));
        bar.set_prefix("-");
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, view: View::default(), drawn: None }
    }

    pub fn say(&self, text: &str) {
        self.bar.suspend(|| errln!("{text}"));
    }

    pub fn step(&mut self, result: &StepResult, smooth_loss: f64, rate: f64, seconds_left: f64) {
        self.view.losses.push(result.loss);
        (self.view.loss, self.view.rate, self.view.learning_rate) = (smooth_loss, rate, result.learning_rate);
        self.bar.set_position(result.step);
        self.bar.set_prefix(duration(seconds_left));
        if self.drawn.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.draw();
        }
    }

    pub fn validated(&mut self, step: u64, dice: Option<f64>, best: bool) {
        self.view.dice.push(dice.unwrap_or(f64::NAN));
        if let (true, Some(dice)) = (best, dice) {
            self.view.best = Some((dice, step));
        }
        self.draw();
    }

    pub fn spent(&mut self, part: Part, time: Duration) {
        self.view.time[part as usize] += time;
    }

    /// Leaves the view as it was drawn last.
    pub fn finish(&mut self) {
        self.draw();
        self.bar.abandon();
    }

    fn draw(&mut self) {
        self.drawn = Some(Instant::now());
        let columns = Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns));
        self.bar.set_message(self.view.lines(columns).join("\n"));
    }
}

/// What is shown.
#[derive(Debug, Default)]
struct View {
    /// Loss of every step.
    losses: Vec<f64>,
    /// The loss, smoothed.
    loss: f64,
    /// Mean Dice of every validation; NaN where it is undefined.
    dice: Vec<f64>,
    /// Best mean Dice and its step.
    best: Option<(f64, u64)>,
    learning_rate: f64,
    /// Voxels per second.
    rate: f64,
    /// By [`Part`].
    time: [Duration; 4],
}

impl View {
    /// Lines of at most `columns` columns.
    fn lines(&self, columns: usize) -> Vec<String> {
        let width = columns.saturating_sub(NAME + VALUE + AFTER + 1).clamp(8, WIDEST);
        let range = range(&self.losses).map_or_else(String::new, |(low, high)| format!("{low:.4} to {high:.4}"));
        let dice = self.dice.last().filter(|dice| dice.is_finite());
        let best = self.best.map_or_else(String::new, |(dice, step)| format!("best {dice:.3}, step {step}"));
        let line = |name: &str, value: String, spark: String, after: String| {
            let value = style(format!("{value:<VALUE$}")).for_stderr().bold();
            format!("{name:<NAME$}{value}{}  {after}", style(format!("{spark:<width$}")).for_stderr().cyan())
        };
        let mut lines = vec![line("loss", format!("{:.4}", self.loss), sparkline(&self.losses, width), range)];
        let value = dice.map_or_else(|| "-".to_owned(), |dice| format!("{dice:.3}"));
        lines.push(line("Dice", value, sparkline(&self.dice, width), best));
        let (rate, learning_rate) = (short(self.rate), self.learning_rate);
        lines.push(format!("{:<NAME$}{rate} voxels/s, learning rate {learning_rate:.2e}", "speed"));
        lines.push(format!("{:<NAME$}{}", "time", self.shares()));
        lines
    }

    /// Parts of the time in percent.
    fn shares(&self) -> String {
        let all: Duration = self.time.iter().sum();
        let share = |part: Part| 100.0 * self.time[part as usize].as_secs_f64() / all.as_secs_f64().max(1e-9);
        let parts = [
            ("device", Part::Device),
            ("loader", Part::Loader),
            ("validation", Part::Validation),
            ("checkpoints", Part::Checkpoint),
        ];
        parts.map(|(name, part)| format!("{name} {:.0} %", share(part))).join(", ")
    }
}

fn range(values: &[f64]) -> Option<(f64, f64)> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    Some((finite().reduce(f64::min)?, finite().reduce(f64::max)?))
}

/// At most `width` bars from the lowest to the highest mean of equal parts of the values; a blank where none is finite.
fn sparkline(values: &[f64], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let count = values.len().min(width);
    let mean = |part: &[f64]| {
        let finite = part.iter().copied().filter(|value| value.is_finite());
        let (sum, count) = finite.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        sum / count
    };
    let means: Vec<f64> =
        (0..count).map(|i| mean(&values[i * values.len() / count..(i + 1) * values.len() / count])).collect();
    let Some((low, high)) = range(&means) else { return " ".repeat(count) };
    let bar = |mean: &f64| {
        let share = if high > low { (mean - low) / (high - low) } else { 0.5 };
        if mean.is_finite() { BARS[(share * 7.0).round() as usize] } else { ' ' }
    };
    means.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparklines_go_from_the_lowest_to_the_highest_mean() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[1.0, 3.0, 9.0, 7.0, f64::NAN, 2.0], 3), "▁█▁");
        assert_eq!(sparkline(&[f64::NAN, 4.0], 9), " ▅");
        assert_eq!(sparkline(&[f64::NAN], 9), " ");
        assert_eq!(sparkline(&[], 9), "");
    }

    #[test]
    fn lines_fit_the_terminal() {
        let view = View {
            losses: (0..1000).map(|step| 1.0 / f64::from(step + 1)).collect(),
            dice: vec![0.25, f64::NAN, 0.875],
            best: Some((0.875, 25_000)),
            rate: 1.3e6,
            time: [10, 80, 8, 2].map(Duration::from_secs),
            ..View::default()
        };
        for columns in [80, 120, 300] {
            let lines = view.lines(columns);
            let width = |line: &String| console::measure_text_width(line);
            assert!(lines.iter().map(width).max() <= Some(columns), "{columns}: {lines:?}");
        }
        let lines = view.lines(80);
        assert!(lines[1].contains("best 0.875, step 25000"), "{lines:?}");
        assert_eq!(lines[3], "time   device 80 %, loader 10 %, validation 8 %, checkpoints 2 %");
    }
}
