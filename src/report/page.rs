//! `report.html`: one file with the run's facts, pictures and scores, and cases to scroll through; nothing is loaded from
//! elsewhere.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::statistics;
use super::svg::{escaped, inline};
use super::{ReportError, ViewerCase, write};
use crate::metrics::{COLUMNS, CaseScores, ClassSummary, Evaluation, Metric, Region, Summary, numbers};

/// What goes into a report, in the order of the page.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Heading of the page.
    pub title: &'a str,
    /// Names and values of a run: program, device, data, configuration.
    pub facts: &'a [(String, String)],
    /// Captions and picture files (PNG, JPEG or SVG), embedded in this order; SVG plots of this crate become elements of
    /// the page.
    pub images: &'a [(String, PathBuf)],
    /// Cases to scroll through.
    pub viewer: &'a [ViewerCase],
    /// Scores, where there are some.
    pub evaluation: Option<&'a Evaluation>,
}

const STYLE: &str = include_str!("assets/report.css");
const TABLES: &str = include_str!("assets/tables.js");
const VIEWER: &str = include_str!("assets/viewer.js");
/// The viewer's controls and canvases, after the choice of the case.
const PLANES: &str = include_str!("assets/viewer.html");

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
        body += &statistics::sections(evaluation);
    }
    if !report.viewer.is_empty() {
        body += &viewer(report.viewer)?;
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
    let scripts = [TABLES, VIEWER];
    body += &scripts.map(|script| format!("<script>{script}</script>\n")).concat();
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        policy(&scripts)
    );
    write(path, html.as_bytes())
}

/// Nothing is loaded from anywhere, and no style or script runs but those of the program.
fn policy(scripts: &[&str]) -> String {
    let hash = |text: &&str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let scripts: Vec<String> = scripts.iter().map(hash).collect();
    let (style, scripts) = (hash(&STYLE), scripts.join(" "));
    format!(
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src {style}; script-src {scripts}"
    )
}

/// Cases to scroll through, and their pictures for browsers without scripts.
fn viewer(cases: &[ViewerCase]) -> Result<String, ReportError> {
    let choice = |(number, case): (usize, &ViewerCase)| {
        let checked = if number == 0 { " checked" } else { "" };
        let heading = escaped(&case.heading);
        format!("<label><input type=\"radio\" name=\"viewer-case\" value=\"{number}\"{checked}> {heading}</label>\n")
    };
    let choices: String = cases.iter().enumerate().map(choice).collect();
    let pictures = cases.iter().filter_map(|case| Some(figure(&case.heading, case.picture.as_deref()?)));
    let pictures: String = pictures.collect::<Result<_, _>>()?;
    let descriptions: Vec<&Value> = cases.iter().map(|case| &case.description).collect();
    // In JSON a < can only be in a string, and is the only way to leave a script element.
    let descriptions = serde_json::to_string(&descriptions).expect("values are JSON").replace('<', "\\u003c");
    let volume = |(number, case): (usize, &ViewerCase)| {
        let block = |(kind, encoded): &(String, String)| {
            format!("<script type=\"application/octet-stream\" id=\"viewer-{number}-{kind}\">{encoded}</script>\n")
        };
        case.volumes.iter().map(block).collect::<String>()
    };
    let volumes: String = cases.iter().enumerate().map(volume).collect();
    Ok(format!(
        "<h2>Cases, slice by slice</h2>\n<section id=\"viewer\" aria-label=\"Slices of a case\" hidden>\n\
         <fieldset><legend>Case</legend>\n{choices}</fieldset>\n{PLANES}</section>\n\
         <div id=\"viewer-fallback\">\n{pictures}<p class=\"explain\">With scripts, this page shows every slice of these \
         cases.</p></div>\n\
         <script type=\"application/json\" id=\"viewer-cases\">{descriptions}</script>\n{volumes}"
    ))
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
        "<h2>Scores</h2>\n{}<p class=\"explain\">Mean ± standard deviation (median) [{} confidence interval of the mean] over \
         the cases in which a score is defined. NSD is surface Dice{}; a lesion is found from an IoU of {} on. Intervals: {} \
         bootstrap, {} resamples.{mean}</p>\n",
        table(&["Class", "Region", "Cases"], "Left out", &rows, false),
        statistics::percent(evaluation.bootstrap.confidence_level),
        statistics::tolerances(evaluation),
        evaluation.criteria.lesion_iou,
        evaluation.bootstrap.method,
        evaluation.bootstrap.resamples,
    )
}

fn summary_row(class: &ClassSummary) -> String {
    let statistic = |summary: &Summary, decimals: usize| {
        let (Some(mean), Some(median)) = (summary.mean, summary.median) else { return "–".to_owned() };
        let spread = summary.standard_deviation.map_or_else(String::new, |sd| format!(" ± {sd:.decimals$}"));
        let interval = summary.interval;
        let interval =
            interval.map_or_else(String::new, |ci| format!("<br>[{:.decimals$}, {:.decimals$}]", ci.low, ci.high));
        format!("{mean:.decimals$}{spread} ({median:.decimals$}){interval}")
    };
    let dice = &class.scores[&Metric::Dice];
    let cases = (dice.defined + dice.undefined).to_string();
    let undefined = class.most_undefined();
    let note = if undefined > 0 { format!("up to {undefined} undefined") } else { String::new() };
    let numbers = COLUMNS.iter().map(|(metric, _, decimals)| statistic(&class.scores[metric], *decimals));
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
        table(&["Case", "Class", "Region"], "Note", &rows, true)
    )
}

fn case_row(scores: &CaseScores) -> String {
    let numbers = numbers("–", |metric| scores.value(metric)).into_iter();
    row(&[&scores.case, &scores.class_name, scores.region.key()], numbers, scores.presence.note())
}

fn table(names: &[&str], note: &str, rows: &str, sortable: bool) -> String {
    let names: String = names.iter().map(|name| format!("<th class=\"name\">{name}</th>")).collect();
    let numbers: String = COLUMNS.iter().map(|(_, heading, _)| format!("<th>{heading}</th>")).collect();
    format!(
        "<div class=\"scroll\"><table{}>\n<thead><tr>{names}{numbers}<th class=\"name\">{note}</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n",
        if sortable { " class=\"sortable\"" } else { "" }
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
    let failed = |source| ReportError::Io { path: image.to_owned(), action: "read", source };
    let bytes = std::fs::read(image).map_err(failed)?;
    let caption = escaped(caption);
    let picture = inline(&bytes).unwrap_or_else(|| {
        format!("<img alt=\"{caption}\" src=\"data:{media_type};base64,{}\">", STANDARD.encode(bytes))
    });
    Ok(format!("<figure><div class=\"scroll\">{picture}</div><figcaption>{caption}</figcaption></figure>\n"))
}
