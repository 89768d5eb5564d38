//! The operations, one module each: shape rule, gradient, dispatches, f64 definition and test cases.

mod add;
pub mod case;
mod channel_sum;
mod conv3d;
mod conv_transpose3d;
mod fill;

pub use add::Add;
pub use channel_sum::ChannelSum;
pub use conv_transpose3d::{ConvTranspose3d, ConvTranspose3dGradInput, ConvTranspose3dGradWeight};
pub use conv3d::{Conv3d, Conv3dGradInput, Conv3dGradWeight};
pub use fill::Fill;

use crate::graph::GradientOps;
use case::Case;

/// What differentiation needs of this module.
pub const GRADIENT_OPS: GradientOps =
    GradientOps { fill: |spec, value| Box::new(Fill { spec, value }), add: || Box::new(Add) };

/// The cases of every operation, in the order of the modules.
pub fn cases() -> Vec<Case> {
    [fill::cases(), add::cases(), conv3d::cases(), conv_transpose3d::cases()].into_iter().flatten().collect()
}
