//! The U-Nets of nnU-Net: its residual encoder and its plain one (Isensee et al. 2021, *nnU-Net*; Isensee et al. 2024, *nnU-Net
//! Revisited*), with the names of their parameters.
//!
//! ```text
//! x -- stem -- stages.0 ------------------------ skip --> stages.n -- head --> logits
//!                 `- stages.1 ------- skip --> stages.n-1 - transpconvs.n -'
//!                       `- stages.2 ... stages.0 - transpconvs.n-1 -'
//! ```
//!
//! A unit is a convolution, a normalisation and an activation. A plain stage is a row of units, the first of which has the
//! stride. A residual stage is a row of blocks of two units: the input, averaged over windows of the stride and projected where
//! the channels differ, is added before the second activation (He et al. 2019, *Bag of tricks*, ResNet-D). A decoder's stage is a
//! transposed convolution whose kernel is its stride, the skip behind it, and a row of units.
//!
//! A unit's convolution has no bias where each channel is normalised by itself: it would be taken away again. That of
//! `dynamic-network-architectures` has one, which changes nothing.

use super::options::{self, Defaults, LEAKY_SLOPE, Options};
use super::{Architecture, Architectures, Convolution, Layers, NetworkError, Nonlinearity, Norm};
use crate::graph::Initial;
use crate::registry::{Entry, Hyperparameter, Hyperparameters, Value};
use crate::tensor::{ShapeError, ValueId};
use std::sync::Arc;

/// What the encoder's stages are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoder {
    /// Blocks of two units with a shortcut: `ResidualEncoderUNet`.
    Residual,
    /// Units: `PlainConvUNet`.
    Plain,
}

/// Shape of a U-Net.
#[derive(Debug, Clone, PartialEq)]
pub struct UNet {
    /// What the encoder's stages are made of.
    pub encoder: Encoder,
    /// Channels of level 0; each level has twice those of the one above, up to `most_features`.
    pub features: usize,
    /// Channels of a level, at most.
    pub most_features: usize,
    /// Blocks, or units of a plain encoder, of each stage, level 0 first.
    pub blocks: Vec<usize>,
    /// Units of each stage of the decoder, level 0 first, one stage fewer than `blocks`; empty: one each, with a plain encoder two.
    pub decoder_units: Vec<usize>,
    /// What stands between the convolutions, and the geometry of the levels.
    pub options: Options,
}

const DEFAULTS: Defaults =
    Defaults { normalisation: Norm::Instance, nonlinearity: Nonlinearity::LeakyRelu(LEAKY_SLOPE), kernel: 3 };

static FEATURES: Hyperparameter = Hyperparameter::whole("features", 32, "1 to 256", |value| (1..=256).contains(&value));

static MOST_FEATURES: Hyperparameter =
    Hyperparameter::whole("most_features", 320, "1 to 1024", |value| (1..=1024).contains(&value));

static BLOCKS: Hyperparameter =
    Hyperparameter::counts("blocks", &[1, 3, 4, 6, 6, 6], "1 to 16 blocks in each of 2 to 8 stages", is_encoder);

static UNITS: Hyperparameter =
    Hyperparameter::counts("units", &[2, 2, 2, 2, 2, 2], "1 to 16 units in each of 2 to 8 stages", is_encoder);

static DECODER_UNITS: Hyperparameter =
    Hyperparameter::counts("decoder_units", &[], "none, or 1 to 16 units in each of up to 7 stages", |stages| {
        stages.len() <= 7 && stages.iter().all(|units| (1..=16).contains(units))
    })
    .later();

/// Whether these are stages of an encoder.
fn is_encoder(stages: &[u64]) -> bool {
    (2..=8).contains(&stages.len()) && stages.iter().all(|blocks| (1..=16).contains(blocks))
}

const fn keys(blocks: &'static Hyperparameter) -> [&'static Hyperparameter; 11] {
    let [a, b, c, d, e, f, g] = options::KEYS;
    [&FEATURES, &MOST_FEATURES, blocks, &DECODER_UNITS, a, b, c, d, e, f, g]
}

pub(super) const RESIDUAL_UNET: Entry<Architectures> = Entry {
    name: "residual_unet",
    hyperparameters: &keys(&BLOCKS),
    build: |values| Arc::new(UNet::read(Encoder::Residual, values)),
    variants: &[],
};

