use super::Graph;
use crate::tensor::{HostTensor, ValueId};
use std::collections::HashMap;

/// An input or parameter of the graph was not given, or has another shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("value {name} needs a tensor {expected}, found {found}")]
pub struct InterpretError {
    /// Name of the input or parameter.
    pub name: String,
    /// Its spec.
    pub expected: String,
    /// The spec of what was given, or `none`.
    pub found: String,
}

/// Evaluates every node in f64 with [`super::Op::reference`]: what the graph means, without rounding to f32.
///
/// Returns the values by id.
///
/// # Errors
/// [`InterpretError`] when a feed is missing or has the wrong shape.
pub fn interpret(graph: &Graph, feeds: &HashMap<ValueId, HostTensor>) -> Result<Vec<HostTensor>, InterpretError> {
    let mut values: Vec<Option<HostTensor>> = vec![None; graph.values().len()];
    let sources = graph.inputs().iter().copied().chain(graph.parameters().iter().map(|p| p.value));
    for source in sources {
        let spec = graph.spec(source);
        let given = feeds.get(&source);
        let tensor = given.filter(|t| t.spec == *spec).ok_or_else(|| InterpretError {
            name: graph.values()[source.index()].name.clone(),
            expected: spec.to_string(),
            found: given.map_or_else(|| "none".to_owned(), |t| t.spec.to_string()),
        })?;
        values[source.index()] = Some(tensor.clone());
    }
    for node in graph.nodes() {
        let inputs: Vec<&HostTensor> =
            node.inputs.iter().map(|v| values[v.index()].as_ref().expect("nodes are in executable order")).collect();
        for (output, tensor) in node.outputs.iter().zip(node.op.reference(&inputs)) {
            assert_eq!(tensor.spec, *graph.spec(*output), "{}: shape rule and reference agree", node.op.name());
            values[output.index()] = Some(tensor);
        }
    }
    Ok(values.into_iter().map(|v| v.expect("every value is an input, a parameter or an output")).collect())
}
