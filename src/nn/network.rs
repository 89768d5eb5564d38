use super::{Activation, Appended, Architecture, Architectures, Layers, Mode};
use crate::graph::Graph;
use crate::ops::PadCrop;
use crate::registry::{Choice, Registry, Value};
use crate::tensor::{ShapeError, TensorSpec, ValueId};
use serde::de::Error;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// A network's shape: what a model file says of it.
///
/// It is written as the channels of the image, the classes, `activation`, `kind` and the settings of its [`Architecture`]. A
/// missing `activation` means softmax, a missing `kind` V-Net.
///
/// ```
/// use vnet_engine::nn::vnet::VNet;
/// use vnet_engine::nn::{Network, model::parameter_shapes};
///
/// let network = Network::new(1, 2, VNet::paper());
/// network.validate()?;
/// assert_eq!((network.summary().as_str(), network.divisor()), ("V-Net base 16, 5 levels", [16; 3]));
/// let parameters = parameter_shapes(&network);
/// assert_eq!(parameters["encoder.1.down.weight"], [32, 16, 2, 2, 2]);
/// assert_eq!(parameters.values().map(|shape| shape.iter().product::<usize>()).sum::<usize>(), 65_175_314);
///
/// let error = Network::new(1, 2, VNet { decoder: vec![1, 2], ..VNet::paper() }).validate().unwrap_err();
/// assert!(error.to_string().starts_with("network: encoder has 5 stages and decoder 2"));
/// # Ok::<(), vnet_engine::nn::NetworkError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Network {
    /// Channels of the image.
    pub in_channels: usize,
    /// Outputs: classes, background included, or with [`Activation::Sigmoid`] regions.
    pub classes: usize,
    /// What the outputs are: classes that exclude each other, or regions that may overlap.
    pub activation: Activation,
    architecture: Arc<dyn Architecture>,
}

/// A [`Network`] that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// A setting out of range.
    #[error("network: {key} is {found}, expected {expected}")]
    Setting {
        /// Its key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// Settings that do not agree, in words.
    #[error("network: {0}")]
    Settings(String),
}

impl Network {
    /// A network of this architecture, which need not be in the table of [`Architectures`]. Its outputs are classes; see
    /// [`Network::with_activation`].
    pub fn new(in_channels: usize, classes: usize, architecture: impl Architecture + 'static) -> Self {
        Self::of(in_channels, classes, Arc::new(architecture))
    }

    /// As [`Network::new`], of an architecture that is already shared.
    pub fn of(in_channels: usize, classes: usize, architecture: Arc<dyn Architecture>) -> Self {
        Self { in_channels, classes, activation: Activation::Softmax, architecture }
    }

    /// The same network with outputs of another kind.
    ///
    /// ```
    /// use vnet_engine::nn::{Activation, Network, vnet::VNet};
    ///
    /// let regions = Network::new(4, 3, VNet::paper()).with_activation(Activation::Sigmoid);
    /// regions.validate()?;
    /// assert!(serde_json::to_string(&regions)?.starts_with(r#"{"in_channels":4,"classes":3,"activation":"sigmoid","base":16"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// What stands between the image and the logits.
    pub fn architecture(&self) -> &dyn Architecture {
        &*self.architecture
    }

