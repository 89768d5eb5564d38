use super::Tensor;
use crate::graph::{Graph, Parameter};
use crate::nn::initialise;
use crate::plan::{ArenaLayout, ParameterWindow};
use std::collections::BTreeMap;

/// Parameters (or gradients or moments, which have the same layout) by name, in PyTorch's order.
pub fn tensors_from_arena(graph: &Graph, layout: &ArenaLayout, arena: &[f32]) -> BTreeMap<String, Tensor> {
    let tensor = |(parameter, window): (&Parameter, &ParameterWindow)| {
        let shape = &graph.spec(parameter.value).shape;
        let data = parameter.layout.to_torch(&arena[window.start..window.start + window.len], shape);
        (parameter.name.clone(), Tensor { shape: parameter.layout.torch_shape(shape), data })
    };
    graph.parameters().iter().zip(&layout.windows).map(tensor).collect()
}

/// The inverse of [`tensors_from_arena`].
///
/// # Panics
/// When a parameter is missing or has another number of elements.
pub fn tensors_to_arena(graph: &Graph, layout: &ArenaLayout, tensors: &BTreeMap<String, Tensor>) -> Vec<f32> {
    let mut arena = vec![0.0; layout.elements];
    for (parameter, window) in graph.parameters().iter().zip(&layout.windows) {
        let tensor = &tensors[&parameter.name];
        let data = parameter.layout.from_torch(&tensor.data, &graph.spec(parameter.value).shape);
        arena[window.start..window.start + window.len].copy_from_slice(&data);
    }
    arena
}

/// The parameter arena of a new network.
pub fn initial_arena(graph: &Graph, layout: &ArenaLayout, seed: u64, head_gain: f32) -> Vec<f32> {
    let mut arena = vec![0.0; layout.elements];
    for (position, window) in layout.windows.iter().enumerate() {
        arena[window.start..window.start + window.len].copy_from_slice(&initialise(graph, position, seed, head_gain));
    }
    arena
}
