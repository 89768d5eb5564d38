//! An evaluation as an aligned plain-text table.

use super::{CaseScores, ClassSummary, Evaluation, Metric, Region, Summary};

/// Columns of tables for people: metric, heading, decimals.
pub(crate) const COLUMNS: [(Metric, &str, usize); 12] = [
    (Metric::Dice, "Dice", 3),
    (Metric::Iou, "IoU", 3),
    (Metric::Precision, "precision", 3),
    (Metric::Sensitivity, "sensitivity", 3),
    (Metric::HausdorffMm, "HD mm", 2),
    (Metric::Hd95Mm, "HD95 mm", 2),
    (Metric::AssdMm, "ASSD mm", 2),
    (Metric::SurfaceDice, "NSD", 3),
    (Metric::LesionF1, "lesion F1", 3),
    (Metric::VolumeReferenceMl, "ref. ml", 2),
    (Metric::VolumePredictionMl, "pred. ml", 2),
    (Metric::RelativeVolumeDifference, "rel. vol.", 3),
];

/// Columns of names before the numbers: case, class, region.
const NAMES: usize = 3;

/// Rows of cases, and classes, that a terminal has room for.
const MOST_ROWS: usize = 40;
/// Rows of cases that are shown of more.
const LOWEST: usize = 10;

/// As [`render_table`], for a terminal: of more than 40 rows of cases the ten with the lowest Dice, and of more than 40 classes
/// and regions the means alone, of the 40 with the lowest Dice. A line says what is left out, and that `all_in` has it.
pub fn render_short_table(evaluation: &Evaluation, all_in: &str) -> String {
    let Evaluation { cases, summary, .. } = evaluation;
    if cases.len() <= MOST_ROWS && summary.len() <= MOST_ROWS {
        return render_table(evaluation);
    }
    let dice = |dice: Option<f64>| dice.unwrap_or(f64::INFINITY);
    let mut lowest: Vec<&CaseScores> = cases.iter().collect();
    lowest.sort_by(|a, b| dice(a.dice).total_cmp(&dice(b.dice)));
    lowest.truncate(if cases.len() > MOST_ROWS { LOWEST } else { MOST_ROWS });
    let mut classes: Vec<&ClassSummary> = summary.iter().collect();
    let few = classes.len() <= MOST_ROWS;
    if !few {
        classes.sort_by(|a, b| dice(a.scores[&Metric::Dice].mean).total_cmp(&dice(b.scores[&Metric::Dice].mean)));
        classes.truncate(MOST_ROWS);
    }
    let rows = classes.iter().flat_map(|class| summary_rows(class).into_iter().take(if few { 5 } else { 1 }));
    let blocks = [vec![heading()], lowest.iter().map(|scores| case_row(scores)).collect(), rows.collect()];
    let mut note = format!("the {} lowest of {} rows by Dice", lowest.len(), cases.len());
    if !few {
        note += &format!(", and the means of the {MOST_ROWS} lowest of {} classes and regions", summary.len());
    }
    let with_region = cases.iter().any(|scores| scores.region != Region::Whole);
    render(&blocks, with_region) + &format!("{note}; all of them are in {all_in}\n")
}

fn heading() -> Vec<String> {
    row(["case", "class", "region"], COLUMNS.map(|(_, heading, _)| heading.to_owned()), "")
}

/// The evaluation as text, one row per case, class and region, then mean, its confidence interval, standard
/// deviation and median of each class and region over the cases in which the score is defined. Undefined scores are `-`; the last column says why.
pub fn render_table(evaluation: &Evaluation) -> String {
    let cases: Vec<Vec<String>> = evaluation.cases.iter().map(case_row).collect();
    let summary: Vec<Vec<String>> = evaluation.summary.iter().flat_map(summary_rows).collect();
    let with_region = evaluation.cases.iter().any(|scores| scores.region != Region::Whole);
    render(&[vec![heading()], cases, summary], with_region)
}

fn row(names: [&str; NAMES], numbers: [String; COLUMNS.len()], note: &str) -> Vec<String> {
    names.into_iter().map(str::to_owned).chain(numbers).chain([note.to_owned()]).collect()
}

/// A number of every column, or what stands for an undefined one.
pub(crate) fn numbers(undefined: &str, value: impl Fn(Metric) -> Option<f64>) -> [String; COLUMNS.len()] {
    COLUMNS.map(|(metric, _, decimals)| {
        value(metric).map_or_else(|| undefined.to_owned(), |value| format!("{value:.decimals$}"))
    })
}

fn case_row(scores: &CaseScores) -> Vec<String> {
    let names = [&scores.case, &scores.class_name, scores.region.key()];
    row(names, numbers("-", |metric| scores.value(metric)), scores.presence.note())
}

fn summary_rows(class: &ClassSummary) -> [Vec<String>; 5] {
    let undefined = class.most_undefined();
    let note = if undefined > 0 { format!("up to {undefined} undefined, left out") } else { String::new() };
    let statistics = |name: &str, note: &str, statistic: fn(&Summary) -> Option<f64>| {
        row(
            [name, &class.class_name, class.region.key()],
            numbers("-", |metric| statistic(&class.scores[&metric])),
            note,
        )
    };
    [
        statistics("mean", &note, |s| s.mean),
        statistics("95 % low", "", |s| s.interval.map(|interval| interval.low)),
        statistics("95 % high", "", |s| s.interval.map(|interval| interval.high)),
        statistics("sd", "", |s| s.standard_deviation),
        statistics("median", "", |s| s.median),
    ]
}

/// Lays out blocks of rows with a rule between them: names to the left, numbers to the right.
fn render(blocks: &[Vec<Vec<String>>], with_region: bool) -> String {
    let width = |column: usize| blocks.iter().flatten().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let columns = (0..NAMES + COLUMNS.len()).filter(|column| with_region || *column != NAMES - 1);
    let columns: Vec<(usize, usize)> = columns.map(|column| (column, width(column))).collect();
    let rule = "-".repeat(columns.iter().map(|(_, width)| width + 2).sum::<usize>() - 2);
    let mut text = String::new();
    for (position, block) in blocks.iter().filter(|block| !block.is_empty()).enumerate() {
        if position > 0 {
            text += &format!("{rule}\n");
        }
        for row in block {
            let cell = |&(column, width): &(usize, usize)| match column {
                ..NAMES => format!("{:<width$}  ", row[column]),
                _ => format!("{:>width$}  ", row[column]),
            };
            let line = columns.iter().map(cell).chain(row.last().cloned()).collect::<String>();
            text += line.trim_end();
            text.push('\n');
        }
    }
    text
}
