//! The parameters that a run starts from: new ones, or those of a model.

use super::{Progress, RunSettings};
use crate::nn::model::{initial_arena, parameter_shapes, tensors_from_arena, with_channels};
use crate::nn::{Model, ModelError, Network};
use crate::train::{TrainError, Trainer};
use std::path::Path;

/// Parameters of the output layer, whose shapes depend on the number of outputs.
const HEAD: [&str; 2] = ["head.weight", "head.bias"];

/// A model to start from.
#[derive(Debug)]
pub(in crate::train) struct Initial {
    model: Model,
    /// What its outputs are, in words, if they are not those of the training. The head then starts anew.
    other_outputs: Option<String>,
    /// How weights on the image were changed, in words, if the training has another number of input channels.
    other_channels: Option<String>,
}

/// Reads the model to start from. Its parameters must be those of the network that is trained, apart from the head of a model
/// with other outputs; for another number of input channels, weights on the image are changed ([`with_channels`]).
pub(in crate::train) fn initial_model(path: &Path, network: &Network) -> Result<Initial, TrainError> {
    let mut model = Model::read(path)?;
    let is_other = outputs(&model.network) != outputs(network);
    let other_outputs = is_other.then(|| outputs(&model.network));
    let (tensors, other_channels) = with_channels(model.tensors, &model.network, network);
    model.tensors = tensors;
    let matters = |name: &str| other_outputs.is_none() || !HEAD.contains(&name);
    let expected = parameter_shapes(network);
    let wrong = |name: &str, expected: String, found: String| {
        let (path, name) = (path.to_owned(), name.to_owned());
        Err(ModelError::Tensor { path, name, expected, found }.into())
    };
    for (name, shape) in expected.iter().filter(|(name, _)| matters(name)) {
        match model.tensors.get(name) {
            Some(tensor) if tensor.shape == *shape => {}
            Some(tensor) => return wrong(name, format!("F32 {shape:?}"), format!("F32 {:?}", tensor.shape)),
            None => return wrong(name, format!("F32 {shape:?}"), "no such tensor".to_owned()),
        }
    }
    match model.tensors.iter().find(|(name, _)| !expected.contains_key(*name)) {
        Some((name, t)) => wrong(name, "no such tensor in this training".to_owned(), format!("F32 {:?}", t.shape)),
        None => Ok(Initial { model, other_outputs, other_channels }),
    }
}

/// What a network's outputs are.
fn outputs(network: &Network) -> String {
    format!("{} {}", network.classes, network.activation.outputs())
}

/// The parameter arena that a run starts with, and in words where it is from, for the log. What is not as in the model is noted.
pub(super) fn initial_parameters<P: Progress>(
    settings: &RunSettings,
    network: &Network,
    trainer: &Trainer,
    progress: &mut P,
) -> Result<(Vec<f32>, Option<String>), TrainError> {
    let (graph, layout) = (&trainer.training().graph, trainer.layout());
    let new = initial_arena(graph, layout, settings.config.seed, settings.config.network.head_gain);
    let Some(path) = &settings.init else { return Ok((new, None)) };
    let Initial { mut model, other_outputs, other_channels } = initial_model(path, network)?;
    let mut text = format!("all parameters of {}", path.display());
    if let Some(other) = &other_outputs {
        let mut fresh = tensors_from_arena(graph, layout, &new);
        for name in HEAD {
            let tensor = fresh.remove(name).expect("every network has a head");
            model.tensors.insert(name.to_owned(), tensor);
        }
        text += &format!(" but the head, which starts anew: {} instead of {other}", outputs(network));
    }
    if let Some(other) = &other_channels {
        text += &format!("; {other}");
    }
    if other_outputs.is_some() || other_channels.is_some() {
        progress.note(&format!("--init: {text}"));
    }
    Ok((model.to_arena(graph, layout), Some(text)))
}
