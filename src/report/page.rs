//! `report.html`: one file with the run's facts, pictures and scores; no scripts, nothing loaded from elsewhere.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ReportError;
use crate::metrics::{CaseScores, ClassSummary, Evaluation, Metric, Region, Summary, replace_file};

/// What goes into a report, in the order of the page.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Heading of the page.
    pub title: &'a str,
    /// Names and values of a run: program, device, data, configuration.
    pub facts: &'a [(String, String)],
    /// Captions and picture files (PNG, JPEG or SVG), embedded in this order.
    pub images: &'a [(String, PathBuf)],
    /// Scores, where there are some.
    pub evaluation: Option<&'a Evaluation>,
}

/// Columns of the score tables: metric, heading, unit, decimals.
const COLUMNS: [(Metric, &str, &str, usize); 9] = [
    (Metric::Dice, "Dice", "", 3),
    (Metric::Iou, "IoU", "", 3),
    (Metric::Precision, "Precision", "", 3),
    (Metric::Sensitivity, "Sensitivity", "", 3),
    (Metric::HausdorffMm, "HD", "mm", 2),
    (Metric::Hd95Mm, "HD95", "mm", 2),
    (Metric::AssdMm, "ASSD", "mm", 2),
    (Metric::VolumeReferenceMl, "Reference", "ml", 2),
    (Metric::VolumePredictionMl, "Prediction", "ml", 2),
];

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d1f21;--dim:#5c6166;--ground:#fff;--card:#f5f6f7;--line:#d9dce0;--mark:#0072b2}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--dim:#a0a6ac;--ground:#16181a;--card:#1f2225;--line:#383c41;\
--mark:#56b4e9}}\
*{box-sizing:border-box}\
body{margin:0 auto;max-width:1400px;padding:1.5rem clamp(.9rem,3vw,2.5rem) 3rem;color:var(--ink);\
background:var(--ground);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,Ubuntu,sans-serif}\
h1{font-size:1.7rem;line-height:1.25;margin:.4rem 0 1rem;overflow-wrap:anywhere}\
h2{font-size:1.2rem;margin:2.2rem 0 .7rem;padding-bottom:.3rem;border-bottom:2px solid var(--mark)}\
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,17rem),1fr));gap:.5rem;margin:0}\
.facts div{background:var(--card);border-radius:6px;padding:.45rem .75rem;min-width:0}\
dt{color:var(--dim);font-size:.8rem;overflow-wrap:anywhere}dd{margin:0;overflow-wrap:anywhere}\
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:6px}\
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}\
th,td{padding:.35rem .7rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}\
th{color:var(--dim);font-weight:600;background:var(--card)}\
th.name,td.name{text-align:left}td.note{text-align:left;color:var(--dim)}\
tbody tr:last-child td{border-bottom:0}\
figure{margin:0 0 1.5rem}figure img{display:block;width:100%;min-width:44rem;height:auto}\
figcaption{color:var(--dim);font-size:.9rem;margin:.35rem 0 0;overflow-wrap:anywhere}\
.explain{color:var(--dim);font-size:.85rem}";

/// Writes a report as one self-contained HTML file, replacing `path` in one step.
///
/// # Errors
/// When a picture cannot be read or is of no known format, or the file cannot be written.
pub fn write_report(path: &Path, report: &Report<'_>) -> Result<(), ReportError> {
    let title = escaped(report.title);
    let mut body = format!("<h1>{title}</h1>\n");
    if !report.facts.is_empty() {
        body += &facts(report.facts);
    }
    if let Some(evaluation) = report.evaluation {
        body += &summary_table(evaluation);
    }
    if !report.images.is_empty() {
        body += "<h2>Pictures</h2>\n";
    }
    for (caption, image) in report.images {
        body += &figure(caption, image)?;
    }
    if let Some(evaluation) = report.evaluation {
        body += &case_table(evaluation);
    }
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    );
    replace_file(path, html.as_bytes()).map_err(|source| ReportError::Write { path: path.to_owned(), source })
}

fn facts(facts: &[(String, String)]) -> String {
    let entry = |(name, value): &(String, String)| {
        format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escaped(name), escaped(value))
    };
    format!("<h2>Run</h2>\n<dl class=\"facts\">\n{}</dl>\n", facts.iter().map(entry).collect::<String>())
}

