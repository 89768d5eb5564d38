//! Optimisers on the arenas of parameters, gradients and moments, with the semantics of PyTorch's.
//!
//! One update is: the global L2 norm of the gradients (always, for the log), then per window of the arenas one kernel
//! that clips, decays and steps. Where the norm is not finite the device changes nothing, neither parameters nor moments:
//! the step is lost and the log shows why.

mod average;
pub mod bounds;
pub mod reference;
mod schedule;
mod settings;

pub use average::weight as average_weight;
pub use schedule::{LearningRate, Schedule};
pub use settings::{Optimiser, OptimiserSettings, StepScalars};

use crate::kernel::{Arena, Cost, Dispatch, Operand, Target};
use crate::tensor::ELEMENT_BYTES;

/// Elements of the arenas whose squares one workgroup sums: `ELEMENTS` of `squares.wgsl`.
const SUMMED_ELEMENTS: usize = 16_384;

/// Elements of one workgroup of the other kernels.
const WORKGROUP_ELEMENTS: usize = 1024;

/// Starts of windows are multiples of this many elements: 256 bytes, the largest binding alignment that WebGPU allows a
/// device to ask for.
const ALIGNMENT: usize = 256 / ELEMENT_BYTES as usize;

/// The dispatches of one update.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// In order.
    pub dispatches: Vec<Dispatch>,
    /// Sizes in bytes of the scratch buffers that they refer to.
    pub scratch: Vec<u64>,
    /// One f32: the global L2 norm of the gradients before clipping.
    pub grad_norm: Operand,
    /// Useful work.
    pub cost: Cost,
}

/// The update of arenas of `elements` elements, of which the first `decayed` are subject to weight decay.
pub fn update(settings: &OptimiserSettings, elements: usize, decayed: usize, target: &Target) -> Update {
    let (partials, grad_norm) = (Operand::Scratch(0), Operand::Scratch(1));
    let windows = windows(elements, target);
    let mut dispatches = Vec::new();
    let mut count = 0;
    for &(start, len) in &windows {
        let gradients = Operand::Window { arena: Arena::Gradients, start, len };
        let workgroups = len.div_ceil(SUMMED_ELEMENTS);
        let squares = Dispatch::new("squares").params(&[len, count]).read(gradients).write(partials);
        dispatches.push(squares.linear_grid(workgroups, target));
        count += workgroups;
    }
    dispatches.push(Dispatch::new("gradient_norm").param(count).read(partials).write(grad_norm));
    for &(start, len) in &windows {
        let decayed = decayed.saturating_sub(start).min(len);
        dispatches.push(window_update(settings, start, len, decayed, grad_norm, target));
    }
    let (flops, words) = match settings.optimiser {
        Optimiser::Sgd { .. } => (9, 6),
        Optimiser::Adam { .. } | Optimiser::AdamW { .. } => (15, 8),
    };
    let cost = Cost { flops: flops * elements as u64, bytes: words * ELEMENT_BYTES * elements as u64 };
    Update { dispatches, scratch: vec![count.max(1) as u64 * ELEMENT_BYTES, ELEMENT_BYTES], grad_norm, cost }
}

/// Windows `(start, len)` that cover the arenas and fit in a binding.
fn windows(elements: usize, target: &Target) -> Vec<(usize, usize)> {
    let limit = usize::try_from(target.limits.max_binding_bytes / ELEMENT_BYTES).unwrap_or(usize::MAX);
    let most = (limit / ALIGNMENT * ALIGNMENT).max(ALIGNMENT);
    (0..elements).step_by(most).map(|start| (start, most.min(elements - start))).collect()
}

fn window_update(
    settings: &OptimiserSettings,
    start: usize,
    len: usize,
    decayed: usize,
    grad_norm: Operand,
    target: &Target,
) -> Dispatch {
    let window = |arena| Operand::Window { arena, start, len };
    let shader = match settings.optimiser {
        Optimiser::Sgd { .. } => "sgd",
        Optimiser::Adam { .. } | Optimiser::AdamW { .. } => "adam",
    };
    let dispatch = Dispatch::new(shader)
        .params(&[len, decayed])
        .scalar(settings.clip_norm.unwrap_or(0.0) as f32)
        .scalar(settings.weight_decay as f32)
        .read(Operand::StepScalars)
        .read(grad_norm)
        .read(window(Arena::Gradients))
        .write(window(Arena::Parameters))
        .write(window(Arena::Moment1))
        .linear_grid(len.div_ceil(WORKGROUP_ELEMENTS), target);
    let adam = |decoupled: bool, beta1: f64, beta2: f64, epsilon: f64| {
        let dispatch = dispatch.clone().param(usize::from(decoupled)).scalar((1.0 - beta1) as f32);
        let dispatch = dispatch.scalar(beta2 as f32).scalar((1.0 - beta2) as f32).scalar(epsilon as f32);
        dispatch.write(window(Arena::Moment2))
    };
    match settings.optimiser {
        Optimiser::Sgd { momentum, nesterov } => dispatch.clone().scalar(momentum as f32).param(usize::from(nesterov)),
        Optimiser::Adam { beta1, beta2, epsilon } => adam(false, beta1, beta2, epsilon),
        Optimiser::AdamW { beta1, beta2, epsilon } => adam(true, beta1, beta2, epsilon),
    }
}

/// Adds `gradient` to `window` of the gradient arena, or replaces what is there in the first micro-step
/// ([`StepScalars::first_micro_step`]).
pub fn accumulate(gradient: Operand, window: Operand, elements: usize, target: &Target) -> Dispatch {
    let dispatch = Dispatch::new("accumulate").param(elements).read(Operand::StepScalars).read(gradient).write(window);
    dispatch.linear_grid(elements.div_ceil(WORKGROUP_ELEMENTS), target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_arena_aligned_and_within_the_limit() {
        let target = Target::webgpu().with_max_binding_bytes(1000);
        assert_eq!(windows(500, &target), [(0, 192), (192, 192), (384, 116)]);
        assert_eq!(windows(0, &target), []);
        assert_eq!(windows(64, &Target::webgpu()), [(0, 64)]);
    }

    #[test]
    fn decay_ends_within_a_window() {
        let settings = OptimiserSettings::default();
        let target = Target::webgpu().with_max_binding_bytes(256);
        let update = update(&settings, 192, 100, &target);
        let decayed: Vec<u32> =
            update.dispatches.iter().filter(|d| d.kernel.shader == "sgd").map(|d| d.params[1]).collect();
        assert_eq!(decayed, [64, 36, 0]);
        assert_eq!(update.scratch, [12, 4]);
    }
}
