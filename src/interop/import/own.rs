//! State dictionaries with this program's names: the network follows from the shapes.

use super::read::StateDict;
use crate::interop::InteropError;
use crate::nn::model::{Tensor, parameter_shapes};
use crate::nn::vnet::VNet;
use crate::nn::{Activation, Model, ModelError, Network};
use std::collections::BTreeMap;
use std::path::Path;

/// The model.
///
/// # Errors
/// [`InteropError::Differences`] that names every tensor that is missing, superfluous or of another shape.
pub(super) fn model(path: &Path, mut state: StateDict) -> Result<Model, InteropError> {
    let network = network(&state.tensors);
    network.validate().map_err(|source| ModelError::Network { path: path.to_owned(), source })?;
    network.architecture().complete(network.in_channels, &mut state.tensors);
    let differences = differences(&parameter_shapes(&network), &state.tensors);
    if !differences.is_empty() {
        let (path, layout) = (path.to_owned(), "this program's names");
        return Err(InteropError::Differences { path, layout, differences });
    }
    Ok(Model { network, preprocessing: None, tensors: state.tensors })
}

/// The network whose first tensors have these shapes. A single output is a region: classes are two at least.
fn network(tensors: &BTreeMap<String, Tensor>) -> Network {
    let extent = |name: &str, axis: usize| tensors.get(name).and_then(|t| t.shape.get(axis)).copied().unwrap_or(0);
    let count = |prefix: &str| -> Vec<usize> {
        let convolutions = |level: usize| {
            let name = |j: &usize| tensors.contains_key(&format!("{prefix}.{level}.conv.{j}.weight"));
            (0..).take_while(name).count()
        };
        (0..).map(convolutions).take_while(|&n| n > 0).collect()
    };
    let first = "encoder.0.conv.0.weight";
    let vnet = VNet { base: extent(first, 0), encoder: count("encoder"), decoder: count("decoder") };
    let outputs = extent("head.weight", 0);
    let activation = if outputs == 1 { Activation::Sigmoid } else { Activation::Softmax };
    Network::new(extent(first, 1), outputs, vnet).with_activation(activation)
}

/// What is missing, superfluous or of another shape.
pub(super) fn differences(expected: &BTreeMap<String, Vec<usize>>, found: &BTreeMap<String, Tensor>) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, shape) in expected {
        match found.get(name) {
            Some(tensor) if tensor.shape == *shape => {}
            Some(tensor) => differences.push(format!("{name} is {:?}, expected {shape:?}", tensor.shape)),
            None => differences.push(format!("{name} is missing, expected {shape:?}")),
        }
    }
    let unknown = found.keys().filter(|name| !expected.contains_key(*name));
    differences.extend(unknown.map(|name| format!("{name} is not part of the network")));
    differences
}
