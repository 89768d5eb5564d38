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
//!
//! The image has fewer channels than the first stage. Where they divide `base`, they are repeated, as in the paper: channel c of the
//! sum takes channel c mod Cin. Where they do not, a cut repetition would give the first ones more weight, so the residual is a
//! trained 1x1x1 convolution with a bias, `encoder.0.project`: the projection shortcut of He et al. (2015, *Deep Residual Learning
//! for Image Recognition*, option B).
//!
//! That is [`VNet`], the paper's. A [`Variant`] has a normalisation after every convolution but the projection and the head,
//! before the sum, another activation, dropout, logits of lower resolutions, and kernels and strides per level and axis.

use super::model::Tensor;
use super::options::{self, Defaults, Options};
use super::{Architecture, Architectures, Convolution, Layers, NetworkError, Nonlinearity, Norm};
use crate::ops::TileChannels;
use crate::registry::{Entry, Hyperparameter, Hyperparameters, Value};
use crate::tensor::{ShapeError, ValueId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the paper has.
const DEFAULTS: Defaults = Defaults { normalisation: Norm::None, nonlinearity: Nonlinearity::Prelu, kernel: 5 };

/// Name of the first stage's projection, where it has one.
const PROJECTION: &str = "project";

/// Shape of a V-Net; by itself that of the paper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VNet {
    /// Channels of level 0; each level has twice those of the one above.
    pub base: usize,
    /// Convolutions of the encoder's stages, level 0 first: 5x5x5 unless [`Options::kernels`] says otherwise.
    pub encoder: Vec<usize>,
    /// Those of the decoder's stages, level 0 first: one fewer than the encoder's.
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

static STYLE: Hyperparameter =
    Hyperparameter::word("style", "paper", &["paper", "monai"], "`paper` or `monai`").later();

const fn keys() -> [&'static Hyperparameter; 11] {
    let [a, b, c, d, e, f, g] = options::KEYS;
    [&BASE, &ENCODER, &DECODER, a, b, c, d, e, f, g, &STYLE]
}

pub(super) const VNET: Entry<Architectures> =
    Entry { name: "vnet", hyperparameters: &keys(), build: |values| Arc::new(Variant::from(values)), variants: &[] };

/// Which V-Net a variant follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// The paper's.
    Paper,
    /// MONAI's (`monai/networks/nets/vnet.py`): below the first stage the last convolution of a stage has an activation before
    /// the sum as well, and a convolution, a normalisation and an activation stand before the head.
    Monai,
}

/// A V-Net with options.
///
/// ```
/// use vnet_engine::nn::vnet::VNet;
/// use vnet_engine::nn::{Network, Norm};
///
/// let mut normalised = VNet::paper().variant();
/// normalised.options.normalisation = Norm::Instance;
/// let network = Network::new(1, 2, normalised);
/// network.validate()?;
/// assert_eq!(network.summary(), "V-Net base 16, 5 levels, instance normalisation");
/// let text = serde_json::to_string(&network).expect("JSON");
/// assert!(text.ends_with(r#""decoder":[1,2,3,3],"normalisation":"instance"}"#));
/// # Ok::<(), vnet_engine::nn::NetworkError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Channels and convolutions.
    pub shape: VNet,
    /// What stands between the convolutions, and the geometry of the levels.
    pub options: Options,
    /// Which V-Net is followed.
    pub style: Style,
}

impl From<&Hyperparameters<Architectures>> for Variant {
    fn from(values: &Hyperparameters<Architectures>) -> Self {
        let [encoder, decoder] = ["encoder", "decoder"].map(|key| values.counts(key));
        let style = if values.word("style") == "monai" { Style::Monai } else { Style::Paper };
        let shape = VNet { base: values.count("base"), encoder, decoder };
        Self { shape, options: Options::read(values, DEFAULTS), style }
    }
}

impl VNet {
    /// The network of the paper: five levels of 16 to 256 channels, 65 million parameters.
    pub fn paper() -> Self {
        Self { base: 16, encoder: vec![1, 2, 3, 3, 3], decoder: vec![1, 2, 3, 3] }
    }

    /// The same network, of which options can be changed.
    pub fn variant(self) -> Variant {
        Variant { shape: self, options: Options::of(DEFAULTS), style: Style::Paper }
    }

