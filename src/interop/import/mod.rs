//! State dictionaries of other programs become models, where their network computes what one of this program does.

mod archive;
mod foreign;
mod nnunet;
mod own;
mod pickle;
mod plans;
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
    /// nnU-Net's networks, of `dynamic-network-architectures`.
    NnUnet,
    /// MONAI's `DynUNet`.
    DynUnet,
}

impl Layout {
    /// What the program calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "a model of this program",
            Self::Names => "this program's names",
            Self::Monai => "MONAI's VNet",
            Self::VnetPytorch => "vnet.pytorch",
            Self::NnUnet => "nnU-Net",
            Self::DynUnet => "MONAI's DynUNet",
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
    /// What was assumed, since the file does not say it, and what differs from the other program, in words.
    pub notes: Vec<String>,
}

/// A model of another program's tensors, and what was assumed.
struct Mapped {
    model: Model,
    notes: Vec<String>,
}

/// Reads a state dictionary in safetensors, or in a file of `torch.save` of which only plain data and tensors are read. Names may
/// have the prefixes `module.`, `model.`, `network.`, `net.` or `_orig_mod.` throughout. A checkpoint of nnU-Net brings its
/// preprocessing.
///
/// # Errors
/// [`InteropError`] that names the file and every tensor that does not fit.
pub fn import(path: &Path) -> Result<Imported, InteropError> {
    let mut state = read::state_dict(path)?;
    if state.metadata.contains_key(METADATA_KEY) {
        let model = Model::read(path)?;
        return Ok(Imported { model, layout: Layout::Model, notes: Vec::new() });
    }
    state.strip_prefixes();
    let has = |name: &str| state.tensors.contains_key(name);
    let (layout, mut mapped) = if has("encoder.0.conv.0.weight") {
        (Layout::Names, Mapped { model: own::model(path, state)?, notes: Vec::new() })
    } else if has("in_tr.conv_block.conv.weight") {
        (Layout::Monai, foreign::model(path, &state, &MONAI)?)
    } else if has("in_tr.conv1.weight") {
        (Layout::VnetPytorch, foreign::model(path, &state, &VNET_PYTORCH)?)
    } else if nnunet::is_unet(&state.tensors) {
        let mut mapped = nnunet::model(path, &state, Layout::NnUnet.name())?;
        with_plans(path, &state, &mut mapped)?;
        (Layout::NnUnet, mapped)
    } else if let Some(renamed) = nnunet::renamed_dynunet(&state) {
        (Layout::DynUnet, nnunet::model(path, &renamed, Layout::DynUnet.name())?)
    } else {
        return Err(InteropError::Layout { path: path.to_owned(), found: some_names(&state) });
    };
    mapped.model = mapped.model.checked(path)?;
    Ok(Imported { model: mapped.model, layout, notes: mapped.notes })
}

/// Adds what a checkpoint of nnU-Net says of its preprocessing.
fn with_plans(path: &Path, state: &StateDict, mapped: &mut Mapped) -> Result<(), InteropError> {
    let Some(about) = &state.about else { return Ok(()) };
    let wrong = |differences| {
        let (path, layout) = (path.to_owned(), Layout::NnUnet.name());
        InteropError::Differences { path, layout, differences }
    };
    if let Some((preprocessing, notes)) = plans::preprocessing(about, &mapped.model.network).map_err(wrong)? {
        mapped.model.preprocessing = Some(preprocessing);
        // The plans say the activation, which the tensors do not.
        mapped.notes = notes;
    }
    Ok(())
}

fn some_names(state: &StateDict) -> String {
    let names: Vec<&str> = state.tensors.keys().map(String::as_str).take(4).collect();
    match names.len() {
        0 => "no tensors".to_owned(),
        _ => format!("{} tensors: {}, …", state.tensors.len(), names.join(", ")),
    }
}
