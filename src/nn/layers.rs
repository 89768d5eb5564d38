mod supervision;

use super::{Layer, LayerKind, PerAxis};
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

/// A convolution of [`Layers::convolve`]: zeros are added so that a kernel of odd extents keeps the extents, but for the stride.
///
/// ```
/// use vnet_engine::nn::Convolution;
///
/// let thick_slices = Convolution::new(32, [1, 3, 3]).stride([1, 2, 2]).bias(false);
/// assert_eq!(thick_slices, Convolution { channels: 32, kernel: [1, 3, 3], stride: [1, 2, 2], has_bias: false });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Channels of the result.
    pub channels: usize,
    /// Extents of the kernel (z, y, x).
    pub kernel: [usize; 3],
    /// Steps of the window (z, y, x).
    pub stride: [usize; 3],
    /// Whether a bias is added: a normalisation of single channels that follows takes it away again.
    pub has_bias: bool,
}

impl Convolution {
    /// Of stride 1, with a bias.
    pub fn new(channels: usize, kernel: impl Into<PerAxis>) -> Self {
        let PerAxis(kernel) = kernel.into();
        Self { channels, kernel, stride: [1; 3], has_bias: true }
    }

    /// The same with this stride.
    #[must_use]
    pub fn stride(self, stride: impl Into<PerAxis>) -> Self {
        let PerAxis(stride) = stride.into();
        Self { stride, ..self }
    }

    /// The same with a bias, or without.
    #[must_use]
    pub fn bias(self, has_bias: bool) -> Self {
        Self { has_bias, ..self }
    }

    fn op(&self) -> Conv3d {
        Conv3d { stride: self.stride, padding: self.kernel.map(|extent| (extent - 1) / 2) }
    }

    fn kind(&self) -> LayerKind {
        LayerKind::Convolution { kernel: self.kernel, stride: self.stride }
    }
}

/// Appends layers with their parameters to a graph, stage by stage. Names of layers begin with that of their stage,
/// `encoder.1.conv.0`; those of parameters are PyTorch's, `encoder.1.conv.0.weight`.
#[derive(Debug)]
pub struct Layers<'a> {
    pub(super) graph: &'a mut Graph,
    mode: Mode,
    layers: Vec<Layer>,
    pub(super) stage: String,
    /// What names of layers begin with.
    pub(super) prefix: String,
    extras: supervision::Extras,
}

impl<'a> Layers<'a> {
    pub(super) fn new(graph: &'a mut Graph, mode: Mode) -> Self {
        let extras = supervision::Extras::default();
        Self { graph, mode, layers: Vec::new(), stage: String::new(), prefix: String::new(), extras }
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
        let stage = stage.into();
        self.begin_stage_of(stage.clone(), stage);
    }

    /// As [`Layers::begin_stage`], with names of layers that begin with `prefix` in place of the stage: those of another
    /// program may not follow the stages.
    pub fn begin_stage_of(&mut self, stage: impl Into<String>, prefix: impl Into<String>) {
        (self.stage, self.prefix) = (stage.into(), prefix.into());
        self.graph.set_stage(Some(&self.stage));
    }

    /// Appends an operation without parameters under the name `name` of the stage.
    ///
    /// # Errors
    /// [`ShapeError`] when it is not defined on these shapes.
    pub fn add(&mut self, name: &str, op: impl Op + 'static, inputs: &[ValueId]) -> Result<ValueId, ShapeError> {
        self.graph.set_scope(format!("{}.{name}", self.prefix));
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

    /// A convolution with a bias and an odd kernel that keeps the extents.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn convolution(
        &mut self,
        name: &str,
        x: ValueId,
        channels: usize,
        kernel: impl Into<PerAxis>,
    ) -> Result<ValueId, ShapeError> {
        self.convolve(name, x, Convolution::new(channels, kernel))
    }

    /// A convolution.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation, or its extents do not divide by the stride.
    pub fn convolve(&mut self, name: &str, x: ValueId, convolution: Convolution) -> Result<ValueId, ShapeError> {
        let name = format!("{}.{name}", self.prefix);
        self.layer(name, x, convolution, convolution.kind(), convolution.op(), identity)
    }

    /// A 2x2x2 convolution with a bias that halves the extents.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation, or its extents are odd.
    pub fn down(&mut self, x: ValueId, channels: usize) -> Result<ValueId, ShapeError> {
        self.convolve("down", x, Convolution::new(channels, 2).stride(2))
    }

    /// A 2x2x2 transposed convolution that doubles the extents.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn up(&mut self, x: ValueId, channels: usize) -> Result<ValueId, ShapeError> {
        self.transposed("up", x, Convolution::new(channels, 2).stride(2))
    }

    /// A transposed convolution whose kernel is its stride: the extents are multiplied by it.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation, or the kernel is not the stride.
    pub fn transposed(&mut self, name: &str, x: ValueId, convolution: Convolution) -> Result<ValueId, ShapeError> {
        let name = format!("{}.{name}", self.prefix);
        let stride = convolution.stride;
        self.layer(name, x, convolution, LayerKind::Up { stride }, ConvTranspose3d { stride }, identity)
    }

    /// The 1x1x1 convolution that makes the logits, in no stage: they are always kept. Its weights start scaled by the gain
    /// that the training gives.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn head(&mut self, x: ValueId, classes: usize) -> Result<ValueId, ShapeError> {
        HEAD.clone_into(&mut self.stage);
        self.graph.set_stage(None);
        let head = Convolution::new(classes, 1);
        self.layer(HEAD.to_owned(), x, head, head.kind(), head.op(), Initial::of_head)
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
        let name = format!("{}.{name}.weight", self.prefix);
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
        convolution: Convolution,
        kind: LayerKind,
        op: impl Op + 'static,
        initial: fn(Initial) -> Initial,
    ) -> Result<ValueId, ShapeError> {
        let Convolution { channels: out_channels, kernel: [d, h, w], has_bias, .. } = convolution;
        let in_channels = self.graph.spec(x).channels();
        let layout = match kind {
            LayerKind::Convolution { .. } => ParameterLayout::Convolution,
            LayerKind::Up { .. } => ParameterLayout::TransposedConvolution,
        };
        let shape = [d, h, w, in_channels, out_channels];
        self.graph.set_scope(name.as_str());
        let weight = self.graph.parameter(&format!("{name}.weight"), &shape, layout, true);
        self.graph.set_initial(weight, initial);
        let mut inputs = vec![x, weight];
        if has_bias {
            let bias = format!("{name}.bias");
            inputs.push(self.graph.parameter(&bias, &[out_channels], ParameterLayout::Vector, false));
        }
        let flops = op.flops(&inputs.iter().map(|&v| self.graph.spec(v)).collect::<Vec<_>>());
        let y = self.graph.add(op, &inputs)?;
        self.layers.push(Layer {
            stage: self.stage.clone(),
            kind,
            in_channels,
            out_channels,
            extents: self.graph.spec(y).spatial(self.graph.nodes().last().expect("added above").op.name())?,
            parameters: shape.iter().product::<usize>() + if has_bias { out_channels } else { 0 },
            flops,
            name,
        });
        Ok(y)
    }
}
