use crate::nn::{Kept, TrainingGraph};
use crate::plan::{Plan, PlanError};
use serde::{Deserialize, Serialize};

/// Memory above the least at which fewer recomputed layers are preferred.
const SLACK: f64 = 1.02;

/// What a step does with activations between forward and backward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MemoryMode {
    /// Keep them.
    #[default]
    Normal,
    /// Compute some of them again: slower, in less memory, with the same results to the last bit.
    Low,
}

impl std::fmt::Display for MemoryMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Low => "low",
        })
    }
}

/// The training with the recomputation that needs least memory by its plan. Plans are made for stages recomputed as
/// far as they can be; then, from the dearest stage on, as much is kept as the peak allows.
pub(super) fn lowest(
    training: TrainingGraph,
    plan: impl Fn(&TrainingGraph) -> Result<Plan, PlanError>,
) -> Result<(TrainingGraph, Plan), PlanError> {
    let stages = training.stages().len();
    let normal = plan(&training)?;
    let mut best = (training.clone(), normal);
    let mut kept = vec![Kept::All; stages];
    for level in [Kept::Convolutions, Kept::Boundaries] {
        let candidate = vec![level; stages];
        let recomputing = training.recomputing(&candidate);
        let planned = plan(&recomputing)?;
        if planned.memory.total() < best.1.memory.total() {
            (best, kept) = ((recomputing, planned), candidate);
        }
    }
    let limit = (best.1.memory.total() as f64 * SLACK) as u64;
    for stage in dearest_first(&training) {
        for level in [Kept::All, Kept::Convolutions] {
            let mut candidate = kept.clone();
            candidate[stage] = level.min(kept[stage]);
            let recomputing = training.recomputing(&candidate);
            let planned = plan(&recomputing)?;
            if planned.memory.total() <= limit {
                (best, kept) = ((recomputing, planned), candidate);
                break;
            }
        }
    }
    Ok(best)
}

/// The stages by the flops of their layers, most first.
fn dearest_first(training: &TrainingGraph) -> Vec<usize> {
    let stages = training.stages();
    let flops = |stage: &str| -> u64 { training.layers.iter().filter(|l| l.stage == stage).map(|l| l.flops).sum() };
    let mut order: Vec<usize> = (0..stages.len()).collect();
    order.sort_by_key(|&s| (std::cmp::Reverse(flops(stages[s])), s));
    order
}
