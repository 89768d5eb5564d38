//! Weights of a network's outputs (`training.class_weights`): how losses get them, and the factors that follow for voxels.

use super::LossInputs;
use crate::graph::Graph;
use crate::ops::Constant;
use crate::tensor::{ShapeError, ValueId};

/// The weights as they are, where there are any: for losses that divide by what the voxels add up to.
pub(super) fn class_weights(graph: &mut Graph, inputs: LossInputs<'_>) -> Result<Option<ValueId>, ShapeError> {
    let constant = |graph: &mut Graph| graph.add(Constant::new(inputs.class_weights), &[]);
    (!inputs.class_weights.is_empty()).then(|| constant(graph)).transpose()
}

/// The weights with mean 1 over the foreground, where there are any: for means over foreground outputs.
pub(super) fn foreground_weights(graph: &mut Graph, inputs: LossInputs<'_>) -> Result<Option<ValueId>, ShapeError> {
    let background = usize::from(inputs.activation.is_softmax());
    let foreground = inputs.class_weights.get(background..).unwrap_or_default();
    let mean = foreground.iter().copied().map(f64::from).sum::<f64>() / foreground.len() as f64;
    let weights: Vec<f32> = inputs.class_weights.iter().map(|&w| (f64::from(w) / mean) as f32).collect();
    class_weights(graph, LossInputs { class_weights: &weights, ..inputs })
}
