//! V-Net (Milletari, Navab and Ahmadi 2016, Fig. 2).
//!
//! ```text
//! x -- encoder.0 ------------------------------ skip --> decoder.0 -- head --> logits
//!         `- down - encoder.1 ----------- skip --> decoder.1 - up -'
//!                     `- down - encoder.2 ... decoder.2 - up -'
//! ```
//!
//! A stage is a row of 5x5x5 convolutions, each followed by a PReLU per channel; the stage's input is added to the last
//! convolution's output before its PReLU.

use super::{Architecture, Architectures, Layers, NetworkError};
use crate::ops::TileChannels;
use crate::registry::{Entry, Hyperparameter, Hyperparameters, Value};
use crate::tensor::{ShapeError, ValueId};
use std::sync::Arc;

/// Extent of the stages' kernels.
const KERNEL: usize = 5;

/// Shape of a V-Net.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VNet {
    /// Channels of level 0; each level has twice those of the one above.
    pub base: usize,
    /// 5x5x5 convolutions of the encoder's stages, level 0 first.
    pub encoder: Vec<usize>,
    /// 5x5x5 convolutions of the decoder's stages, level 0 first: one fewer than the encoder's.
    pub decoder: Vec<usize>,
}

static BASE: Hyperparameter = Hyperparameter::whole("base", 16, "1 to 256", |value| (1..=256).contains(&value));

static ENCODER: Hyperparameter =
    Hyperparameter::counts("encoder", &[1, 2, 3, 3, 3], "1 to 16 convolutions in each of 2 to 8 stages", is_side);

static DECODER: Hyperparameter =
    Hyperparameter::counts("decoder", &[1, 2, 3, 3], "1 to 16 convolutions in each of up to 7 stages", is_side);

/// Whether these are stages, of the encoder or of the decoder.
fn is_side(stages: &[u64]) -> bool {
    stages.len() <= 8 && stages.iter().all(|convolutions| (1..=16).contains(convolutions))
}

pub(super) const VNET: Entry<Architectures> = Entry {
    name: "vnet",
    hyperparameters: &[&BASE, &ENCODER, &DECODER],
    build: |values| Arc::new(VNet::from(values)),
    variants: &[],
};

impl From<&Hyperparameters<Architectures>> for VNet {
    fn from(values: &Hyperparameters<Architectures>) -> Self {
        let [encoder, decoder] = ["encoder", "decoder"].map(|key| values.counts(key));
        Self { base: values.count("base"), encoder, decoder }
    }
}

impl VNet {
    /// The network of the paper: five levels of 16 to 256 channels, 65 million parameters.
    pub fn paper() -> Self {
        Self { base: 16, encoder: vec![1, 2, 3, 3, 3], decoder: vec![1, 2, 3, 3] }
    }

    /// Channels of the encoder's stage at a level.
    fn channels(&self, level: usize) -> usize {
        self.base << level
    }
}

impl Architecture for VNet {
    fn kind(&self) -> &'static str {
        VNET.name
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("base", (self.base as u64).into()),
            ("encoder", self.encoder[..].into()),
            ("decoder", self.decoder[..].into()),
        ]
    }

    fn summary(&self) -> String {
        format!("V-Net base {}, {} levels", self.base, self.encoder.len())
    }

    /// Each level but the last halves the extents.
    fn divisor(&self) -> [usize; 3] {
        [1 << self.encoder.len().saturating_sub(1); 3]
    }

    fn width(&self) -> Option<&'static str> {
        Some("base")
    }

    fn check(&self, in_channels: usize) -> Result<(), NetworkError> {
        let (encoder, decoder) = (self.encoder.len(), self.decoder.len());
        if decoder == 0 || encoder != decoder + 1 {
            return Err(NetworkError::Settings(format!(
                "encoder has {encoder} stages and decoder {decoder}; the decoder must have exactly one fewer, and at least one"
            )));
        }
        if in_channels > self.base {
            let (found, expected) = (self.base.to_string(), "at least in_channels");
            return Err(NetworkError::Setting { key: "base", found, expected });
        }
        Ok(())
    }

    fn append(&self, layers: &mut Layers<'_>, image: ValueId, classes: usize) -> Result<ValueId, ShapeError> {
        let mut x = image;
        let mut skips = Vec::new();
        for (level, &convolutions) in self.encoder.iter().enumerate() {
            let channels = self.channels(level);
            layers.begin_stage(format!("encoder.{level}"));
            let residual = match level {
                // The image repeated along channels, so that it can be added to the first stage's output.
                0 => layers.add("tile", TileChannels { channels }, &[x])?,
                _ => {
                    let down = layers.down(x, channels)?;
                    x = layers.prelu("down_act", down)?;
                    x
                }
            };
            x = stage(layers, x, residual, convolutions, channels)?;
            skips.push(x);
        }
        skips.pop();
        for (level, &convolutions) in self.decoder.iter().enumerate().rev() {
            let channels = self.channels(level);
            layers.begin_stage(format!("decoder.{level}"));
            let up = layers.up(x, channels)?;
            let up = layers.prelu("up_act", up)?;
            x = layers.concatenate(up, skips.pop().expect("one skip per decoder stage"))?;
            x = stage(layers, x, x, convolutions, 2 * channels)?;
        }
        layers.head(x, classes)
    }

    fn torch_module(&self) -> Option<&'static str> {
        Some(include_str!("vnet_module.py"))
    }
}

/// A stage: `residual` is added before the last PReLU.
fn stage(
    layers: &mut Layers<'_>,
    mut x: ValueId,
    residual: ValueId,
    convolutions: usize,
    channels: usize,
) -> Result<ValueId, ShapeError> {
    for j in 0..convolutions {
        x = layers.convolution(&format!("conv.{j}"), x, channels, KERNEL)?;
        if j + 1 == convolutions {
            x = layers.sum(x, residual)?;
        }
        x = layers.prelu(&format!("act.{j}"), x)?;
    }
    Ok(x)
}
