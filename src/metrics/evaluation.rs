//! The scores of a set of cases with their statistics, and their files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{CaseScores, Metric, MetricError, Region, Summary};
use crate::files::replace_file;

/// Statistics of one class and region over cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassSummary {
    /// Value of the class in the label maps.
    pub class: u16,
    /// Name of the class.
    pub class_name: String,
    /// Part of the organ.
    pub region: Region,
    /// Statistics of every metric.
    pub scores: BTreeMap<Metric, Summary>,
}

impl ClassSummary {
    /// The most cases in which one of the scores is undefined.
    pub(crate) fn most_undefined(&self) -> usize {
        self.scores.values().map(|summary| summary.undefined).max().unwrap_or(0)
    }
}

/// Scores of every case, their statistics per class and region, and the mean over foreground classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// One record per case, class and region, in the order given.
    pub cases: Vec<CaseScores>,
    /// One record per region and class, in that order.
    pub summary: Vec<ClassSummary>,
    /// Mean over the foreground classes of the class means, whole organ (nnU-Net's `foreground_mean`); classes without
    /// a defined mean are left out.
    pub mean_foreground: BTreeMap<Metric, Option<f64>>,
    /// Notes on the files: oddities that did not prevent scoring, labels that were left out.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl Evaluation {
    /// Computes the statistics of scored cases.
    pub fn new(cases: Vec<CaseScores>) -> Self {
        let groups: BTreeSet<(Region, u16)> = cases.iter().map(|scores| (scores.region, scores.class)).collect();
        let summary: Vec<ClassSummary> =
            groups.into_iter().filter_map(|(region, class)| summarise(&cases, region, class)).collect();
        let whole: Vec<&ClassSummary> = summary.iter().filter(|class| class.region == Region::Whole).collect();
        let mean = |metric| Summary::of(whole.iter().filter_map(|class| class.scores[&metric].mean).map(Some)).mean;
        let mean_foreground = Metric::ALL.into_iter().map(|metric| (metric, mean(metric))).collect();
        Self { cases, summary, mean_foreground, warnings: Vec::new() }
    }

    /// The classes that were scored: value in the label maps, and name.
    pub fn classes(&self) -> Vec<(u16, String)> {
        let whole = self.summary.iter().filter(|summary| summary.region == Region::Whole);
        whole.map(|summary| (summary.class, summary.class_name.clone())).collect()
    }

    /// The statistics of one class in one region.
    pub fn class_summary(&self, class: u16, region: Region) -> Option<&ClassSummary> {
        self.summary.iter().find(|summary| summary.class == class && summary.region == region)
    }

    /// The scores as comma-separated values (RFC 4180, one header line): case, class, every [`Metric`], region, note.
    /// An undefined score is an empty field, and the note says why.
    pub fn to_csv(&self) -> String {
        let metrics = Metric::ALL.map(Metric::key);
        let mut csv = format!("case,class,{},region,note\n", metrics.join(","));
        for scores in &self.cases {
            let values = Metric::ALL.map(|metric| field(scores.value(metric)));
            let (case, region, note) = (quoted(&scores.case), scores.region.key(), scores.presence.note());
            csv += &format!("{case},{},{},{region},{note}\n", scores.class, values.join(","));
        }
        csv
    }

    /// Writes `scores.csv` and `scores.json` (cases, summaries and foreground mean, undefined scores as `null`) into a folder,
    /// each replaced in one step.
    ///
    /// # Errors
    /// [`MetricError::Write`] that names the file.
    pub fn write(&self, folder: &Path) -> Result<(), MetricError> {
        write(&folder.join("scores.csv"), self.to_csv().as_bytes())?;
        write_json(&folder.join("scores.json"), self)
    }
}

fn summarise(cases: &[CaseScores], region: Region, class: u16) -> Option<ClassSummary> {
    let group: Vec<&CaseScores> =
        cases.iter().filter(|scores| (scores.region, scores.class) == (region, class)).collect();
    let scores = Metric::ALL
        .into_iter()
        .map(|metric| (metric, Summary::of(group.iter().map(|scores| scores.value(metric)))))
        .collect();
    let class_name = group.first()?.class_name.clone();
    Some(ClassSummary { class, class_name, region, scores })
}

/// Replaces a result file.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<(), MetricError> {
    replace_file(path, contents).map_err(|source| MetricError::Write { path: path.to_owned(), source })
}

/// Replaces a result file by a value as JSON.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), MetricError> {
    let mut json = serde_json::to_vec_pretty(value)
        .map_err(|error| MetricError::Write { path: path.to_owned(), source: error.into() })?;
    json.push(b'\n');
    write(path, &json)
}

/// A number as a CSV field; empty where it is undefined.
pub(super) fn field(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// A CSV field, quoted where it has to be.
pub(super) fn quoted(field: &str) -> String {
    let special = field.contains([',', '"', '\n', '\r']);
    if special { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}