    /// Whether the first stage's residual is the image with its channels repeated, else a projection.
    fn tiles(&self, in_channels: usize) -> bool {
        self.base.is_multiple_of(in_channels)
    }

    /// Channels of the encoder's stage at a level.
    fn channels(&self, level: usize) -> usize {
        self.base << level
    }
}

/// That of the [`Variant`] without options.
impl Architecture for VNet {
    fn kind(&self) -> &'static str {
        VNET.name
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        self.clone().variant().settings()
    }

    fn summary(&self) -> String {
        self.clone().variant().summary()
    }

    fn divisor(&self) -> [usize; 3] {
        self.clone().variant().divisor()
    }

    fn width(&self) -> Option<&'static str> {
        self.clone().variant().width()
    }

    fn check(&self, in_channels: usize) -> Result<(), NetworkError> {
        self.clone().variant().check(in_channels)
    }

    fn append(&self, layers: &mut Layers<'_>, image: ValueId, classes: usize) -> Result<ValueId, ShapeError> {
        self.clone().variant().append(layers, image, classes)
    }

    fn complete(&self, in_channels: usize, tensors: &mut BTreeMap<String, Tensor>) {
        self.clone().variant().complete(in_channels, tensors);
    }

    fn projection(&self, in_channels: usize) -> Vec<(String, Tensor)> {
        self.clone().variant().projection(in_channels)
    }

    fn torch_module(&self) -> Option<&'static str> {
        self.clone().variant().torch_module()
    }
}

impl Architecture for Variant {
    fn kind(&self) -> &'static str {
        VNET.name
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        let shape = [
            ("base", (self.shape.base as u64).into()),
            ("encoder", self.shape.encoder[..].into()),
            ("decoder", self.shape.decoder[..].into()),
        ];
        let style = if self.style == Style::Monai { "monai" } else { "paper" };
        shape.into_iter().chain(self.options.settings(DEFAULTS)).chain([("style", style.into())]).collect()
    }

    fn summary(&self) -> String {
        let VNet { base, encoder, .. } = &self.shape;
        let style = if self.style == Style::Monai { ", as MONAI's" } else { "" };
        format!("V-Net base {base}, {} levels{style}{}", encoder.len(), self.options.summary(DEFAULTS))
    }

    fn divisor(&self) -> [usize; 3] {
        self.options.divisor(self.shape.encoder.len())
    }

    fn width(&self) -> Option<&'static str> {
        Some("base")
    }

    fn check(&self, _in_channels: usize) -> Result<(), NetworkError> {
        let (encoder, decoder) = (self.shape.encoder.len(), self.shape.decoder.len());
        if decoder == 0 || encoder != decoder + 1 {
            return Err(NetworkError::Settings(format!(
                "encoder has {encoder} stages and decoder {decoder}; the decoder must have exactly one fewer, and at least one"
            )));
        }
        if let (Style::Monai, Norm::Group(groups @ 2..)) = (self.style, self.options.normalisation) {
            return Err(NetworkError::Settings(format!(
                "groups is {groups}, expected 1 with style monai, which normalises the outputs as well"
            )));
        }
        self.options.check(encoder, (0..encoder).map(|level| self.shape.channels(level)))
    }

    fn append(&self, layers: &mut Layers<'_>, image: ValueId, classes: usize) -> Result<ValueId, ShapeError> {
        let mut x = image;
        let mut skips = Vec::new();
        for (level, &convolutions) in self.shape.encoder.iter().enumerate() {
            layers.begin_stage(format!("encoder.{level}"));
            let (input, residual) = self.encoder_input(layers, x, level)?;
            let input = if self.is_deep(level) { self.options.drop_out(layers, "dropout", input)? } else { input };
            let convolution = self.convolution(level, self.shape.channels(level));
            // The first stage of MONAI's is the paper's.
            let style = if level == 0 { Style::Paper } else { self.style };
            x = self.stage(layers, [input, residual], convolutions, convolution, style)?;
            skips.push(x);
        }
        skips.pop();
        for (level, &convolutions) in self.shape.decoder.iter().enumerate().rev() {
            let channels = self.shape.channels(level);
            layers.begin_stage(format!("decoder.{level}"));
            if self.is_deep(level + 1) {
                x = self.options.drop_out(layers, "dropout", x)?;
            }
            let stride = self.options.stride(level + 1);
            let up = Convolution::new(channels, stride).stride(stride).bias(self.options.has_bias());
            let up = layers.transposed("up", x, up)?;
            let up = self.options.norm_act(layers, ["up_norm", "up_act"], up)?;
            let skip =
                self.options.drop_out(layers, "skip_dropout", skips.pop().expect("one skip per decoder stage"))?;
            x = layers.concatenate(up, skip)?;
            x = self.stage(layers, [x, x], convolutions, self.convolution(level, 2 * channels), self.style)?;
            if self.options.deep_supervision && level > 0 {
                layers.auxiliary_head(&format!("auxiliary.{level}"), x, classes)?;
            }
        }
        if self.style == Style::Monai {
            layers.begin_stage("output");
            x = layers.convolve("conv", x, self.convolution(0, classes))?;
            x = self.options.norm_act(layers, ["norm", "act"], x)?;
        }
        layers.head(x, classes)
    }

    /// Earlier versions repeated channels that do not divide `base` as well, and cut the last repetition: a projection with
    /// ones there computes the same.
    fn complete(&self, in_channels: usize, tensors: &mut BTreeMap<String, Tensor>) {
        let is_missing = || self.projection(in_channels).iter().all(|(name, _)| !tensors.contains_key(name));
        // More channels than `base` were refused.
        if in_channels < self.shape.base && !self.shape.tiles(in_channels) && is_missing() {
            tensors.extend(self.projection(in_channels));
        }
    }

    /// Weight, with a one where channel c of the result takes channel c mod Cin, and bias.
    fn projection(&self, in_channels: usize) -> Vec<(String, Tensor)> {
        let one = |i: usize| f32::from(u8::from(i % in_channels == i / in_channels % in_channels));
        let weight = (0..self.shape.base * in_channels).map(one).collect();
        let name = |part: &str| format!("encoder.0.{PROJECTION}.{part}");
        vec![
            (name("weight"), Tensor { shape: vec![self.shape.base, in_channels, 1, 1, 1], data: weight }),
            (name("bias"), Tensor { shape: vec![self.shape.base], data: vec![0.0; self.shape.base] }),
        ]
    }

    fn torch_module(&self) -> Option<&'static str> {
        Some(concat!(include_str!("vnet_module.py"), include_str!("module_end.py")))
    }
}