pub(super) const UNET: Entry<Architectures> = Entry {
    name: "unet",
    hyperparameters: &keys(&UNITS),
    build: |values| Arc::new(UNet::read(Encoder::Plain, values)),
    variants: &[],
};

impl UNet {
    /// nnU-Net's `ResEnc` networks: so many blocks per stage, 32 to 320 channels, one unit in each stage of the decoder.
    pub fn residual(blocks: &[usize]) -> Self {
        let (encoder, decoder_units, options) = (Encoder::Residual, Vec::new(), Options::of(DEFAULTS));
        Self { encoder, features: 32, most_features: 320, blocks: blocks.to_vec(), decoder_units, options }
    }

    /// nnU-Net's default network: so many units per stage, two in each stage of the decoder.
    pub fn plain(units: &[usize]) -> Self {
        Self { encoder: Encoder::Plain, ..Self::residual(units) }
    }

    fn read(encoder: Encoder, values: &Hyperparameters<Architectures>) -> Self {
        Self {
            encoder,
            features: values.count("features"),
            most_features: values.count("most_features"),
            blocks: values.counts(encoder.key()),
            decoder_units: values.counts("decoder_units"),
            options: Options::read(values, DEFAULTS),
        }
    }

    /// Channels of a level.
    fn channels(&self, level: usize) -> usize {
        (self.features << level).min(self.most_features)
    }

    /// Units of a stage of the decoder.
    fn decoder_units(&self, level: usize) -> usize {
        let default = if self.encoder == Encoder::Residual { 1 } else { 2 };
        self.decoder_units.get(level).copied().unwrap_or(default)
    }

    fn kernel(&self, level: usize) -> [usize; 3] {
        self.options.kernel(level, DEFAULTS)
    }

    /// A convolution, a normalisation and, where wanted, dropout and activation.
    fn unit(
        &self,
        layers: &mut Layers<'_>,
        name: &str,
        x: ValueId,
        convolution: Convolution,
        is_active: bool,
    ) -> Result<ValueId, ShapeError> {
        let options = &self.options;
        let mut x = layers.convolve(&format!("{name}.conv"), x, convolution)?;
        if !is_active {
            return options.norm(layers, &format!("{name}.norm"), x);
        }
        x = options.drop_out(layers, &format!("{name}.dropout"), x)?;
        options.norm_act(layers, [&format!("{name}.norm"), &format!("{name}.nonlin")], x)
    }

    /// A row of units, of which the first has the stride.
    fn units(
        &self,
        layers: &mut Layers<'_>,
        name: &str,
        mut x: ValueId,
        units: usize,
        first: Convolution,
    ) -> Result<ValueId, ShapeError> {
        for unit in 0..units {
            let stride = if unit == 0 { first.stride } else { [1; 3] };
            x = self.unit(layers, &format!("{name}.convs.{unit}"), x, first.stride(stride), true)?;
        }
        Ok(x)
    }

    /// `BasicBlockD`.
    fn block(
        &self,
        layers: &mut Layers<'_>,
        name: &str,
        x: ValueId,
        first: Convolution,
    ) -> Result<ValueId, ShapeError> {
        let y = self.unit(layers, &format!("{name}.conv1"), x, first, true)?;
        let y = self.unit(layers, &format!("{name}.conv2"), y, first.stride(1), false)?;
        self.begin_as_shortcut(layers, &format!("{name}.conv2.norm"));
        let (mut shortcut, mut place) = (x, 0);
        if first.stride != [1; 3] {
            shortcut = layers.average_pool(&format!("{name}.skip.0"), shortcut, first.stride)?;
            place = 1;
        }
        if layers.graph().spec(x).channels() != first.channels {
            // A bias only where it has to be there for batch normalisation to be folded into it.
            let point = Convolution::new(first.channels, 1).bias(self.options.normalisation == Norm::Batch);
            shortcut = self.unit(layers, &format!("{name}.skip.{place}"), shortcut, point, false)?;
        }
        let sum = layers.sum(y, shortcut)?;
        self.options.activate(layers, &format!("{name}.nonlin2"), sum)
    }

