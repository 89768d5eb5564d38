//! The end of a cross-validation: choices, final predictions, ensemble, scores and report. It needs no device.

use super::choose::choose;
use super::fold::changed;
use super::{Choices, CrossValidation, create, remove_leftovers_in, write};
use crate::data::dataset::case_name;
use crate::data::io::case_of;
use crate::data::{Case, Classes, DiskCache, output_of_image};
use crate::evaluate::figures::viewer_cases;
use crate::evaluate::{CaseFiles, Scoring, evaluate_pairs};
use crate::files::json;
use crate::infer::{Preprocessing, repair_file, write_ensemble};
use crate::methods::Methods;
use crate::metrics::{Evaluation, Region};
use crate::report::{Report, write_confusion_plot, write_dice_plot, write_metric_plot, write_report};
use crate::train::{RunLock, TrainError, stored_config};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What came of a cross-validation.
#[derive(Debug)]
pub struct Collected {
    /// Scores of all cases.
    pub evaluation: Evaluation,
    /// How predictions are made and repaired, and why.
    pub choices: Choices,
    /// The folder for `segment --model`.
    pub ensemble: PathBuf,
    /// The report.
    pub report: PathBuf,
}

impl CrossValidation {
    /// The folds that are not done.
    ///
    /// # Errors
    /// [`TrainError`] when the file of a fold cannot be read.
    pub fn missing(&self) -> Result<Vec<usize>, TrainError> {
        let is_missing = |fold| self.done(fold).map(|done| done.is_none().then_some(fold));
        (0..self.folds()).filter_map(|fold| is_missing(fold).transpose()).collect()
    }

    /// Puts the folds together. `note` gets what a person should know.
    ///
    /// # Errors
    /// [`TrainError`]: folds that are missing, files that cannot be read or written, another process that collects.
    pub fn collect(&self, mut note: impl FnMut(&str)) -> Result<Collected, TrainError> {
        let missing = self.missing()?;
        if !missing.is_empty() {
            let list: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let reason = format!(
                "{} of {} folds are not done: {}; train each with --only N, or all without --only",
                missing.len(),
                self.folds(),
                list.join(", ")
            );
            return Err(TrainError::run_folder(&self.out, reason));
        }
        let (_lock, unlocked) = RunLock::of(&self.out, "collect.lock", "collects here")?;
        unlocked.iter().for_each(|text| note(text));
        let [predictions, evaluation, ensemble] =
            ["predictions", "evaluation", "ensemble"].map(|name| self.out.join(name));
        for folder in [&predictions, &evaluation, &evaluation.join("overlays"), &ensemble] {
            create(folder)?;
            remove_leftovers_in(folder, Duration::ZERO)?;
        }
        let members = self.members(&ensemble)?;
        let mut cases: Vec<(usize, Case)> =
            (0..self.folds()).flat_map(|fold| self.cases(fold).into_iter().map(move |case| (fold, case))).collect();
        cases.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        let (path, model) = self.model(0)?;
        let preprocessing = Preprocessing::of(&model)
            .map_err(|error| TrainError::run_folder(&path, format!("metadata key preprocessing: {error}")))?;
        let classes = preprocessing.label_classes(model.network.classes);
        let preparation = preprocessing.preparation(model.network.in_channels, model.network.classes);
        let choices = choose(self, &cases, &preparation)?;
        write(&evaluation.join("choices.json"), &json(&choices))?;
        let post_processing = choices.chosen.post_processing();
        for (fold, case) in &cases {
            let unrepaired = self.unrepaired(*fold, case, choices.chosen.mirroring);
            let output = predictions.join(output_of_image(&case.name, &case.image));
            repair_file(&case.image, &unrepaired, &output, (&preparation, &classes), &post_processing)?;
        }
        write_ensemble(&ensemble, members, choices.chosen.mirroring, &post_processing, &choices.targets)
            .map_err(|error| TrainError::run_folder(&ensemble, error.to_string()))?;
        let scored = self.evaluate(&cases, [&predictions, &evaluation], &classes, &preprocessing, &choices)?;
        if let Err(error) = DiskCache::of_run(self.out.join("cache")).remove() {
            note(&format!(
                "{}: cannot be removed: {error}; it is not needed any more",
                self.out.join("cache").display()
            ));
        }
        let report = evaluation.join("report.html");
        Ok(Collected { evaluation: scored, choices, ensemble, report })
    }

    /// Copies the networks of all folds into the ensemble's folder; returns the names of their files.
    fn members(&self, ensemble: &Path) -> Result<Vec<String>, TrainError> {
        let mut names = Vec::new();
        for fold in 0..self.folds() {
            let done = self.done(fold)?.expect("checked before");
            let (path, model) = self.model(fold)?;
            if model.fingerprint() != done.model {
                return Err(changed(&path, &self.run_folder(fold)));
            }
            if done.cases != self.split(fold).validation {
                let reason =
                    "has predicted other cases than this cross-validation's; remove it to train the fold again";
                return Err(TrainError::run_folder(&self.run_folder(fold), reason));
            }
            self.record.check_fold(&self.config, &self.run_folder(fold))?;
            self.check_split(fold)?;
            let name = format!("fold_{fold}.safetensors");
            let to = ensemble.join(&name);
            let bytes = std::fs::read(&path).map_err(TrainError::io("read", &path))?;
            write(&to, &bytes)?;
            names.push(name);
        }
        Ok(names)
    }

