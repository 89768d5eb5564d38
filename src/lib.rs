//! Trains V-Net, the 3-D segmentation network of Milletari, Navab and Ahmadi (2016, arXiv:1606.04797), with
//! hand-written WGSL compute shaders.
//!
//! A network is a [`graph::Graph`] of operations; gradients are ordinary nodes of the same graph. [`plan`] turns the
//! graph into a flat list of dispatches over shared buffers, [`exec`] replays that list on a wgpu device, and
//! [`graph::interpret`] evaluates the same graph in f64 on the CPU: the oracle of the tests.
//!
//! ```rust
//! use std::sync::Arc;
//! use vnet_engine::data::phantom::{PhantomSettings, make_case};
//! use vnet_engine::data::{Batch, Fit, Normalisation, Preparation, Prepared};
//! use vnet_engine::gpu::{Gpu, GpuOptions};
//! use vnet_engine::infer::{Predictor, segment_volume};
//! use vnet_engine::metrics::Overlap;
//! use vnet_engine::nn::Network;
//! use vnet_engine::nn::vnet::VNet;
//! use vnet_engine::train::{Trainer, TrainerSettings};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #     if vnet_engine::gpu::adapters().is_empty() && std::env::var_os("VNET_REQUIRE_GPU").is_none() {
//! #         println!("skipped: no GPU adapter");
//! #         return Ok(());
//! #     }
//!     let phantoms = PhantomSettings { extents: [32, 32, 16], spacing: [4.0, 4.0, 4.5], ..Default::default() };
//!     let preparation = Preparation { patch: [32, 32, 16], ..Preparation::native(Normalisation::ZScoreAll) };
//!     let network = Network::new(1, 2, VNet { base: 4, encoder: vec![1, 2], decoder: vec![1] });
//!     let gpu = Arc::new(Gpu::open(&GpuOptions::default())?);
//!     let mut trainer = Trainer::new(&gpu, &network, &TrainerSettings::default(), [16, 32, 32])?; // D, H, W = z, y, x
//!     trainer.initialise(0, 0.05);
//!     for step in 0..60 {
//!         let (image, label) = make_case(&phantoms, step); // or Volume::new(grid, array), or data::io::read_volume(path)
//!         let sample = Prepared::from_pair(image, &label, &preparation, Fit::Patch)?;
//!         trainer.step(&[Batch::of(&[sample])?], 1e-2)?;
//!     }
//!     let predictor = Predictor::sharing(trainer.executor(), trainer.best_arena(), &network, [32, 32, 16])?;
//!     let (image, reference) = make_case(&phantoms, 1000);
//!     let found = segment_volume(&predictor, &preparation, image)?;
//!     let dice = Overlap::count(&found.voxels, &reference.voxels, 1)?.dice();
//!     println!("Dice of an unseen case: {dice:?}");
//! #     assert!(dice > Some(0.5), "{dice:?}");
//!     Ok(())
//! }
//! ```
//!
//! | task | where to begin |
//! |---|---|
//! | volumes from files or arrays | [`data::io::read_volume`], [`data::Volume::new`], [`data::Prepared`] |
//! | training | [`train::Trainer`] with [`train::TrainerSettings`] for batches of one's own, [`train::train`] for a data set and a run folder |
//! | cross-validation | [`crossval::CrossValidation`] |
//! | segmenting | [`infer::Predictor`] with [`infer::segment_volume`] or [`infer::segment_file`]; [`nn::Model`] is a model file |
//! | scores | [`metrics::Overlap`], [`metrics::surface_distances`], [`metrics::score_case`] |
//! | other networks | [`nn::Architecture`] with [`nn::Layers`]; below them [`graph::Graph`] with [`ops`], [`plan::plan`], [`exec::Executor`] |
//! | other operations, other optimisers | [`graph::Op`], [`optim::Optimiser`], [`kernel::Dispatch::from_wgsl`] |
//!
//! The feature `cli` (default) is the program; the library is the same without it.
//!
//! The repository's `examples/` has a program for each. Tensors on the device are `[N, D, H, W, C]` with D = z, H = y, W = x;
//! extents of volumes and patches are x, y, z. Examples that need a GPU adapter do nothing without one.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod augment;
pub mod bench;
pub mod configure;
pub mod crossval;
pub mod data;
pub mod doctor;
pub mod evaluate;
pub mod exec;
pub mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod gpu;
pub mod graph;
mod host_memory;
pub mod infer;
pub mod interop;
pub mod kernel;
pub mod methods;
pub mod metrics;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod plan;
pub mod profile;
pub mod random;
pub mod registry;
pub mod report;
pub mod tensor;
pub mod tensorboard;
pub mod train;
pub mod tuning;

/// The programs of the guides are tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../docs/guide/library.md")]
    struct Library;
    #[doc = include_str!("../docs/guide/operation.md")]
    struct Operation;
}
