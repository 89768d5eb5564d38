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

use super::{Layer, LayerKind, Network};
use crate::graph::{Graph, Initial};
use crate::ops::{Add, ConcatChannels, Conv3d, ConvTranspose3d, PadCrop, Prelu, TileChannels};
use crate::tensor::layout::ParameterLayout;
use crate::tensor::{ShapeError, ValueId};

/// Initial slope of every PReLU (He et al. 2015, *Delving Deep into Rectifiers*).
pub const SLOPE: f32 = 0.25;

/// Name of the layer that makes the logits.
const HEAD: &str = "head";

/// Extent of the stages' kernels.
const KERNEL: usize = 5;

/// A network in a graph.
#[derive(Debug)]
pub struct Appended {
    /// Logits `[N, D, H, W, classes]`, of the image's extents.
    pub logits: ValueId,
    /// The layers with weights, in the order of execution.
    pub layers: Vec<Layer>,
}

/// Appends a V-Net on `image` `[N, D, H, W, in_channels]`. Extents that do not divide by [`Network::divisor`] are padded
/// with zeros, half of them (rounded down) before, and the logits are cropped back.
///
/// # Errors
/// [`ShapeError`] when the image does not have the network's channels.
///
/// # Panics
/// When the network is not [valid](Network::validate).
pub(super) fn vnet(graph: &mut Graph, network: &Network, image: ValueId) -> Result<Appended, ShapeError> {
    network.validate().expect("the network was validated");
    let extents = graph.spec(image).spatial("vnet")?;
    if graph.spec(image).channels() != network.in_channels {
        let expected = format!("an image with {} channels", network.in_channels);
        return Err(ShapeError::new("vnet", expected, &[graph.spec(image)]));
    }
    let mut builder = Builder { graph, layers: Vec::new(), stage: String::new() };
    let window = PadCrop::to_multiple(extents, network.divisor());
    let mut x = image;
    if window.extents != extents {
        builder.graph.set_scope("pad");
        x = builder.graph.add(window.clone(), &[x])?;
    }
    let mut skips = Vec::new();
    for (level, &convolutions) in network.encoder.iter().enumerate() {
        let channels = network.channels(level);
        builder.enter(format!("encoder.{level}"));
        let residual = match level {
            0 => builder.tile(x, channels)?,
            _ => {
                x = builder.down(x, channels)?;
                x
            }
        };
        x = builder.convolutions(x, residual, convolutions, channels)?;
        skips.push(x);
    }
    skips.pop();
    for (level, &convolutions) in network.decoder.iter().enumerate().rev() {
        let channels = network.channels(level);
        builder.enter(format!("decoder.{level}"));
        let up = builder.up(x, channels)?;
        x = builder.concatenate(up, skips.pop().expect("one skip per decoder stage"))?;
        x = builder.convolutions(x, x, convolutions, 2 * channels)?;
    }
    builder.stage = HEAD.to_owned();
    builder.graph.set_stage(None);
    let mut logits = builder.convolution(HEAD, x, network.classes, 1)?;
    if window.extents != extents {
        builder.graph.set_scope("crop");
        logits = builder.graph.add(window.inverse(extents), &[logits])?;
    }
    Ok(Appended { logits, layers: builder.layers })
}

struct Builder<'a> {
    graph: &'a mut Graph,
    layers: Vec<Layer>,
    stage: String,
}

impl Builder<'_> {
    /// Begins a stage, whose activations may be computed again.
    fn enter(&mut self, stage: String) {
        self.graph.set_stage(Some(&stage));
        self.stage = stage;
    }

    /// The image repeated along channels, so that it can be added to the first stage's output.
    fn tile(&mut self, x: ValueId, channels: usize) -> Result<ValueId, ShapeError> {
        self.graph.set_scope(format!("{}.tile", self.stage));
        self.graph.add(TileChannels { channels }, &[x])
    }

    fn concatenate(&mut self, up: ValueId, skip: ValueId) -> Result<ValueId, ShapeError> {
        self.graph.set_scope(format!("{}.concat", self.stage));
        self.graph.add(ConcatChannels, &[up, skip])
    }

    /// A stage: `residual` is added before the last PReLU.
    fn convolutions(
        &mut self,
        mut x: ValueId,
        residual: ValueId,
        count: usize,
        channels: usize,
    ) -> Result<ValueId, ShapeError> {
        for j in 0..count {
            let name = format!("{}.conv.{j}", self.stage);
            x = self.convolution(&name, x, channels, KERNEL)?;
            if j + 1 == count {
                x = self.graph.add(Add, &[x, residual])?;
            }
            x = self.prelu(&format!("{}.act.{j}", self.stage), x)?;
        }
        Ok(x)
    }

    fn convolution(&mut self, name: &str, x: ValueId, channels: usize, kernel: usize) -> Result<ValueId, ShapeError> {
        let op = Conv3d { stride: [1; 3], padding: [kernel / 2; 3] };
        self.layer(name, x, channels, LayerKind::Convolution { kernel }, [kernel; 3], op)
    }

    fn down(&mut self, x: ValueId, channels: usize) -> Result<ValueId, ShapeError> {
        let op = Conv3d { stride: [2; 3], padding: [0; 3] };
        let x = self.layer(&format!("{}.down", self.stage), x, channels, LayerKind::Down, [2; 3], op)?;
        self.prelu(&format!("{}.down_act", self.stage), x)
    }

    fn up(&mut self, x: ValueId, channels: usize) -> Result<ValueId, ShapeError> {
        let x = self.layer(&format!("{}.up", self.stage), x, channels, LayerKind::Up, [2; 3], ConvTranspose3d)?;
        self.prelu(&format!("{}.up_act", self.stage), x)
    }

    fn layer(
        &mut self,
        name: &str,
        x: ValueId,
        out_channels: usize,
        kind: LayerKind,
        kernel: [usize; 3],
        op: impl crate::graph::Op + 'static,
    ) -> Result<ValueId, ShapeError> {
        let in_channels = self.graph.spec(x).channels();
        let layout = match kind {
            LayerKind::Up => ParameterLayout::TransposedConvolution,
            _ => ParameterLayout::Convolution,
        };
        let [d, h, w] = kernel;
        let shape = [d, h, w, in_channels, out_channels];
        self.graph.set_scope(name);
        let weight = self.graph.parameter(&format!("{name}.weight"), &shape, layout, true);
        if self.stage == HEAD {
            self.graph.set_initial(weight, Initial::of_head);
        }
        let bias = self.graph.parameter(&format!("{name}.bias"), &[out_channels], ParameterLayout::Vector, false);
        let inputs = [x, weight, bias];
        let flops = op.flops(&inputs.map(|v| self.graph.spec(v)));
        let y = self.graph.add(op, &inputs)?;
        self.layers.push(Layer {
            name: name.to_owned(),
            stage: self.stage.clone(),
            kind,
            in_channels,
            out_channels,
            extents: self.graph.spec(y).spatial("vnet")?,
            parameters: shape.iter().product::<usize>() + out_channels,
            flops,
        });
        Ok(y)
    }

    fn prelu(&mut self, name: &str, x: ValueId) -> Result<ValueId, ShapeError> {
        let channels = self.graph.spec(x).channels();
        self.graph.set_scope(name);
        let slope = self.graph.parameter(&format!("{name}.weight"), &[channels], ParameterLayout::Vector, false);
        self.graph.set_initial(slope, |_| Initial::Constant(SLOPE));
        if let Some(layer) = self.layers.last_mut() {
            layer.parameters += channels;
        }
        self.graph.add(Prelu, &[x, slope])
    }
}
