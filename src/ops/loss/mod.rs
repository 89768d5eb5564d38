//! What training minimises: each loss with its operations, their gradients, f64 definitions and cases.
//!
//! A loss is a module with its operations and its entry, the WGSL of its kernels, and its lines in this file. It is then a
//! value of `training.loss`, its hyperparameters are keys of `[training]`, and the self-test and the tests of operations try
//! it. A kernel that computes value or gradient by a number of its uniform does with one WGSL file.

mod binary_cross_entropy;
mod cases;
mod cross_entropy;
mod dice;
mod focal;
mod labels;
mod overlap;
mod pool;
mod sum;
mod top_k;
mod tversky;
mod weights;

pub use binary_cross_entropy::{BinaryCrossEntropyGrad, BinaryCrossEntropyLoss};
pub use cross_entropy::{CrossEntropy, CrossEntropyGrad, CrossEntropyLoss};
pub use dice::Dice;
pub use focal::{Focal, FocalGrad, FocalLoss};
pub use overlap::{DICE_EPSILON, Overlap, Ratio, SoftDiceGrad, SoftDiceLoss};
pub use pool::PoolLabels;
pub use sum::{DiceCrossEntropy, Sum};
pub use top_k::{TopK, TopKGrad, TopKLoss};
pub use tversky::Tversky;

use super::Activation;
use super::case::Case;
use crate::graph::Graph;
use crate::registry::{Entry, Registry};
use crate::tensor::{ShapeError, ValueId};
use std::fmt::Debug;
use std::sync::Arc;

/// A loss. One of another crate goes to the trainer as it is (`TrainerSettings::loss`).
pub trait Loss: Debug + Send + Sync {
    /// Appends the loss `[1]`.
    ///
    /// # Errors
    /// [`ShapeError`] when the inputs do not belong together, or the loss is not [defined](Loss::is_defined) for them.
    fn append(&self, graph: &mut Graph, inputs: LossInputs<'_>) -> Result<ValueId, ShapeError>;

    /// Whether the loss is defined for networks of this activation: for classes only, where it says nothing else.
    fn is_defined(&self, activation: Activation) -> bool {
        activation == Activation::Softmax
    }

    /// Whether the loss reads [`LossInputs::class_weights`].
    fn reads_class_weights(&self) -> bool {
        false
    }
}

/// What a loss compares.
#[derive(Debug, Clone, Copy)]
pub struct LossInputs<'a> {
    /// Logits `[N, D, H, W, K]`.
    pub logits: ValueId,
    /// Labels `u32 [N, D, H, W]`, as the activation says, or soft targets `f32 [N, D, H, W, K]`: the share of each output, as
    /// [`PoolLabels`] writes them. Voxels that these mark as ignored have no say in a loss.
    pub labels: ValueId,
    /// What the logits stand for.
    pub activation: Activation,
    /// A weight for each output, 0 or more, or none. A mean over outputs has one over the weights of the foreground, a mean over
    /// voxels one over those of the voxels' classes.
    pub class_weights: &'a [f32],
}

impl LossInputs<'_> {
    /// Logits and their labels, without weights.
    pub fn new(logits: ValueId, labels: ValueId, activation: Activation) -> Self {
        Self { logits, labels, activation, class_weights: &[] }
    }
}

/// The table of losses that a configuration can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Losses;

impl Registry for Losses {
    type Item = Arc<dyn Loss>;
    const KEY: &'static str = "loss";
    const ENTRIES: &'static [Entry<Self>] = &[
        dice::DICE,
        cross_entropy::WEIGHTED_CROSS_ENTROPY,
        cross_entropy::CROSS_ENTROPY,
        sum::DICE_CROSS_ENTROPY,
        tversky::TVERSKY,
        sum::TVERSKY_CROSS_ENTROPY,
        focal::FOCAL,
        sum::DICE_FOCAL,
        top_k::TOPK,
        sum::DICE_TOPK,
    ];
}

/// The cases of their operations.
pub(super) fn cases() -> Vec<Case> {
    cases::all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{cases, is_consistent};
    use crate::tensor::TensorSpec;

    #[test]
    fn every_loss_of_the_table_is_a_number() {
        is_consistent::<Losses>();
        for (name, loss) in cases::<Losses>() {
            let mut graph = Graph::new();
            let logits = graph.input("logits", TensorSpec::f32([2, 2, 3, 5, 3]));
            let labels = graph.input("labels", TensorSpec::u32([2, 2, 3, 5]));
            for activation in [Activation::Softmax, Activation::Sigmoid] {
                let appended = loss.append(&mut graph, LossInputs::new(logits, labels, activation));
                match (loss.is_defined(activation), appended) {
                    (true, appended) => assert_eq!(*graph.spec(appended.expect(name)), TensorSpec::f32([1]), "{name}"),
                    (false, appended) => assert!(appended.is_err(), "{name}"),
                }
            }
            assert!(graph.nodes().iter().all(|node| !node.name.is_empty()), "{name} names its nodes");
        }
    }
}
