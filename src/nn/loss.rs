use crate::graph::Graph;
use crate::ops::{Add, CrossEntropyLoss, SoftDiceLoss, Softmax};
use crate::tensor::{ShapeError, ValueId};
use serde::{Deserialize, Serialize};

/// What training minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Soft Dice (the paper, section 3).
    Dice,
    /// Softmax cross-entropy, each voxel weighted by the rarity of its class (the paper's baseline in Table 2).
    WeightedCrossEntropy,
    /// Softmax cross-entropy.
    CrossEntropy,
    /// Soft Dice + softmax cross-entropy.
    DiceCrossEntropy,
}

impl Loss {
    /// Appends the loss `[1]` of logits `[N, D, H, W, K]` and labels `[N, D, H, W]`.
    ///
    /// # Errors
    /// [`ShapeError`] when the two do not belong together.
    pub fn append(self, graph: &mut Graph, logits: ValueId, labels: ValueId) -> Result<ValueId, ShapeError> {
        match self {
            Self::Dice => dice(graph, logits, labels),
            Self::CrossEntropy => cross_entropy(graph, logits, labels, false),
            Self::WeightedCrossEntropy => cross_entropy(graph, logits, labels, true),
            Self::DiceCrossEntropy => {
                let terms = [dice(graph, logits, labels)?, cross_entropy(graph, logits, labels, false)?];
                graph.set_scope("loss.sum");
                graph.add(Add, &terms)
            }
        }
    }
}

fn dice(graph: &mut Graph, logits: ValueId, labels: ValueId) -> Result<ValueId, ShapeError> {
    graph.set_scope("softmax");
    let probabilities = graph.add(Softmax, &[logits])?;
    graph.set_scope("loss.dice");
    graph.add(SoftDiceLoss, &[probabilities, labels])
}

fn cross_entropy(graph: &mut Graph, logits: ValueId, labels: ValueId, weighted: bool) -> Result<ValueId, ShapeError> {
    graph.set_scope("loss.cross_entropy");
    graph.add(CrossEntropyLoss { weighted }, &[logits, labels])
}
