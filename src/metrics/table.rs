//! An evaluation as an aligned plain-text table.

use super::{CaseScores, ClassSummary, Evaluation, Metric, Region, Summary};

/// Columns of tables for people: metric, heading, decimals.
pub(crate) const COLUMNS: [(Metric, &str, usize); 10] = [
    (Metric::Dice, "Dice", 3),
    (Metric::Iou, "IoU", 3),
    (Metric::Precision, "precision", 3),
    (Metric::Sensitivity, "sensitivity", 3),
    (Metric::HausdorffMm, "HD mm", 2),
    (Metric::Hd95Mm, "HD95 mm", 2),
    (Metric::AssdMm, "ASSD mm", 2),
    (Metric::VolumeReferenceMl, "ref. ml", 2),
    (Metric::VolumePredictionMl, "pred. ml", 2),
    (Metric::RelativeVolumeDifference, "rel. vol.", 3),
];

/// One printed row: left-aligned names, right-aligned numbers, left-aligned note.
struct Row {
    names: [String; 3],
    numbers: Vec<String>,
    note: String,
}

/// The evaluation as text, one row per case, class and region, then mean, standard deviation and median of each class
/// and region over the cases in which the score is defined. Undefined scores are `-`; the last column says why.
pub fn render_table(evaluation: &Evaluation) -> String {
    let heading = Row {
        names: ["case", "class", "region"].map(str::to_owned),
        numbers: COLUMNS.iter().map(|(_, heading, _)| (*heading).to_owned()).collect(),
        note: String::new(),
    };
    let cases: Vec<Row> = evaluation.cases.iter().map(case_row).collect();
    let summary: Vec<Row> = evaluation.summary.iter().flat_map(summary_rows).collect();
    let with_region = evaluation.cases.iter().any(|scores| scores.region != Region::Whole);
    render(&[vec![heading], cases, summary], with_region)
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

fn case_row(scores: &CaseScores) -> Row {
    Row {
        names: [scores.case.clone(), scores.class_name.clone(), scores.region.key().to_owned()],
        numbers: COLUMNS.iter().map(|&(metric, _, decimals)| number(scores.value(metric), decimals)).collect(),
        note: scores.presence.note().to_owned(),
    }
}

fn summary_rows(class: &ClassSummary) -> [Row; 3] {
    let undefined = class.most_undefined();
    let note = if undefined > 0 { format!("up to {undefined} undefined, left out") } else { String::new() };
    let row = |name: &str, note: &str, statistic: fn(&Summary) -> Option<f64>| Row {
        names: [name.to_owned(), class.class_name.clone(), class.region.key().to_owned()],
        numbers: COLUMNS
            .iter()
            .map(|(metric, _, decimals)| number(statistic(&class.scores[metric]), *decimals))
            .collect(),
        note: note.to_owned(),
    };
    [row("mean", &note, |s| s.mean), row("sd", "", |s| s.standard_deviation), row("median", "", |s| s.median)]
}

/// Lays out blocks of rows with a rule between them.
fn render(blocks: &[Vec<Row>], with_region: bool) -> String {
    let rows = || blocks.iter().flatten();
    let width = |cell: &dyn Fn(&Row) -> &str| rows().map(|row| cell(row).chars().count()).max().unwrap_or(0);
    let name_columns = if with_region { 3 } else { 2 };
    let names: Vec<usize> = (0..name_columns).map(|column| width(&|row| &row.names[column])).collect();
    let numbers: Vec<usize> = (0..COLUMNS.len()).map(|column| width(&|row| &row.numbers[column])).collect();
    let rule =
        "-".repeat(names.iter().sum::<usize>() + numbers.iter().sum::<usize>() + 2 * (names.len() + numbers.len() - 1));
    let mut text = String::new();
    for (position, block) in blocks.iter().filter(|block| !block.is_empty()).enumerate() {
        if position > 0 {
            text += &format!("{rule}\n");
        }
        for row in block {
            let left = row.names.iter().zip(&names).map(|(cell, &width)| format!("{cell:<width$}"));
            let right = row.numbers.iter().zip(&numbers).map(|(cell, &width)| format!("{cell:>width$}"));
            let cells: Vec<String> = left.chain(right).chain([row.note.clone()]).collect();
            text += cells.join("  ").trim_end();
            text.push('\n');
        }
    }
    text
}
