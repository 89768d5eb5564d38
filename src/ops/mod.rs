//! The operations, one module each: shape rule, gradient, dispatches, f64 definition and test cases.

mod add;
pub mod case;
mod fill;

pub use add::Add;
pub use fill::Fill;

use crate::graph::GradientOps;
use case::Case;

/// What differentiation needs of this module.
pub const GRADIENT_OPS: GradientOps =
    GradientOps { fill: |spec, value| Box::new(Fill { spec, value }), add: || Box::new(Add) };

/// The cases of every operation, in the order of the modules.
pub fn cases() -> Vec<Case> {
    [fill::cases(), add::cases()].into_iter().flatten().collect()
}
