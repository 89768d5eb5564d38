use crate::nn::ModelError;
use std::path::PathBuf;

/// A model cannot be exported or imported.
#[derive(Debug, thiserror::Error)]
pub enum InteropError {
    /// A file cannot be read or written.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file that holds or would hold a model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The name of the output does not tell its format.
    #[error("{}: expected a name that ends in {expected}", .path.display())]
    Name {
        /// The output.
        path: PathBuf,
        /// The ending.
        expected: &'static str,
    },
    /// A kind of network that cannot be written in this form.
    #[error("a network of kind {kind} cannot be written as {to}; write it as ONNX")]
    Kind {
        /// Its name.
        kind: &'static str,
        /// The form.
        to: &'static str,
    },
    /// An operation that the export does not know.
    #[error("the network has the operation {operation}, which the export to ONNX does not know")]
    Operation {
        /// Its name.
        operation: &'static str,
    },
    /// More than the format can hold.
    #[error("{}: the weights are {bytes} bytes, but an ONNX file holds less than 2 GiB; use --format torch", .path.display())]
    TooLarge {
        /// The output.
        path: PathBuf,
        /// Bytes of the weights.
        bytes: usize,
    },
    /// A file of PyTorch's that is damaged or has more than plain data and tensors.
    #[error("{}: expected a file of torch.save: {reason}", .path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Tensors that are no known network.
    #[error(
        "{}: no known network: expected encoder.0.conv.0.weight and the other names of this program, a VNet of MONAI or \
         vnet.pytorch (in_tr, down_tr32, …), a U-Net of nnU-Net (encoder.stages, decoder.stages) or MONAI's DynUNet of basic blocks \
         (input_block, downsamples); found {found}", .path.display()
    )]
    Layout {
        /// The file.
        path: PathBuf,
        /// Names in the file.
        found: String,
    },
    /// A network of a known layout that computes something else than those of this program.
    #[error(
        "{}: {layout}: {} differences from what is known{}", .path.display(), .differences.len(),
        .differences.iter().map(|d| format!("; {d}")).collect::<String>()
    )]
    Differences {
        /// The file.
        path: PathBuf,
        /// Where such networks come from.
        layout: &'static str,
        /// One for each tensor or part: its name, what it is, and what was expected.
        differences: Vec<String>,
    },
}
