//! The state of a training on disk.

use super::{TrainError, Trainer};
use crate::nn::ModelError;
use crate::nn::model::{Tensor, decode, tensors_from_arena, tensors_to_arena, write_tensors};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

const KEY: &str = "vnet_engine_checkpoint";

/// What a checkpoint holds besides tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// Version of this format.
    pub(super) format: u32,
    /// Steps done.
    pub(super) step: u64,
    /// Best mean Dice on the validation cases so far, and its step.
    pub(super) best: Option<(f64, u64)>,
    /// Extents x, y, z of the network's input.
    pub(super) patch: [usize; 3],
}

/// Path of the checkpoint in a run folder.
pub(super) fn path(run: &Path) -> PathBuf {
    run.join("checkpoint").join("state.safetensors")
}

/// Writes parameters, moments and state in one step.
pub(super) fn write(run: &Path, trainer: &Trainer, state: &State) -> Result<(), TrainError> {
    let graph = &trainer.training().graph;
    let (moment1, moment2) = trainer.moments()?;
    let mut tensors = BTreeMap::new();
    let arenas = [("parameter", Some(trainer.parameters()?)), ("moment1", Some(moment1)), ("moment2", moment2)];
    for (prefix, arena) in arenas {
        for (name, tensor) in arena.iter().flat_map(|a| tensors_from_arena(graph, trainer.layout(), a)) {
            tensors.insert(format!("{prefix}/{name}"), tensor);
        }
    }
    let json = serde_json::to_string(state).expect("a state is always JSON");
    Ok(write_tensors(&path(run), &tensors, HashMap::from([(KEY.to_owned(), json)]))?)
}

/// A checkpoint that was read but not yet put into a trainer.
pub(super) struct Loaded {
    path: PathBuf,
    pub(super) state: State,
    tensors: BTreeMap<String, Tensor>,
}

/// Reads a checkpoint.
pub(super) fn read(run: &Path) -> Result<Loaded, TrainError> {
    let path = path(run);
    let bytes = std::fs::read(&path).map_err(|source| TrainError::Io {
        path: path.clone(),
        action: "read the checkpoint to resume from",
        source,
    })?;
    let (metadata, tensors) = decode(&path, &bytes)?;
    let broken = |reason: String| TrainError::RunFolder { path: path.clone(), reason };
    let json = metadata.get(KEY).ok_or_else(|| broken(format!("not a checkpoint: metadata key {KEY} is missing")))?;
    let state: State = serde_json::from_str(json).map_err(|e| broken(format!("metadata key {KEY}: {e}")))?;
    Ok(Loaded { path, state, tensors })
}

impl Loaded {
    /// Puts parameters, moments and the step into a trainer.
    pub(super) fn restore(&self, trainer: &mut Trainer) -> Result<(), TrainError> {
        let parameters = self.arena(trainer, "parameter")?;
        let moment1 = self.arena(trainer, "moment1")?;
        let second = self.tensors.keys().any(|k| k.starts_with("moment2/"));
        let moment2 = second.then(|| self.arena(trainer, "moment2")).transpose()?;
        trainer.restore(self.state.step, &parameters, &moment1, moment2.as_deref());
        Ok(())
    }

    fn arena(&self, trainer: &Trainer, prefix: &str) -> Result<Vec<f32>, TrainError> {
        let graph = &trainer.training().graph;
        let mut named = BTreeMap::new();
        for parameter in graph.parameters() {
            let name = format!("{prefix}/{}", parameter.name);
            let expected = parameter.layout.torch_shape(&graph.spec(parameter.value).shape);
            let tensor = self.tensors.get(&name);
            match tensor.filter(|t| t.shape == expected) {
                Some(tensor) => named.insert(parameter.name.clone(), tensor.clone()),
                None => {
                    return Err(ModelError::Tensor {
                        path: self.path.clone(),
                        name,
                        expected: format!("F32 {expected:?}"),
                        found: tensor.map_or_else(|| "no such tensor".to_owned(), |t| format!("F32 {:?}", t.shape)),
                    }
                    .into());
                }
            };
        }
        Ok(tensors_to_arena(graph, trainer.layout(), &named))
    }
}
