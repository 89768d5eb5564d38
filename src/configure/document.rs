//! The TOML file of a plan: each key with the reason for its value.

use super::{Design, Fingerprint, Measured, Reason, Trial, trials};
use crate::data::classes::NamedValues;
use crate::data::io::SeriesChoice;
use crate::data::{Classes, DatasetOptions, Warnings};
use crate::files::replace_file;
use crate::gpu::AdapterDescription;
use crate::plan::human_bytes;
use crate::train::TrainError;
use std::fmt::Write;
use std::path::Path;
use toml::{Table, Value};

/// Letters of a line of comment, at most.
const WIDTH: usize = 100;
/// The tables in the order of the file.
const TABLES: [&str; 6] = ["network", "data", "augmentation", "training", "optimiser", "schedule"];

/// What a plan is made from.
#[derive(Debug)]
pub struct Heading<'a> {
    /// The data set.
    pub data: &'a Path,
    /// What the user says of the data set.
    pub options: &'a DatasetOptions,
    /// The device.
    pub device: &'a AdapterDescription,
    /// What the volumes are like.
    pub fingerprint: &'a Fingerprint,
    /// The configuration.
    pub design: &'a Design,
    /// Time and memory of a step.
    pub measured: &'a Measured,
    /// Configurations that were tried, that of the rules first; empty where none were.
    pub tried: &'a [Trial],
    /// What is unusual about its files.
    pub warnings: &'a Warnings,
}

impl Heading<'_> {
    /// The document. Keys whose reason begins with `measured` depend on the clock, all others only on data, device and budget.
    pub fn document(&self) -> String {
        let mut text = String::new();
        self.introduce(&mut text);
        // By way of the text, in which a float has the digits of its own type.
        let table: Table = self.design.config.to_toml().parse().expect("a configuration is a table");
        let reasons: Vec<(&str, &str, &str)> = self.design.reasons.iter().map(Reason::parts).collect();
        assert!(reasons.iter().all(|(name, ..)| TABLES.contains(name)), "the file has the tables of all reasons");
        for name in TABLES {
            let _ = writeln!(text, "\n[{name}]");
            for (_, key, reason) in reasons.iter().filter(|(of, ..)| *of == name) {
                // A key that has its default may be written without.
                if let Some(value) = table[name].get(*key) {
                    comment(&mut text, reason);
                    let _ = writeln!(text, "{key} = {value}");
                }
            }
            if name == "data" {
                self.channels(&mut text);
            }
            if let (Some(classes), "data") = (&self.options.classes, name) {
                self.as_given(classes, &mut text);
            }
        }
        text
    }

    /// Repeats what the user says of the channels.
    fn channels(&self, text: &mut String) {
        let DatasetOptions { channel_files, label_file, align, series, .. } = self.options;
        if !channel_files.is_empty() {
            comment(text, "as given: the files of the channels and of the label map");
            let files: Vec<Value> = channel_files.iter().cloned().map(Value::String).collect();
            let _ = writeln!(text, "channel_files = {}", Value::Array(files));
            let _ = writeln!(text, "label_file = {}", Value::String(label_file.clone()));
        }
        if *align {
            comment(text, "as given: channels on another grid are resampled onto that of the first");
            let _ = writeln!(text, "align = true");
        }
        if *series != SeriesChoice::Only {
            comment(text, "as given: the series of folders with several");
            let _ = writeln!(text, "series = {}", Value::String(series.clone().into()));
        }
    }

    /// The keys of label values, at the end of the table `data`.
    fn as_given(&self, classes: &Classes, text: &mut String) {
        let data = &self.design.config.data;
        if !classes.ignored().is_empty() {
            comment(text, "as given: label values that are ignored");
            let _ =
                writeln!(text, "ignore = {}", Value::try_from(&data.ignore).expect("values are a number or a list"));
        }
        if !classes.regions().is_empty() {
            comment(text, "as given: the first value of each region, in the order of painting");
            let _ = writeln!(text, "regions_order = {:?}", data.regions_order);
        }
        let mut table = |name: &str, reason: &str, values: &NamedValues| {
            if !values.is_empty() {
                let _ = writeln!(text, "\n[data.{name}]");
                comment(text, reason);
                let _ = write!(text, "{}", Table::try_from(values).expect("names are keys"));
            }
        };
        let values = classes.table();
        table("labels", "as given: the value of each class in label maps, the written one first", &values);
        let regions = if classes.regions().is_empty() { &NamedValues::new() } else { &data.regions };
        table("regions", "as given: the label values of each region, the painted one first", regions);
    }

    fn introduce(&self, text: &mut String) {
        let (design, measured) = (self.design, self.measured);
        let [x, y, z] = design.patch;
        comment(
            text,
            &format!(
                "A plan by vnet-engine {} for {} cases and {} {} of {}. Change what you like: train --config reads it, \
                 and takes what is not in it from preset small.",
                env!("CARGO_PKG_VERSION"),
                self.fingerprint.cases.len(),
                self.fingerprint.classes,
                self.fingerprint.activation.outputs(),
                self.data.display()
            ),
        );
        comment(text, &format!("device: {}, {}", self.device.name, self.device.driver));
        let network = self.fingerprint.network(&design.config);
        comment(text, &format!("network: {} ({})", network.kind(), network.summary()));
        self.warnings.notices().iter().for_each(|notice| comment(text, &format!("warning: {notice}")));
        let seconds = 1000.0 * measured.step_seconds;
        comment(
            text,
            &format!("measured: {:.0} s ({:.1} min) per 1,000 steps, loader included", seconds, seconds / 60.0),
        );
        if let Some(rules) = self.tried.first() {
            let best = trials::best(self.tried).name;
            let kept = format!(
                "measured: {} configurations were tried for {:.0} s each, kept: {best}.",
                self.tried.len(),
                rules.seconds
            );
            comment(text, &kept);
            self.tried.iter().for_each(|trial| comment(text, &format!("measured: {}", trial.in_words(rules))));
        }
        let forecast = &measured.forecast;
        comment(
            text,
            &format!(
                "peak device memory: {} with validation, for batch {} of {x} x {y} x {z} voxels",
                human_bytes(forecast.total()),
                design.config.training.batch
            ),
        );
    }
}

/// Writes a plan, and makes its folder.
///
/// # Errors
/// [`TrainError::Io`] that names the file.
pub fn store(path: &Path, text: &str) -> Result<(), TrainError> {
    let io = TrainError::io("write the plan", path);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    replace_file(path, text.as_bytes()).map_err(io)
}

/// A paragraph of comment, in lines of [`WIDTH`] letters.
fn comment(text: &mut String, paragraph: &str) {
    let mut line = String::from("#");
    for word in paragraph.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line.len() > 1 {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.extend(word.chars().filter(|c| !c.is_control()));
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_stay_comments_and_within_the_width() {
        let mut text = String::new();
        comment(&mut text, &format!("a name\nwith = \"keys\"\u{7}{}", " and many words".repeat(30)));
        assert!(text.lines().count() > 3 && text.lines().all(|l| l.starts_with("# ") && l.chars().count() <= WIDTH));
        assert!(!text.contains('\u{7}') && text.ends_with("words\n"));
    }
}
