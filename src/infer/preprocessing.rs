use crate::data::{Normalisation, Preparation};
use crate::nn::Model;
use serde::{Deserialize, Serialize};

/// The key `preprocessing` of a model file: how volumes become inputs of its network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Intensities.
    pub normalisation: Normalisation,
    /// Extents x, y, z of the network's input.
    pub patch: [usize; 3],
    /// Whether volumes are brought to the orientation nearest to RAS.
    pub canonical: bool,
    /// Names of the classes, background first; may be empty.
    #[serde(default)]
    pub class_names: Vec<String>,
}

impl Preprocessing {
    /// That of a model; without the key, volumes are taken as they are, normalised over all voxels, and the patch is 64
    /// voxels along each axis, rounded up to the network's divisor.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub fn of(model: &Model) -> Result<Self, serde_json::Error> {
        match &model.preprocessing {
            Some(value) => Self::deserialize(value),
            None => Ok(Self {
                normalisation: Normalisation::ZScoreAll,
                patch: [64usize.next_multiple_of(model.network.divisor()); 3],
                canonical: false,
                class_names: Vec::new(),
            }),
        }
    }

    /// As the data module takes it.
    pub fn preparation(&self, classes: usize) -> Preparation {
        Preparation { normalisation: self.normalisation, patch: self.patch, classes, canonical: self.canonical }
    }

    /// Names of the foreground classes: those that were given, else `class 1`, `class 2`, …
    pub fn foreground_names(&self, classes: usize) -> Vec<String> {
        (1..classes).map(|c| self.class_names.get(c).cloned().unwrap_or_else(|| format!("class {c}"))).collect()
    }
}
