//! Trains V-Net, the 3-D segmentation network of Milletari, Navab and Ahmadi (2016, arXiv:1606.04797), with
//! hand-written WGSL compute shaders.
//!
//! A network is a [`graph::Graph`] of operations; gradients are ordinary nodes of the same graph. [`plan`] turns the
//! graph into a flat list of dispatches over shared buffers, [`exec`] replays that list on a wgpu device, and
//! [`graph::interpret`] evaluates the same graph in f64 on the CPU: the oracle of the tests.

pub mod augment;
pub mod bench;
pub mod configure;
pub mod data;
pub mod doctor;
pub mod evaluate;
pub mod exec;
mod files;
#[doc(hidden)]
pub mod fuzzing;
pub mod gpu;
pub mod graph;
mod host_memory;
pub mod infer;
pub mod interop;
pub mod kernel;
pub mod metrics;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod plan;
pub mod profile;
pub mod report;
pub mod tensor;
pub mod tensorboard;
pub mod train;
pub mod tuning;
