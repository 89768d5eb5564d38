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

use super::model::Tensor;
use super::{Architecture, Architectures, Layers, NetworkError};
use crate::ops::TileChannels;
use crate::registry::{Entry, Hyperparameter, Hyperparameters, Value};
use crate::tensor::{ShapeError, ValueId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Extent of the stages' kernels.
const KERNEL: usize = 5;

/// Name of the first stage's projection, where it has one.
const PROJECTION: &str = "project";

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

    /// Whether the first stage's residual is the image with its channels repeated, else a projection.
    fn tiles(&self, in_channels: usize) -> bool {
        self.base.is_multiple_of(in_channels)
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

    fn check(&self, _in_channels: usize) -> Result<(), NetworkError> {
        let (encoder, decoder) = (self.encoder.len(), self.decoder.len());
        if decoder == 0 || encoder != decoder + 1 {
            return Err(NetworkError::Settings(format!(
                "encoder has {encoder} stages and decoder {decoder}; the decoder must have exactly one fewer, and at least one"
            )));
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
                0 if self.tiles(layers.graph().spec(x).channels()) => {
                    layers.add("tile", TileChannels { channels }, &[x])?
                }
                0 => layers.convolution(PROJECTION, x, channels, 1)?,
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

    /// Earlier versions repeated channels that do not divide `base` as well, and cut the last repetition: a projection with
    /// ones there computes the same.
    fn complete(&self, in_channels: usize, tensors: &mut BTreeMap<String, Tensor>) {
        let is_missing = || self.projection(in_channels).iter().all(|(name, _)| !tensors.contains_key(name));
        // More channels than `base` were refused.
        if in_channels < self.base && !self.tiles(in_channels) && is_missing() {
            tensors.extend(self.projection(in_channels));
        }
    }

    /// Weight, with a one where channel c of the result takes channel c mod Cin, and bias.
    fn projection(&self, in_channels: usize) -> Vec<(String, Tensor)> {
        let one = |i: usize| f32::from(u8::from(i % in_channels == i / in_channels % in_channels));
        let weight = (0..self.base * in_channels).map(one).collect();
        let name = |part: &str| format!("encoder.0.{PROJECTION}.{part}");
        vec![
            (name("weight"), Tensor { shape: vec![self.base, in_channels, 1, 1, 1], data: weight }),
            (name("bias"), Tensor { shape: vec![self.base], data: vec![0.0; self.base] }),
        ]
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
