//! How far a whole network in f32 may be from the definition: docs/numerics.md, section 2.

use super::U;
use vnet_engine::graph::Node;
use vnet_engine::nn::TrainingGraph;
use vnet_engine::tensor::{HostTensor, ValueId};

/// Bounds that hold for a network on given values.
#[derive(Debug, Clone, Copy)]
pub struct NetworkBounds {
    /// B: values up to the logits, relative to the largest element of each.
    pub forward: f64,
    /// Values between the logits and the loss, in the same way.
    pub head: f64,
    /// G: values of the backward pass, in the same way.
    pub backward: f64,
    /// The loss, absolute.
    pub loss: f64,
}

impl NetworkBounds {
    /// Those of a training graph, of whose values the definition is `values`.
    pub fn new(t: &TrainingGraph, values: &[HostTensor]) -> Self {
        let nodes = t.graph.nodes();
        let named = |name: &'static str| nodes.iter().filter(move |n| n.op.name() == name);
        // Products that are summed for one output.
        let products = |node: &Node| {
            let inputs: Vec<_> = node.inputs.iter().map(|&v| t.graph.spec(v)).collect();
            node.op.flops(&inputs) as f64 / 2.0 / t.graph.spec(node.outputs[0]).elements() as f64
        };
        let convolutions = || named("conv3d").chain(named("conv_transpose3d"));
        let voxels = |value: ValueId| (t.graph.spec(value).elements() / t.graph.spec(value).channels()) as f64;
        // A bias and a residual are summed too.
        let sums: f64 = convolutions().map(|n| (products(n) + 2.0).sqrt()).sum();
        let input_gradients = named("conv3d_grad_input").chain(named("conv_transpose3d_grad_input"));
        let input_gradients: f64 = input_gradients.map(|n| products(n).sqrt()).sum();
        let padded = convolutions().map(|n| voxels(n.outputs[0])).fold(0.0, f64::max);

        let logits = &values[t.logits.index()];
        let classes = logits.spec.channels();
        let spread = |voxel: &[f64]| {
            voxel.iter().fold(f64::MIN, |m, &z| m.max(z)) - voxel.iter().fold(f64::MAX, |m, &z| m.min(z))
        };
        let spread = logits.data.chunks_exact(classes).map(spread).fold(0.0, f64::max);
        let softmax = 2.0 * U * (3.0 + 2.0 * spread);
        let logarithm = 0.5f64.powi(21);

        let forward = U * sums;
        let backward = forward + U * (input_gradients + padded.sqrt()) + 2.0 * softmax;
        // A probability moves by at most half of what its logit does, and the largest of a voxel's is at least 1 / classes. The
        // rest of the head sums over voxels.
        let moved = forward * logits.max_abs();
        let summed = U * voxels(t.logits).sqrt();
        let head = 0.5 * moved * classes as f64 + softmax + (classes as f64 + 5.0) * U + logarithm + summed;
        // The gradient of the loss with respect to the logits (padded with zeros) is what the head's weights are trained with.
        let head_gradient = named("conv3d_grad_weight").find(|n| n.name == "head.grad").expect("the head is trained");
        let reach: f64 = values[head_gradient.inputs[1].index()].data.iter().map(|g| g.abs()).sum();
        let loss = (moved + softmax) * reach + logarithm + summed * values[t.loss.index()].max_abs().max(1.0);
        Self { forward, head, backward, loss }
    }
}
