use super::overlap::{Overlap, Ratio};
use super::{Loss, LossInputs, Losses};
use crate::graph::Graph;
use crate::ops::Activation;
use crate::registry::{Entry, Hyperparameter, Hyperparameters, Value};
use crate::tensor::{ShapeError, ValueId};
use std::sync::Arc;

/// The loss of a network by soft Dice: softmax or sigmoid, then [`SoftDiceLoss`](super::SoftDiceLoss). The default is the paper's.
///
/// Without `squares` and with the same epsilon it is nnU-Net's `MemoryEfficientSoftDiceLoss` plus 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dice {
    /// The denominator is Σ p² + Σ g², as in the paper, else Σ p + Σ g, as in nnU-Net.
    pub squares: bool,
    /// The sums are over all samples, as of one volume (nnU-Net's `batch_dice`), else of each. Where a batch is computed in
    /// several passes, over those of a pass.
    pub batch: bool,
}

impl Default for Dice {
    fn default() -> Self {
        Self { squares: true, batch: false }
    }
}

pub(super) static SQUARES: Hyperparameter = Hyperparameter::switch("dice_squares", true);
pub(super) static BATCH: Hyperparameter = Hyperparameter::switch("dice_batch", false);

/// The keys of every loss with a Dice term.
pub(super) const KEYS: &[&Hyperparameter] = &[&SQUARES, &BATCH];

impl From<&Hyperparameters<Losses>> for Dice {
    fn from(values: &Hyperparameters<Losses>) -> Self {
        Self { squares: values.switch("dice_squares"), batch: values.switch("dice_batch") }
    }
}

pub(super) const DICE: Entry<Losses> = Entry {
    name: "dice",
    hyperparameters: KEYS,
    build: |values| Arc::new(Dice::from(values)),
    variants: &[
        ("dice/plain", &[("dice_squares", Value::Switch(false))]),
        ("dice/batch", &[("dice_batch", Value::Switch(true))]),
    ],
};

impl From<Dice> for Overlap {
    fn from(Dice { squares, batch }: Dice) -> Self {
        Self { squares, batch, ratio: Ratio::DICE }
    }
}

impl Loss for Dice {
    fn append(&self, graph: &mut Graph, inputs: LossInputs<'_>) -> Result<ValueId, ShapeError> {
        Overlap::from(*self).append(graph, inputs, "loss.dice")
    }

    fn is_defined(&self, _: Activation) -> bool {
        true
    }

    fn reads_class_weights(&self) -> bool {
        true
    }
}
