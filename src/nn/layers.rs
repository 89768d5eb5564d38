mod supervision;

use super::{Layer, LayerKind};
use crate::graph::{Graph, Initial, Op};
use crate::ops::{Add, ConcatChannels, Conv3d, ConvTranspose3d, PadCrop, Prelu};
use crate::tensor::layout::ParameterLayout;
use crate::tensor::{ShapeError, ValueId};
use std::convert::identity;

/// Initial slope of every PReLU (He et al. 2015, *Delving Deep into Rectifiers*).
pub const SLOPE: f32 = 0.25;

/// Name of the layer that makes the logits.
const HEAD: &str = "head";

/// What a network is put into a graph for. The parameters and their order are the same: what only one of the two reads is
/// declared in the other as well, so that both read one arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Training: a loss and gradients follow.
    Training,
    /// Prediction.
    Inference,
}

/// A network in a graph.
#[derive(Debug)]
pub struct Appended {
    /// Logits `[N, D, H, W, classes]`, of the image's extents.
    pub logits: ValueId,
    /// Logits `[N, d, h, w, classes]` of the auxiliary heads, the highest resolution first; none in [`Mode::Inference`].
    pub auxiliary: Vec<ValueId>,
    /// How the image was padded: the extents of the auxiliary logits divide those of this window.
    pub padding: PadCrop,
    /// Input `u32 [N, 2]` with a key for each sample ([`dropout_key`](super::dropout_key)), where there is dropout.
    pub dropout: Option<ValueId>,
    /// The layers with weights, in the order of execution.
    pub layers: Vec<Layer>,
}

/// Appends layers with their parameters to a graph, stage by stage. Names of layers begin with that of their stage,
/// `encoder.1.conv.0`; those of parameters are PyTorch's, `encoder.1.conv.0.weight`.
#[derive(Debug)]
pub struct Layers<'a> {
    pub(super) graph: &'a mut Graph,
    mode: Mode,
    layers: Vec<Layer>,
    pub(super) stage: String,
    extras: supervision::Extras,
}

impl<'a> Layers<'a> {
    pub(super) fn new(graph: &'a mut Graph, mode: Mode) -> Self {
        Self { graph, mode, layers: Vec::new(), stage: String::new(), extras: supervision::Extras::default() }
    }

    /// The graph, for other operations; they belong to the stage.
    pub fn graph(&mut self) -> &mut Graph {
        self.graph
    }

    /// What the network is put into the graph for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Begins a stage, the part of a network whose activations may be computed again as a whole.
    pub fn begin_stage(&mut self, stage: impl Into<String>) {
        self.stage = stage.into();
        self.graph.set_stage(Some(&self.stage));
    }

    /// Appends an operation without parameters under the name `name` of the stage.
    ///
    /// # Errors
    /// [`ShapeError`] when it is not defined on these shapes.
    pub fn add(&mut self, name: &str, op: impl Op + 'static, inputs: &[ValueId]) -> Result<ValueId, ShapeError> {
        self.graph.set_scope(format!("{}.{name}", self.stage));
        self.graph.add(op, inputs)
    }

    /// The channels of two activations, one after the other.
    ///
    /// # Errors
    /// [`ShapeError`] when their extents differ.
    pub fn concatenate(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, ShapeError> {
        self.add("concat", ConcatChannels, &[a, b])
    }

    /// The sum of two activations, as part of the layer before it.
    ///
    /// # Errors
    /// [`ShapeError`] when their shapes differ.
    pub fn sum(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, ShapeError> {
        self.graph.add(Add, &[a, b])
    }

    /// A convolution with an odd kernel that keeps the extents.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn convolution(
        &mut self,
        name: &str,
        x: ValueId,
        channels: usize,
        kernel: usize,
    ) -> Result<ValueId, ShapeError> {
        let name = format!("{}.{name}", self.stage);
        self.layer(name, x, channels, LayerKind::Convolution { kernel }, Conv3d::same(kernel), identity)
    }

    /// A 2x2x2 convolution that halves the extents.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn down(&mut self, x: ValueId, channels: usize) -> Result<ValueId, ShapeError> {
        let name = format!("{}.down", self.stage);
        self.layer(name, x, channels, LayerKind::Down, Conv3d::windows(2), identity)
    }

    /// A 2x2x2 transposed convolution that doubles the extents.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn up(&mut self, x: ValueId, channels: usize) -> Result<ValueId, ShapeError> {
        let name = format!("{}.up", self.stage);
        self.layer(name, x, channels, LayerKind::Up, ConvTranspose3d { stride: [2; 3] }, identity)
    }

    /// The 1x1x1 convolution that makes the logits, in no stage: they are always kept. Its weights start scaled by the gain
    /// that the training gives.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn head(&mut self, x: ValueId, classes: usize) -> Result<ValueId, ShapeError> {
        self.stage = HEAD.to_owned();
        self.graph.set_stage(None);
        let (kind, op) = (LayerKind::Convolution { kernel: 1 }, Conv3d::same(1));
        self.layer(HEAD.to_owned(), x, classes, kind, op, Initial::of_head)
    }

    /// A PReLU with a slope per channel.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn prelu(&mut self, name: &str, x: ValueId) -> Result<ValueId, ShapeError> {
        let slope = self.slopes(name, self.graph.spec(x).channels());
        self.add(name, Prelu, &[x, slope])
    }

    /// The slopes of a PReLU.
    pub(super) fn slopes(&mut self, name: &str, channels: usize) -> ValueId {
        let name = format!("{}.{name}.weight", self.stage);
        let slopes = self.graph.parameter(&name, &[channels], ParameterLayout::Vector, false);
        self.graph.set_initial(slopes, |_| Initial::Constant(SLOPE));
        self.count(channels);
        slopes
    }

    /// Counts parameters that belong to the newest layer.
    pub(super) fn count(&mut self, parameters: usize) {
        if let Some(layer) = self.layers.last_mut() {
            layer.parameters += parameters;
        }
    }

    fn layer(
        &mut self,
        name: String,
        x: ValueId,
        out_channels: usize,
        kind: LayerKind,
        op: impl Op + 'static,
        initial: fn(Initial) -> Initial,
    ) -> Result<ValueId, ShapeError> {
        let in_channels = self.graph.spec(x).channels();
        let (kernel, layout) = match kind {
            LayerKind::Convolution { kernel } => (kernel, ParameterLayout::Convolution),
            LayerKind::Down => (2, ParameterLayout::Convolution),
            LayerKind::Up => (2, ParameterLayout::TransposedConvolution),
        };
        let shape = [kernel, kernel, kernel, in_channels, out_channels];
        self.graph.set_scope(name.as_str());
        let weight = self.graph.parameter(&format!("{name}.weight"), &shape, layout, true);
        self.graph.set_initial(weight, initial);
        let bias = self.graph.parameter(&format!("{name}.bias"), &[out_channels], ParameterLayout::Vector, false);
        let inputs = [x, weight, bias];
        let flops = op.flops(&inputs.map(|v| self.graph.spec(v)));
        let y = self.graph.add(op, &inputs)?;
        self.layers.push(Layer {
            stage: self.stage.clone(),
            kind,
            in_channels,
            out_channels,
            extents: self.graph.spec(y).spatial(self.graph.nodes().last().expect("added above").op.name())?,
            parameters: shape.iter().product::<usize>() + out_channels,
            flops,
            name,
        });
        Ok(y)
    }
}
