use crate::kernel::ConvolutionLayer;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// What a layer does to extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// Convolution with the padding that keeps the extents, but for the stride.
    Convolution {
        /// Extents of the kernel (z, y, x).
        kernel: [usize; 3],
        /// Steps of the window (z, y, x).
        stride: [usize; 3],
    },
    /// Transposed convolution whose kernel is its stride.
    Up {
        /// Factors on the extents (z, y, x).
        stride: [usize; 3],
    },
}

impl Display for LayerKind {
    /// `5^3 convolution`, `2^3 down`, `1x2x2 up`; a stride that is not the kernel stands after a slash, `3^3/2^3 down`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Convolution { kernel, stride: [1, 1, 1] } => write!(f, "{} convolution", PerAxis(kernel)),
            Self::Convolution { kernel, stride } if kernel == stride => write!(f, "{} down", PerAxis(kernel)),
            Self::Convolution { kernel, stride } => write!(f, "{}/{} down", PerAxis(kernel), PerAxis(stride)),
            Self::Up { stride } => write!(f, "{} up", PerAxis(stride)),
        }
    }
}

/// A number for each axis (z, y, x): `5` stands for three of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerAxis(pub [usize; 3]);

impl From<usize> for PerAxis {
    fn from(all: usize) -> Self {
        Self([all; 3])
    }
}

impl From<[usize; 3]> for PerAxis {
    fn from(axes: [usize; 3]) -> Self {
        Self(axes)
    }
}

impl Display for PerAxis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            [z, y, x] if z == y && y == x => write!(f, "{z}^3"),
            [z, y, x] => write!(f, "{z}x{y}x{x}"),
        }
    }
}

/// One layer with weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Name of its parameters without `.weight`.
    pub name: String,
    /// Stage, e.g. `encoder.1`.
    pub stage: String,
    /// Kind.
    pub kind: LayerKind,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Output extents `[D, H, W]`.
    pub extents: [usize; 3],
    /// Weights, biases and slopes, and those of the normalisation after it; no statistics.
    pub parameters: usize,
    /// Multiplications and additions of one forward pass in direct form, for the whole batch.
    pub flops: u64,
}

impl Layer {
    /// The convolution that this layer is for this many samples, where its kernels are chosen ([`ConvolutionLayer::has_choice`]).
    pub fn with_choice(&self, batch: usize) -> Option<ConvolutionLayer> {
        let LayerKind::Convolution { kernel, stride } = self.kind else { return None };
        let &Self { in_channels, out_channels, extents, .. } = self;
        // Without a stride the input has the extents of the output.
        let layer = ConvolutionLayer { in_channels, out_channels, extents, batch, kernel, stride };
        layer.has_choice().then_some(layer)
    }
}

/// The input voxels that one output voxel of a stage depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceptiveField {
    /// Stage, e.g. `encoder.1`.
    pub stage: String,
    /// Voxels (z, y, x).
    pub voxels: [usize; 3],
}

/// Theoretical receptive fields after each stage, along the longest path, as in the paper's Table 1.
///
/// With the distance `jump` between neighbouring outputs in input voxels, per axis, a layer with kernel extent `k` adds
/// `(k - 1) * jump`; a stride multiplies the jump afterwards, that of a transposed convolution divides it before. Layers of
/// shorter paths have kernels of one voxel.
pub fn receptive_fields(layers: &[Layer]) -> Vec<ReceptiveField> {
    let (mut voxels, mut jump) = ([1; 3], [1; 3]);
    let mut fields: Vec<ReceptiveField> = Vec::new();
    for layer in layers {
        for axis in 0..3 {
            match layer.kind {
                LayerKind::Convolution { kernel, stride } => {
                    voxels[axis] += (kernel[axis] - 1) * jump[axis];
                    jump[axis] *= stride[axis];
                }
                LayerKind::Up { stride } => {
                    jump[axis] /= stride[axis];
                    voxels[axis] += (stride[axis] - 1) * jump[axis];
                }
            }
        }
        match fields.last_mut().filter(|f| f.stage == layer.stage) {
            Some(field) => field.voxels = voxels,
            None => fields.push(ReceptiveField { stage: layer.stage.clone(), voxels }),
        }
    }
    fields
}
