use crate::data::classes::BACKGROUND;
use crate::data::patch::LONGEST_PATCH;
use crate::data::{Classes, IntensityStatistics, Interpolation, Normalisation, Preparation, TargetSpacing};
use crate::nn::Model;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

/// The key `preprocessing` of a model file: how volumes become inputs of its network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Intensities.
    pub normalisation: Normalisation,
    /// Statistics of the training data for a CT window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intensities: Option<IntensityStatistics>,
    /// Spacing to which volumes are brought; models without the key take each volume at its own.
    #[serde(default, skip_serializing_if = "TargetSpacing::is_native")]
    pub spacing: TargetSpacing,
    /// How images are brought there.
    #[serde(default, skip_serializing_if = "Interpolation::is_linear")]
    pub interpolation: Interpolation,
    /// Extents x, y, z of the network's input.
    pub patch: [usize; 3],
    /// Whether volumes are brought to the orientation nearest to RAS.
    pub canonical: bool,
    /// Names of the classes, background first; may be empty.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Names of the classes with the values that stand for them in label maps, the written one first; absent where the
    /// values are the numbers of the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Classes>,
}

impl Preprocessing {
    /// Of how volumes are prepared, with the names of the classes (background first, or none).
    pub fn new(preparation: &Preparation, class_names: Vec<String>) -> Self {
        let Preparation { normalisation, intensities, spacing, interpolation, patch, canonical, .. } = *preparation;
        let labels = preparation.labels.clone().filter(|labels| !labels.is_identity());
        Self { normalisation, intensities, spacing, interpolation, patch, canonical, class_names, labels }
    }

    /// That of a model; without the key, volumes are taken as they are, normalised over all voxels, and the patch is 64
    /// voxels along each axis, rounded up to the network's divisor.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub fn of(model: &Model) -> Result<Self, serde_json::Error> {
        match &model.preprocessing {
            Some(value) => {
                let found = Self::deserialize(value)?;
                let window = found.intensities.is_some_and(|statistics| statistics.is_sensible());
                if found.normalisation == Normalisation::CtWindow && !window {
                    return Err(serde_json::Error::custom("normalisation ct_window needs intensities, four numbers"));
                }
                if !found.spacing.is_sensible() {
                    return Err(serde_json::Error::custom("spacing: expected \"native\" or 0.01 to 100 mm"));
                }
                if !found.patch.iter().all(|extent| (1..=LONGEST_PATCH).contains(extent)) {
                    return Err(serde_json::Error::custom(format!(
                        "patch: expected three extents from 1 to {LONGEST_PATCH}"
                    )));
                }
                let classes = model.network.classes;
                if let Some(labels) = found.labels.as_ref().filter(|labels| labels.count() != classes) {
                    let count = labels.count();
                    return Err(serde_json::Error::custom(format!(
                        "labels: expected {classes} classes, found {count}"
                    )));
                }
                Ok(found)
            }
            None => Ok(Self {
                normalisation: Normalisation::ZScoreAll,
                intensities: None,
                spacing: TargetSpacing::default(),
                interpolation: Interpolation::default(),
                patch: [64usize.next_multiple_of(model.network.divisor()); 3],
                canonical: false,
                class_names: Vec::new(),
                labels: None,
            }),
        }
    }

    /// The first key in which another model's preparation differs, with both values, as part of a sentence.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let keys = |preprocessing: &Self| match serde_json::to_value(preprocessing) {
            Ok(serde_json::Value::Object(keys)) => keys,
            _ => unreachable!("a preprocessing is an object"),
        };
        let (here, there) = (keys(self), keys(other));
        let show = |value: Option<&serde_json::Value>| value.map_or_else(|| "not set".to_owned(), ToString::to_string);
        let names: std::collections::BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let differs = names.into_iter().find(|key| here.get(*key) != there.get(*key))?;
        Some(format!("{differs} is {} instead of {}", show(there.get(differs)), show(here.get(differs))))
    }

    /// As the data module takes it.
    pub fn preparation(&self, classes: usize) -> Preparation {
        let Self { normalisation, intensities, spacing, interpolation, patch, canonical, .. } = *self;
        let labels = self.labels.clone();
        Preparation { normalisation, intensities, spacing, interpolation, patch, classes, labels, canonical }
    }

    /// The classes as label maps have them, of a network with this number of them.
    pub fn label_classes(&self, classes: usize) -> Classes {
        if let Some(labels) = &self.labels {
            return labels.clone();
        }
        let background = self.class_names.first().map_or(BACKGROUND, String::as_str).to_owned();
        let names = std::iter::once(background).chain(self.foreground_names(classes));
        let named = Classes::new((0..).zip(names).map(|(value, name)| (name, vec![value])));
        // Names of other programs may be none, or one for two classes.
        named.ok().filter(Classes::is_identity).unwrap_or_else(|| Classes::numbered(classes))
    }

    /// Names of the foreground classes: those that were given, else `class 1`, `class 2`, …
    pub fn foreground_names(&self, classes: usize) -> Vec<String> {
        (1..classes).map(|c| self.class_names.get(c).cloned().unwrap_or_else(|| format!("class {c}"))).collect()
    }
}