    /// Lets the normalisation before the sum begin with zeros, so that a block begins as its shortcut (nnU-Net's
    /// `init_last_bn_before_add_to_0`).
    fn begin_as_shortcut(&self, layers: &mut Layers<'_>, norm: &str) {
        let graph = layers.graph();
        let weight = graph.parameters().iter().rfind(|p| p.name.ends_with(&format!("{norm}.weight"))).map(|p| p.value);
        if let (Some(weight), true) = (weight, self.options.normalisation != Norm::None) {
            graph.set_initial(weight, |_| Initial::Constant(0.0));
        }
    }
}

impl Encoder {
    /// The key of the stages.
    fn key(self) -> &'static str {
        match self {
            Self::Residual => "blocks",
            Self::Plain => "units",
        }
    }
}

impl Architecture for UNet {
    fn kind(&self) -> &'static str {
        match self.encoder {
            Encoder::Residual => RESIDUAL_UNET.name,
            Encoder::Plain => UNET.name,
        }
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        let own = [
            ("features", (self.features as u64).into()),
            ("most_features", (self.most_features as u64).into()),
            (self.encoder.key(), self.blocks[..].into()),
            ("decoder_units", self.decoder_units[..].into()),
        ];
        own.into_iter().chain(self.options.settings(DEFAULTS)).collect()
    }

    fn summary(&self) -> String {
        let title = if self.encoder == Encoder::Residual { "residual U-Net" } else { "U-Net" };
        let (levels, options) = (self.blocks.len(), self.options.summary(DEFAULTS));
        format!("{title} {} to {} features, {levels} levels{options}", self.features, self.channels(levels - 1))
    }

    fn divisor(&self) -> [usize; 3] {
        self.options.divisor(self.blocks.len())
    }

    fn width(&self) -> Option<&'static str> {
        Some("features")
    }

    fn check(&self, _in_channels: usize) -> Result<(), NetworkError> {
        let (levels, decoder) = (self.blocks.len(), self.decoder_units.len());
        if decoder != 0 && levels != decoder + 1 {
            return Err(NetworkError::Settings(format!(
                "decoder_units has {decoder} stages and {} {levels}; the decoder must have exactly one fewer",
                self.encoder.key()
            )));
        }
        self.options.check(levels, (0..levels).map(|level| self.channels(level)))
    }

    fn append(&self, layers: &mut Layers<'_>, image: ValueId, classes: usize) -> Result<ValueId, ShapeError> {
        let (levels, has_bias) = (self.blocks.len(), self.options.has_bias());
        let convolution = |level| Convolution::new(self.channels(level), self.kernel(level)).bias(has_bias);
        let mut x = image;
        let mut skips = Vec::new();
        for (level, &blocks) in self.blocks.iter().enumerate() {
            layers.begin_stage_of(format!("encoder.{level}"), "encoder");
            let (first, stage) = (convolution(level).stride(self.options.stride(level)), format!("stages.{level}"));
            match self.encoder {
                Encoder::Plain => x = self.units(layers, &format!("{stage}.0"), x, blocks, first)?,
                Encoder::Residual => {
                    if level == 0 {
                        x = self.units(layers, "stem", x, 1, convolution(0))?;
                    }
                    for block in 0..blocks {
                        let first = if block == 0 { first } else { first.stride(1) };
                        x = self.block(layers, &format!("{stage}.blocks.{block}"), x, first)?;
                    }
                }
            }
            skips.push(x);
        }
        skips.pop();
        while let Some(skip) = skips.pop() {
            let level = skips.len();
            // Stages of the decoder are numbered from the deepest.
            let stage = levels - 2 - level;
            layers.begin_stage_of(format!("decoder.{level}"), "decoder");
            let stride = self.options.stride(level + 1);
            let up = Convolution::new(self.channels(level), stride).stride(stride);
            x = layers.transposed(&format!("transpconvs.{stage}"), x, up)?;
            x = layers.concatenate(x, skip)?;
            x = self.units(layers, &format!("stages.{stage}"), x, self.decoder_units(level), convolution(level))?;
            if self.options.deep_supervision && level > 0 {
                layers.auxiliary_head(&format!("decoder.seg_layers.{stage}"), x, classes)?;
            }
        }
        layers.head(x, classes)
    }

    fn torch_module(&self) -> Option<&'static str> {
        Some(concat!(include_str!("unet_module.py"), include_str!("module_end.py")))
    }
}
