//! State dictionaries of other programs become models, where their network computes what V-Net does.

mod fold;
mod foreign;
mod own;
mod read;

use super::InteropError;
use crate::nn::Model;
use crate::nn::model::METADATA_KEY;
use foreign::{MONAI, VNET_PYTORCH};
use read::StateDict;
use std::path::Path;

/// Whose names the tensors of a state dictionary have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A model file of this program.
    Model,
    /// This program's names without a description of the network, which is inferred.
    Names,
    /// MONAI's `VNet`.
    Monai,
    /// vnet.pytorch (M. Macy).
    VnetPytorch,
}

impl Layout {
    /// What the program calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "a model of this program",
            Self::Names => "this program's names",
            Self::Monai => "MONAI's VNet",
            Self::VnetPytorch => "vnet.pytorch",
        }
    }
}

/// A model, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The model.
    pub model: Model,
    /// Its names before.
    pub layout: Layout,
}

/// Reads a state dictionary in safetensors. Names may have the prefixes `module.`, `model.`, `network.` or `net.`
/// throughout.
///
/// # Errors
/// [`InteropError`] that names the file and every tensor that does not fit.
pub fn import(path: &Path) -> Result<Imported, InteropError> {
    let mut state = read::state_dict(path)?;
    if state.metadata.contains_key(METADATA_KEY) {
        let model = Model::read(path)?;
        return Ok(Imported { model, layout: Layout::Model });
    }
    state.strip_prefixes();
    let has = |name: &str| state.tensors.contains_key(name);
    let (layout, model) = if has("encoder.0.conv.0.weight") {
        (Layout::Names, own::model(path, state)?)
    } else if has("in_tr.conv_block.conv.weight") {
        (Layout::Monai, foreign::model(path, state, &MONAI)?)
    } else if has("in_tr.conv1.weight") {
        (Layout::VnetPytorch, foreign::model(path, state, &VNET_PYTORCH)?)
    } else {
        return Err(InteropError::Layout { path: path.to_owned(), found: some_names(&state) });
    };
    Ok(Imported { model: model.checked(path)?, layout })
}

fn some_names(state: &StateDict) -> String {
    let names: Vec<&str> = state.tensors.keys().map(String::as_str).take(4).collect();
    match names.len() {
        0 => "no tensors".to_owned(),
        _ => format!("{} tensors: {}, …", state.tensors.len(), names.join(", ")),
    }
}
