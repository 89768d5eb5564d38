//! Models of and for other programs: export to ONNX and to a PyTorch module, import of state dictionaries.
//!
//! | way | file | what it holds |
//! |---|---|---|
//! | [`export_onnx`] | `.onnx` | the engine's own forward graph in ONNX operators, weights by their names |
//! | [`export_torch`] | `.py` and `.safetensors` | a module in plain PyTorch that loads the weights beside it |
//! | [`import()`] | `.safetensors` | a state dictionary in any known layout becomes a model |

mod error;
mod import;
mod onnx;
mod torch;

pub use error::InteropError;
pub use import::{Imported, Layout, import};
pub use onnx::{OPSET, export_onnx, proto};
pub use torch::{export_torch, weights_path};
