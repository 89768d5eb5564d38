use super::METADATA_KEY;
use crate::nn::NetworkError;
use safetensors::SafeTensorError;
use std::path::PathBuf;

/// A model file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Not a safetensors file.
    #[error("{}: not a safetensors file: {source}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: SafeTensorError,
    },
    /// The description of the network is missing or not understood.
    #[error("{}: metadata key {METADATA_KEY}: {reason}", .path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The network cannot be built.
    #[error("{}: {source}", .path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NetworkError,
    },
    /// The header does not fit the file.
    #[error("{}: {promise}, but the file has {found} bytes", .path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// What the header says.
        promise: String,
        /// Length of the file.
        found: u64,
    },
    /// A parameter is NaN or infinite.
    #[error("{}: tensor {name}: element {index} is {value}, expected finite numbers", .path.display())]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Number of the element, last axis fastest.
        index: usize,
        /// The element.
        value: f32,
    },
    /// A parameter is missing, superfluous or of another shape or type.
    #[error("{}: tensor {name}: expected {expected}, found {found}", .path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        name: String,
        /// Type and shape that the network needs.
        expected: String,
        /// Type and shape in the file.
        found: String,
    },
}
