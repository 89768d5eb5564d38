//! Networks as data: a list of nodes in static single assignment form, each with one [`Op`].
//!
//! Nodes are appended in an order in which they can be executed. [`gradients`] appends the nodes of the backward pass to
//! the same list, so nothing after it distinguishes forward from backward.

mod autodiff;
mod builder;
mod interpret;
mod op;
mod pieces;
mod recompute;

pub use autodiff::{GradientOps, Vjp, gradients, vector_jacobian};
pub use builder::{Graph, Initial, Node, Parameter, Role, Value};
pub use interpret::{InterpretError, interpret};
pub use op::{Lowering, Op};
pub use recompute::{RECOMPUTED, Recomputation};
