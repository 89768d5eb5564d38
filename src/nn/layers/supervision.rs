//! What networks have for training alone, auxiliary heads and dropout, and changes of resolution without parameters.

use super::{Appended, Layers, Mode};
use crate::graph::Initial;
use crate::nn::{Layer, LayerKind};
use crate::ops::{AvgPool, Conv3d, Dropout, PadCrop, UpsampleLinear, UpsampleNearest};
use crate::tensor::layout::ParameterLayout;
use crate::tensor::{ShapeError, ValueId};

/// What [`Layers`] collects besides its list.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// Logits of the auxiliary heads, in the order of execution.
    auxiliary: Vec<ValueId>,
    /// Keys of the samples for dropout.
    dropout: Option<ValueId>,
    /// Dropout layers so far.
    dropouts: u32,
}

impl Layers<'_> {
    /// The network in its graph, with these logits of an image that was padded by `padding`.
    pub(in crate::nn) fn finish(self, logits: ValueId, padding: PadCrop) -> Appended {
        self.graph.set_stage(None);
        let Extras { mut auxiliary, dropout, .. } = self.extras;
        let graph = self.graph;
        auxiliary.sort_by_key(|&logits| std::cmp::Reverse(graph.spec(logits).shape[1..4].iter().product::<usize>()));
        Appended { logits, auxiliary, padding, dropout, layers: self.layers }
    }

    /// A 1x1x1 convolution that makes logits of a lower resolution, for deep supervision: `NAME.weight` and `NAME.bias`. They are
    /// parameters in both modes; the logits are in [`Appended::auxiliary`] in [`Mode::Training`], and in no stage: they are always
    /// kept. The extents of the image, padded to the divisor, must be multiples of those of `x`. Weights start as those of the head.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn auxiliary_head(&mut self, name: &str, x: ValueId, classes: usize) -> Result<(), ShapeError> {
        let in_channels = self.graph.spec(x).channels();
        let extents = self.graph.spec(x).spatial("auxiliary_head")?;
        let shape = [1, 1, 1, in_channels, classes];
        let weight = self.graph.parameter(&format!("{name}.weight"), &shape, ParameterLayout::Convolution, true);
        self.graph.set_initial(weight, Initial::of_head);
        let bias = self.graph.parameter(&format!("{name}.bias"), &[classes], ParameterLayout::Vector, false);
        let voxels = self.graph.spec(x).shape[0] * extents.iter().product::<usize>();
        let runs = self.mode == Mode::Training;
        self.layers.push(Layer {
            stage: self.stage.clone(),
            kind: LayerKind::Convolution { kernel: [1; 3], stride: [1; 3] },
            in_channels,
            out_channels: classes,
            extents,
            parameters: (in_channels + 1) * classes,
            flops: if runs { 2 * (voxels * in_channels * classes) as u64 } else { 0 },
            name: name.to_owned(),
        });
        if runs {
            self.graph.set_stage(None);
            self.graph.set_scope(name);
            let logits = self.graph.add(Conv3d::same(1), &[x, weight, bias])?;
            self.extras.auxiliary.push(logits);
            self.graph.set_stage(Some(&self.stage));
        }
        Ok(())
    }

    /// Dropout of whole channels of each sample, PyTorch's `Dropout3d`: in [`Mode::Training`] a channel is 0 with probability
    /// `rate`, 0 or more and below 1, and else divided by `1 - rate`. In [`Mode::Inference`], or with a rate of 0, `x` itself.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation, or the rate is out of range.
    pub fn dropout(&mut self, name: &str, x: ValueId, rate: f32) -> Result<ValueId, ShapeError> {
        self.drop(name, x, rate, true)
    }

    /// As [`Layers::dropout`], of each element by itself: PyTorch's `Dropout`.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation, or the rate is out of range.
    pub fn dropout_elements(&mut self, name: &str, x: ValueId, rate: f32) -> Result<ValueId, ShapeError> {
        self.drop(name, x, rate, false)
    }

    fn drop(&mut self, name: &str, x: ValueId, rate: f32, spatial: bool) -> Result<ValueId, ShapeError> {
        let layer = self.extras.dropouts;
        self.extras.dropouts += 1;
        if self.mode == Mode::Inference || rate == 0.0 {
            return Ok(x);
        }
        let samples = self.graph.spec(x).shape.first().copied().unwrap_or(0);
        let graph = &mut *self.graph;
        let keys = *self.extras.dropout.get_or_insert_with(|| graph.input("dropout", Dropout::keys(samples)));
        self.add(name, Dropout { rate, layer, spatial }, &[x, keys])
    }

    /// The mean of each window of `window` voxels `[D, H, W]`: PyTorch's `AvgPool3d` with stride = kernel.
    ///
    /// # Errors
    /// [`ShapeError`] when the extents of `x` are no multiples of the window's.
    pub fn average_pool(&mut self, name: &str, x: ValueId, window: [usize; 3]) -> Result<ValueId, ShapeError> {
        self.add(name, AvgPool { window }, &[x])
    }

    /// Each voxel `factors` times along each axis `[D, H, W]`: PyTorch's `Upsample` with `mode="nearest"`.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn upsample_nearest(&mut self, name: &str, x: ValueId, factors: [usize; 3]) -> Result<ValueId, ShapeError> {
        self.add(name, UpsampleNearest { factors }, &[x])
    }

    /// Up-sampling by `factors` `[D, H, W]`, linear along each axis: PyTorch's `Upsample` with `mode="trilinear"` and
    /// `align_corners=False`.
    ///
    /// # Errors
    /// [`ShapeError`] when `x` is not an activation.
    pub fn upsample(&mut self, name: &str, x: ValueId, factors: [usize; 3]) -> Result<ValueId, ShapeError> {
        self.add(name, UpsampleLinear { factors }, &[x])
    }
}
