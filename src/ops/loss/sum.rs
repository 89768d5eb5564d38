use super::cross_entropy::CrossEntropy;
use super::{Dice, Focal, Loss, LossInputs, Losses, TopK, Tversky, dice, focal, top_k, tversky};
use crate::graph::Graph;
use crate::ops::{Activation, Add};
use crate::registry::{Entry, Hyperparameter};
use crate::tensor::{ShapeError, ValueId};
use std::sync::Arc;

/// The sum of two losses. Weights of the outputs are for the terms that read them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum<A, B>(pub A, pub B);

/// Soft Dice + cross-entropy.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiceCrossEntropy {
    /// The first of the two.
    pub dice: Dice,
}

const PLAIN: CrossEntropy = CrossEntropy { weighted: false };

impl<A: Loss, B: Loss> Loss for Sum<A, B> {
    fn append(&self, graph: &mut Graph, inputs: LossInputs<'_>) -> Result<ValueId, ShapeError> {
        let terms = [self.0.append(graph, inputs)?, self.1.append(graph, inputs)?];
        graph.set_scope("loss.sum");
        graph.add(Add, &terms)
    }

    fn is_defined(&self, activation: Activation) -> bool {
        self.0.is_defined(activation) && self.1.is_defined(activation)
    }

    fn reads_class_weights(&self) -> bool {
        self.0.reads_class_weights() || self.1.reads_class_weights()
    }
}

impl Loss for DiceCrossEntropy {
    fn append(&self, graph: &mut Graph, inputs: LossInputs<'_>) -> Result<ValueId, ShapeError> {
        Sum(self.dice, PLAIN).append(graph, inputs)
    }

    fn is_defined(&self, _: Activation) -> bool {
        true
    }

    fn reads_class_weights(&self) -> bool {
        true
    }
}

pub(super) const DICE_CROSS_ENTROPY: Entry<Losses> = Entry {
    name: "dice_cross_entropy",
    hyperparameters: dice::KEYS,
    build: |values| Arc::new(DiceCrossEntropy { dice: Dice::from(values) }),
    variants: &[],
};

const DICE_AND_FOCAL: &[&Hyperparameter] = &[&dice::SQUARES, &dice::BATCH, focal::KEYS[0]];

pub(super) const DICE_FOCAL: Entry<Losses> = Entry {
    name: "dice_focal",
    hyperparameters: DICE_AND_FOCAL,
    build: |values| Arc::new(Sum(Dice::from(values), Focal::from(values))),
    variants: &[],
};

const DICE_AND_TOPK: &[&Hyperparameter] = &[&dice::SQUARES, &dice::BATCH, top_k::KEYS[0]];

pub(super) const DICE_TOPK: Entry<Losses> = Entry {
    name: "dice_topk",
    hyperparameters: DICE_AND_TOPK,
    build: |values| Arc::new(Sum(Dice::from(values), TopK::from(values))),
    variants: &[],
};

pub(super) const TVERSKY_CROSS_ENTROPY: Entry<Losses> = Entry {
    name: "tversky_cross_entropy",
    hyperparameters: tversky::KEYS,
    build: |values| Arc::new(Sum(Tversky::from(values), PLAIN)),
    variants: &[],
};
