use crate::kernel::ConvolutionLayer;
use serde::Serialize;

/// What a layer does to extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// Convolution with this kernel and stride 1.
    Convolution {
        /// Extent of the kernel per axis.
        kernel: usize,
    },
    /// 2x2x2 convolution with stride 2.
    Down,
    /// 2x2x2 transposed convolution with stride 2.
    Up,
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
    /// The 5x5x5 convolution that this layer is for this many samples, if it is one.
    pub fn same_5(&self, batch: usize) -> Option<ConvolutionLayer> {
        let &Self { in_channels, out_channels, extents, .. } = self;
        let layer = ConvolutionLayer::same_5([in_channels, out_channels], extents, batch);
        (self.kind == LayerKind::Convolution { kernel: 5 }).then_some(layer)
    }
}

/// The input voxels, per axis, that one output voxel of a stage depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceptiveField {
    /// Stage, e.g. `encoder.1`.
    pub stage: String,
    /// Voxels per axis.
    pub voxels: usize,
}

/// Theoretical receptive fields after each stage, along the longest path, as in the paper's Table 1.
///
/// With the distance `jump` between neighbouring outputs in input voxels, a layer with kernel extent `k` adds
/// `(k - 1) * jump`; a stride of 2 doubles the jump afterwards, a transposed one halves it before.
pub fn receptive_fields(layers: &[Layer]) -> Vec<ReceptiveField> {
    let (mut voxels, mut jump) = (1, 1);
    let mut fields: Vec<ReceptiveField> = Vec::new();
    for layer in layers {
        match layer.kind {
            LayerKind::Convolution { kernel } => voxels += (kernel - 1) * jump,
            LayerKind::Down => {
                voxels += jump;
                jump *= 2;
            }
            LayerKind::Up => {
                jump /= 2;
                voxels += jump;
            }
        }
        match fields.last_mut().filter(|f| f.stage == layer.stage) {
            Some(field) => field.voxels = voxels,
            None => fields.push(ReceptiveField { stage: layer.stage.clone(), voxels }),
        }
    }
    fields
}
