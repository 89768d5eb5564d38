//! A small network with auxiliary heads, dropout, pooling and up-sampling of both kinds.

use vnet_engine::nn::{Architecture, Layers, NetworkError};
use vnet_engine::registry::Value;
use vnet_engine::tensor::{ShapeError, ValueId};

/// Three levels with windows of 1x2x2 and 2x2x1, and heads at both lower resolutions.
#[derive(Debug)]
pub struct Supervised {
    /// Probability of dropout.
    pub rate: f32,
}

impl Architecture for Supervised {
    fn kind(&self) -> &'static str {
        "supervised_test"
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    fn summary(&self) -> String {
        "a network with deep supervision".to_owned()
    }

    fn divisor(&self) -> [usize; 3] {
        [2, 4, 2]
    }

    fn check(&self, _in_channels: usize) -> Result<(), NetworkError> {
        Ok(())
    }

    fn append(&self, layers: &mut Layers<'_>, image: ValueId, classes: usize) -> Result<ValueId, ShapeError> {
        layers.begin_stage("encoder.0");
        let top = block(layers, image, 4)?;
        layers.begin_stage("encoder.1");
        let pooled = layers.average_pool("pool", top, [1, 2, 2])?;
        let middle = block(layers, pooled, 6)?;
        let middle = layers.dropout("drop", middle, self.rate)?;
        layers.begin_stage("encoder.2");
        let pooled = layers.average_pool("pool", middle, [2, 2, 1])?;
        let bottom = block(layers, pooled, 8)?;
        let bottom = layers.dropout_elements("drop", bottom, self.rate)?;
        layers.auxiliary_head("aux.2", bottom, classes)?;
        layers.begin_stage("decoder.1");
        let up = layers.upsample("up", bottom, [2, 2, 1])?;
        let joined = layers.concatenate(up, middle)?;
        let middle = block(layers, joined, 6)?;
        layers.auxiliary_head("aux.1", middle, classes)?;
        layers.begin_stage("decoder.0");
        let up = layers.upsample_nearest("up", middle, [1, 2, 2])?;
        let joined = layers.concatenate(up, top)?;
        let top = block(layers, joined, 4)?;
        layers.head(top, classes)
    }
}

fn block(layers: &mut Layers<'_>, x: ValueId, channels: usize) -> Result<ValueId, ShapeError> {
    let y = layers.convolution("conv", x, channels, 3)?;
    layers.prelu("act", y)
}