impl Variant {
    /// A convolution of a level's stages.
    fn convolution(&self, level: usize, channels: usize) -> Convolution {
        Convolution::new(channels, self.options.kernel(level, DEFAULTS)).bias(self.options.has_bias())
    }

    /// Whether dropout takes channels of what goes into a level: the last two of more than two, as in MONAI's.
    fn is_deep(&self, level: usize) -> bool {
        level > 0 && level + 2 >= self.shape.encoder.len()
    }

    /// The input of an encoder's convolutions, and what is added behind them.
    fn encoder_input(
        &self,
        layers: &mut Layers<'_>,
        x: ValueId,
        level: usize,
    ) -> Result<(ValueId, ValueId), ShapeError> {
        let channels = self.shape.channels(level);
        if level == 0 {
            let residual = if self.shape.tiles(layers.graph().spec(x).channels()) {
                layers.add("tile", TileChannels { channels }, &[x])?
            } else {
                layers.convolution(PROJECTION, x, channels, 1)?
            };
            return Ok((x, residual));
        }
        let stride = self.options.stride(level);
        let down = Convolution::new(channels, stride).stride(stride).bias(self.options.has_bias());
        let down = layers.convolve("down", x, down)?;
        let down = self.options.norm_act(layers, ["down_norm", "down_act"], down)?;
        Ok((down, down))
    }