    /// Name of the architecture.
    pub fn kind(&self) -> &'static str {
        self.architecture.kind()
    }

    /// The architecture in a few words.
    pub fn summary(&self) -> String {
        self.architecture.summary()
    }

    /// The network in a few words, with its input channels and outputs: `V-Net base 16, 5 levels, 1 channel, 2 classes`.
    pub fn description(&self) -> String {
        let counted = |count: usize, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
        let channels = counted(self.in_channels, "channel", "channels");
        let outputs = match self.activation {
            Activation::Softmax => counted(self.classes, "class", "classes"),
            Activation::Sigmoid => counted(self.classes, "region", "regions") + " (sigmoid)",
        };
        format!("{}, {channels}, {outputs}", self.summary())
    }

    /// Extents `[D, H, W]` are padded to multiples of this.
    pub fn divisor(&self) -> [usize; 3] {
        self.architecture.divisor()
    }

    /// The value of a setting, where the architecture has it.
    pub fn setting(&self, key: &str) -> Option<Value> {
        self.architecture.settings().into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The same network with another value of a setting; `None` where a configuration cannot choose it.
    ///
    /// # Panics
    /// When the value is of another type.
    pub fn with(&self, key: &str, value: impl Into<Value>) -> Option<Self> {
        let mut choice = self.choice()?;
        choice.own().find(|(name, _)| *name == key)?;
        choice.values.set(key, value);
        Some(Self { architecture: choice.build(), ..*self })
    }

    /// The architecture as a configuration chooses it, where it is in the table.
    fn choice(&self) -> Option<Choice<Architectures>> {
        let known = Architectures::ENTRIES.iter().any(|entry| entry.name == self.kind());
        known.then(|| Choice::from(&*self.architecture))
    }

    /// Checks that the network can be built.
    ///
    /// # Errors
    /// [`NetworkError`] that names the setting.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let setting = |key, found: String, expected| Err(NetworkError::Setting { key, found, expected });
        let (fewest, most, expected) = match self.activation {
            Activation::Softmax => (2, 256, "2 to 256"),
            Activation::Sigmoid => (1, 31, "1 to 31 regions"),
        };
        if !(fewest..=most).contains(&self.classes) {
            return setting("classes", self.classes.to_string(), expected);
        }
        if !(1..=64).contains(&self.in_channels) {
            return setting("in_channels", self.in_channels.to_string(), "1 to 64");
        }
        let choice = self.choice();
        if let Some((key, expected, found)) = choice.and_then(|choice| choice.values.mistakes().into_iter().next()) {
            return setting(key, found.to_string(), expected);
        }
        self.architecture.check(self.in_channels)
    }

    /// Resolutions of its logits in training: 1, and one for each auxiliary head.
    ///
    /// # Panics
    /// When the network is not [valid](Network::validate).
    pub fn resolutions(&self) -> usize {
        1 + self.in_training().1.auxiliary.len()
    }

    /// A graph with all parameters of the network, on a small image.
    ///
    /// # Panics
    /// When the network is not [valid](Network::validate).
    pub(super) fn in_training(&self) -> (Graph, Appended) {
        let mut graph = Graph::new();
        // A normalisation needs more than one voxel on the last level.
        let [d, h, w] = self.divisor().map(|divisor| 2 * divisor);
        let image = graph.input("image", TensorSpec::f32([1, d, h, w, self.in_channels]));
        let appended = self.append(&mut graph, image, Mode::Training).expect("a valid network on twice its divisor");
        (graph, appended)
    }

    /// Appends the network on `image` `[N, D, H, W, in_channels]`. Extents that do not divide by [`Network::divisor`] are
    /// padded with zeros, half of them (rounded down) before, and the logits are cropped back.
    ///
    /// # Errors
    /// [`ShapeError`] when the image does not have the network's channels.
    ///
    /// # Panics
    /// When the network is not [valid](Network::validate).
    pub fn append(&self, graph: &mut Graph, image: ValueId, mode: Mode) -> Result<Appended, ShapeError> {
        self.validate().expect("the network was validated");
        let extents = graph.spec(image).spatial(self.kind())?;
        if graph.spec(image).channels() != self.in_channels {
            let expected = format!("an image with {} channels", self.in_channels);
            return Err(ShapeError::new(self.kind(), expected, &[graph.spec(image)]));
        }
        let window = PadCrop::to_multiple(extents, self.divisor());
        let mut x = image;
        if window.extents != extents {
            graph.set_scope("pad");
            x = graph.add(window.clone(), &[x])?;
        }
        let mut layers = Layers::new(graph, mode);
        let logits = self.architecture.append(&mut layers, x, self.classes)?;
        let mut appended = layers.finish(logits, window);
        if appended.padding.extents != extents {
            graph.set_scope("crop");
            appended.logits = graph.add(appended.padding.inverse(extents), &[logits])?;
        }
        Ok(appended)
    }
}

/// The settings of an architecture of the table, as a configuration has them.
///
/// # Panics
/// When it is not in the table.
impl From<&dyn Architecture> for Choice<Architectures> {
    fn from(architecture: &dyn Architecture) -> Self {
        let settings = architecture.settings().into_iter();
        settings.fold(Self::named(architecture.kind()), |choice, (key, value)| choice.with(key, value))
    }
}

impl PartialEq for Network {
    fn eq(&self, other: &Self) -> bool {
        let of = |n: &Self| (n.in_channels, n.classes, n.activation, n.kind(), n.architecture.settings());
        of(self) == of(other)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("in_channels", &self.in_channels)?;
        map.serialize_entry("classes", &self.classes)?;
        if !self.activation.is_softmax() {
            map.serialize_entry("activation", &self.activation)?;
        }
        if Architectures::IMPLIED != Some(self.kind()) {
            map.serialize_entry(Architectures::KEY, self.kind())?;
        }
        match self.choice() {
            Some(choice) => choice.written().try_for_each(|(key, value)| map.serialize_entry(key, value))?,
            None => self.architecture.settings().iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            in_channels: usize,
            classes: usize,
            #[serde(default)]
            activation: Activation,
            #[serde(flatten)]
            architecture: Choice<Architectures>,
        }
        let Written { in_channels, classes, activation, architecture } = Written::deserialize(deserializer)?;
        // An architecture holds no name that it does not know; other values are checked with it.
        let mut mistakes = architecture.values.mistakes().into_iter();
        if let Some((key, expected, found)) = mistakes.find(|(.., found)| matches!(found, Value::Word(_))) {
            return Err(D::Error::custom(format!("key {key}: expected {expected}, found {found}")));
        }
        Ok(Self::of(in_channels, classes, architecture.build()).with_activation(activation))
    }
}

#[cfg(test)]
mod tests;
