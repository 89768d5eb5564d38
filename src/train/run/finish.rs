//! The end of a run: fingerprints, test cases and report.

use super::{Progress, Run};
use crate::data::dataset::case_name;
use crate::data::io::case_of;
use crate::data::{Case, output_of_image};
use crate::evaluate::figures::viewer_cases;
use crate::evaluate::{CaseFiles, Scoring, evaluate_pairs};
use crate::gpu::Gpu;
use crate::infer::{SegmentOptions, segment_file};
use crate::metrics::Evaluation;
use crate::nn::Model;
use crate::report::{Report, ViewerCase, write_report};
use crate::train::folder::create;
use crate::train::validation::asking;
use crate::train::{Event, TrainError};
use std::path::{Path, PathBuf};

impl<P: Progress> Run<'_, P> {
    /// Writes the last models; logs and returns the fingerprints of the last parameters and of the best model.
    pub(super) fn finish(&mut self) -> Result<[String; 2], TrainError> {
        let last = self.write_last_models()?;
        let fingerprints = [last.fingerprint(), Model::read(&self.model_path())?.fingerprint()];
        let [weights, model] = fingerprints.clone();
        self.log.write(&Event::Finished { step: self.trainer.step_count(), weights, model });
        self.log.flush()?;
        Ok(fingerprints)
    }

    /// Predicts the test cases with the best model and scores them in `test/`.
    pub(super) fn test(&mut self, cases: &[Case]) -> Result<Option<Evaluation>, TrainError> {
        if cases.is_empty() {
            return Ok(None);
        }
        let folder = self.settings.out.join("test");
        let predictions = folder.join("predictions");
        create(&predictions)?;
        let model = Model::read(&self.model_path())?;
        // In the place of the last parameters, as a predictor of its own would take memory beside that of the training.
        let arena = self.trainer.best_arena();
        let last = self.trainer.executor().read_arena(arena)?;
        let best = model.to_arena(&self.trainer.training().graph, self.trainer.layout());
        self.trainer.executor().write_arena(arena, &best);
        let predicted = self.predict_tests(cases, &predictions);
        self.trainer.executor().write_arena(arena, &last);
        predicted?;
        let classes = self.preprocessing.label_classes(self.network.classes);
        let evaluation =
            evaluate_pairs(&self.test_files(cases), &Scoring { classes: Some(&classes), ..Scoring::WHOLE })
                .map_err(|error| TrainError::of_evaluation(error, &predictions))?;
        evaluation.write(&folder)?;
        let step = self.trainer.step_count();
        self.log.write(&Event::Test { step, mean_dice: crate::evaluate::mean_dice(&evaluation) });
        Ok(Some(evaluation))
    }

    fn predict_tests(&self, cases: &[Case], predictions: &Path) -> Result<(), TrainError> {
        let preparation = self.preprocessing.preparation(self.network.in_channels, self.network.classes);
        for case in cases {
            self.go_on()?;
            let output = predictions.join(output_of_image(&case.name, &case.image));
            let mut ended = None;
            let asking = asking(|| self.go_on(), &mut ended);
            let options = SegmentOptions::default();
            let segmented = segment_file(&self.predictor, &preparation, &case.image, &output, options, asking);
            ended.map_or(Ok(()), Err)?;
            segmented?;
        }
        Ok(())
    }

    fn test_files(&self, cases: &[Case]) -> Vec<CaseFiles> {
        let files = |case: &Case| {
            let name = output_of_image(&case.name, &case.image);
            let prediction = self.settings.out.join("test").join("predictions").join(&name);
            let case_name = case_name(case_of(&name).unwrap_or(&name));
            CaseFiles { case: case_name, prediction, label: case.label.clone(), image: Some(case.image.clone()) }
        };
        cases.iter().map(files).collect()
    }

    /// The worst, the median and the best of the test cases, drawn into `test/overlays/`.
    fn viewer(&self, evaluation: &Evaluation, cases: &[Case]) -> Result<Vec<ViewerCase>, TrainError> {
        let overlays = self.settings.out.join("test").join("overlays");
        create(&overlays)?;
        let classes = self.preprocessing.label_classes(self.network.classes);
        let names = &self.preprocessing.channel_names;
        viewer_cases(evaluation, &self.test_files(cases), Some(&classes), names, &overlays)
            .map_err(|error| TrainError::of_evaluation(error, &overlays))
    }

    /// Writes `report.html`: configuration, curves, the last overlay, the test scores and some test cases.
    pub(super) fn report(
        &self,
        gpu: &Gpu,
        evaluation: Option<&Evaluation>,
        test_cases: &[Case],
    ) -> Result<(), TrainError> {
        let out = &self.settings.out;
        let mut facts = vec![
            (
                "Program".to_owned(),
                format!("vnet-engine {} ({})", env!("CARGO_PKG_VERSION"), env!("VNET_ENGINE_COMMIT")),
            ),
            ("Device".to_owned(), format!("{}, {}", gpu.description().name, gpu.description().driver)),
            ("Steps".to_owned(), self.trainer.step_count().to_string()),
            ("Patch".to_owned(), format!("{:?} voxels", self.position.patch)),
        ];
        facts.extend(self.warnings.notices().iter().map(|notice| ("Warning".to_owned(), notice.to_string())));
        facts.extend(self.settings.config.facts());
        let mut overlays: Vec<PathBuf> = std::fs::read_dir(out.join("overlays"))
            .map_err(TrainError::io("list", &out.join("overlays")))?
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .collect();
        overlays.sort();
        let mut images = Vec::new();
        if out.join("curves.svg").exists() {
            images.push(("Loss, learning rate and validation Dice".to_owned(), out.join("curves.svg")));
        }
        images.extend(overlays.pop().map(|last| ("First validation case after the last validation".to_owned(), last)));
        let viewer = evaluation.map_or_else(|| Ok(Vec::new()), |evaluation| self.viewer(evaluation, test_cases))?;
        let title = "V-Net training";
        let report = Report { title, facts: &facts, images: &images, viewer: &viewer, evaluation };
        Ok(write_report(&out.join("report.html"), &report)?)
    }
}
