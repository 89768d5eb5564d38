//! `evaluate`: scores of one folder of predictions, or a comparison of two.

use super::model::read_model;
use super::status::WrongInput;
use super::verbosity::tell;
use super::{RARE, values};
use anyhow::Result;
use clap::Args;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use vnet_engine::data::Classes;
use vnet_engine::evaluate::figures::{Chosen, Folders, case_dice, choose, draw_cases};
use vnet_engine::evaluate::{Scoring, compare_folders, evaluate_folders};
use vnet_engine::infer::Ensemble;
use vnet_engine::methods::Methods;
use vnet_engine::metrics::{Criteria, Evaluation, Observer, Region, Summary, render_short_table};
use vnet_engine::report::{
    Report, write_comparison_plot, write_confusion_plot, write_dice_plot, write_metric_plot, write_reliability_plot,
    write_report,
};

#[derive(Debug, Args)]
pub struct EvaluateArguments {
    /// Folder of predicted label maps
    #[arg(long, value_name = "DIR", required_unless_present = "compare")]
    predictions: Option<PathBuf>,
    /// Folder of reference label maps, or table of cases
    ///
    /// With the names of the predictions, or these with _segmentation. Of a table (.csv) the column label.
    #[arg(long, value_name = "LABELS")]
    labels: PathBuf,
    /// Folder for tables and plots
    ///
    /// scores.csv, scores.json, lesions.csv, confusion.csv, plots, report.html and methods.md; with --compare comparison.csv,
    /// .json, .md and .svg, and methods.md.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folder or table of the images: draws best, median, worst case
    ///
    /// With the names of the predictions. The pictures are in overlays/.
    #[arg(long, value_name = "IMAGES")]
    images: Option<PathBuf>,
    /// Model whose classes are scored
    ///
    /// A run folder or .safetensors file: the names of its classes, and label values that are one class. By default
    /// every value that occurs is a class, with the names of the dataset.json of the labels.
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Label value of voxels that are not scored
    ///
    /// Besides what the dataset.json of the labels, or the model, ignores. May be repeated.
    #[arg(long, value_name = "VALUE")]
    ignore: Vec<u16>,
    /// Tolerance of surface Dice in mm [default: 1]
    ///
    /// Of every class, or with NAME= of one: --tolerance 2 --tolerance tumour=3. May be repeated.
    #[arg(long, value_name = "[NAME=]MM", value_parser = values::tolerance)]
    tolerance: Vec<(Option<String>, f64)>,
    /// Folder of the probabilities of the predictions
    ///
    /// As segment --probabilities writes them (a_prob1.nii.gz for a.nii.gz): calibration error, Brier score, reliability diagram.
    #[arg(long, value_name = "DIR", conflicts_with = "compare")]
    probabilities: Option<PathBuf>,
    /// IoU from which a lesion counts as found [default: 0.5]
    #[arg(long, value_name = "IOU", value_parser = values::iou, help_heading = RARE)]
    lesion_iou: Option<f64>,
    /// Compare two folders of predictions of the same cases
    ///
    /// In place of --predictions: paired differences, Wilcoxon's test, pictures of both.
    #[arg(long, value_names = ["A", "B"], num_args = 2, conflicts_with_all = ["predictions", "observer"])]
    compare: Option<Vec<PathBuf>>,
    /// Names of the two [default: their paths]
    #[arg(long, value_name = "A,B", requires = "compare", value_parser = values::names)]
    names: Option<[String; 2]>,
    /// Leave out labels without a prediction
    ///
    /// With a note that says how many are scored. By default a label without a prediction is an error.
    #[arg(long, help_heading = RARE)]
    partial: bool,
    /// Also score apex and base
    ///
    /// The thirds nearest to feet and head.
    #[arg(long, help_heading = RARE)]
    regions: bool,
    /// PROMISE12 score against a second observer's means
    ///
    /// TOML tables whole, apex, base with dice, assd_mm, hd95_mm, absolute_relative_volume_difference.
    #[arg(long, value_name = "FILE", help_heading = RARE)]
    observer: Option<PathBuf>,
    /// Print the scores as one JSON document
    #[arg(long, help_heading = RARE)]
    json: bool,
}

