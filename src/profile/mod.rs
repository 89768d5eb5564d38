//! Where the time of a run goes: by layer, by kernel and over time, compared with what the device can do at best.
//!
//! Flops are those of the direct form of each operation ([`Cost`]), whatever its kernels do, so a kernel that needs fewer
//! multiplications may be above the roofline. Bytes are the compulsory traffic.

mod measure;
mod roofline;
mod table;
mod trace;

pub use measure::{KernelMeasure, LayerMeasure, Measure};
pub use roofline::{CopyLoop, FmaLoop, Roofline, RooflineCase, cases, roofline_cases};
pub use table::{Passes, kernel_table, layer_table};
pub use trace::chrome_trace;

use crate::exec::Timing;
use crate::graph::RECOMPUTED;
use crate::kernel::Cost;
use crate::plan::Plan;
use serde::Serialize;

/// Which part of a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// From the image to the loss or the probabilities.
    Forward,
    /// Gradients.
    Backward,
    /// The optimiser.
    Update,
}

/// One dispatch of a profiled run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProfiledDispatch {
    /// Name of its shader.
    pub kernel: &'static str,
    /// Seconds from the start of the run to its start.
    pub start: f64,
    /// Seconds that it took.
    pub seconds: f64,
}

/// One node of the graph, or one stage after it, in a profiled run.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfiledStep {
    /// Scope in the network, e.g. `encoder.1.conv.0`, the same for a layer and its gradient.
    pub layer: String,
    /// Part of the training step.
    pub pass: Pass,
    /// Name of the operation.
    pub op: &'static str,
    /// Useful work.
    pub cost: Cost,
    /// Its dispatches in order.
    pub dispatches: Vec<ProfiledDispatch>,
}

impl ProfiledStep {
    /// Device time.
    pub fn seconds(&self) -> f64 {
        self.dispatches.iter().map(|d| d.seconds).sum()
    }
}

/// The dispatches of programs that ran one after the other, each with its program.
pub type ProgramTimings = Vec<(usize, Vec<Timing>)>;

/// A run, dispatch by dispatch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// The steps in order.
    pub steps: Vec<ProfiledStep>,
}

impl Profile {
    /// The profile of programs of a plan that ran one after the other.
    pub fn new(plan: &Plan, runs: &[(usize, Vec<Timing>)]) -> Self {
        let mut steps = Vec::new();
        let mut origin = 0.0;
        for (number, timings) in runs {
            let program = &plan.programs[*number];
            let mut of_program: Vec<ProfiledStep> = program
                .steps
                .iter()
                .map(|step| {
                    let (layer, pass) = place(&step.name, *number);
                    let dispatches = Vec::new();
                    ProfiledStep { layer: layer.to_owned(), pass, op: step.op, cost: step.cost, dispatches }
                })
                .collect();
            for t in timings {
                let kernel = plan.kernels[t.kernel].shader;
                let dispatch = ProfiledDispatch { kernel, start: origin + t.start, seconds: t.seconds };
                of_program[t.step].dispatches.push(dispatch);
            }
            origin += timings.last().map_or(0.0, |t| t.start + t.seconds);
            steps.extend(of_program);
        }
        Self { steps }
    }

    /// The profile of several runs of the same programs: the median time of each dispatch.
    ///
    /// # Panics
    /// When there is no run, or the runs are of different programs.
    pub fn median(plan: &Plan, runs: &[ProgramTimings]) -> Self {
        let mut merged = runs[0].clone();
        for (p, (program, timings)) in merged.iter_mut().enumerate() {
            for (t, timing) in timings.iter_mut().enumerate() {
                let of_run = |run: &ProgramTimings| {
                    let other = run[p].1[t];
                    assert!(run[p].0 == *program && other.kernel == timing.kernel, "runs of the same programs");
                    other.seconds
                };
                timing.seconds = median(runs.iter().map(of_run).collect());
            }
            let mut start = 0.0;
            for timing in timings {
                timing.start = start;
                start += timing.seconds;
            }
        }
        Self::new(plan, &merged)
    }

    /// Device time of all dispatches.
    pub fn seconds(&self) -> f64 {
        self.steps.iter().map(ProfiledStep::seconds).sum()
    }
}

/// The layer and the pass of a step of a program, by its name: nodes of gradients are named like the layer, followed by `.grad`,
/// those that compute an activation again for them by `.recompute`, and programs after the graph's are the optimiser's.
fn place(step: &str, program: usize) -> (&str, Pass) {
    match step.strip_suffix(".grad").or_else(|| step.strip_suffix(RECOMPUTED)) {
        _ if program > 0 => (step, Pass::Update),
        Some(layer) => (layer, Pass::Backward),
        None => (step, Pass::Forward),
    }
}

/// The median; the mean of the two in the middle of an even number.
///
/// # Panics
/// When there are no values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(median(vec![3.0, 1.0, 7.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0, 9.0, 2.0]), 3.0);
        assert_eq!(median(vec![5.0]), 5.0);
    }

    #[test]
    fn steps_have_a_layer_and_a_pass() {
        assert_eq!(place("encoder.1.conv.0", 0), ("encoder.1.conv.0", Pass::Forward));
        assert_eq!(place("encoder.1.conv.0.grad", 0), ("encoder.1.conv.0", Pass::Backward));
        assert_eq!(place("encoder.1.conv.0.recompute", 0), ("encoder.1.conv.0", Pass::Backward));
        assert_eq!(place("update", 1), ("update", Pass::Update));
    }
}
