//! Shapes, element types and host tensors.
//!
//! Activations are `[N, D, H, W, C]` with D = z, H = y, W = x of the volume and channels innermost; convolution weights
//! are `[kD, kH, kW, Cin, Cout]`. PyTorch's orders appear only at the border ([`layout`]).

mod host;
pub mod layout;

pub use host::HostTensor;

use std::fmt;

/// Element type of a tensor on the device. Every element is four bytes wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// Unsigned integer: class labels.
    U32,
}

/// Bytes of one element, whatever its [`DType`].
pub const ELEMENT_BYTES: u64 = 4;

/// Shape and element type of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorSpec {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: DType,
}

impl TensorSpec {
    /// An f32 tensor of this shape.
    pub fn f32(shape: impl Into<Vec<usize>>) -> Self {
        Self { shape: shape.into(), dtype: DType::F32 }
    }

    /// A u32 tensor of this shape.
    pub fn u32(shape: impl Into<Vec<usize>>) -> Self {
        Self { shape: shape.into(), dtype: DType::U32 }
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size on the device in bytes.
    pub fn bytes(&self) -> u64 {
        self.elements() as u64 * ELEMENT_BYTES
    }

    /// Extent of the innermost axis: the channels of an activation.
    pub fn channels(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Spatial extents `[D, H, W]` of an activation `[N, D, H, W, C]`.
    ///
    /// # Errors
    /// [`ShapeError`] when the tensor does not have five axes.
    pub fn spatial(&self, op: &'static str) -> Result<[usize; 3], ShapeError> {
        match self.shape[..] {
            [_, d, h, w, _] => Ok([d, h, w]),
            _ => Err(ShapeError::new(op, "an activation [N, D, H, W, C]", &[self])),
        }
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dtype = match self.dtype {
            DType::F32 => "f32",
            DType::U32 => "u32",
        };
        let extents: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        write!(f, "{dtype}[{}]", extents.join(", "))
    }
}

/// An operation was given tensors that it is not defined on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{op}: expected {expected}, found {}", .found.join(" and "))]
pub struct ShapeError {
    /// Name of the operation.
    pub op: &'static str,
    /// What the operation is defined on.
    pub expected: String,
    /// The specs that were given.
    pub found: Vec<String>,
}

impl ShapeError {
    /// The error of `op` for the given specs.
    pub fn new(op: &'static str, expected: impl Into<String>, found: &[&TensorSpec]) -> Self {
        Self { op, expected: expected.into(), found: found.iter().map(|s| s.to_string()).collect() }
    }
}

/// A value of a graph: an input, a parameter or the output of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    /// Position in the graph's table of values.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