pub fn evaluate(arguments: &EvaluateArguments) -> Result<()> {
    let observer = arguments.observer.as_deref().map(Observer::read).transpose().map_err(WrongInput)?;
    let regions: &[Region] = if arguments.regions || observer.is_some() { &Region::ALL } else { &[Region::Whole] };
    let classes = arguments.model.as_deref().map(classes_of).transpose()?;
    let criteria = criteria(arguments);
    let scoring = Scoring {
        classes: classes.as_ref(),
        ignore: &arguments.ignore,
        regions,
        partial: arguments.partial,
        criteria: &criteria,
        probabilities: arguments.probabilities.as_deref(),
    };
    if let Some([first, second]) = arguments.compare.as_deref() {
        return compare(arguments, [first, second], &scoring);
    }
    let predictions = arguments.predictions.as_deref().expect("clap requires it");
    let evaluation = evaluate_folders(predictions, &arguments.labels, &scoring)?;
    evaluation.warnings.iter().for_each(|warning| tell!("warning: {warning}"));
    write(&evaluation, &arguments.out)?;
    let mut pictures = plots_of(&evaluation, &arguments.out);
    if let Some(images) = &arguments.images {
        let Scoring { classes, ignore, .. } = scoring;
        let (predictions, names, labels) = (&[predictions], ["prediction", ""], &arguments.labels);
        let folders = Folders { predictions, names, labels, images, classes, ignore };
        let chosen = choose(case_dice(&evaluation), ["best", "median", "worst"]);
        let drawn = draw_cases(&folders, &evaluation.classes(), &chosen, &create(&arguments.out.join("overlays"))?)?;
        let named = |(chosen, path): (&Chosen, PathBuf)| {
            (format!("{}: {}, Dice {:.3}", chosen.role, chosen.case, chosen.value), path)
        };
        pictures.extend(chosen.iter().zip(drawn).map(named));
    }
    report(&evaluation, predictions, arguments, &pictures)?;
    let score = observer.map(|observer| observer.write(&evaluation.cases, &arguments.out)).transpose()?;
    if arguments.json {
        let mut document = serde_json::to_value(&evaluation)?;
        if let Some(score) = score {
            document["promise12"] = serde_json::to_value(score)?;
        }
        outln!("{document}");
        return Ok(());
    }
    let all_in = arguments.out.join("scores.csv").display().to_string();
    outln!("{}", render_short_table(&evaluation, &all_in));
    if let Some(Summary { mean, standard_deviation, defined, undefined, .. }) = score {
        match mean {
            Some(mean) => {
                let spread = standard_deviation.map_or_else(String::new, |deviation| format!(" ± {deviation:.2}"));
                outln!("PROMISE12 score {mean:.2}{spread} ({defined} cases, {undefined} undefined)");
            }
            None => outln!("PROMISE12 score undefined: no case has a reference"),
        }
    }
    Ok(())
}

/// Tolerances and threshold of the options.
fn criteria(arguments: &EvaluateArguments) -> Criteria {
    let mut criteria = Criteria::default();
    for (name, mm) in arguments.tolerance.iter().cloned() {
        match name {
            Some(name) => drop(criteria.tolerances_mm.insert(name, mm)),
            None => criteria.tolerance_mm = mm,
        }
    }
    criteria.lesion_iou = arguments.lesion_iou.unwrap_or(criteria.lesion_iou);
    criteria
}

/// The plots that [`write`] has written, with captions.
fn plots_of(evaluation: &Evaluation, out: &Path) -> Vec<(String, PathBuf)> {
    let mut plots = vec![("Dice of every case", "dice.svg"), ("Scores of every case", "metrics.svg")];
    plots.extend(evaluation.confusion.as_ref().map(|_| ("Confusion between classes", "confusion.svg")));
    plots.extend(evaluation.calibration.as_ref().map(|_| ("Reliability of probabilities", "reliability.svg")));
    plots.into_iter().map(|(caption, file)| (caption.to_owned(), out.join(file))).collect()
}

