//! What was scored and how, and the table of the scores.

use super::{Methods, Source};
use crate::metrics::{Evaluation, Metric, Presence, Region, Summary};
use serde_json::Value;

/// Columns of the table: heading and metric.
const COLUMNS: [(&str, Metric); 7] = [
    ("Dice", Metric::Dice),
    ("surface Dice", Metric::SurfaceDice),
    ("HD95 (mm)", Metric::Hd95Mm),
    ("average surface distance (mm)", Metric::AssdMm),
    ("volumetric similarity", Metric::VolumetricSimilarity),
    ("lesion F1", Metric::LesionF1),
    ("panoptic quality", Metric::LesionPq),
];
/// Cases with undefined scores that are named.
const MOST: usize = 40;

/// In which cases what is undefined.
const UNDEFINED: &str = "Where only one of prediction and reference has the class, Dice, surface Dice, volumetric similarity, lesion F1 and \
     panoptic quality are zero, and distances do not exist. Where neither has it, no score exists. Scores that do not exist \
     are left out of means and counted in the table";

impl Methods {
    /// Adds what was scored, the definitions, the table, and the cases without some scores. `file` is the evaluation's JSON,
    /// relative to the folder of the text.
    pub fn scores(&mut self, evaluation: &Evaluation, file: &str) {
        let at = |key: String| Source::new(file, key);
        self.say("Predictions of ");
        let cases = evaluation.case_names().len();
        self.fact("scored_cases", cases, &format!("{file}: different values of case in cases"));
        self.say(
            " cases were compared with their references for each class: Dice, the percentile of the Hausdorff distance HD95, \
             the average symmetric surface distance, volumetric similarity, and surface Dice",
        );
        self.tolerances(evaluation, file);
        self.say(
            ". Lesions are components connected by faces, edges and corners; one of the reference counts as found by a predicted \
             one whose intersection over union with it is at least ",
        );
        let iou = evaluation.criteria.lesion_iou;
        self.value(&iou.into(), &at("/criteria/lesion_iou".to_owned()));
        self.say(
            ", each matched once, the largest overlap first. Given are means over cases ± standard deviation and, in brackets, ",
        );
        self.number(evaluation.bootstrap.confidence_level, (100.0, 0), &at("/bootstrap/confidence_level".to_owned()));
        self.say(" % confidence intervals of the means by the ");
        self.value(&evaluation.bootstrap.method.as_str().into(), &at("/bootstrap/method".to_owned()));
        self.say(" bootstrap (");
        self.value(&evaluation.bootstrap.resamples.into(), &at("/bootstrap/resamples".to_owned()));
        self.say(" resamples of the cases, seed ");
        self.value(&evaluation.bootstrap.seed.into(), &at("/bootstrap/seed".to_owned()));
        self.say("). ");
        self.say(UNDEFINED);
        self.say(". ");
        self.foreground(evaluation, file);
        self.calibration(evaluation, file);
        self.say("\n\n");
        self.table(evaluation, file);
        self.undefined(evaluation, file);
    }

    fn tolerances(&mut self, evaluation: &Evaluation, file: &str) {
        let criteria = &evaluation.criteria;
        self.say(" at a tolerance of ");
        self.value(&criteria.tolerance_mm.into(), &Source::new(file, "/criteria/tolerance_mm"));
        self.say(" mm");
        for (name, mm) in &criteria.tolerances_mm {
            let source =
                Source::new(file, format!("/criteria/tolerances_mm/{}", name.replace('~', "~0").replace('/', "~1")));
            self.say(", for ");
            self.trace(name.clone(), &source, None);
            self.say(" of ");
            self.value(&(*mm).into(), &source);
            self.say(" mm");
        }
    }

    fn foreground(&mut self, evaluation: &Evaluation, file: &str) {
        let mean = evaluation.mean_foreground.get(&Metric::Dice).copied().flatten();
        let Some(dice) = mean.filter(|_| evaluation.classes().len() > 1) else { return };
        self.say("Over the foreground classes the mean Dice was ");
        self.number(dice, (1.0, 3), &Source::new(file, "/mean_foreground/dice"));
        if let Some(interval) = evaluation.mean_foreground_interval.get(&Metric::Dice) {
            self.say(" [");
            self.number(interval.low, (1.0, 3), &Source::new(file, "/mean_foreground_interval/dice/low"));
            self.say(", ");
            self.number(interval.high, (1.0, 3), &Source::new(file, "/mean_foreground_interval/dice/high"));
            self.say("]");
        }
        self.say(". ");
    }

