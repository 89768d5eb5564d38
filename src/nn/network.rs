use super::vnet::{Appended, vnet};
use crate::graph::Graph;
use crate::tensor::{ShapeError, ValueId};
use serde::{Deserialize, Serialize};

/// A V-Net's shape: what a checkpoint's metadata says of it.
///
/// ```
/// use vnet_engine::nn::{Network, model::parameter_shapes};
///
/// let network = Network::paper(1, 2);
/// network.validate()?;
/// assert_eq!((network.levels(), network.divisor()), (5, 16));
/// let parameters = parameter_shapes(&network);
/// assert_eq!(parameters["encoder.1.down.weight"], [32, 16, 2, 2, 2]);
/// assert_eq!(parameters.values().map(|shape| shape.iter().product::<usize>()).sum::<usize>(), 65_175_314);
///
/// let error = Network { decoder: vec![1, 2], ..network }.validate().unwrap_err();
/// assert!(error.to_string().starts_with("network: encoder has 5 stages and decoder 2"));
/// # Ok::<(), vnet_engine::nn::NetworkError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Channels of the image.
    pub in_channels: usize,
    /// Classes, background included.
    pub classes: usize,
    /// Channels of level 0; each level has twice those of the one above.
    pub base: usize,
    /// 5x5x5 convolutions of the encoder's stages, level 0 first.
    pub encoder: Vec<usize>,
    /// 5x5x5 convolutions of the decoder's stages, level 0 first: one fewer than the encoder's.
    pub decoder: Vec<usize>,
}

/// A [`Network`] that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The stages do not form a V.
    #[error(
        "network: encoder has {encoder} stages and decoder {decoder}; the decoder must have exactly one fewer, and at least one"
    )]
    Stages {
        /// Stages of the encoder.
        encoder: usize,
        /// Stages of the decoder.
        decoder: usize,
    },
    /// A stage without convolutions, or more levels than extents can be halved.
    #[error("network: {key} is {found}, expected {expected}")]
    Number {
        /// Configuration key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl Network {
    /// The network of the paper: five levels of 16 to 256 channels, 65 million parameters.
    pub fn paper(in_channels: usize, classes: usize) -> Self {
        Self { in_channels, classes, base: 16, encoder: vec![1, 2, 3, 3, 3], decoder: vec![1, 2, 3, 3] }
    }

    /// Appends the network on `image` `[N, D, H, W, in_channels]`. Extents that do not divide by [`Network::divisor`] are padded
    /// with zeros, half of them (rounded down) before, and the logits are cropped back.
    ///
    /// # Errors
    /// [`ShapeError`] when the image does not have the network's channels.
    ///
    /// # Panics
    /// When the network is not [valid](Network::validate).
    pub fn append(&self, graph: &mut Graph, image: ValueId) -> Result<Appended, ShapeError> {
        vnet(graph, self, image)
    }

    /// Number of resolutions.
    pub fn levels(&self) -> usize {
        self.encoder.len()
    }

    /// Extents are padded to multiples of this: each level but the last halves them.
    pub fn divisor(&self) -> usize {
        1 << (self.levels() - 1)
    }

    /// Channels of the encoder's stage at a level.
    pub fn channels(&self, level: usize) -> usize {
        self.base << level
    }

    /// Checks that the network can be built.
    ///
    /// # Errors
    /// [`NetworkError`] that names the key.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let (encoder, decoder) = (self.encoder.len(), self.decoder.len());
        if decoder == 0 || encoder != decoder + 1 {
            return Err(NetworkError::Stages { encoder, decoder });
        }
        let number = |key, found: String, expected| Err(NetworkError::Number { key, found, expected });
        let convolutions = self.encoder.iter().chain(&self.decoder);
        if let Some(n) = convolutions.clone().find(|n| !(1..=16).contains(*n)) {
            return number("encoder or decoder", n.to_string(), "1 to 16 convolutions in each stage");
        }
        if encoder > 8 {
            return number("encoder", format!("{encoder} levels"), "at most 8 levels");
        }
        if !(2..=256).contains(&self.classes) {
            return number("classes", self.classes.to_string(), "2 to 256");
        }
        if !(1..=64).contains(&self.in_channels) {
            return number("in_channels", self.in_channels.to_string(), "1 to 64");
        }
        if !(1..=256).contains(&self.base) || self.in_channels > self.base {
            return number("base", self.base.to_string(), "1 to 256, at least in_channels");
        }
        Ok(())
    }
}
