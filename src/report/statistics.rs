//! Tables of the report beyond the scores of cases: lesions, confusion between classes, calibration.

use super::svg::escaped;
use crate::metrics::{Calibration, Confusion, Evaluation, Region, Summary};

/// Classes of a confusion matrix that a page has room for.
const MOST: usize = 32;

/// `95 %`.
pub(super) fn percent(part: f64) -> String {
    format!("{} %", (1000.0 * part).round() / 10.0)
}

/// ` at 1 mm`, then those of classes with one of their own.
pub(super) fn tolerances(evaluation: &Evaluation) -> String {
    let criteria = &evaluation.criteria;
    let classes = evaluation.classes();
    let own = classes.iter().map(|(value, name)| (name, criteria.tolerance_of(*value, name)));
    let own: Vec<(&String, f64)> = own.filter(|(_, mm)| *mm != criteria.tolerance_mm).collect();
    let list = own.iter().map(|(name, mm)| format!(", at {mm} mm for {}", escaped(name))).collect::<String>();
    format!(" at {} mm{list}", criteria.tolerance_mm)
}

/// What an evaluation has of these.
pub(super) fn sections(evaluation: &Evaluation) -> String {
    let confusion = evaluation.confusion.as_ref().map(confusion).unwrap_or_default();
    let calibration = evaluation.calibration.as_ref().map(calibration).unwrap_or_default();
    lesions(evaluation) + &confusion + &calibration
}

/// Lesions of all cases together, where a class has more than one in a case.
fn lesions(evaluation: &Evaluation) -> String {
    let whole = || evaluation.cases.iter().filter(|scores| scores.region == Region::Whole);
    let several = |found: u64, others: u64| found + others > 1;
    let scores_have = |s: &crate::metrics::CaseScores| {
        several(s.lesion_true_positives, s.lesion_false_negatives)
            || several(s.lesion_true_positives, s.lesion_false_positives)
    };
    if !whole().any(scores_have) {
        return String::new();
    }
    let row = |(value, name): &(u16, String)| {
        let of = || whole().filter(|scores| scores.class == *value);
        let (found, invented, missed) = of().fold((0, 0, 0), |(found, invented, missed), s| {
            let more = (s.lesion_true_positives, s.lesion_false_positives, s.lesion_false_negatives);
            (found + more.0, invented + more.1, missed + more.2)
        });
        let all = 2 * found + invented + missed;
        let f1 = if all > 0 { format!("{:.3}", 2.0 * found as f64 / all as f64) } else { "–".to_owned() };
        cells(name, &[found.to_string(), missed.to_string(), invented.to_string(), f1])
    };
    let rows: String = evaluation.classes().iter().map(row).collect();
    let heading = heading("Class", &["found", "missed", "invented", "F1"]);
    format!(
        "<h2>Lesions</h2>\n{}<p class=\"explain\">Connected components of all cases together; lesions.csv has each of them.</p>\n",
        table(&heading, &rows)
    )
}

fn confusion(confusion: &Confusion) -> String {
    let count = confusion.values.len();
    if count > MOST {
        return format!(
            "<h2>Confusion between classes</h2>\n<p class=\"explain\">{count} classes: the table is confusion.csv.</p>\n"
        );
    }
    let row = |(row, name): (usize, &String)| {
        let shares = confusion.shares(row);
        let cell = |(column, voxels): (usize, &u64)| match &shares {
            Some(shares) => format!("{voxels} ({:.2} %)", 100.0 * shares[column]),
            None => voxels.to_string(),
        };
        cells(name, &confusion.voxels[row].iter().enumerate().map(cell).collect::<Vec<_>>())
    };
    let rows: String = confusion.names.iter().enumerate().map(row).collect();
    let names: Vec<&str> = confusion.names.iter().map(String::as_str).collect();
    format!(
        "<h2>Confusion between classes</h2>\n{}<p class=\"explain\">Voxels of all cases: a row per class of the reference, a \
         column per class of the prediction, and the part of the row.</p>\n",
        table(&heading("Reference", &names), &rows)
    )
}

fn calibration(calibration: &Calibration) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    let mean = |summary: &Summary| match (summary.mean, summary.interval) {
        (Some(mean), Some(ci)) => format!("{mean:.4} [{:.4}, {:.4}]", ci.low, ci.high),
        (mean, _) => number(mean),
    };
    let row = |name: &str, pooled: [Option<f64>; 2], over_cases: [&Summary; 2]| {
        let [ece, brier] = pooled.map(number);
        let [case_ece, case_brier] = over_cases.map(mean);
        cells(name, &[ece, brier, case_ece, case_brier])
    };
    let mut rows = String::new();
    if calibration.top.is_some() {
        let Calibration { ece, brier, case_ece, case_brier, .. } = calibration;
        rows += &row("all (top label)", [*ece, *brier], [case_ece, case_brier]);
    }
    for class in &calibration.classes {
        rows += &row(&class.class_name, [class.ece, class.brier], [&class.case_ece, &class.case_brier]);
    }
    let heading = heading("Class", &["ECE", "Brier", "ECE, mean of cases", "Brier, mean of cases"]);
    format!(
        "<h2>Calibration</h2>\n{}<p class=\"explain\">Expected calibration error in {} equal bins, of the largest probability and \
         of the probability of each class, and Brier score, over all voxels and as means over cases with their confidence \
         intervals.</p>\n",
        table(&heading, &rows),
        calibration.bins
    )
}

fn heading(first: &str, names: &[&str]) -> String {
    let names: String = names.iter().map(|name| format!("<th>{}</th>", escaped(name))).collect();
    format!("<th class=\"name\">{first}</th>{names}")
}

fn cells(name: &str, numbers: &[String]) -> String {
    let numbers: String = numbers.iter().map(|number| format!("<td>{number}</td>")).collect();
    format!("<tr><td class=\"name\">{}</td>{numbers}</tr>\n", escaped(name))
}

fn table(heading: &str, rows: &str) -> String {
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{heading}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}