/// Mean ± standard deviation (median) per class and region.
fn summary_table(evaluation: &Evaluation) -> String {
    let rows: String = evaluation.summary.iter().map(summary_row).collect();
    let foreground = evaluation.mean_foreground.get(&Metric::Dice).copied().flatten();
    let mean = match foreground {
        Some(dice) if evaluation.summary.len() > 1 => format!(" Mean Dice over the foreground classes: {dice:.3}."),
        _ => String::new(),
    };
    format!(
        "<h2>Scores</h2>\n{}<p class=\"explain\">Mean ± standard deviation, median in brackets, over the cases in which \
         a score is defined.{mean}</p>\n",
        table(&["Class", "Region", "Cases"], "Left out", &rows)
    )
}

fn summary_row(class: &ClassSummary) -> String {
    let statistic = |summary: &Summary, decimals: usize| {
        let (Some(mean), Some(median)) = (summary.mean, summary.median) else { return "–".to_owned() };
        let spread = summary.standard_deviation.map_or_else(String::new, |sd| format!(" ± {sd:.decimals$}"));
        format!("{mean:.decimals$}{spread} ({median:.decimals$})")
    };
    let dice = &class.scores[&Metric::Dice];
    let cases = (dice.defined + dice.undefined).to_string();
    let undefined = COLUMNS.iter().map(|(metric, ..)| class.scores[metric].undefined).max().unwrap_or(0);
    let note = if undefined > 0 { format!("up to {undefined} undefined") } else { String::new() };
    let numbers = COLUMNS.iter().map(|(metric, _, _, decimals)| statistic(&class.scores[metric], *decimals));
    row(&[&class.class_name, class.region.key(), &cases], numbers, &note)
}

fn case_table(evaluation: &Evaluation) -> String {
    let rows: String = evaluation.cases.iter().map(case_row).collect();
    let regions = if evaluation.cases.iter().any(|scores| scores.region != Region::Whole) {
        " Apex and base are the caudal and the cranial third of the reference's slices."
    } else {
        ""
    };
    format!(
        "<h2>Cases</h2>\n{}<p class=\"explain\">A dash is a score that is not defined; the note says why.{regions}</p>\n",
        table(&["Case", "Class", "Region"], "Note", &rows)
    )
}

fn case_row(scores: &CaseScores) -> String {
    let number =
        |value: Option<f64>, decimals: usize| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.decimals$}"));
    let numbers = COLUMNS.iter().map(|(metric, _, _, decimals)| number(scores.value(*metric), *decimals));
    row(&[&scores.case, &scores.class_name, scores.region.key()], numbers, scores.presence.note())
}

fn table(names: &[&str], note: &str, rows: &str) -> String {
    let names: String = names.iter().map(|name| format!("<th class=\"name\">{name}</th>")).collect();
    let numbers: String = COLUMNS
        .iter()
        .map(|(_, heading, unit, _)| format!("<th>{}</th>", format!("{heading} {unit}").trim_end()))
        .collect();
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{names}{numbers}<th class=\"name\">{note}</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

fn row(names: &[&str], numbers: impl Iterator<Item = String>, note: &str) -> String {
    let names: String = names.iter().map(|name| format!("<td class=\"name\">{}</td>", escaped(name))).collect();
    let numbers: String = numbers.map(|number| format!("<td>{number}</td>")).collect();
    format!("<tr>{names}{numbers}<td class=\"note\">{}</td></tr>\n", escaped(note))
}

fn figure(caption: &str, image: &Path) -> Result<String, ReportError> {
    let extension = image.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let media_type = match extension.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "svg" => "image/svg+xml",
        _ => return Err(ReportError::Format { path: image.to_owned() }),
    };
    let bytes = std::fs::read(image).map_err(|source| ReportError::Read { path: image.to_owned(), source })?;
    let (caption, encoded) = (escaped(caption), STANDARD.encode(bytes));
    Ok(format!(
        "<figure><div class=\"scroll\"><img alt=\"{caption}\" src=\"data:{media_type};base64,{encoded}\"></div>\
         <figcaption>{caption}</figcaption></figure>\n"
    ))
}

/// Text that is safe as HTML content and in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            other => safe.push(other),
        }
    }
    safe
}
