use super::{Sigmoid, Softmax};
use crate::graph::Graph;
use crate::tensor::{ShapeError, ValueId};
use serde::{Deserialize, Serialize};

/// What makes probabilities of a network's logits, which also says how its labels are written on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Softmax over K classes that exclude each other; class 0 is the background. A label is the number of the class, and
    /// any number from K on says that the voxel is ignored.
    #[default]
    Softmax,
    /// A sigmoid for each of K regions, which may overlap; none of them is the background. A label is a mask: bit r says
    /// that the voxel belongs to region r, and bit 31 that it is ignored.
    Sigmoid,
}

impl Activation {
    /// Its name in model files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
        }
    }

    /// What the outputs are, for a person.
    pub fn outputs(self) -> &'static str {
        match self {
            Self::Softmax => "classes",
            Self::Sigmoid => "regions",
        }
    }

    /// Whether it is softmax, the only one of earlier versions.
    pub fn is_softmax(&self) -> bool {
        *self == Self::Softmax
    }

    /// Appends the probabilities of logits `[N, .., K]`.
    ///
    /// # Errors
    /// [`ShapeError`] when these are no logits.
    pub fn append(self, graph: &mut Graph, logits: ValueId) -> Result<ValueId, ShapeError> {
        graph.set_scope(self.name());
        match self {
            Self::Softmax => graph.add(Softmax, &[logits]),
            Self::Sigmoid => graph.add(Sigmoid, &[logits]),
        }
    }
}
