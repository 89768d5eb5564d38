//! Two sets of predictions of the same cases: paired differences, their statistics and a test.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::evaluation::{field, quoted, write, write_json};
use super::{Evaluation, Metric, MetricError, Region, Summary, Wilcoxon};

/// One metric of one class and region in one case, of both sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairedScore {
    /// Name of the case.
    pub case: String,
    /// Value of the class in the label maps.
    pub class: u16,
    /// Part of the organ.
    pub region: Region,
    /// What is compared.
    pub metric: Metric,
    /// Score of the first set; `None` where it is undefined.
    pub first: Option<f64>,
    /// Score of the second set.
    pub second: Option<f64>,
    /// First minus second, if both are defined.
    pub difference: Option<f64>,
}

/// Statistics of one metric of one class and region over the cases in which both sets have a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairedSummary {
    /// Value of the class in the label maps.
    pub class: u16,
    /// Name of the class.
    pub class_name: String,
    /// Part of the organ.
    pub region: Region,
    /// What is compared.
    pub metric: Metric,
    /// Scores of the first set in these cases.
    pub first: Summary,
    /// Scores of the second set in these cases.
    pub second: Summary,
    /// First minus second; `undefined` counts the cases in which a set has no score.
    pub difference: Summary,
    /// Test of the differences; `None` if all are zero.
    pub wilcoxon: Option<Wilcoxon>,
}

/// Two sets of predictions, compared case by case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What the two sets are called.
    pub names: [String; 2],
    /// One record per case, class, region and metric.
    pub cases: Vec<PairedScore>,
    /// One record per region, class and metric.
    pub summary: Vec<PairedSummary>,
    /// Notes on the files.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl Comparison {
    /// Metrics that are compared: those with a better and a worse.
    pub const METRICS: [Metric; 8] = [
        Metric::Dice,
        Metric::Iou,
        Metric::Precision,
        Metric::Sensitivity,
        Metric::HausdorffMm,
        Metric::Hd95Mm,
        Metric::AssdMm,
        Metric::AbsoluteRelativeVolumeDifference,
    ];

    /// Pairs the records of two evaluations of the same cases. A class that one of them lacks is undefined there.
    pub fn new(names: [String; 2], first: &Evaluation, second: &Evaluation) -> Self {
        let mut keys: Vec<(String, u16, Region)> = Vec::new();
        for scores in first.cases.iter().chain(&second.cases) {
            let key = (scores.case.clone(), scores.class, scores.region);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let value = |evaluation: &Evaluation, (case, class, region): &(String, u16, Region), metric| {
            let same = |s: &&super::CaseScores| s.case == *case && s.class == *class && s.region == *region;
            evaluation.cases.iter().find(same).and_then(|scores| scores.value(metric))
        };
        let mut cases = Vec::new();
        for key in &keys {
            for metric in Self::METRICS {
                let (a, b) = (value(first, key, metric), value(second, key, metric));
                let difference = a.zip(b).map(|(a, b)| a - b);
                let (case, class, region) = key.clone();
                cases.push(PairedScore { case, class, region, metric, first: a, second: b, difference });
            }
        }
        let mut groups: BTreeMap<(Region, u16), &str> = BTreeMap::new();
        for class in first.summary.iter().chain(&second.summary) {
            groups.entry((class.region, class.class)).or_insert(&class.class_name);
        }
        let of = |((region, class), name)| Self::METRICS.map(|metric| summarise(&cases, region, (class, name), metric));
        let summary = groups.into_iter().flat_map(of).collect();
        Self { names, cases, summary, warnings: Vec::new() }
    }

    /// The paired scores as comma-separated values: case, class, region, metric, first, second, difference. An undefined
    /// score is an empty field.
    pub fn to_csv(&self) -> String {
        let mut csv = "case,class,region,metric,first,second,difference\n".to_owned();
        for pair in &self.cases {
            let (case, region, metric) = (quoted(&pair.case), pair.region.key(), pair.metric.key());
            let numbers = [pair.first, pair.second, pair.difference].map(field).join(",");
            csv += &format!("{case},{},{region},{metric},{numbers}\n", pair.class);
        }
        csv
    }

    /// Writes `comparison.csv`, `comparison.json` and `comparison.md` into a folder, each replaced in one step.
    ///
    /// # Errors
    /// [`MetricError::Write`] that names the file.
    pub fn write(&self, folder: &Path) -> Result<(), MetricError> {
        write(&folder.join("comparison.csv"), self.to_csv().as_bytes())?;
        write(&folder.join("comparison.md"), self.to_markdown().as_bytes())?;
        write_json(&folder.join("comparison.json"), self)
    }

    /// The statistics as a Markdown table.
    pub fn to_markdown(&self) -> String {
        let [first, second] = self.names.clone().map(|name| name.replace('|', "\\|"));
        let mut text = format!(
            "| class | region | metric | {first} | {second} | median difference | cases | p |\n\
             |---|---|---|---|---|---|---|---|\n"
        );
        for row in &self.summary {
            let (heading, scale, decimals) = row.metric.heading();
            let spread = |summary: &Summary| match (summary.mean, summary.standard_deviation) {
                (Some(mean), Some(sd)) => format!("{:.decimals$} ± {:.decimals$}", mean * scale, sd * scale),
                (Some(mean), None) => format!("{:.decimals$}", mean * scale),
                (None, _) => "undefined".to_owned(),
            };
            let median = row.difference.median.map_or_else(|| "-".to_owned(), |d| format!("{:+.decimals$}", d * scale));
            let cases = match row.difference.undefined {
                0 => row.difference.defined.to_string(),
                left_out => format!("{} ({left_out} left out)", row.difference.defined),
            };
            let p = row.wilcoxon.map_or_else(|| "-".to_owned(), |test| probability(test.p));
            let (class, region) = (row.class_name.replace('|', "\\|"), row.region.key());
            let (a, b) = (spread(&row.first), spread(&row.second));
            text += &format!("| {class} | {region} | {heading} | {a} | {b} | {median} | {cases} | {p} |\n");
        }
        text + &format!(
            "\nMean ± standard deviation over the cases in which both have a score; difference: {first} minus {second}; p: \
             Wilcoxon's signed-rank test, two-sided, not corrected for the number of tests.\n"
        )
    }
}

/// `0.031`, `< 0.001`.
pub(crate) fn probability(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

fn summarise(cases: &[PairedScore], region: Region, (class, name): (u16, &str), metric: Metric) -> PairedSummary {
    let group = || cases.iter().filter(move |p| (p.region, p.class, p.metric) == (region, class, metric));
    let both = || group().filter(|pair| pair.difference.is_some());
    let differences: Vec<f64> = group().filter_map(|pair| pair.difference).collect();
    PairedSummary {
        class,
        class_name: name.to_owned(),
        region,
        metric,
        first: Summary::of(both().map(|pair| pair.first)),
        second: Summary::of(both().map(|pair| pair.second)),
        difference: Summary::of(group().map(|pair| pair.difference)),
        wilcoxon: Wilcoxon::of(&differences),
    }
}
