//! The graph and the plan of a training that fits a device.

use super::memory::lowest;
use super::parameters::segments;
use super::{MemoryMode, TrainerSettings};
use crate::augment::{Augmentation, Augmenter, Extents};
use crate::graph::Graph;
use crate::kernel::{Operand, Target};
use crate::nn::{BATCH_MOMENTUM, Network, TrainingGraph};
use crate::optim::{accumulate, update_segments};
use crate::plan::{ArenaLayout, Plan, PlanError, Request, Stage, plan};
use crate::train::TrainError;
use std::collections::BTreeSet;

/// Position of the gradient's norm among the scratch buffers of the update.
pub(super) const NORM_SCRATCH: usize = 1;

/// A training graph and the augmentation before it.
pub(super) struct Head {
    pub(super) training: TrainingGraph,
    pub(super) augmenter: Option<Augmenter>,
}

impl Head {
    fn new(
        network: &Network,
        settings: &TrainerSettings,
        frozen: &BTreeSet<String>,
        batch: usize,
        patch: [usize; 3],
        scale: f32,
    ) -> Result<Self, crate::tensor::ShapeError> {
        let objective = settings.objective();
        let mut graph = Graph::new();
        graph.freeze(frozen.clone());
        let Some(augmentation) = settings.augmentation.filter(Augmentation::is_active) else {
            let inputs = TrainingGraph::inputs(&mut graph, network, batch, patch);
            let training = TrainingGraph::minimising(graph, network, objective, inputs, scale)?;
            return Ok(Self { training, augmenter: None });
        };
        let extents = Extents { source: settings.block(patch), patch };
        let (seed, channels) = (settings.seed, network.in_channels);
        let augmenter = Augmenter::append(&mut graph, &augmentation, seed, batch, channels, extents)?;
        let inputs = (augmenter.augmented_image, augmenter.augmented_labels);
        let training = TrainingGraph::minimising(graph, network, objective, inputs, scale)?;
        Ok(Self { training, augmenter: Some(augmenter) })
    }
}

/// Plans a training with the fewest passes, from `accumulation` on, whose part of the batch fits the target.
pub(super) fn fit(
    network: &Network,
    settings: &TrainerSettings,
    extents: [usize; 3],
    target: &Target,
) -> Result<(Head, Plan, usize), TrainError> {
    settings.check()?;
    let frozen = settings.frozen(network)?;
    let total = settings.batch;
    let mut failure = None;
    for passes in (settings.accumulation.min(total)..=total).filter(|p| total.is_multiple_of(*p)) {
        let scale = 1.0 / passes as f32;
        let head = Head::new(network, settings, &frozen, total / passes, extents, scale)?;
        let plan = |training: &TrainingGraph| plan_training(training, settings, passes > 1, target);
        let planned = match settings.memory {
            MemoryMode::Normal => plan(&head.training).map(|plan| (head.training, plan)),
            MemoryMode::Low => lowest(head.training, plan),
        };
        match planned {
            Ok((training, plan)) => return Ok((Head { training, augmenter: head.augmenter }, plan, passes)),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.expect("a batch of at least one sample was tried").into())
}

fn plan_training(
    training: &TrainingGraph,
    settings: &TrainerSettings,
    accumulating: bool,
    target: &Target,
) -> Result<Plan, PlanError> {
    let layout = ArenaLayout::new(&training.graph);
    let segments = segments(&training.graph, &layout, settings);
    let mut update = update_segments(&settings.optimiser, &segments, layout.decayed, target);
    if layout.trained < layout.elements {
        update = update.following(layout.trained..layout.elements, BATCH_MOMENTUM, target);
    }
    if settings.ema_decay.is_some() {
        update = update.averaged(layout.elements, target);
    }
    assert_eq!(update.grad_norm, Operand::Scratch(NORM_SCRATCH), "the trainer reads the norm there");
    let stage = Stage { name: "update", dispatches: update.dispatches, scratch: update.scratch, cost: update.cost };
    let request = Request {
        graph: &training.graph,
        outputs: &[training.loss],
        keep_all: false,
        gradients: &training.gradients,
        accumulate: accumulating.then_some(accumulate as crate::plan::Accumulate),
        stages: vec![stage],
        arenas: &[],
    };
    plan(&request, target)
}
