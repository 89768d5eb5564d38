//! Training: configuration, the device's part of a step, validation and the run folder.

mod checkpoint;
pub mod config;
mod config_check;
mod config_load;
pub mod data_config;
mod error;
mod history;
mod log;
mod patch;
mod preflight;
mod profiler;
mod run;
mod trainer;
mod validation;

pub use config::{Config, ConfigError, Preset};
pub use error::TrainError;
pub use log::{Event, Log};
pub use patch::choose_patch;
pub use preflight::{CheckedData, Preflight, check_data, preflight};
pub use run::{Progress, RunSettings, Started, Summary, train};
pub use trainer::{StepResult, Trainer};
pub use validation::{CaseDice, Validation};