/// Writes `report.html` and `methods.md`.
fn report(
    evaluation: &Evaluation,
    predictions: &Path,
    arguments: &EvaluateArguments,
    pictures: &[(String, PathBuf)],
) -> Result<()> {
    let mut facts = vec![
        ("Predictions".to_owned(), predictions.display().to_string()),
        ("References".to_owned(), arguments.labels.display().to_string()),
        ("Cases".to_owned(), evaluation.case_names().len().to_string()),
    ];
    facts.extend(evaluation.warnings.iter().map(|warning| ("Warning".to_owned(), warning.clone())));
    let (title, evaluation) = ("Evaluation", Some(evaluation));
    let report = Report { title, facts: &facts, images: pictures, viewer: &[], evaluation };
    write_report(&arguments.out.join("report.html"), &report)?;
    let mut methods = Methods::new();
    evaluation.into_iter().for_each(|evaluation| methods.scores(evaluation, "scores.json"));
    methods.say("\n");
    methods.program();
    methods.say("\n");
    write_methods(&methods, &arguments.out)
}

fn write_methods(methods: &Methods, out: &Path) -> Result<()> {
    let failed = |(path, error): (PathBuf, std::io::Error)| anyhow::anyhow!("cannot write {}: {error}", path.display());
    methods.write(out).map_err(failed)
}

/// The classes of a model, as its label maps have them.
fn classes_of(path: &Path) -> Result<Classes> {
    if Ensemble::is_at(path) {
        let Ensemble { models, preprocessing, .. } = Ensemble::read(path)?;
        return Ok(preprocessing.label_classes(models[0].network.classes));
    }
    let (model, preprocessing) = read_model(path)?;
    Ok(preprocessing.label_classes(model.network.classes))
}

/// Writes `comparison.csv`, `.json`, `.md` and `.svg`, and overlays where there are images; prints the table.
fn compare(arguments: &EvaluateArguments, predictions: [&PathBuf; 2], scoring: &Scoring<'_>) -> Result<()> {
    let names = arguments.names.clone().unwrap_or_else(|| predictions.map(|path| path.display().to_string()));
    let predictions = predictions.map(PathBuf::as_path);
    let (comparison, [first, second]) = compare_folders(predictions, names.clone(), &arguments.labels, scoring)?;
    comparison.warnings.iter().for_each(|warning| tell!("warning: {warning}"));
    let out = create(&arguments.out)?;
    comparison.write(&out)?;
    write_comparison_plot(&out.join("comparison.svg"), &comparison)?;
    let mut methods = Methods::new();
    methods.comparison(&comparison, "comparison.json");
    write_methods(&methods, &out)?;
    if let Some(images) = &arguments.images {
        let mut classes = [first.classes(), second.classes()].concat();
        classes.sort();
        classes.dedup();
        let second: HashMap<String, f64> = case_dice(&second).into_iter().collect();
        let difference = |(case, dice): (String, f64)| {
            let other = second.get(&case)?;
            Some((case, dice - other))
        };
        let differences = case_dice(&first).into_iter().filter_map(difference).collect();
        let chosen = choose(differences, ["first_better", "median", "second_better"]);
        let (labels, merged) = (&arguments.labels, scoring.classes);
        let names = [names[0].as_str(), names[1].as_str()];
        let ignore = scoring.ignore;
        let folders = Folders { predictions: &predictions, names, labels, images, classes: merged, ignore };
        draw_cases(&folders, &classes, &chosen, &create(&out.join("overlays"))?)?;
    }
    match arguments.json {
        true => outln!("{}", serde_json::to_string(&comparison)?),
        false => out!("{}", comparison.to_markdown()),
    }
    Ok(())
}

fn create(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)
        .map_err(|e| WrongInput(format!("{}: cannot create the output folder: {e}", folder.display())))?;
    Ok(folder.to_owned())
}

/// Writes the tables of [`Evaluation::write`], `dice.svg`, `metrics.svg` with one more for each further region, and where there
/// are some `confusion.svg` and `reliability.svg`.
pub fn write(evaluation: &Evaluation, out: &Path) -> Result<()> {
    create(out)?;
    evaluation.write(out)?;
    write_dice_plot(&out.join("dice.svg"), evaluation)?;
    for region in Region::ALL.into_iter().filter(|r| evaluation.summary.iter().any(|s| s.region == *r)) {
        let file = match region {
            Region::Whole => "metrics.svg".to_owned(),
            part => format!("metrics_{}.svg", part.key()),
        };
        write_metric_plot(&out.join(file), evaluation, region)?;
    }
    if let Some(confusion) = &evaluation.confusion {
        write_confusion_plot(&out.join("confusion.svg"), confusion)?;
    }
    if let Some(calibration) = &evaluation.calibration {
        write_reliability_plot(&out.join("reliability.svg"), calibration)?;
    }
    Ok(())
}
