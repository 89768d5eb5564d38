//! The parameters that a run starts from: new ones, or those of a model.

use super::{Progress, RunSettings};
use crate::nn::model::{initial_arena, parameter_shapes, tensors_from_arena};
use crate::nn::{Activation, Model, ModelError, Network};
use crate::train::{TrainError, Trainer};
use std::path::Path;

/// Parameters of the output layer, whose shapes depend on the number of classes.
const HEAD: [&str; 2] = ["head.weight", "head.bias"];

/// A model to start from.
#[derive(Debug)]
pub(in crate::train) struct Initial {
    model: Model,
    /// Outputs of the model, if they are not those of the training. The head then starts anew.
    pub(in crate::train) other_classes: Option<usize>,
}

/// Reads the model to start from. Its parameters must be those of the network that is trained, apart from the head of a model
/// with another number of classes.
pub(in crate::train) fn initial_model(path: &Path, network: &Network) -> Result<Initial, TrainError> {
    let model = Model::read(path)?;
    let outputs = |network: &Network| (network.classes, network.activation);
    let other_classes = (outputs(&model.network) != outputs(network)).then_some(model.network.classes);
    let matters = |name: &str| other_classes.is_none() || !HEAD.contains(&name);
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
        None => Ok(Initial { model, other_classes }),
    }
}

/// What the outputs of a network are called.
fn outputs_of(network: &Network) -> &'static str {
    match network.activation {
        Activation::Softmax => "classes",
        Activation::Sigmoid => "regions",
    }
}

/// The parameter arena that a run starts with, and in words where it is from, for the log. A head that starts anew is noted.
pub(super) fn initial_parameters<P: Progress>(
    settings: &RunSettings,
    network: &Network,
    trainer: &Trainer,
    progress: &mut P,
) -> Result<(Vec<f32>, Option<String>), TrainError> {
    let (graph, layout) = (&trainer.training().graph, trainer.layout());
    let new = initial_arena(graph, layout, settings.config.seed, settings.config.network.head_gain);
    let Some(path) = &settings.init else { return Ok((new, None)) };
    let Initial { mut model, other_classes } = initial_model(path, network)?;
    let Some(classes) = other_classes else {
        return Ok((model.to_arena(graph, layout), Some(format!("all parameters of {}", path.display()))));
    };
    let mut fresh = tensors_from_arena(graph, layout, &new);
    for name in HEAD {
        let tensor = fresh.remove(name).expect("every network has a head");
        model.tensors.insert(name.to_owned(), tensor);
    }
    let text = format!(
        "all parameters of {} but the head, which starts anew: {} {} instead of {classes}{}",
        path.display(),
        network.classes,
        outputs_of(network),
        if network.activation == model.network.activation { "" } else { " outputs of another kind" }
    );
    progress.note(&format!("--init: {text}"));
    Ok((model.to_arena(graph, layout), Some(text)))
}
