//! What runs on the device, as plain data: shaders, dispatches and costs. Also what lowering knows of a device ([`Target`]): its
//! limits, its tuning and the kernels that the user asks for.
//!
//! Every shader has its bindings in group 0: binding 0 is the uniform, the words of [`Dispatch::params`],
//! bindings 1, 2, … are the storage buffers of [`Dispatch::bindings`] in order.

mod measured;
mod policy;
mod source;
mod target;
mod transform;
mod tuning;

pub use measured::{ConvolutionKernels, ConvolutionLayer, KernelTable, MeasuredChoice};
pub use policy::{Algorithms, KernelPolicy};
pub use source::{SHADERS, SourceError};
pub use target::{DeviceLimits, Target};
pub use transform::{Transform, TransformNoise};
pub use tuning::{ConvolutionCosts, RooflineTuning, Tuning, WinogradTuning};

use crate::tensor::ValueId;

/// Size of the buffer of [`Operand::StepScalars`].
pub const STEP_SCALAR_BYTES: u64 = 64;

/// A compute pipeline: a shader and the values of its `override` constants.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Name of the shader and of its entry point.
    pub shader: &'static str,
    /// WGSL of a shader from outside this crate; `None`: the one of that name in [`SHADERS`].
    pub text: Option<&'static str>,
    /// `override` constants; all that the shader declares without a default must be given.
    pub constants: Vec<(&'static str, f64)>,
    /// Numbers by which parts of the text are repeated ([`Kernel::source`]): sizes that shape types, such as those of Winograd's
    /// tiles.
    pub counts: Vec<(&'static str, usize)>,
    /// Whether an invocation works on pairs of neighbouring floats, in shaders that import `element`; needs
    /// [`DeviceLimits::int64`].
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
    /// A part of a value of the graph, for values that are larger than a binding may be.
    ValuePart {
        /// The value.
        value: ValueId,
        /// First element: a multiple of 64, as bindings start at multiples of 256 bytes.
        start: usize,
        /// Number of elements.
        len: usize,
    },
    /// A part of a temporary buffer of the node.
    ScratchPart {
        /// Its number within the node.
        scratch: usize,
        /// First element: a multiple of 64.
        start: usize,
        /// Number of elements.
        len: usize,
    },
    /// The scalars of the current step ([`crate::optim::StepScalars`]), read-only.
    StepScalars,
}

impl Operand {
    /// A part of a whole value or temporary buffer, in elements.
    ///
    /// # Panics
    /// When it is neither, or the part does not start at a multiple of 64 elements.
    #[must_use]
    pub fn part(self, start: usize, len: usize) -> Self {
        assert!(start.is_multiple_of(64), "a binding starts at a multiple of 256 bytes");
        match self {
            Self::Value(value) => Self::ValuePart { value, start, len },
            Self::Scratch(scratch) => Self::ScratchPart { scratch, start, len },
            other => panic!("a part of {other:?}"),
        }
    }
}

/// How a dispatch over rows may be replaced by several, each over some of the rows and bound to these alone. A value that is
/// larger than a binding may be is computed so ([`Lowering::emit`](crate::graph::Lowering::emit)).
///
/// Operands of `rows` rows, and temporary buffers with a row for each unit that the dispatch writes, are bound in part.
/// What has fewer elements than there are rows is bound whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pieces {
    /// Rows of the dispatch.
    pub rows: usize,
    /// Rows of a unit: the share of one workgroup, or of `workgroups` side by side.
    pub unit: usize,
    /// Workgroups of a unit.
    pub workgroups: usize,
    /// Word of the uniform that holds the number of rows.
    pub rows_word: usize,
    /// Word of the uniform that holds the number of units, where there is one.
    pub units_word: Option<usize>,
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
    /// Words of the uniform `params` at binding 0 (f32 as bits); those that follow and are not given are zero.
    pub params: Vec<u32>,
    /// Storage bindings 1, 2, …
    pub bindings: Vec<(Operand, Access)>,
    /// Workgroups per dimension.
    pub grid: [u32; 3],
    /// Floating-point operations that it executes, where these outweigh what it binds; 0: not stated.
    pub flops: u64,
    /// How it may be replaced by dispatches over some of its rows; `None`: not at all.
    pub pieces: Option<Pieces>,
}

impl Dispatch {
    /// A dispatch without bindings of this crate's shader of this name ([`SHADERS`]).
    pub fn new(shader: &'static str) -> Self {
        Self::of(shader, None)
    }

    /// A dispatch without bindings of a shader that comes along: WGSL whose entry point is `shader`, with the bindings that
    /// the [module](self) describes. `#import grid` brings `linear_workgroup`, for [`Dispatch::linear_grid`].
    ///
    /// It is compiled with bounds checks; what is wrong with it is an error when an executor is made
    /// ([`crate::gpu::GpuError::Pipeline`]).
    ///
    /// ```
    /// use vnet_engine::kernel::Dispatch;
    ///
    /// const DOUBLE: &str = "
    /// @group(0) @binding(0) var<uniform> elements: u32;
    /// @group(0) @binding(1) var<storage, read> input: array<f32>;
    /// @group(0) @binding(2) var<storage, read_write> output: array<f32>;
    ///
    /// @compute @workgroup_size(64)
    /// fn double(@builtin(global_invocation_id) id: vec3<u32>) {
    ///     if id.x < elements {
    ///         output[id.x] = 2.0 * input[id.x];
    ///     }
    /// }";
    /// let dispatch = Dispatch::from_wgsl("double", DOUBLE).param(1000).grid([1000_u32.div_ceil(64), 1, 1]);
    /// assert_eq!(dispatch.kernel.source()?.trim(), DOUBLE.trim());
    /// # Ok::<(), vnet_engine::kernel::SourceError>(())
    /// ```
    pub fn from_wgsl(shader: &'static str, text: &'static str) -> Self {
        Self::of(shader, Some(text))
    }

    fn of(shader: &'static str, text: Option<&'static str>) -> Self {
        Self {
            kernel: Kernel { shader, text, constants: Vec::new(), counts: Vec::new(), pairs: false },
            params: Vec::new(),
            bindings: Vec::new(),
            grid: [1, 1, 1],
            flops: 0,
            pieces: None,
        }
    }

    /// Sets an `override` constant.
    #[must_use]
    pub fn constant(mut self, name: &'static str, value: u32) -> Self {
        self.kernel.constants.push((name, f64::from(value)));
        self
    }

    /// Sets a number by which parts of the text are repeated.
    #[must_use]
    pub fn count(mut self, name: &'static str, value: usize) -> Self {
        self.kernel.counts.push((name, value));
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

    /// Appends the first of the workgroups, rows or other units of this part of the work; 0 is left out, as words that are not
    /// given are zero.
    #[must_use]
    pub fn first_unit(self, first: usize) -> Self {
        if first == 0 { self } else { self.param(first) }
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

    /// States the floating-point operations that it executes ([`Dispatch::flops`]).
    #[must_use]
    pub fn flops(mut self, flops: u64) -> Self {
        self.flops = flops;
        self
    }

    /// Says how it may be replaced by dispatches over some of its rows.
    #[must_use]
    pub fn pieces(mut self, pieces: Option<Pieces>) -> Self {
        self.pieces = pieces;
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
