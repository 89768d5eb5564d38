//! `MODEL`: a run folder or a model file.

use super::status::{WrongInput, wrong};
use anyhow::Result;
use std::path::{Path, PathBuf};
use vnet_engine::infer::{Ensemble, Preprocessing};
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
