use super::{Trainer, TrainerSettings};
use crate::exec::STAGING_BYTES;
use crate::infer::Predictor;
use crate::kernel::Target;
use crate::nn::{Kept, Network, TrainingGraph};
use crate::plan::{BufferRole, MemoryReport, Plan, PlanError};
use crate::train::TrainError;
use serde::{Deserialize, Serialize};

/// Give up this part (1 / n) of the memory that can be saved, where that spares recomputation.
const GIVEN_UP: u64 = 20;

/// What happens to activations between forward and backward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryMode {
    /// Keep them.
    #[default]
    Normal,
    /// Compute some of them again: slower, with less memory and the same bits.
    Low,
}

impl MemoryMode {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Normal, Self::Low];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// What it does, in a line.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Normal => "Keep them",
            Self::Low => "Compute some of them again: slower, in less memory, with the same results to the last bit",
        }
    }
}

impl std::fmt::Display for MemoryMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Device memory of a training in bytes, known before anything is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Forecast {
    /// The plan of a step.
    pub step: MemoryReport,
    /// What validation takes besides the memory of the step.
    pub validation: u64,
    /// Host-visible memory for copies to the device: inputs of the passes in flight, or a piece of an arena.
    pub staging: u64,
    /// Passes per step over which gradients are accumulated.
    pub passes: usize,
    /// Arenas of the size of the parameters: they, their gradients, moments and average.
    pub arenas: usize,
    /// Pipelines that are built.
    pub kernels: usize,
    /// Share of the forward pass's flops that the backward pass computes again.
    pub recomputed: f64,
}

impl Forecast {
    /// The forecast for inputs of `extents` `[D, H, W]`.
    ///
    /// # Errors
    /// [`TrainError`] when a setting is out of range, or not even a single sample fits the limits of the target.
    pub fn new(
        network: &Network,
        settings: &TrainerSettings,
        extents: [usize; 3],
        target: &Target,
    ) -> Result<Self, TrainError> {
        let (training, plan, passes) = Trainer::plan_for(network, settings, extents, target)?;
        let (_, validation) = Predictor::plan_for(network, 1, extents, target)?;
        Ok(Self {
            step: plan.memory,
            validation: validation.bytes_beside(&plan),
            staging: plan.memory.inputs.max(STAGING_BYTES as u64),
            passes,
            arenas: plan.buffers.iter().filter(|b| matches!(b.role, BufferRole::Arena(_))).count(),
            kernels: plan.kernels.len() + validation.kernels.len(),
            recomputed: training.recomputed_share(),
        })
    }

    /// The peak.
    pub fn total(&self) -> u64 {
        self.step.total() + self.validation + self.staging
    }
}

/// The training with the recomputation that needs least memory by its plan. First all stages are recomputed as far as
/// possible; then, from the most expensive stage on, as much is kept as the peak allows.
pub(super) fn lowest(
    training: TrainingGraph,
    plan: impl Fn(&TrainingGraph) -> Result<Plan, PlanError>,
) -> Result<(TrainingGraph, Plan), PlanError> {
    let stages = training.stages().len();
    let normal = plan(&training)?;
    let most = normal.memory.total();
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
    let least = best.1.memory.total();
    let limit = least + (most - least) / GIVEN_UP;
    for stage in most_expensive_first(&training) {
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
fn most_expensive_first(training: &TrainingGraph) -> Vec<usize> {
    let stages = training.stages();
    let flops = |stage: &str| -> u64 { training.layers.iter().filter(|l| l.stage == stage).map(|l| l.flops).sum() };
    let mut order: Vec<usize> = (0..stages.len()).collect();
    order.sort_by_key(|&s| (std::cmp::Reverse(flops(stages[s])), s));
    order
}
