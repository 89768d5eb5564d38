//! What runs on the device, as plain data: shader sources, dispatches, costs and the limits of a device.
//!
//! Every shader has its bindings in group 0: binding 0 is the uniform `params` (the words of [`Dispatch::params`]),
//! bindings 1, 2, … are the storage buffers of [`Dispatch::bindings`] in order.

mod measured;
mod source;
mod target;

pub use measured::{ConvolutionKernels, ConvolutionLayer, KernelTable, MeasuredChoice};
pub use source::{SHADERS, SourceError, source};
pub use target::{Algorithms, Target};

use crate::tensor::ValueId;

/// Size of the buffer behind [`Operand::StepScalars`].
pub const STEP_SCALAR_BYTES: u64 = 64;

/// A compute pipeline: a shader and the values of its `override` constants.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Name of the shader file and of its entry point.
    pub shader: &'static str,
    /// `override` constants; all that the shader declares without a default must be given.
    pub constants: Vec<(&'static str, f64)>,
    /// Whether an invocation works on pairs of neighbouring floats, in shaders that import `element`; needs
    /// [`Target::int64`].
    pub pairs: bool,
}

/// Which whole-model buffer an [`Operand`] lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arena {
    /// Values of all parameters.
    Parameters,
    /// Gradients of all parameters, at the same offsets.
    Gradients,
    /// First moments (momentum) of the optimiser.
    Moment1,
    /// Second moments of the optimiser.
    Moment2,
    /// Exponential moving average of all parameters.
    Average,
}

/// What a binding of a dispatch refers to, before buffers are assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A whole value of the graph.
    Value(ValueId),
    /// A temporary buffer of the node that is being lowered, by its number within the node.
    Scratch(usize),
    /// A window of an arena, in elements.
    Window {
        /// The arena.
        arena: Arena,
        /// First element.
        start: usize,
        /// Number of elements.
        len: usize,
    },
    /// The scalars of the current step ([`crate::optim::StepScalars`]), read-only.
    StepScalars,
}

/// How a dispatch uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    Write,
}

/// Useful work of an operation, for the roofline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations; a fused multiply-add counts as two.
    pub flops: u64,
    /// Compulsory traffic: every input read once and every output written once.
    pub bytes: u64,
}

/// One dispatch of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatch {
    /// The pipeline.
    pub kernel: Kernel,
    /// Words of the uniform `params` at binding 0 (f32 as bits).
    pub params: Vec<u32>,
    /// Storage bindings 1, 2, …
    pub bindings: Vec<(Operand, Access)>,
    /// Workgroups per dimension.
    pub grid: [u32; 3],
}

impl Dispatch {
    /// A dispatch without bindings of the shader of this name.
    pub fn new(shader: &'static str) -> Self {
        Self {
            kernel: Kernel { shader, constants: Vec::new(), pairs: false },
            params: Vec::new(),
            bindings: Vec::new(),
            grid: [1, 1, 1],
        }
    }

    /// Sets an `override` constant.
    #[must_use]
    pub fn constant(mut self, name: &'static str, value: u32) -> Self {
        self.kernel.constants.push((name, f64::from(value)));
        self
    }

    /// Sets [`Kernel::pairs`].
    #[must_use]
    pub fn pairs(mut self, pairs: bool) -> Self {
        self.kernel.pairs = pairs;
        self
    }

    /// Appends an extent or count to the uniform.
    ///
    /// # Panics
    /// When it does not fit in 32 bits; no tensor of a device has such an extent.
    #[must_use]
    pub fn param(mut self, value: usize) -> Self {
        self.params.push(u32::try_from(value).expect("extents of device tensors fit in 32 bits"));
        self
    }

    /// Appends several extents to the uniform.
    #[must_use]
    pub fn params(self, values: &[usize]) -> Self {
        values.iter().fold(self, |d, &v| d.param(v))
    }

    /// Appends an f32 to the uniform.
    #[must_use]
    pub fn scalar(mut self, value: f32) -> Self {
        self.params.push(value.to_bits());
        self
    }

    /// Appends a read-only binding.
    #[must_use]
    pub fn read(mut self, operand: Operand) -> Self {
        self.bindings.push((operand, Access::Read));
        self
    }

    /// Appends a read-write binding.
    #[must_use]
    pub fn write(mut self, operand: Operand) -> Self {
        self.bindings.push((operand, Access::Write));
        self
    }

    /// Sets the grid in workgroups.
    #[must_use]
    pub fn grid(mut self, grid: [u32; 3]) -> Self {
        self.grid = grid;
        self
    }

    /// Sets a grid of at least `workgroups` workgroups, folded so that no dimension exceeds the device's limit. The
    /// shader takes its number from `linear_workgroup` and drops the surplus.
    #[must_use]
    pub fn linear_grid(self, workgroups: usize, target: &Target) -> Self {
        self.grid(target.fold(workgroups))
    }
}