    /// Scores the final predictions; tables, plots and the report, which comes last.
    fn evaluate(
        &self,
        cases: &[(usize, Case)],
        [predictions, out]: [&Path; 2],
        classes: &Classes,
        preprocessing: &Preprocessing,
        choices: &Choices,
    ) -> Result<Evaluation, TrainError> {
        let files = |(_, case): &(usize, Case)| {
            let name = output_of_image(&case.name, &case.image);
            CaseFiles {
                case: case_name(case_of(&name).unwrap_or(&name)),
                prediction: predictions.join(&name),
                label: case.label.clone(),
                image: Some(case.image.clone()),
            }
        };
        let files: Vec<CaseFiles> = cases.iter().map(files).collect();
        let scoring = Scoring { classes: Some(classes), ..Scoring::WHOLE };
        let failed = |error| TrainError::of_evaluation(error, predictions);
        let evaluation = evaluate_pairs(&files, &scoring).map_err(failed)?;
        evaluation.write(out)?;
        write_dice_plot(&out.join("dice.svg"), &evaluation)?;
        write_metric_plot(&out.join("metrics.svg"), &evaluation, Region::Whole)?;
        let mut images = vec![("Dice of every case".to_owned(), out.join("dice.svg"))];
        if let Some(confusion) = &evaluation.confusion {
            write_confusion_plot(&out.join("confusion.svg"), confusion)?;
            images.push(("Confusion between classes".to_owned(), out.join("confusion.svg")));
        }
        let names = &preprocessing.channel_names;
        let viewer = viewer_cases(&evaluation, &files, Some(classes), names, &out.join("overlays")).map_err(failed)?;
        for fold in 0..self.folds() {
            let curves = self.run_folder(fold).join("curves.svg");
            if curves.exists() {
                images.push((format!("Fold {fold}: loss, learning rate and validation Dice"), curves));
            }
        }
        let facts = self.facts(choices);
        let report = Report {
            title: "Cross-validation",
            facts: &facts,
            images: &images,
            viewer: &viewer,
            evaluation: Some(&evaluation),
        };
        self.methods(&evaluation, choices, out)?;
        write_report(&out.join("report.html"), &report)?;
        Ok(evaluation)
    }

    /// Writes `methods.md` and `methods.json` beside the scores.
    fn methods(&self, evaluation: &Evaluation, choices: &Choices, out: &Path) -> Result<(), TrainError> {
        let mut methods = Methods::new();
        methods.say("In a cross-validation of ");
        methods.fact("folds", self.folds(), "cross_validation.json: entries of folds");
        methods.say(" folds over ");
        methods.fact("cases", choices.cases, "choices.json: cases");
        methods.say(" cases each case was predicted by the network that had not been trained on it, with the ");
        methods.say(self.parameters_in_words());
        methods.say(". Mirroring and repairs were chosen on these predictions: ");
        methods.fact("chosen", choices.chosen.describe(&choices.targets), "choices.json: chosen, in words");
        methods.say(". ");
        let first = self.run_folder(0);
        let name = first.file_name().unwrap_or_default().to_string_lossy();
        methods.configuration(&stored_config(&first)?, &format!("../{name}/config.toml"));
        methods.program();
        methods.say("\n\n");
        methods.scores(evaluation, "scores.json");
        methods.write(out).map_err(|(path, error)| TrainError::io("write", &path)(error))
    }

    /// Which parameters of a training predict: they are not chosen on the cases that are scored, but for when it ended.
    fn parameters_in_words(&self) -> &'static str {
        let training = &self.config.training;
        match (training.ema_decay > 0.0, training.patience > 0) {
            (false, false) => "parameters after the last step",
            (true, false) => "average of the parameters after the last step",
            (false, true) => {
                "parameters after the last step, which the scores of these cases may have ended (training.patience)"
            }
            (true, true) => {
                "average of the parameters after the last step, which the scores of these cases may have ended (training.patience)"
            }
        }
    }

    fn facts(&self, choices: &Choices) -> Vec<(String, String)> {
        let number = |value: &Option<f64>| value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.4}"));
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let folds: Vec<String> = choices.fold_dice.iter().map(number).collect();
        let mut facts = vec![
            fact("Program", format!("vnet-engine {} ({})", env!("CARGO_PKG_VERSION"), env!("VNET_ENGINE_COMMIT"))),
            fact("Folds", format!("{}, of {} cases", self.folds(), choices.cases)),
            fact("Networks", self.parameters_in_words().to_owned()),
            fact("Mean Dice of each fold", folds.join(", ")),
            fact("Chosen", choices.chosen.describe(&choices.targets)),
            fact("Rule", choices.rule.to_owned()),
        ];
        for trial in std::iter::once(&choices.mirroring).chain(&choices.repairs) {
            let [before, after] = trial.mean_dice.each_ref().map(number);
            let verdict = if trial.accepted { "accepted" } else { "not accepted" };
            facts.push(fact(
                "Tried",
                format!("{}: mean Dice {before} to {after}, {verdict}: {}", trial.change, trial.reason),
            ));
        }
        facts.extend(self.config.facts());
        facts
    }
}
