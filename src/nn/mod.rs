//! Networks built from operations: V-Nets and U-Nets, their initialisation, its losses and its checkpoints' tensors.

mod architecture;
mod block;
mod init;
mod layers;
pub mod model;
mod network;
mod objective;
pub mod options;
mod receptive_field;
mod recompute;
pub mod topology;
mod training;
pub mod unet;
pub mod vnet;

pub use crate::ops::Activation;
pub use crate::ops::loss::{self, Loss, LossInputs, Losses};
pub use architecture::{Architecture, Architectures};
pub use block::{BATCH_MOMENTUM, NORM_EPSILON, Nonlinearity, Norm};
pub use init::initialise;
pub use layers::{Appended, Convolution, Layers, Mode, SLOPE};
pub use model::{Model, ModelError};
pub use network::{Network, NetworkError};
pub use objective::Objective;
pub use options::Options;
pub use receptive_field::{Layer, LayerKind, PerAxis, ReceptiveField, receptive_fields};
pub use recompute::Kept;
pub use training::{InferenceGraph, TrainingGraph, dropout_key};
