use super::TrainingGraph;
use crate::graph::{Graph, Node, RECOMPUTED, Recomputation};
use crate::tensor::{TensorSpec, ValueId};

/// Flops per byte of traffic up to which an operation is bound by memory on every device: PReLU, concatenation, tiling.
const LIGHT_INTENSITY: f64 = 2.0;

/// An output that takes less than one part in so many of a node's first one is not worth computing again.
const KEPT_PART: u64 = 8;

/// What of a stage's forward pass is kept for its backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// Everything that the backward pass reads.
    All,
    /// Outputs of convolutions and sums; activation functions, normalisations and concatenations are computed again.
    Convolutions,
    /// Outputs that other stages read; the whole stage is computed again.
    Boundaries,
}

impl TrainingGraph {
    /// The stages of the network, in order; those of V-Net are `encoder.0` to `decoder.0`.
    pub fn stages(&self) -> Vec<&str> {
        let mut stages: Vec<&str> = Vec::new();
        for node in &self.graph.nodes()[..self.forward] {
            if let Some(stage) = node.stage.as_deref().filter(|stage| stages.last() != Some(stage)) {
                stages.push(stage);
            }
        }
        stages
    }

    /// The same training with fewer activations in memory: by stage in the order of [`TrainingGraph::stages`], what is
    /// kept. Every result has the same bits.
    ///
    /// # Panics
    /// When there is not one entry per stage.
    #[must_use]
    pub fn recomputing(&self, kept: &[Kept]) -> Self {
        let stages = self.stages();
        assert_eq!(kept.len(), stages.len(), "one entry per stage");
        let mut dropped = vec![false; self.graph.values().len()];
        for node in &self.graph.nodes()[..self.forward] {
            let stage = stages.iter().position(|s| Some(*s) == node.stage.as_deref());
            let drop = match stage.map_or(Kept::All, |s| kept[s]) {
                Kept::All => false,
                Kept::Convolutions => is_light(&self.graph, node),
                Kept::Boundaries => !self.leaves_its_stage(node),
            };
            // What is small beside the rest, such as the statistics of a normalisation, is always kept.
            let bytes = |output: ValueId| self.graph.spec(output).bytes();
            let large = node.outputs.iter().filter(|&&o| KEPT_PART * bytes(o) > bytes(node.outputs[0]));
            large.for_each(|o| dropped[o.index()] = drop);
        }
        let mut result = self.clone();
        result.graph.recompute(&Recomputation { forward: self.forward, dropped });
        result
    }

    /// Share of the forward pass's flops that is computed a second time.
    pub fn recomputed_share(&self) -> f64 {
        let flops = |node: &Node| {
            let specs =
                |values: &[ValueId]| -> Vec<&TensorSpec> { values.iter().map(|&v| self.graph.spec(v)).collect() };
            node.op.flops(&specs(&node.inputs))
        };
        let nodes = self.graph.nodes();
        let again = nodes.iter().filter(|n| n.name.ends_with(RECOMPUTED)).map(flops).sum::<u64>();
        again as f64 / nodes[..self.forward].iter().map(flops).sum::<u64>() as f64
    }

    /// Whether a node of another stage of the forward pass reads an output.
    fn leaves_its_stage(&self, node: &Node) -> bool {
        let others = self.graph.nodes()[..self.forward].iter().filter(|n| n.stage != node.stage);
        others.flat_map(|n| &n.inputs).any(|i| node.outputs.contains(i))
    }
}

/// Whether computing the node again costs no more than a pass over memory, and its inputs take no more of it than its
/// output: a sum would keep both its terms instead of one result.
fn is_light(graph: &Graph, node: &Node) -> bool {
    let specs = |values: &[ValueId]| -> Vec<TensorSpec> { values.iter().map(|&v| graph.spec(v).clone()).collect() };
    let (inputs, outputs) = (specs(&node.inputs), specs(&node.outputs));
    let cost = node.op.cost(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>());
    let as_large = inputs.iter().filter(|i| i.bytes() >= outputs[0].bytes()).count();
    cost.flops as f64 <= LIGHT_INTENSITY * cost.bytes as f64 && as_large <= 1
}
