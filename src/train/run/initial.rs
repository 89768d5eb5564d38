//! The parameters that a run starts from: new ones, or those of a model.

use super::{Progress, RunSettings};
use crate::nn::model::{Tensor, initial_arena, parameter_shapes, tensors_from_arena, tensors_to_arena, with_channels};
use crate::nn::{Model, ModelError, Network};
use crate::train::{TrainError, Trainer};
use std::collections::BTreeMap;
use std::path::Path;

/// Parameters of the output layer, which mean other things where the outputs are others.
const HEAD: [&str; 2] = ["head.weight", "head.bias"];

/// What names of the heads of lower resolutions begin with, of V-Nets and of U-Nets.
const AUXILIARY: [&str; 2] = ["auxiliary.", "decoder.seg_layers."];

/// A model to start from.
#[derive(Debug)]
pub(in crate::train) struct Initial {
    /// The parameters that are taken.
    taken: BTreeMap<String, Tensor>,
    /// Names of the parameters that start anew, besides the head of a model with other outputs.
    anew: Vec<String>,
    /// Names of the model's parameters that are not used, besides that head.
    unused: Vec<String>,
    /// What its outputs are, in words, if they are not those of the training. The head then starts anew.
    other_outputs: Option<String>,
    /// How weights on the image were changed, in words, if the training has another number of input channels.
    other_channels: Option<String>,
}

/// Reads the model to start from. Parameters of equal name and shape are taken, so that a network of other levels keeps the levels that
/// both have; the others start anew, and so does the head of a model with other outputs. For another number of input channels, weights on
/// the image are changed ([`with_channels`]).
///
/// # Errors
/// [`TrainError::Model`] when no weights are taken but those of the head: the model is that of another network.
pub(in crate::train) fn initial_model(path: &Path, network: &Network) -> Result<Initial, TrainError> {
    let model = Model::read(path)?;
    let is_other = outputs(&model.network) != outputs(network);
    let other_outputs = is_other.then(|| outputs(&model.network));
    let (mut tensors, other_channels) = with_channels(model.tensors, &model.network, network);
    let expected = parameter_shapes(network);
    let is_auxiliary = |name: &str| AUXILIARY.iter().any(|heads| name.starts_with(heads));
    let is_head = |name: &str| HEAD.contains(&name) || is_auxiliary(name);
    if is_other {
        tensors.retain(|name, _| !is_head(name));
    }
    let fits = |name: &String, tensor: &Tensor| expected.get(name) == Some(&tensor.shape);
    let taken_weight =
        tensors.iter().any(|(name, tensor)| tensor.shape.len() > 1 && !is_head(name) && fits(name, tensor));
    if !taken_weight {
        return Err(another_network(path, &expected, &tensors));
    }
    let (taken, unused): (BTreeMap<_, _>, BTreeMap<_, _>) =
        tensors.into_iter().partition(|(name, tensor)| fits(name, tensor));
    let anew = expected.into_keys().filter(|name| !(taken.contains_key(name) || is_other && is_head(name)));
    Ok(Initial { anew: anew.collect(), unused: unused.into_keys().collect(), taken, other_outputs, other_channels })
}

/// The first weight of the training that the model lacks or has in another shape.
fn another_network(
    path: &Path,
    expected: &BTreeMap<String, Vec<usize>>,
    found: &BTreeMap<String, Tensor>,
) -> TrainError {
    let first = expected.iter().find(|(_, shape)| shape.len() > 1);
    let (name, shape) = first.expect("every network has weights");
    let found = found.get(name).map_or_else(|| "no such tensor".to_owned(), |tensor| format!("F32 {:?}", tensor.shape));
    let expected = format!("F32 {shape:?}, or the weights of another layer of the network that is trained");
    ModelError::Tensor { path: path.to_owned(), name: name.clone(), expected, found }.into()
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
    let initial = initial_model(path, network)?;
    let text = initial.in_words(path, network);
    if initial.differs() {
        progress.note(&format!("--init: {text}"));
    }
    let mut tensors = tensors_from_arena(graph, layout, &new);
    tensors.extend(initial.taken);
    Ok((tensors_to_arena(graph, layout, &tensors), Some(text)))
}

impl Initial {
    /// Whether the training does not start from exactly the model.
    fn differs(&self) -> bool {
        let other = self.other_outputs.is_some() || self.other_channels.is_some();
        other || !self.anew.is_empty() || !self.unused.is_empty()
    }

    /// What is taken and what is not.
    fn in_words(&self, path: &Path, network: &Network) -> String {
        let path = path.display();
        let mut text = match self.anew.is_empty() {
            true => format!("all parameters of {path}"),
            false => format!("{} parameters of {path}", self.taken.len()),
        };
        if let Some(other) = &self.other_outputs {
            text += &format!(" but the head, which starts anew: {} instead of {other}", outputs(network));
        }
        if !self.anew.is_empty() {
            text += &format!("; anew: {}", by_stage(&self.anew));
        }
        if !self.unused.is_empty() {
            text += &format!("; not used: {}", by_stage(&self.unused));
        }
        if let Some(other) = &self.other_channels {
            text += &format!("; {other}");
        }
        text
    }
}

/// Names by their first two parts, with how many there are: `decoder.3.* (12), head.bias`.
fn by_stage(names: &[String]) -> String {
    let stage = |name: &String| match name.match_indices('.').nth(1) {
        Some((end, _)) => format!("{}.*", &name[..end]),
        None => name.clone(),
    };
    let mut stages: Vec<(String, usize)> = Vec::new();
    for stage in names.iter().map(stage) {
        match stages.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, count)) => *count += 1,
            None => stages.push((stage, 1)),
        }
    }
    let shown = |(stage, count): &(String, usize)| {
        if stage.ends_with('*') { format!("{stage} ({count})") } else { stage.clone() }
    };
    stages.iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_by_stage() {
        let names = ["decoder.3.conv0.bias", "decoder.3.conv0.weight", "encoder.4.down.bias", "head.bias"];
        let names = names.map(str::to_owned);
        assert_eq!(by_stage(&names), "decoder.3.* (2), encoder.4.* (1), head.bias");
    }
}
