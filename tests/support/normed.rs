//! A network in which every normalisation and activation function occurs in every place: for tests.

use vnet_engine::nn::{Architecture, Layers, NetworkError, Nonlinearity, Norm};
use vnet_engine::registry::Value;
use vnet_engine::tensor::{ShapeError, ValueId};

/// What is tried: every normalisation, each with another activation function.
pub const PAIRS: [(Norm, Nonlinearity); 6] = [
    (Norm::Instance, Nonlinearity::LeakyRelu(0.01)),
    (Norm::Instance, Nonlinearity::Prelu),
    (Norm::Group(2), Nonlinearity::Relu),
    (Norm::Batch, Nonlinearity::Elu),
    (Norm::Batch, Nonlinearity::LeakyRelu(0.1)),
    (Norm::None, Nonlinearity::Elu),
];

/// Two levels with skips; the image is normalised itself, where no convolution comes before.
#[derive(Debug)]
pub struct Normed {
    pub norm: Norm,
    pub nonlinearity: Nonlinearity,
}

impl Architecture for Normed {
    fn kind(&self) -> &'static str {
        "normed"
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    fn summary(&self) -> String {
        format!("{self:?}")
    }

    fn divisor(&self) -> [usize; 3] {
        [2; 3]
    }

    fn check(&self, _in_channels: usize) -> Result<(), NetworkError> {
        Ok(())
    }

    fn append(&self, layers: &mut Layers<'_>, image: ValueId, classes: usize) -> Result<ValueId, ShapeError> {
        let (norm, act) = (self.norm, self.nonlinearity);
        layers.begin_stage("encoder.0");
        let x = layers.norm_act(["norm.0", "act.0"], image, norm, act)?;
        let skip = layers.convolution("conv.1", x, 4, 3)?;
        let skip = layers.norm_act(["norm.1", "act.1"], skip, norm, act)?;
        layers.begin_stage("encoder.1");
        let x = layers.down(skip, 6)?;
        let x = layers.norm("norm.2", x, norm)?;
        let y = layers.nonlinearity("act.2", x, act)?;
        let y = layers.convolution("conv.3", y, 6, 3)?;
        let y = layers.norm("norm.3", y, norm)?;
        let y = layers.sum(y, x)?;
        let y = layers.nonlinearity("act.3", y, act)?;
        layers.begin_stage("decoder.0");
        let up = layers.up(y, 4)?;
        let up = layers.norm_act(["norm.4", "act.4"], up, norm, act)?;
        let x = layers.concatenate(up, skip)?;
        layers.head(x, classes)
    }
}
