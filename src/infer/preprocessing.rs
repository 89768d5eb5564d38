use crate::data::classes::BACKGROUND;
use crate::data::layout::are_patterns;
use crate::data::patch::LONGEST_PATCH;
use crate::data::{
    Classes, Crop, Dataset, IntensityStatistics, Interpolation, Normalisation, PerChannel, Preparation, Region,
    TargetSpacing,
};
use crate::nn::{Activation, Model, Network};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};

/// The key `preprocessing` of a model file: how volumes become inputs of its network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// How intensities are normalised: one word, or one for each channel.
    pub normalisation: PerChannel<Normalisation>,
    /// Statistics of the training data for a CT window: of the image, or of each channel.
    #[serde(default = "without_statistics", skip_serializing_if = "has_no_statistics")]
    pub intensities: PerChannel<Option<IntensityStatistics>>,
    /// Names of the channels, where the data set declares them for several; may be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_names: Vec<String>,
    /// Patterns of the files of the channels, where they were files of their own: how a folder of cases is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_files: Vec<String>,
    /// Whether channels on another grid are resampled onto that of the first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub align: bool,
    /// What of a volume is looked at; without the key all of it.
    #[serde(default, skip_serializing_if = "Crop::is_none")]
    pub crop: Crop,
    /// Spacing that volumes are resampled to; without the key each volume keeps its own.
    #[serde(default, skip_serializing_if = "TargetSpacing::is_native")]
    pub spacing: TargetSpacing,
    /// How images are resampled.
    #[serde(default, skip_serializing_if = "Interpolation::is_linear")]
    pub interpolation: Interpolation,
    /// Extents x, y, z of the network's input, the windows of a prediction; without them volumes are predicted whole, as
    /// PyTorch does. See [`super::Segmenter`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<[usize; 3]>,
    /// Whether volumes are reoriented to the orientation nearest to RAS.
    pub canonical: bool,
    /// Names of the classes, background first; may be empty.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Names of the classes with the values that stand for them in label maps, the written one first; absent where the
    /// values are the numbers of the classes. Where values are ignored or there are regions, a table of `classes`, `ignore`,
    /// `regions` and `regions_order`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Classes>,
}

fn without_statistics() -> PerChannel<Option<IntensityStatistics>> {
    None.into()
}

fn has_no_statistics(statistics: &PerChannel<Option<IntensityStatistics>>) -> bool {
    statistics.values().iter().all(Option::is_none)
}

/// For a network of regions of another program: `region 1`, `region 2`, … with these values, none within another.
fn regions_without_names(network: &Network) -> Option<Classes> {
    let region = |value: u16| Region { name: format!("region {value}"), values: vec![value] };
    let regions = (1..).take(network.classes).map(region).collect();
    (network.activation == Activation::Sigmoid).then(|| Classes::of_regions(0, regions).expect("a network has 1 to 31"))
}

impl Preprocessing {
    /// Describes a preparation, with the names of the classes (background first, or none).
    pub fn new(preparation: &Preparation, class_names: Vec<String>) -> Self {
        let Preparation {
            normalisation,
            intensities,
            labels,
            spacing,
            interpolation,
            patch,
            canonical,
            align,
            crop,
            ..
        } = preparation.clone();
        let labels = labels.filter(|labels| !labels.is_identity());
        let patch = Some(patch);
        Self {
            normalisation,
            intensities,
            channel_names: Vec::new(),
            channel_files: Vec::new(),
            align,
            crop,
            spacing,
            interpolation,
            patch,
            canonical,
            class_names,
            labels,
        }
    }

    /// That of a model; without the key, as in a state dictionary from PyTorch, volumes are taken whole, in their own
    /// spacing and orientation, and normalised to zero mean and unit variance over all voxels.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub fn of(model: &Model) -> Result<Self, serde_json::Error> {
        let Some(value) = &model.preprocessing else {
            let native = Self::new(&Preparation::native(Normalisation::ZScoreAll), Vec::new());
            return Ok(Self { patch: None, labels: regions_without_names(&model.network), ..native });
        };
        let mut found = Self::deserialize(value)?;
        if found.labels.is_none() {
            found.labels = regions_without_names(&model.network);
        }
        let wrong = |text: String| Err(serde_json::Error::custom(text));
        let channels = model.network.in_channels;
        for (key, given) in [("normalisation", found.normalisation.given()), ("intensities", found.intensities.given())]
        {
            if let Some(given) = given.filter(|given| *given != channels) {
                return wrong(format!("{key}: expected one, or one for each of {channels} channels, found {given}"));
            }
        }
        let window = |channel| found.intensities.of(channel).is_some_and(|statistics| statistics.is_sensible());
        if (0..channels).any(|c| *found.normalisation.of(c) == Normalisation::CtWindow && !window(c)) {
            return wrong("normalisation ct_window needs intensities, four numbers".to_owned());
        }
        if !found.spacing.is_sensible() {
            return wrong("spacing: expected \"native\" or 0.01 to 100 mm".to_owned());
        }
        if !found.patch.iter().flatten().all(|extent| (1..=LONGEST_PATCH).contains(extent)) {
            return wrong(format!("patch: expected three extents from 1 to {LONGEST_PATCH}"));
        }
        if !are_patterns(&found.channel_files) {
            return wrong("channel_files: expected patterns of file names with {case}".to_owned());
        }
        let expected = model.network.classes;
        let outputs = model.network.activation.outputs();
        let has_regions = found.labels.as_ref().is_some_and(|labels| !labels.regions().is_empty());
        if has_regions == model.network.activation.is_softmax() {
            return wrong(format!("labels: expected {expected} {outputs}, as the network has"));
        }
        match found.labels.as_ref().map(Classes::outputs).filter(|count| *count != expected) {
            Some(count) => wrong(format!("labels: expected {expected} {outputs}, found {count}")),
            None => Ok(found),
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

    /// The preparation of volumes for a network with this number of channels and outputs.
    pub fn preparation(&self, channels: usize, classes: usize) -> Preparation {
        let Self { normalisation, intensities, labels, spacing, interpolation, canonical, align, crop, .. } =
            self.clone();
        // Nothing is padded for a volume that is predicted whole: the network itself pads to its divisor.
        let patch = self.patch.unwrap_or([1; 3]);
        Preparation {
            normalisation,
            intensities,
            spacing,
            interpolation,
            patch,
            channels,
            classes,
            labels,
            canonical,
            align,
            crop,
        }
    }

    /// With what a data set of so many channels says of them.
    #[must_use]
    pub fn with_channels_of(self, dataset: &Dataset, channels: usize) -> Self {
        let channel_names = if channels > 1 { dataset.channel_names.clone() } else { Vec::new() };
        Self { channel_names, channel_files: dataset.channel_files.clone(), ..self }
    }

    /// The classes with their values in label maps, for a network with this number of outputs.
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

    /// Names of the foreground classes, or of the regions: those that were given, else `class 1`, `class 2`, …
    pub fn foreground_names(&self, classes: usize) -> Vec<String> {
        if let Some(labels) = self.labels.as_ref().filter(|labels| !labels.regions().is_empty()) {
            return labels.regions().iter().map(|region| region.name.clone()).collect();
        }
        (1..classes).map(|c| self.class_names.get(c).cloned().unwrap_or_else(|| format!("class {c}"))).collect()
    }
}
