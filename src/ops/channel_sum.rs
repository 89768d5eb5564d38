use super::case::{Bound, Case, Draw};
use super::rows::{Columns, Rows, emit_sums, has_channels, matrix};
use super::{LinearUnitGrad, NormaliseGrad, PreluGrad};
use crate::graph::{Graph, Lowering, Node, Op};
use crate::tensor::{HostTensor, ShapeError, TensorSpec, ValueId};
use std::collections::HashMap;

/// Sum over all axes but the last, `[.., C]` to `[C]`: the gradient of a bias.
#[derive(Debug, Clone, Copy)]
pub struct ChannelSum;

impl Op for ChannelSum {
    fn name(&self) -> &'static str {
        "channel_sum"
    }

    fn infer(&self, inputs: &[&TensorSpec]) -> Result<Vec<TensorSpec>, ShapeError> {
        match inputs {
            [input] if has_channels(input) => Ok(vec![TensorSpec::f32([input.channels()])]),
            _ => Err(ShapeError::new(self.name(), "one f32 tensor [.., C]", inputs)),
        }
    }

    fn lower(&self, at: &mut Lowering<'_>) {
        let (rows, channels) = matrix(at.input_spec(0));
        let rows = Rows::summed(1, rows, channels);
        let partial = rows.dispatch("channel_sum", at.target()).read(at.input(0));
        emit_sums(at, &rows, Columns { per_channel: 1, over_samples: true }, partial, &[at.output(0)]);
    }

    fn reference(&self, inputs: &[&HostTensor]) -> Vec<HostTensor> {
        let channels = inputs[0].spec.channels();
        let mut sums = HostTensor::zeros(TensorSpec::f32([channels]));
        for (i, x) in inputs[0].data.iter().enumerate() {
            sums.data[i % channels] += x;
        }
        vec![sums]
    }

    fn flops(&self, inputs: &[&TensorSpec]) -> u64 {
        inputs[0].elements() as u64
    }
}

/// The sum over channels of a node's first output that is another of its outputs, which costs no pass over memory of its own.
fn sum_beside(node: &Node) -> Option<ValueId> {
    if node.is::<PreluGrad>() {
        return Some(node.outputs[2]);
    }
    if node.is::<LinearUnitGrad>() {
        return Some(node.outputs[1]);
    }
    node.op_as::<NormaliseGrad>().and_then(|op| op.sum_of(&node.outputs))
}

/// Computes each sum over channels of a graph once: a [`ChannelSum`] of the gradient that a [`PreluGrad`], a [`LinearUnitGrad`] or a
/// [`NormaliseGrad`] makes is another output of that node, and of several sums of one value the first serves all.
///
/// What reads a sum reads the one that is kept, and so do `results`, the values that the caller goes on with. Two of them may be
/// one value then: the biases of two convolutions whose outputs are added have one gradient.
pub fn share_channel_sums(graph: &mut Graph, results: &mut [ValueId]) {
    let mut sums: HashMap<ValueId, ValueId> = HashMap::new();
    let mut replaced = HashMap::new();
    for node in graph.nodes() {
        if let Some(sum) = sum_beside(node) {
            sums.insert(node.outputs[0], sum);
        } else if node.is::<ChannelSum>() {
            let kept = *sums.entry(node.inputs[0]).or_insert(node.outputs[0]);
            if kept != node.outputs[0] {
                replaced.insert(node.outputs[0], kept);
            }
        }
    }
    graph.replace_uses(&replaced);
    for result in results {
        *result = replaced.get(result).copied().unwrap_or(*result);
    }
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, shape: &[usize]| {
        let channels = shape[shape.len() - 1];
        let rows = shape.iter().product::<usize>() / channels;
        let terms = Rows::summed(1, rows, channels).summed_roundings();
        let input = (TensorSpec::f32(shape), Draw::Normal(1.0));
        Case::new(name, ChannelSum, vec![input], Bound::Sum { terms }).backward_only().exact()
    };
    vec![
        case("channel_sum/1x1x1x1x1", &[1, 1, 1, 1, 1]),
        case("channel_sum/2x3x5x7x2", &[2, 3, 5, 7, 2]),
        case("channel_sum/2x17x19x23x1", &[2, 17, 19, 23, 1]),
        case("channel_sum/2x17x19x23x5", &[2, 17, 19, 23, 5]),
        case("channel_sum/1x9x11x13x32", &[1, 9, 11, 13, 32]),
        case("channel_sum/1x3x5x7x256", &[1, 3, 5, 7, 256]),
        case("channel_sum/1x3x5x7x300", &[1, 3, 5, 7, 300]),
        case("channel_sum/1x32x64x64x16", &[1, 32, 64, 64, 16]).benchmark(),
    ]
}
