//! Progress on stderr: live on a terminal, otherwise a line every ten seconds.

use super::live::Live;
use super::stop;
use super::verbosity::{is_quiet, is_verbose, tell};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vnet_engine::data::Notice;
use vnet_engine::plan::human_bytes;
use vnet_engine::train::{Part, Progress, Started, StepResult};

/// Seconds between lines where stderr is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Classes whose Dice stands in a line; of more, the range.
const MOST_CLASSES: usize = 12;

/// A live view on stderr, or plain lines where it is no terminal.
pub struct TrainProgress {
    live: Option<Live>,
    start: Instant,
    last_line: Option<Instant>,
    first: u64,
    steps: u64,
    voxels: u64,
    loss: Option<f64>,
    out: PathBuf,
    /// What goes on with the run, once it is trained.
    next: &'static str,
}

impl TrainProgress {
    /// Of a training into the run folder `out`.
    pub fn new(out: &Path) -> Self {
        let (start, out) = (Instant::now(), out.to_owned());
        let next = "go on with --resume";
        Self { live: None, start, last_line: None, first: 0, steps: 0, voxels: 0, loss: None, out, next }
    }

    /// Of the training of a fold into the run folder `out`.
    pub fn of_fold(out: &Path) -> Self {
        Self { next: "the same command goes on with it", ..Self::new(out) }
    }

    fn say(&self, text: &str) {
        match &self.live {
            Some(live) => live.say(text),
            None => tell!("{text}"),
        }
    }

    /// Voxels per second since the first step.
    fn rate(&self, step: u64) -> f64 {
        let seconds = self.start.elapsed().as_secs_f64().max(1e-9);
        ((step - self.first) * self.voxels) as f64 / seconds
    }

    pub fn finish(&mut self) {
        if let Some(live) = &mut self.live {
            live.finish();
        }
    }
}

/// Whether stderr is a terminal that may be drawn on.
fn draws() -> bool {
    std::io::stderr().is_terminal() && !is_quiet()
}

/// `1.3 M`, `420 k`.
pub fn short(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.1} G", v / 1e9),
        v if v >= 1e6 => format!("{:.1} M", v / 1e6),
        v if v >= 1e3 => format!("{:.0} k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

impl Progress for TrainProgress {
    fn started(&mut self, run: &Started<'_>) {
        let [x, y, z] = run.patch;
        let [training, validation, test] = run.cases;
        let (network, classes, batch) = (run.network.summary(), run.network.classes, run.batch);
        let passes = if run.passes > 1 { format!(" in {} passes", run.passes) } else { String::new() };
        let memory = human_bytes(run.device_bytes);
        self.say(&format!(
            "{network}, {classes} classes; patch {x} x {y} x {z}, batch {batch}{passes}; device memory {memory}"
        ));
        self.say(&format!("{training} cases to train, {validation} to validate, {test} to test"));
        stop::in_order(true);
        self.start = Instant::now();
        (self.first, self.steps) = (run.step, run.steps);
        self.voxels = (x * y * z * run.batch) as u64;
        // A run that goes on after its device was lost keeps its view.
        if draws() && self.live.is_none() {
            self.live = Some(Live::start(run));
        }
    }

    fn step(&mut self, result: &StepResult) {
        let smooth = self.loss.map_or(result.loss, |l| 0.9 * l + 0.1 * result.loss);
        self.loss = Some(smooth);
        let rate = self.rate(result.step);
        let left = (self.steps - result.step) as f64 * self.voxels as f64 / rate.max(1e-9);
        let due = is_verbose() || self.last_line.is_none_or(|t| t.elapsed() >= PLAIN_INTERVAL);
        if let Some(live) = &mut self.live {
            live.step(result, smooth, rate, left);
        } else if due || result.step == self.steps {
            self.last_line = Some(Instant::now());
            let (rate, left) = (short(rate), duration(left));
            tell!("step {}/{}  loss {smooth:.4}  {rate} voxels/s  {left} left", result.step, self.steps);
        }
    }

    fn validated(&mut self, step: u64, dice: &[Option<f64>], mean_dice: Option<f64>, best: bool) {
        let number = |d: &Option<f64>| d.map_or_else(|| "-".to_owned(), |d| format!("{d:.3}"));
        let classes: Vec<String> = dice.iter().map(number).collect();
        let defined = || dice.iter().flatten().copied();
        let detail = match classes.len() {
            0 | 1 => String::new(),
            2..=MOST_CLASSES => format!(" ({})", classes.join(", ")),
            count => {
                let [lowest, highest] = [defined().reduce(f64::min), defined().reduce(f64::max)];
                format!(" ({count} classes, {} to {})", number(&lowest), number(&highest))
            }
        };
        let mark = if best { ", best so far" } else { "" };
        self.say(&format!("validation after {step} steps: Dice {}{detail}{mark}", number(&mean_dice)));
        if let Some(live) = &mut self.live {
            live.validated(step, mean_dice, best);
        }
    }

    fn spent(&mut self, part: Part, time: Duration) {
        if let Some(live) = &mut self.live {
            live.spent(part, time);
        }
    }

    fn warning(&mut self, notice: &Notice) {
        self.say(&format!("warning: {notice}"));
    }

    fn note(&mut self, text: &str) {
        self.say(&format!("note: {text}"));
    }

    fn trained(&mut self) {
        stop::hint(format!("; {}: the test and the report are missing, {}", self.out.display(), self.next));
        stop::in_order(false);
    }

    fn stop(&self) -> Option<i32> {
        stop::received()
    }
}

/// `1 h 02 min`, `3 min 20 s`, `12 s`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// A bar over a known number of things on stderr; hidden where it is no terminal.
pub fn bar(length: usize, unit: &str) -> ProgressBar {
    let bar = if draws() { ProgressBar::new(length as u64) } else { ProgressBar::hidden() };
    let style = format!("{{bar:32.cyan/blue}} {{pos}}/{{len}} {unit}  {{msg}}  {{eta}} left");
    bar.set_style(ProgressStyle::with_template(&style).expect("the template is valid"));
    bar
}

/// Progress of a segmentation: a bar over the windows of a volume, or plain lines where stderr is no terminal.
pub struct SegmentProgress {
    bar: Option<ProgressBar>,
    volumes: usize,
    /// Position of the volume from 1, and its name.
    volume: (usize, String),
    start: Instant,
    last_line: Instant,
}

impl SegmentProgress {
    pub fn new(volumes: usize) -> Self {
        Self::after(0, volumes)
    }

    /// Of so many volumes, of which the first ones are done.
    pub fn after(done: usize, volumes: usize) -> Self {
        let bar = draws().then(|| bar(0, "windows"));
        let now = Instant::now();
        Self { bar, volumes, volume: (done, String::new()), start: now, last_line: now }
    }

    /// Another volume is read.
    pub fn volume(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.volume = (self.volume.0 + 1, name);
        self.start = Instant::now();
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(0);
            bar.set_message(format!("{}/{} {}", self.volume.0, self.volumes, self.volume.1));
        }
    }

    /// `done` of its `all` windows are predicted.
    pub fn window(&mut self, done: usize, all: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        } else if self.last_line.elapsed() >= PLAIN_INTERVAL || done == all {
            self.last_line = Instant::now();
            let left = self.start.elapsed().as_secs_f64() / done as f64 * (all - done) as f64;
            let (position, name) = &self.volume;
            tell!("{name} ({position}/{}): window {done}/{all}, {} left", self.volumes, duration(left));
        }
    }

    /// Prints a message without disturbing the bar.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| errln!("{text}")),
            None => tell!("{text}"),
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
