//! One fold: its training, and the predictions of the cases that it leaves out.

use super::{CrossValidation, create, remove_leftovers_in, write};
use crate::data::io::files_written;
use crate::data::{Case, Split, output_of_image};
use crate::files::json;
use crate::gpu::{Gpu, GpuError};
use crate::infer::{Preprocessing, SegmentOptions, Segmenter};
use crate::kernel::{Algorithms, KernelPolicy};
use crate::nn::Model;
use crate::train::{Config, KERNELS_FILE, Progress, RunLock, TrainError, train_on};
use crate::tuning::read_table;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// `fold.json`: a fold is done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Done {
    /// Fingerprint of the model that predicted.
    pub(super) model: String,
    /// The cases, by name.
    pub(super) cases: Vec<String>,
}

/// What is being predicted.
#[derive(Debug, Clone, Copy)]
pub struct Predicting<'a> {
    /// The case.
    pub case: &'a Case,
    /// Whether over mirror images.
    pub mirrored: bool,
    /// Predictions finished, of how many in the fold.
    pub done: (usize, usize),
    /// Windows finished, of how many of the case.
    pub windows: (usize, usize),
}

impl CrossValidation {
    /// Trains a fold, or goes on with it, and predicts the cases that it leaves out, with and without mirror images. What is
    /// done is not done again. `training` is asked for once if there is something to train.
    ///
    /// The parameters after the last step predict (their average, with `training.ema_decay`): no case that is predicted has
    /// chosen them, as it would the best on the validation cases.
    ///
    /// # Errors
    /// [`TrainError`] that names the file; that of a lock while another process works on the fold.
    pub fn run_fold<P: Progress>(
        &self,
        fold: usize,
        open: impl Fn() -> Result<Arc<Gpu>, GpuError>,
        training: impl FnOnce() -> P,
        predicting: impl FnMut(&Predicting<'_>),
    ) -> Result<(), TrainError> {
        let folder = self.run_folder(fold);
        create(&folder)?;
        let (_lock, _) = RunLock::of(&folder, "fold.lock", "works on this fold")?;
        if self.done(fold)?.is_some() {
            return Ok(());
        }
        self.check_split(fold)?;
        let trained = folder.join("validation").join("model");
        if !trained.exists() {
            let settings = self.run_settings(fold);
            train_on(&open, &settings, &mut training())?;
            create(&folder.join("validation"))?;
            write(&trained, self.model(fold)?.1.fingerprint().as_bytes())?;
        }
        let gpu = open()?;
        self.predict(fold, &gpu, predicting)
    }

    /// A folder that was begun with other cases, such as another fold's that was copied, would predict cases that it has seen.
    pub(super) fn check_split(&self, fold: usize) -> Result<(), TrainError> {
        let folder = self.run_folder(fold);
        let stored = folder.join("split.json");
        if stored.exists() && Split::load(&stored, &self.dataset.names(), None)? != *self.split(fold) {
            let reason = "was begun with other cases than this cross-validation's; remove it to train the fold again";
            return Err(TrainError::run_folder(&folder, reason));
        }
        Ok(())
    }

    /// What a fold has to say when it is done.
    pub(super) fn done(&self, fold: usize) -> Result<Option<Done>, TrainError> {
        let path = self.run_folder(fold).join("fold.json");
        if !path.exists() {
            return Ok(None);
        }
        let bytes = std::fs::read(&path).map_err(TrainError::io("read", &path))?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| TrainError::run_folder(&path, error.to_string()))
    }

    /// The model of a fold and its file: the last parameters, or their average if there is one.
    pub(super) fn model(&self, fold: usize) -> Result<(PathBuf, Model), TrainError> {
        let folder = self.run_folder(fold);
        let name =
            if self.config.training.ema_decay > 0.0 { "model_ema.safetensors" } else { "model_last.safetensors" };
        let path = folder.join(name);
        let model = Model::read(&path)?;
        let is_finite = model.tensors.values().flat_map(|tensor| &tensor.data).all(|value| value.is_finite());
        match is_finite {
            true => Ok((path, model)),
            false => Err(TrainError::run_folder(&path, "parameters are not finite: the training went wrong")),
        }
    }

    /// Where the prediction of a case lies before any repair.
    pub(super) fn unrepaired(&self, fold: usize, case: &Case, mirrored: bool) -> PathBuf {
        let kind = if mirrored { "mirrored" } else { "plain" };
        self.run_folder(fold).join("validation").join(kind).join(output_of_image(&case.name, &case.image))
    }

    fn predict(&self, fold: usize, gpu: &Gpu, mut predicting: impl FnMut(&Predicting<'_>)) -> Result<(), TrainError> {
        let folder = self.run_folder(fold);
        let (path, model) = self.model(fold)?;
        let fingerprint = model.fingerprint();
        let trained = std::fs::read_to_string(folder.join("validation").join("model"));
        if trained.map_err(TrainError::io("read", &folder))? != fingerprint {
            return Err(changed(&path, &folder));
        }
        let cases = self.cases(fold);
        for kind in ["plain", "mirrored"] {
            let into = folder.join("validation").join(kind);
            create(&into)?;
            // The fold's lock is held: nobody else writes here.
            remove_leftovers_in(&into, Duration::ZERO)?;
        }
        let preprocessing = Preprocessing::of(&model)
            .map_err(|error| TrainError::run_folder(&path, format!("metadata key preprocessing: {error}")))?;
        let gpu = Arc::new(gpu.with_policy(policy(&self.config, &folder)?));
        let mut segmenter = Segmenter::new(&gpu, vec![model], &preprocessing)?;
        let all = 2 * cases.len();
        for (number, case) in cases.iter().enumerate() {
            for mirrored in [false, true] {
                let output = self.unrepaired(fold, case, mirrored);
                if files_written(&output).iter().all(|file| file.exists()) {
                    continue;
                }
                segmenter = segmenter.with_mirroring(mirrored);
                let done = (2 * number + usize::from(mirrored), all);
                let told = |finished, windows| {
                    predicting(&Predicting { case, mirrored, done, windows: (finished, windows) });
                    ControlFlow::Continue(())
                };
                segmenter.segment_file(&case.image, &output, SegmentOptions::default(), told)?;
            }
        }
        let cases = cases.into_iter().map(|case| case.name).collect();
        write(&folder.join("fold.json"), &json(&Done { model: fingerprint, cases }))
    }
}

/// The model of a fold is not the one that its predictions are of.
pub(super) fn changed(model: &Path, folder: &Path) -> TrainError {
    let reason = format!(
        "has changed since the fold was trained; put it back, or remove {} to train the fold again",
        folder.display()
    );
    TrainError::run_folder(model, reason)
}

/// The kernels of a fold's training.
fn policy(config: &Config, folder: &Path) -> Result<KernelPolicy, TrainError> {
    match config.kernels {
        Algorithms::Measured => Ok(KernelPolicy::of_table(Arc::new(read_table(&folder.join(KERNELS_FILE))?))),
        algorithms => Ok(algorithms.into()),
    }
}
