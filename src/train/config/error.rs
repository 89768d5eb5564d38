use super::nearest::did_you_mean;
use crate::nn::NetworkError;
use std::path::PathBuf;

/// A configuration that cannot be used. `origin` is the file with its line where that is known, the option such as
/// `--set training.steps=0`, or `configuration`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("{origin}: {reason}")]
    Syntax {
        /// Where it is.
        origin: String,
        /// The parser's words.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{origin}: unknown key {key}{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// Where it is.
        origin: String,
        /// The key.
        key: String,
        /// The most similar one that exists, where one is near.
        nearest: Option<String>,
    },
    /// A value of the wrong type or out of range.
    #[error("{origin}: key {key}: expected {expected}, found {found}")]
    Value {
        /// Where it is.
        origin: String,
        /// The key.
        key: String,
        /// What it takes.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A setting for each channel, of another number of channels.
    #[error("key {key}: expected one value, or one for each of the data's {channels} channels, found {given}")]
    Channels {
        /// The key.
        key: &'static str,
        /// Values that are given.
        given: usize,
        /// Channels of the data.
        channels: usize,
    },
    /// The network cannot be built.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Several keys.
    #[error("the configuration has {} problems{}", .0.len(), .0.iter().map(|e| format!("\n  {e}")).collect::<String>())]
    Many(Vec<ConfigError>),
}