    fn calibration(&mut self, evaluation: &Evaluation, file: &str) {
        let Some(calibration) = &evaluation.calibration else { return };
        let Some((ece, brier)) = calibration.ece.zip(calibration.brier) else { return };
        self.say("Over all voxels the expected calibration error of the most probable class (");
        self.value(&calibration.bins.into(), &Source::new(file, "/calibration/bins"));
        self.say(" equal bins) was ");
        self.number(ece, (1.0, 4), &Source::new(file, "/calibration/ece"));
        self.say(", and the Brier score, summed over classes, ");
        self.number(brier, (1.0, 4), &Source::new(file, "/calibration/brier"));
        self.say(". ");
    }

    fn table(&mut self, evaluation: &Evaluation, file: &str) {
        let with_region = evaluation.summary.iter().any(|class| class.region != Region::Whole);
        let region = if with_region { " region |" } else { "" };
        self.say(&format!("| class |{region}"));
        COLUMNS.iter().for_each(|(heading, _)| self.say(&format!(" {heading} |")));
        let columns = COLUMNS.len() + 1 + usize::from(with_region);
        self.say(&format!("\n|{}\n", "---|".repeat(columns)));
        for (position, class) in evaluation.summary.iter().enumerate() {
            let of_class = format!("/summary/{position}");
            self.say("| ");
            self.value(&class.class_name.as_str().into(), &Source::new(file, format!("{of_class}/class_name")));
            self.say(if with_region { " | " } else { " |" });
            if with_region {
                self.say(class.region.key());
                self.say(" |");
            }
            for (_, metric) in COLUMNS {
                self.say(" ");
                let key = format!("{of_class}/scores/{}", metric.key());
                self.cell(&class.scores[&metric], metric.heading().2, &Source::new(file, key));
                self.say(" |");
            }
            self.say("\n");
        }
        self.say("\n");
    }

    /// `0.853 ± 0.041 [0.831, 0.870], n = 18, 2 undefined`.
    fn cell(&mut self, summary: &Summary, decimals: usize, source: &Source<'_>) {
        let of = |key: &str| Source::new(source.file, format!("{}/{key}", source.key));
        match summary.mean {
            Some(mean) => self.number(mean, (1.0, decimals), &of("mean")),
            None => self.say("–"),
        }
        if let Some(deviation) = summary.standard_deviation {
            self.say(" ± ");
            self.number(deviation, (1.0, decimals), &of("standard_deviation"));
        }
        if let Some(interval) = summary.interval {
            self.say(" [");
            self.number(interval.low, (1.0, decimals), &of("interval/low"));
            self.say(", ");
            self.number(interval.high, (1.0, decimals), &of("interval/high"));
            self.say("]");
        }
        if summary.undefined > 0 {
            self.say(", n = ");
            self.value(&summary.defined.into(), &of("defined"));
            self.say(", ");
            self.value(&summary.undefined.into(), &of("undefined"));
            self.say(" undefined");
        }
    }

    /// Names the cases in which scores do not exist.
    fn undefined(&mut self, evaluation: &Evaluation, file: &str) {
        let without = || evaluation.cases.iter().enumerate().filter(|(_, scores)| scores.presence != Presence::Both);
        let count = without().count();
        if count == 0 {
            self.say("Every score exists in every case.\n");
            return;
        }
        self.say("Scores that do not exist: ");
        for (position, (number, scores)) in without().take(MOST).enumerate() {
            if position > 0 {
                self.say("; ");
            }
            let of = |key: &str| Source::new(file, format!("/cases/{number}/{key}"));
            let text = |text: &str| Value::from(text);
            self.value(&text(&scores.case), &of("case"));
            self.say(", ");
            self.value(&text(&scores.class_name), &of("class_name"));
            if scores.region != Region::Whole {
                self.say(", ");
                self.say(scores.region.key());
            }
            self.say(&format!(" ({})", scores.presence.note()));
        }
        if count > MOST {
            self.say("; and ");
            self.fact(
                "further_undefined",
                count - MOST,
                &format!("{file}: cases whose presence is not both, less those named"),
            );
            self.say(" more in the table of cases");
        }
        self.say(".\n");
    }
}