    /// A stage, of one convolution at least: the second value is added before the last activation.
    fn stage(
        &self,
        layers: &mut Layers<'_>,
        [mut x, residual]: [ValueId; 2],
        convolutions: usize,
        convolution: Convolution,
        style: Style,
    ) -> Result<ValueId, ShapeError> {
        let last = convolutions - 1;
        for j in 0..convolutions {
            x = layers.convolve(&format!("conv.{j}"), x, convolution)?;
            let [norm, act] = [format!("norm.{j}"), format!("act.{j}")];
            if j < last || style == Style::Monai {
                x = self.options.norm_act(layers, [&norm, &act], x)?;
            } else {
                x = self.options.norm(layers, &norm, x)?;
            }
        }
        let sum = layers.sum(x, residual)?;
        let act = if style == Style::Monai { "sum_act".to_owned() } else { format!("act.{last}") };
        self.options.activate(layers, &act, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, interpret};
    use crate::nn::model::parameter_shapes;
    use crate::nn::{InferenceGraph, Mode, Network, receptive_fields};
    use crate::tensor::HostTensor;
    use std::collections::HashMap;

    fn network(in_channels: usize, base: usize) -> Network {
        Network::new(in_channels, 2, VNet { base, encoder: vec![2, 1], decoder: vec![1] })
    }

    #[test]
    fn channels_are_repeated_where_they_divide_base_and_projected_elsewhere() {
        for base in [4, 8, 16] {
            for in_channels in [1, 2, 3, 4, 5, 64] {
                let network = network(in_channels, base);
                network.validate().expect("any number of channels");
                let shapes = parameter_shapes(&network);
                let tiles = base.is_multiple_of(in_channels);
                assert_eq!(shapes["encoder.0.conv.0.weight"], [base, in_channels, 5, 5, 5]);
                let projection = [base, in_channels, 1, 1, 1];
                let expected = if tiles { None } else { Some(&projection[..]) };
                assert_eq!(shapes.get("encoder.0.project.weight").map(Vec::as_slice), expected);
                assert_eq!(shapes.contains_key("encoder.0.project.bias"), !tiles);
                // A projection sees one voxel: the receptive fields are those of the convolutions.
                let of = |network: &Network| {
                    receptive_fields(&InferenceGraph::new(network, 1, [4; 3]).expect("valid").layers)
                };
                assert_eq!(of(&network), of(&super::tests::network(1, base)));
            }
        }
    }

    /// The residual of a model of an earlier version, channel c of which took channel c mod Cin of the image.
    #[test]
    fn a_projection_with_ones_repeats_the_channels() {
        let (in_channels, base) = (3, 8);
        let mut tensors = BTreeMap::new();
        network(in_channels, base).architecture().complete(in_channels, &mut tensors);
        let mut graph = Graph::new();
        let image = graph.input("image", crate::tensor::TensorSpec::f32([1, 2, 2, 2, in_channels]));
        network(in_channels, base).append(&mut graph, image, Mode::Inference).expect("valid");
        let feeds: HashMap<ValueId, HostTensor> = (graph.parameters().iter())
            .map(|p| {
                let spec = graph.spec(p.value).clone();
                let given = tensors.get(&p.name).map(|tensor| p.layout.from_torch(&tensor.data, &spec.shape));
                let data =
                    given.map_or_else(|| vec![0.0; spec.elements()], |data| data.into_iter().map(f64::from).collect());
                (p.value, HostTensor::new(spec, data))
            })
            .chain([(image, HostTensor::from_fn(vec![1, 2, 2, 2, in_channels], |i| i as f64 + 0.5))])
            .collect();
        let values = interpret(&graph, &feeds).expect("every input is fed");
        let projected = graph.nodes().iter().find(|node| node.name == "encoder.0.project").expect("a projection");
        let projected = &values[projected.outputs[0].index()];
        for (row, image) in projected.data.chunks_exact(base).zip(feeds[&image].data.chunks_exact(in_channels)) {
            assert_eq!(row, [0, 1, 2, 0, 1, 2, 0, 1].map(|c| image[c]));
        }
        let complete = tensors.clone();
        network(in_channels, base).architecture().complete(in_channels, &mut tensors);
        assert_eq!(tensors, complete, "nothing is added to what is there");
        network(4, base).architecture().complete(4, &mut tensors);
        assert_eq!(tensors, complete, "channels that divide need no projection");
        let mut none = BTreeMap::new();
        network(5, 4).architecture().complete(5, &mut none);
        assert!(none.is_empty(), "no earlier version took more channels than base");
    }
}
