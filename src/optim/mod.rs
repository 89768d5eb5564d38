//! Optimisers on the arenas of parameters, gradients and moments, with the semantics of PyTorch's.
//!
//! One update is: the global L2 norm of the gradients (always, for the log), then per window of the arenas one kernel
//! that clips, decays and steps. Statistics, which the end of an arena holds, follow those of the batches. Where the norm is not finite the device changes nothing, neither parameters nor moments:
//! the step is lost and the log shows why.
//!
//! An optimiser is a module with its rule, its hyperparameters and its definition in f64, a shader, and a line in the table
//! of [`Optimisers`]. Configuration, self-test and the tests on the device take it from there.

mod adam;
mod average;
pub mod bounds;
pub mod reference;
mod schedule;
mod settings;
mod sgd;
mod statistics;

pub use adam::Adam;
pub use average::weight as average_weight;
pub use reference::ReferenceStep;
pub use schedule::{LearningRate, Schedule, Schedules};
pub use settings::{OptimiserSettings, StepScalars};
pub use sgd::Sgd;

use crate::kernel::{Arena, Cost, Dispatch, Operand, Target};
use crate::registry::{Entry, Registry};
use crate::tensor::ELEMENT_BYTES;
use std::fmt::Debug;
use std::sync::Arc;

/// The table of optimisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Optimisers;

impl Registry for Optimisers {
    type Item = Arc<dyn Optimiser>;
    const ENTRIES: &'static [Entry<Self>] = &[sgd::SGD, adam::ADAM, adam::ADAMW];
}

/// Numbers of a step that an optimiser may compute on the host: `rule` of [`StepScalars`].
pub const RULE_SCALARS: usize = 4;

/// The rule that turns gradients into steps. Moments start at zero.
///
/// A rule may come from another crate, with its kernel from WGSL ([`Dispatch::from_wgsl`]).
pub trait Optimiser: Debug + Send + Sync {
    /// The kernel that steps a window of the arenas, without constants and bindings.
    ///
    /// Its uniform holds the window's elements, how many of them, from the first, decay (both `u32`), the largest norm
    /// (0: no clipping) and the weight decay (both `f32`), then what [`Optimiser::constants`] appends. Its bindings are
    /// `StepScalars`, the norm of the gradients, gradients, parameters and moments. A workgroup steps 1024 elements.
    fn kernel(&self) -> Dispatch;

    /// Moments that are kept per parameter: 1 or 2.
    fn moments(&self) -> usize;

    /// Floating-point operations per parameter of a step.
    fn flops(&self) -> u64;

    /// Appends the rule's constants to the uniform.
    fn constants(&self, dispatch: Dispatch) -> Dispatch;

    /// What the rule needs of step `step`, counted from 1, besides its learning rate.
    fn scalars(&self, step: u64, learning_rate: f64) -> [f64; RULE_SCALARS] {
        let _ = (step, learning_rate);
        [0.0; RULE_SCALARS]
    }

    /// The definition, in f64: steps one parameter with its clipped gradient. Where there is one moment, the second is
    /// not used.
    fn reference(&self, step: &ReferenceStep, gradient: f64, parameter: &mut f64, moments: [&mut f64; 2]);

    /// How far the kernel may be from the definition: bounds on the errors of parameter and moments after a step, from those
    /// before it ([`bounds`]).
    fn errors(&self, step: &bounds::Step, element: &bounds::Element, before: [f64; 3]) -> [f64; 3];
}

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

/// The update of the first `elements` elements of arenas, those that the optimiser moves, of which the first `decayed` are subject to
/// weight decay.
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
    let elements = elements as u64;
    let rule = &settings.optimiser;
    // The norm squares and adds each gradient; the rule reads it again, and reads and writes parameter and moments.
    let (flops, words) = (2 + rule.flops(), 4 + 2 * rule.moments() as u64);
    let cost = Cost { flops: flops * elements, bytes: words * ELEMENT_BYTES * elements };
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
    let rule = &settings.optimiser;
    let dispatch = rule
        .kernel()
        .params(&[len, decayed])
        .scalar(settings.clip_norm.unwrap_or(0.0) as f32)
        .scalar(settings.weight_decay as f32);
    let dispatch = rule
        .constants(dispatch)
        .read(Operand::StepScalars)
        .read(grad_norm)
        .read(window(Arena::Gradients))
        .write(window(Arena::Parameters))
        .linear_grid(len.div_ceil(WORKGROUP_ELEMENTS), target);
    let moments = [Arena::Moment1, Arena::Moment2].into_iter().take(rule.moments());
    moments.fold(dispatch, |dispatch, moment| dispatch.write(window(moment)))
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
    use crate::registry::{Hyperparameters, Kind, Value, is_consistent};

    #[test]
    fn the_tables_are_consistent() {
        is_consistent::<Optimisers>();
        is_consistent::<Schedules>();
    }

    #[test]
    fn values_are_read_checked_and_written_in_order() {
        let text = "momentum = 1\nbeta2 = 0.5\n";
        let read: Hyperparameters<Optimisers> = toml::from_str(text).expect("valid");
        assert_eq!((read.number("momentum"), read.number("beta2"), read.switch("nesterov")), (1.0, 0.5, false));
        assert_eq!(read.mistakes(), [("momentum", "0 up to, not including, 1", Value::Number(1.0))]);
        let written = "momentum = 1.0\nnesterov = false\nbeta1 = 0.9\nbeta2 = 0.5\nepsilon = 0.00000001\n";
        // Later entries append theirs.
        assert!(toml::to_string(&read).expect("a table").starts_with(written));
        for (text, message) in [
            ("momentun = 0.9", "unknown key momentun"),
            ("nesterov = 0.9", "key nesterov: expected true or false, found 0.9"),
            ("momentum = true", "key momentum: expected 0 up to, not including, 1, found true"),
        ] {
            let error = toml::from_str::<Hyperparameters<Optimisers>>(text).expect_err(text);
            assert!(error.message().contains(message), "{}", error.message());
        }
        let mut of_schedules = Hyperparameters::<Schedules>::default();
        of_schedules.set("every", 0);
        of_schedules.set("power", f64::NAN);
        let keys: Vec<&str> = of_schedules.mistakes().iter().map(|(key, ..)| *key).collect();
        assert_eq!(keys, ["every", "power"]);
    }

    #[test]
    fn an_unknown_kind_is_told_the_known_ones() {
        assert_eq!("adamw".parse::<Kind<Optimisers>>().expect("known").name(), "adamw");
        let error = "sdg".parse::<Kind<Optimisers>>().expect_err("unknown");
        assert!(error.starts_with("unknown kind \"sdg\", expected one of `sgd`, `adam`, `adamw`"), "{error}");
    }

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
