use super::{Graph, Node};
use crate::tensor::ValueId;
use std::collections::HashMap;
use std::sync::Arc;

/// Suffix of the names of nodes that compute a value again.
pub const RECOMPUTED: &str = ".recompute";

/// Which values of a forward pass are not kept for the backward pass (Chen et al. 2016, *Training Deep Nets with
/// Sublinear Memory Cost*).
#[derive(Debug, Clone)]
pub struct Recomputation {
    /// Nodes of the forward pass: those after it read copies of dropped values.
    pub forward: usize,
    /// By index of the value: whether it is dropped after its last use in the forward pass.
    pub dropped: Vec<bool>,
}

impl Graph {
    /// Puts nodes that compute dropped values again in front of their first use in each stage of the backward pass: a copy serves
    /// the nodes of one stage in a row, and the next stage that needs the value computes it once more, so that no copy lives
    /// through the stages in between.
    /// They are the forward pass's operations on values with the same bits, so every result keeps its bits; only the
    /// lifetimes change. Existing values keep their ids.
    pub fn recompute(&mut self, recomputation: &Recomputation) {
        let nodes = self.take_nodes();
        let mut rewriting = Rewriting {
            producers: producers(&nodes[..recomputation.forward]),
            copies: HashMap::new(),
            graph: self,
            forward: &nodes[..recomputation.forward],
            dropped: &recomputation.dropped,
        };
        let mut stage = None;
        for (i, node) in nodes.iter().enumerate() {
            let mut node = node.clone();
            if i >= recomputation.forward {
                if nodes[i].stage != stage {
                    rewriting.copies.clear();
                    stage = nodes[i].stage.clone();
                }
                node.inputs = node.inputs.iter().map(|&v| rewriting.available(v)).collect();
            }
            rewriting.graph.push_node(node);
        }
    }
}

/// Node that makes each value.
fn producers(nodes: &[Node]) -> HashMap<ValueId, usize> {
    nodes.iter().enumerate().flat_map(|(i, n)| n.outputs.iter().map(move |&o| (o, i))).collect()
}

struct Rewriting<'a> {
    graph: &'a mut Graph,
    forward: &'a [Node],
    producers: HashMap<ValueId, usize>,
    dropped: &'a [bool],
    /// Copies of the current stage.
    copies: HashMap<ValueId, ValueId>,
}

impl Rewriting<'_> {
    /// The value itself where it is kept, else its copy, which is computed first where there is none.
    fn available(&mut self, value: ValueId) -> ValueId {
        let Some(&producer) = self.producers.get(&value).filter(|_| self.dropped[value.index()]) else {
            return value;
        };
        if let Some(&copy) = self.copies.get(&value) {
            return copy;
        }
        let forward = self.forward;
        let node = &forward[producer];
        let inputs = node.inputs.iter().map(|&v| self.available(v)).collect();
        let name = format!("{}{RECOMPUTED}", node.name);
        let outputs: Vec<ValueId> = node.outputs.iter().map(|&o| self.graph.value_like(o, &name)).collect();
        self.copies.extend(node.outputs.iter().copied().zip(outputs.iter().copied()));
        self.graph.push_node(Node { op: Arc::clone(&node.op), name, stage: node.stage.clone(), inputs, outputs });
        self.copies[&value]
    }
}
