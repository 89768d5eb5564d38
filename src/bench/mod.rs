//! Times of whole networks and of single convolutions over random inputs: what `vnet-engine bench` prints.
//!
//! Whole runs are timed by the host's clock from submission to completion, after a run that does not count; the parts of
//! a run by [`crate::profile`].

mod convolution;
mod network;

pub use convolution::{ConvolutionTimes, bench_convolution};
pub use network::{NetworkBench, NetworkTimes};

use crate::kernel::Cost;
use crate::plan::Plan;
use crate::profile::{Measure, Roofline, median};

/// Repetitions of the same work.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeated {
    /// Seconds of each, in order.
    pub seconds: Vec<f64>,
    /// Useful work of one: direct flops and compulsory bytes.
    pub cost: Cost,
}

impl Repeated {
    /// The median time beside the work; its part of the roofline is that of the steps of `plan`, each run as often as its
    /// program in `programs`.
    fn measure(&self, roofline: &Roofline, plan: &Plan, programs: &[usize]) -> Measure {
        let steps = || programs.iter().flat_map(|&p| &plan.programs[p].steps);
        Measure {
            seconds: median(self.seconds.clone()),
            flops: self.cost.flops as f64,
            bytes: self.cost.bytes as f64,
            roofline_seconds: steps().map(|s| roofline.seconds(s.cost.flops as f64, s.cost.bytes as f64)).sum(),
            dispatches: programs.iter().map(|&p| plan.programs[p].dispatches.len()).sum(),
        }
    }
}

/// Work of programs that run one after the other.
fn cost(plan: &Plan, programs: &[usize]) -> Cost {
    let steps = programs.iter().flat_map(|&p| &plan.programs[p].steps);
    steps.fold(Cost::default(), |sum, s| Cost { flops: sum.flops + s.cost.flops, bytes: sum.bytes + s.cost.bytes })
}
