//! Training on a data set.
//!
//! | module | what is in it |
//! |---|---|
//! | `trainer` | the device's part: gradients, updates, and the memory they need; usable without a configuration |
//! | [`config`] | the configuration: presets, TOML files and settings |
//! | `run` | a whole training from a data set to a run folder, with its `checkpoint`, `log`, `lock` and `health` |
//! | `validation`, `preview`, `preflight` | parts of it that are useful alone |

mod checkpoint;
pub mod config;
mod error;
mod folder;
mod footprint;
mod health;
mod kernels;
mod lock;
mod log;
mod preflight;
mod preview;
mod profiler;
mod run;
mod trainer;
mod validation;

pub use checkpoint::StoredWeights;
#[cfg(feature = "fuzzing")]
pub(crate) use checkpoint::fuzz as fuzz_checkpoint;
pub use config::{
    Config, ConfigError, HealthConfig, Preset, Reaction, Setting, choose_patch, did_you_mean, nearest_name,
};
pub use error::TrainError;
pub(crate) use folder::stored_config;
pub use folder::{PLAN_FILE, refuse_used};
pub use footprint::{Footprint, Volumes};
pub use kernels::{KERNELS_FILE, note_on_adapter};
pub(crate) use lock::RunLock;
use log::Event;
pub use preflight::{CheckedData, Preflight, check_data, preflight};
pub use preview::{Preview, preview};
pub use run::{Part, Progress, RunSettings, Started, Summary, train, train_on};
pub use trainer::{Forecast, MemoryMode, StepResult, Trainer, TrainerSettings, check_budget};
pub use validation::{CaseDice, Predicted, Validation};
