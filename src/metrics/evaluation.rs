//! The scores of a set of cases with their statistics, and their files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Bootstrap, COLUMNS, Calibration, CaseScores, Confusion, Criteria, Interval, Metric, MetricError, Region, Summary,
};
use crate::files::{json, replace_file};

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
    /// The most cases in which one of the scores of tables is undefined.
    pub(crate) fn most_undefined(&self) -> usize {
        let of = |(metric, ..): &(Metric, &str, usize)| self.scores.get(metric).map_or(0, |summary| summary.undefined);
        COLUMNS.iter().map(of).max().unwrap_or(0)
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
    /// Confidence intervals of these, by resampling cases; only of metrics that every class defines in every case.
    #[serde(default)]
    pub mean_foreground_interval: BTreeMap<Metric, Interval>,
    /// How intervals were made.
    #[serde(default)]
    pub bootstrap: Bootstrap,
    /// Tolerances and thresholds.
    #[serde(default)]
    pub criteria: Criteria,
    /// Which class was taken for which; `None` of regions, which may overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
    /// Calibration, where there were probabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// Notes on the files: oddities that did not prevent scoring, labels that were left out.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl Evaluation {
    /// Computes the statistics of scored cases.
    pub fn new(cases: Vec<CaseScores>) -> Self {
        let groups: BTreeSet<(Region, u16)> = cases.iter().map(|scores| (scores.region, scores.class)).collect();
        let bootstrap = Bootstrap::default();
        let mut summary: Vec<ClassSummary> =
            groups.into_iter().filter_map(|(region, class)| summarise(&cases, region, class)).collect();
        add_intervals(&mut summary, &cases, &bootstrap);
        let whole: Vec<&ClassSummary> = summary.iter().filter(|class| class.region == Region::Whole).collect();
        let mean = |metric| Summary::of(whole.iter().filter_map(|class| class.scores[&metric].mean).map(Some)).mean;
        let mean_foreground = Metric::ALL.into_iter().map(|metric| (metric, mean(metric))).collect();
        let mean_foreground_interval = foreground_intervals(&cases, &whole, &bootstrap);
        Self {
            cases,
            summary,
            mean_foreground,
            mean_foreground_interval,
            bootstrap,
            criteria: Criteria::DEFAULT,
            confusion: None,
            calibration: None,
            warnings: Vec::new(),
        }
    }

    /// The cases in the order of the records.
    pub fn case_names(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.cases.iter().map(|scores| scores.case.as_str()).filter(|case| seen.insert(*case)).collect()
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

    /// Every lesion of whole organs as comma-separated values: case, class, outcome (`found`, `missed`, `invented`), volumes, IoU.
    pub fn lesions_to_csv(&self) -> String {
        let mut csv = "case,class,outcome,reference_ml,prediction_ml,iou\n".to_owned();
        for scores in self.cases.iter().filter(|scores| scores.region == Region::Whole) {
            for lesion in &scores.lesions {
                let numbers = [lesion.reference_ml, lesion.prediction_ml, lesion.iou].map(field).join(",");
                let (case, class, outcome) = (quoted(&scores.case), scores.class, lesion.outcome());
                csv += &format!("{case},{class},{outcome},{numbers}\n");
            }
        }
        csv
    }

    /// Writes `scores.csv`, `scores.json` (cases, summaries and foreground mean, undefined scores as `null`), `lesions.csv` and,
    /// where classes exclude one another, `confusion.csv` into a folder, each replaced in one step.
    ///
    /// # Errors
    /// [`MetricError::Write`] that names the file.
    pub fn write(&self, folder: &Path) -> Result<(), MetricError> {
        write(&folder.join("scores.csv"), self.to_csv().as_bytes())?;
        write(&folder.join("lesions.csv"), self.lesions_to_csv().as_bytes())?;
        if let Some(confusion) = &self.confusion {
            write(&folder.join("confusion.csv"), confusion.to_csv().as_bytes())?;
        }
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

/// Computes the confidence intervals of all means at once, which shares the resamples.
fn add_intervals(summary: &mut [ClassSummary], cases: &[CaseScores], bootstrap: &Bootstrap) {
    let mut groups: BTreeMap<(Region, u16), Vec<&CaseScores>> = BTreeMap::new();
    cases.iter().for_each(|scores| groups.entry((scores.region, scores.class)).or_default().push(scores));
    let of_class = |class: &ClassSummary| {
        let group = &groups[&(class.region, class.class)];
        Metric::ALL.map(|metric| group.iter().filter_map(|scores| scores.value(metric)).collect::<Vec<f64>>())
    };
    let samples: Vec<Vec<f64>> = summary.iter().flat_map(of_class).collect();
    let intervals = bootstrap.means(&samples);
    for (class, intervals) in summary.iter_mut().zip(intervals.chunks_exact(Metric::ALL.len())) {
        for (metric, interval) in Metric::ALL.iter().zip(intervals) {
            class.scores.get_mut(metric).expect("every metric is summarised").interval = *interval;
        }
    }
}

/// Where all classes are defined in all cases, the mean over classes of their means is the mean over cases of the means over classes.
fn foreground_intervals(
    cases: &[CaseScores],
    whole: &[&ClassSummary],
    bootstrap: &Bootstrap,
) -> BTreeMap<Metric, Interval> {
    let defined = |metric: &Metric| whole.iter().all(|class| class.scores[metric].undefined == 0);
    let metrics: Vec<Metric> = Metric::ALL.into_iter().filter(defined).collect();
    let mut by_case: BTreeMap<&str, Vec<&CaseScores>> = BTreeMap::new();
    let scored = cases.iter().filter(|scores| scores.region == Region::Whole);
    scored.for_each(|scores| by_case.entry(&scores.case).or_default().push(scores));
    if by_case.values().any(|scores| scores.len() != whole.len()) {
        return BTreeMap::new();
    }
    let sample = |metric: &Metric| -> Vec<f64> {
        let mean = |scores: &Vec<&CaseScores>| {
            scores.iter().filter_map(|scores| scores.value(*metric)).sum::<f64>() / scores.len() as f64
        };
        by_case.values().map(mean).collect()
    };
    let samples: Vec<Vec<f64>> = metrics.iter().map(sample).collect();
    let intervals = bootstrap.means(&samples);
    metrics.into_iter().zip(intervals).filter_map(|(metric, interval)| Some((metric, interval?))).collect()
}

/// Replaces a result file.
pub(super) fn write(path: &Path, contents: &[u8]) -> Result<(), MetricError> {
    replace_file(path, contents).map_err(|source| MetricError::Write { path: path.to_owned(), source })
}

/// Replaces a result file by a value as JSON.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), MetricError> {
    write(path, &json(value))
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
