//! The operations, one module each: shape rule, gradient, dispatches, f64 definition and test cases.

mod activation;
mod add;
pub mod case;
mod channel_sum;
mod concat;
mod constant;
mod conv3d;
mod conv_transpose3d;
mod dropout;
mod fill;
mod gemm;
mod linear_unit;
mod llvmpipe;
pub mod loss;
mod norm;
mod pad_crop;
mod pool;
mod prelu;
pub(crate) mod rows;
mod scale;
mod sigmoid;
mod softmax;
mod tile_channels;
mod upsample;

pub use activation::Activation;
pub use add::Add;
pub use channel_sum::{ChannelSum, share_channel_sums};
pub use concat::{ConcatChannels, SliceChannels};
pub use constant::Constant;
pub use conv_transpose3d::{ConvTranspose3d, ConvTranspose3dGradInput, ConvTranspose3dGradWeight};
pub use conv3d::{Conv3d, Conv3dGradInput, Conv3dGradWeight, Reason, convolution_kernels};
pub use dropout::Dropout;
pub use fill::Fill;
pub use linear_unit::{LinearUnit, LinearUnitGrad};
pub use loss::{
    BinaryCrossEntropyGrad, BinaryCrossEntropyLoss, CrossEntropyGrad, CrossEntropyLoss, DICE_EPSILON, FocalGrad,
    FocalLoss, PoolLabels, SoftDiceGrad, SoftDiceLoss, TopKGrad, TopKLoss,
};
pub use norm::{FoldNorm, Moments, Normalise, NormaliseGrad, NormaliseRunning, Rectifier};
pub use pad_crop::PadCrop;
pub use pool::{AvgPool, AvgPoolGrad, UpsampleNearest, UpsampleNearestGrad};
pub use prelu::{Prelu, PreluGrad};
pub use scale::Scale;
pub use sigmoid::{Sigmoid, SigmoidGrad};
pub use softmax::{Softmax, SoftmaxGrad};
pub use tile_channels::{TileChannels, TileChannelsGrad};
pub use upsample::{UpsampleLinear, UpsampleLinearGrad};

use crate::graph::GradientOps;
use case::Case;

/// What differentiation needs of this module.
pub const GRADIENT_OPS: GradientOps =
    GradientOps { fill: |spec, value| Box::new(Fill { spec, value }), add: || Box::new(Add) };

/// The cases of every operation, in the order of the modules.
pub fn cases() -> Vec<Case> {
    [
        fill::cases(),
        constant::cases(),
        add::cases(),
        scale::cases(),
        channel_sum::cases(),
        prelu::cases(),
        linear_unit::cases(),
        norm::cases(),
        scale::cases(),
        tile_channels::cases(),
        concat::cases(),
        softmax::cases(),
        sigmoid::cases(),
        loss::cases(),
        pad_crop::cases(),
        pool::cases(),
        upsample::cases(),
        dropout::cases(),
        conv3d::cases(),
        conv_transpose3d::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
