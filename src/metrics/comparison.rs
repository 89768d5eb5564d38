//! Two sets of predictions of the same cases: paired differences, their statistics and a test.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::evaluation::{field, quoted, write, write_json};
use super::{Bootstrap, Evaluation, Metric, MetricError, Region, Summary, Wilcoxon};

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
    /// First minus second, with the confidence interval of its mean; `undefined` counts the cases in which a set has no score.
    pub difference: Summary,
    /// Test of the differences; `None` if all are zero.
    pub wilcoxon: Option<Wilcoxon>,
    /// Cohen's d of paired differences, d_z: their mean divided by their standard deviation; `None` where that is 0 or missing.
    #[serde(default)]
    pub cohens_dz: Option<f64>,
    /// Rank-biserial correlation of Wilcoxon's test; `None` without test.
    #[serde(default)]
    pub rank_biserial: Option<f64>,
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
    /// How intervals were made.
    #[serde(default)]
    pub bootstrap: Bootstrap,
    /// Notes on the files.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl Comparison {
    /// Metrics that are compared: those with a better and a worse.
    pub const METRICS: [Metric; 12] = [
        Metric::Dice,
        Metric::Iou,
        Metric::Precision,
        Metric::Sensitivity,
        Metric::HausdorffMm,
        Metric::Hd95Mm,
        Metric::AssdMm,
        Metric::AbsoluteRelativeVolumeDifference,
        Metric::SurfaceDice,
        Metric::VolumetricSimilarity,
        Metric::LesionF1,
        Metric::LesionPq,
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
        let mut summary: Vec<PairedSummary> = groups.into_iter().flat_map(of).collect();
        let bootstrap = Bootstrap::default();
        add_intervals(&mut summary, &cases, &bootstrap);
        Self { names, cases, summary, bootstrap, warnings: Vec::new() }
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
            "| class | region | metric | {first} | {second} | median difference | cases | p | mean difference (95 % CI) | d_z | r |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n"
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
            let signed = |value: f64| format!("{:+.decimals$}", value * scale);
            let mean = match (row.difference.mean, row.difference.interval) {
                (Some(mean), Some(ci)) => format!("{} ({} to {})", signed(mean), signed(ci.low), signed(ci.high)),
                (Some(mean), None) => signed(mean),
                (None, _) => "-".to_owned(),
            };
            let [d, r] = [row.cohens_dz, row.rank_biserial].map(|e| e.map_or("-".to_owned(), |e| format!("{e:+.2}")));
            text += &format!(
                "| {class} | {region} | {heading} | {a} | {b} | {median} | {cases} | {p} | {mean} | {d} | {r} |\n"
            );
        }
        text + &format!(
            "\nMean ± standard deviation over the cases in which both have a score; difference: {first} minus {second}; p: \
             Wilcoxon's signed-rank test, two-sided, not corrected for the number of tests; interval: BCa bootstrap, {} \
             resamples of the cases; d_z: mean difference divided by its standard deviation; r: rank-biserial correlation.\n",
            self.bootstrap.resamples
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
    let (difference, wilcoxon) = (Summary::of(group().map(|pair| pair.difference)), Wilcoxon::of(&differences));
    let spread = difference.standard_deviation.filter(|spread| *spread > 0.0);
    PairedSummary {
        class,
        class_name: name.to_owned(),
        region,
        metric,
        first: Summary::of(both().map(|pair| pair.first)),
        second: Summary::of(both().map(|pair| pair.second)),
        difference,
        wilcoxon,
        cohens_dz: difference.mean.zip(spread).map(|(mean, spread)| mean / spread),
        rank_biserial: wilcoxon.map(|test| test.rank_biserial()),
    }
}

/// Computes the confidence intervals of all mean differences at once.
fn add_intervals(summary: &mut [PairedSummary], cases: &[PairedScore], bootstrap: &Bootstrap) {
    let mut groups: BTreeMap<(Region, u16, Metric), Vec<f64>> = BTreeMap::new();
    for pair in cases {
        groups.entry((pair.region, pair.class, pair.metric)).or_default().extend(pair.difference);
    }
    let mut differences = |row: &PairedSummary| groups.remove(&(row.region, row.class, row.metric)).unwrap_or_default();
    let samples: Vec<Vec<f64>> = summary.iter().map(&mut differences).collect();
    for (row, interval) in summary.iter_mut().zip(bootstrap.means(&samples)) {
        row.difference.interval = interval;
    }
}
