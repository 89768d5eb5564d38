//! From a graph to a flat list of dispatches over shared buffers, as plain data.
//!
//! Shapes are fixed, so everything is decided here once: which nodes are needed, the dispatches of each, and which
//! buffer every value lives in. wgpu refuses a dispatch that reads one range of a buffer and writes another, so values
//! share whole buffers ("slots") whose lifetimes do not overlap, instead of ranges of one arena. Parameters,
//! gradients and moments do lie in arenas ([`ArenaLayout`]): no dispatch reads and writes the same one.

mod arena;
mod build;
mod gradients;
mod report;
mod sharing;
mod slots;
mod submission;

pub use arena::{ArenaLayout, ParameterWindow};
pub use build::{Accumulate, Request, Stage, plan};
pub use report::{MemoryReport, human_bytes};
pub use slots::{Lifetime, SlotAssignment, assign_slots, lower_bound};

use crate::kernel::{Access, Arena, Cost, Kernel};
use crate::tensor::ValueId;
use std::collections::HashMap;

/// A buffer to allocate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferSpec {
    /// What it is for.
    pub role: BufferRole,
    /// Size in bytes.
    pub bytes: u64,
}

/// What a buffer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferRole {
    /// An input of the graph, written by the host.
    Input,
    /// Values whose lifetimes do not overlap.
    Slot,
    /// All parameters, gradients or moments.
    Arena(Arena),
    /// A temporary of a stage outside the graph.
    Scratch,
    /// The scalars of the step.
    StepScalars,
}

/// A range of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Index into [`Plan::buffers`].
    pub buffer: usize,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub bytes: u64,
}

/// A dispatch with its operands resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedDispatch {
    /// Index into [`Plan::kernels`].
    pub kernel: usize,
    /// Words of the uniform.
    pub params: Vec<u32>,
    /// Storage bindings.
    pub bindings: Vec<(Window, Access)>,
    /// Workgroups per dimension.
    pub grid: [u32; 3],
    /// Index into [`Program::steps`].
    pub step: usize,
    /// What it costs on a small GPU, in flops: those that it executes, or the time of what it binds.
    pub work: u64,
    /// Number of its submission within the program.
    pub submission: usize,
}

/// What a run of dispatches computes, for profiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Scope of the node, e.g. `encoder.1.conv.0.grad`.
    pub name: String,
    /// Name of the operation.
    pub op: &'static str,
    /// Useful work.
    pub cost: Cost,
}

/// A list of dispatches that is replayed as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Name for reports.
    pub name: &'static str,
    /// The nodes or stages, in order.
    pub steps: Vec<Step>,
    /// The dispatches, in order.
    pub dispatches: Vec<PlannedDispatch>,
}

impl Program {
    /// The dispatches by submission. The work of one stays within
    /// [`Tuning::submission_flops`](crate::kernel::Tuning::submission_flops), unless it is that of a single dispatch.
    pub fn submissions(&self) -> impl Iterator<Item = &[PlannedDispatch]> {
        self.dispatches.chunk_by(|a, b| a.submission == b.submission)
    }
}

/// Everything that an executor needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Buffers to allocate.
    pub buffers: Vec<BufferSpec>,
    /// Pipelines to build.
    pub kernels: Vec<Kernel>,
    /// The graph's program first, then one per stage.
    pub programs: Vec<Program>,
    /// Where inputs, parameters and kept values are.
    pub places: HashMap<ValueId, Window>,
    /// Where each stage's scratch buffers are, in order.
    pub stage_scratch: Vec<Vec<Window>>,
    /// Where parameters are within the arenas.
    pub arena: ArenaLayout,
    /// Bytes by role, and the lower bound that the lifetimes impose.
    pub memory: MemoryReport,
}

impl Plan {
    /// Shaders that the nodes of a scope of the graph run on, in order and without repetition.
    pub fn kernels_of(&self, scope: &str) -> Vec<&'static str> {
        let program = &self.programs[0];
        let mut shaders = Vec::new();
        for dispatch in program.dispatches.iter().filter(|d| program.steps[d.step].name == scope) {
            let shader = self.kernels[dispatch.kernel].shader;
            if !shaders.contains(&shader) {
                shaders.push(shader);
            }
        }
        shaders
    }
}

/// A graph cannot run on a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A value does not fit in one storage binding.
    #[error(
        "{name} ({spec}) needs a binding of {}, the device allows {}; use a smaller patch, base or batch",
        human_bytes(*.bytes), human_bytes(*.limit)
    )]
    Binding {
        /// Scope and operation.
        name: String,
        /// Spec of the value.
        spec: String,
        /// Bytes needed.
        bytes: u64,
        /// The device's limit.
        limit: u64,
    },
    /// A buffer is larger than the device allows.
    #[error("{name} needs a buffer of {}, the device allows {}", human_bytes(*.bytes), human_bytes(*.limit))]
    Buffer {
        /// What the buffer is for.
        name: String,
        /// Bytes needed.
        bytes: u64,
        /// The device's limit.
        limit: u64,
    },
    /// A request has more or fewer gradients than the graph has parameters.
    #[error("a request has {gradients} gradients, expected one for each of {parameters} parameters")]
    Gradients {
        /// Gradients of the request.
        gradients: usize,
        /// Parameters of the graph.
        parameters: usize,
    },
    /// The gradient of a parameter has another size, or would not come to its window of the arena once and as a whole.
    #[error("the gradient of {name} is {found}, expected {expected}")]
    Gradient {
        /// Name of the parameter.
        name: String,
        /// What is wrong with its gradient.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A dispatch binds more storage buffers than the device allows.
    #[error("{shader} binds {count} storage buffers, the device allows {limit}")]
    StorageBuffers {
        /// The shader.
        shader: &'static str,
        /// Buffers bound.
        count: usize,
        /// The device's limit.
        limit: u32,
    },
}
