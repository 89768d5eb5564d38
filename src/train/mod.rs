//! Training: configuration, the device's part of a step, validation and the run folder.

mod board;
mod budget;
mod checkpoint;
pub mod config;
mod error;
mod fit;
mod folder;
mod health;
mod history;
mod kernels;
mod lock;
mod log;
mod memory;
mod patch;
mod preflight;
mod preview;
mod profiler;
mod run;
mod settings;
mod trainer;
mod validation;

pub use budget::check_budget;
pub use checkpoint::StoredWeights;
#[cfg(feature = "fuzzing")]
pub(crate) use checkpoint::fuzz as fuzz_checkpoint;
pub use config::{Config, ConfigError, Preset, Setting, did_you_mean, nearest_name};
pub use error::TrainError;
pub use folder::{PLAN_FILE, refuse_used};
pub use health::{HealthConfig, Reaction};
pub use kernels::{KERNELS_FILE, note_on_adapter};
use log::{Event, Log};
pub use memory::{Forecast, MemoryMode};
pub use patch::choose_patch;
pub use preflight::{CheckedData, Preflight, check_data, preflight};
pub use preview::{Preview, preview};
pub use run::{Part, Progress, RunSettings, Started, Summary, train, train_on};
pub use settings::TrainerSettings;
pub use trainer::{StepResult, Trainer};
pub use validation::{CaseDice, Predicted, Validation};
