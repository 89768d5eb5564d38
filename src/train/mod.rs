//! Training: configuration, the device's part of a step, validation and the run folder.

mod checkpoint;
pub mod config;
pub mod data_config;
mod error;
mod history;
mod log;
mod patch;
mod preview;
mod profiler;
mod run;
mod trainer;
mod validation;

pub use config::{Config, ConfigError, Preset};
pub use error::TrainError;
pub use log::{Event, Log};
pub use patch::choose_patch;
pub use preview::{Preview, preview};
pub use run::{Progress, RunSettings, Started, Summary, train};
pub use trainer::{StepResult, Trainer};
pub use validation::{CaseDice, Validation};
