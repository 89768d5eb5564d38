use super::dice::BATCH;
use super::overlap::{Overlap, Ratio};
use super::{Loss, LossInputs, Losses};
use crate::graph::Graph;
use crate::ops::Activation;
use crate::registry::{Entry, Hyperparameter, Hyperparameters, Value};
use crate::tensor::{ShapeError, ValueId};
use std::sync::Arc;

/// The loss of a network by Tversky's coefficient (Salehi et al. 2017): softmax or sigmoid, then
/// [`SoftDiceLoss`](super::SoftDiceLoss). α = β = 1/2 is Dice without squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tversky {
    /// α, the weight of what is predicted and wrong; above 0.
    pub alpha: f64,
    /// β, the weight of what is missed; above 0.
    pub beta: f64,
    /// The sums are over all samples, as of one volume, else of each.
    pub batch: bool,
}

const WEIGHT: &str = "above 0, at most 10";

fn is_weight(weight: f64) -> bool {
    weight > 0.0 && weight <= 10.0
}

static ALPHA: Hyperparameter = Hyperparameter::number("tversky_alpha", 0.3, WEIGHT, is_weight);
static BETA: Hyperparameter = Hyperparameter::number("tversky_beta", 0.7, WEIGHT, is_weight);

/// The keys of every loss with a term of Tversky.
pub(super) const KEYS: &[&Hyperparameter] = &[&ALPHA, &BETA, &BATCH];

impl From<&Hyperparameters<Losses>> for Tversky {
    fn from(values: &Hyperparameters<Losses>) -> Self {
        let (alpha, beta) = (values.number("tversky_alpha"), values.number("tversky_beta"));
        Self { alpha, beta, batch: values.switch("dice_batch") }
    }
}

pub(super) const TVERSKY: Entry<Losses> = Entry {
    name: "tversky",
    hyperparameters: KEYS,
    build: |values| Arc::new(Tversky::from(values)),
    variants: &[
        ("tversky/one", &[("tversky_alpha", Value::Number(1.0)), ("tversky_beta", Value::Number(1.0))]),
        ("tversky/batch", &[("dice_batch", Value::Switch(true))]),
    ],
};

impl Loss for Tversky {
    fn append(&self, graph: &mut Graph, inputs: LossInputs<'_>) -> Result<ValueId, ShapeError> {
        let ratio = Ratio::tversky(self.alpha, self.beta);
        Overlap { squares: false, batch: self.batch, ratio }.append(graph, inputs, "loss.tversky")
    }

    fn is_defined(&self, _: Activation) -> bool {
        true
    }

    fn reads_class_weights(&self) -> bool {
        true
    }
}
