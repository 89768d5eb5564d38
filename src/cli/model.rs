//! `MODEL`: a run folder or a model file.

use super::status::{WrongInput, wrong};
use super::verbosity::tell;
use anyhow::Result;
use std::path::{Path, PathBuf};
use vnet_engine::infer::{Ensemble, PostProcessing, Preprocessing, other_network};
use vnet_engine::nn::Model;

/// The model file of a run folder, or the path itself.
pub fn model_path(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("model.safetensors") } else { path.to_owned() }
}

/// A model and how it wants volumes to be prepared.
pub fn read_model(path: &Path) -> Result<(Model, Preprocessing)> {
    if Ensemble::is_at(path) {
        let members = Ensemble::members(path)?;
        let (count, first) = (members.len(), members[0].display());
        return Err(wrong(format!(
            "{}: an ensemble of {count} models; expected one of them, such as {first}",
            path.display()
        )));
    }
    let path = model_path(path);
    let model = Model::read(&path)?;
    let preprocessing = Preprocessing::of(&model)
        .map_err(|e| WrongInput(format!("{}: metadata key preprocessing: {e}", path.display())))?;
    Ok((model, preprocessing))
}

/// The models and how they all want volumes to be prepared. What an ensemble says of mirroring and repairs holds where it is the
/// only one.
pub fn read_models(paths: &[PathBuf]) -> Result<Ensemble> {
    if let [only] = paths
        && Ensemble::is_at(only)
    {
        return Ok(Ensemble::read(only)?);
    }
    let mut files = Vec::new();
    for path in paths {
        match Ensemble::is_at(path) {
            true => {
                tell!(
                    "note: {}: with several --model, what it says of mirroring and repairs is not done",
                    path.display()
                );
                files.extend(Ensemble::members(path)?);
            }
            false => files.push(path.clone()),
        }
    }
    let (models, preprocessing) = read_files(&files)?;
    Ok(Ensemble { models, preprocessing, mirroring: false, post_processing: PostProcessing::default() })
}

/// Models that can be averaged.
fn read_files(paths: &[PathBuf]) -> Result<(Vec<Model>, Preprocessing)> {
    let mut models: Vec<Model> = Vec::new();
    let mut first: Option<Preprocessing> = None;
    for path in paths {
        let refused = |text: String| Err(wrong(format!("{}: {text}", model_path(path).display())));
        let (model, found) = read_model(path)?;
        let with = model_path(&paths[0]).display().to_string();
        if let Some(problem) = models.first().and_then(|first| other_network(first, &model, &with)) {
            return refused(problem);
        }
        if let Some(difference) = first.get_or_insert_with(|| found.clone()).difference(&found) {
            return refused(format!("preprocessing differs from {with}: {difference}"));
        }
        models.push(model);
    }
    Ok((models, first.expect("clap requires a model")))
}
