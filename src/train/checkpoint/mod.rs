//! The state of a training: what a step depends on, and nothing else.
//!
//! A checkpoint is a safetensors file. Its tensors are `parameter/NAME`, `moment1/NAME`, `moment2/NAME` if the optimiser has
//! second moments, and `ema/NAME` with `training.ema_decay`, all in PyTorch's order. Its metadata key
//! `vnet_engine_checkpoint` holds [`State`] as JSON, with a checksum of the whole file ([`seal`]). Everything else follows: the
//! learning rate is a function of configuration and step, and sample number s one of (seed, s).

#[cfg(feature = "fuzzing")]
mod fuzz;
mod seal;
mod store;
#[cfg(test)]
mod tests;

#[cfg(feature = "fuzzing")]
pub(crate) use fuzz::fuzz;
pub(super) use store::{newest, newest_until, remove_after, set_aside, steps, write};

use super::config::leaves;
use super::health::{Predictions, Restorations};
use super::{Config, TrainError, Trainer};
use crate::data::patch::LONGEST_PATCH;
use crate::kernel::{ConvolutionLayer, KernelTable, MeasuredChoice, Target};
use crate::nn::model::{
    Tensor, decode, encode_tensors, fingerprint, parameter_shapes, tensors_from_arena, tensors_to_arena,
};
use crate::nn::{ModelError, Network};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KEY: &str = "vnet_engine_checkpoint";
const FORMAT: u32 = 2;

/// An error without its file's name, which the message has elsewhere.
fn without_path(path: &Path, error: &ModelError) -> String {
    let text = error.to_string();
    text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_owned()
}

/// What a checkpoint holds besides tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// See [`seal`]; first, so that no other text of the header comes before it.
    blake3: String,
    /// Version of this format.
    format: u32,
    /// Steps done.
    pub(super) step: u64,
    /// First sample of the next step.
    pub(super) sample: u64,
    /// Whether no validation is due after the step.
    pub(super) validated: bool,
    /// Best mean Dice on the validation cases so far, and its step.
    pub(super) best: Option<(f64, u64)>,
    /// Extents x, y, z of the network's input.
    pub(super) patch: [usize; 3],
    /// Restorations so far.
    pub(super) restorations: Restorations,
    /// What the newest validations predicted.
    pub(super) predictions: Predictions,
    /// Fingerprint of the parameters.
    pub(super) weights: String,
    /// What else the bits of the next step may depend on.
    pub(super) origin: Origin,
}

/// The weights of a run's newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredWeights {
    /// Steps done.
    pub step: u64,
    /// Fingerprint of the parameters: [`fingerprint`].
    pub fingerprint: String,
    /// BLAKE3 of the configuration, TOML as in `config.toml`, and of the table of kernels, where there is one.
    pub config_blake3: String,
}

impl StoredWeights {
    /// Those of a run folder; `None` without an intact checkpoint.
    pub fn read(run: &Path) -> Option<Self> {
        let State { step, weights, origin, .. } = store::newest(run).ok()?.checkpoint.state;
        Some(Self { step, fingerprint: weights, config_blake3: origin.config_blake3 })
    }
}

/// What the bits of a step depend on besides state and data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origin {
    /// The effective configuration as TOML, followed by the measured kernels, if there are any.
    config: String,
    /// BLAKE3 of it.
    config_blake3: String,
    /// BLAKE3 of the kernels, their constants, extents and order.
    kernels: String,
    /// Passes per step.
    passes: usize,
    /// Adapter and driver.
    device: String,
    /// Version and commit of the program.
    program: String,
}

/// Keys that say where volumes wait and who prepares them, on which no bit depends.
const WITHOUT_EFFECT: [&str; 3] = ["data.cache", "data.cache_dir", "training.loader_threads"];

/// A checkpoint in memory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checkpoint {
    path: PathBuf,
    pub(super) state: State,
    tensors: BTreeMap<String, Tensor>,
}

/// Progress of a run besides what the trainer knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) validated: bool,
    pub(super) best: Option<(f64, u64)>,
    pub(super) patch: [usize; 3],
    pub(super) sample: u64,
    pub(super) restorations: Restorations,
    pub(super) predictions: Predictions,
}

impl Position {
    /// The position of a run that has not begun.
    pub(super) fn start(patch: [usize; 3]) -> Self {
        let (restorations, predictions) = (Restorations::default(), Predictions::default());
        Self { validated: true, best: None, patch, sample: 0, restorations, predictions }
    }
}

impl Origin {
    /// The origin of a trainer with this effective configuration.
    pub(super) fn new(trainer: &Trainer, config: &Config) -> Self {
        let config = config.to_toml() + &kernels_toml(trainer.executor().gpu().target());
        let device = trainer.executor().gpu().description();
        Self {
            config_blake3: blake3::hash(config.as_bytes()).to_hex().to_string(),
            config,
            kernels: plan_digest(trainer),
            passes: trainer.passes(),
            device: format!("{}, {}", device.name, device.driver),
            program: format!("{} ({})", env!("CARGO_PKG_VERSION"), env!("VNET_ENGINE_COMMIT")),
        }
    }

    /// What differs, in words. The bits of a resumed run may differ where this does.
    pub(super) fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut keys = differing_keys(&self.config, &now.config);
        keys.retain(|key| !WITHOUT_EFFECT.contains(&key.as_str()));
        if self.config_blake3 != now.config_blake3 && !keys.is_empty() {
            found.push(format!("configuration ({})", keys.join(", ")));
        }
        if (&self.kernels, self.passes) != (&now.kernels, now.passes) {
            found.push("choice of kernels".to_owned());
        }
        for (what, before, after) in [("device", &self.device, &now.device), ("program", &self.program, &now.program)] {
            if before != after {
                found.push(format!("{what} ({before}; now {after})"));
            }
        }
        found
    }
}

/// The measured choices of kernels, without times, as TOML to append to a configuration.
fn kernels_toml(target: &Target) -> String {
    let table = target.policy.table().into_iter();
    let line =
        |(layer, choice): (&ConvolutionLayer, &MeasuredChoice)| format!("\"{layer}\" = \"{:?}\"\n", choice.kernels);
    let lines = |table: &Arc<KernelTable>| table.convolutions.iter().map(line).collect::<String>();
    table.map(|table| format!("\n[measured_kernels]\n{}", lines(table))).collect()
}

/// BLAKE3 of all dispatches of a step.
fn plan_digest(trainer: &Trainer) -> String {
    let plan = trainer.executor().plan();
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{:?}", plan.kernels).as_bytes());
    for dispatch in plan.programs.iter().flat_map(|p| &p.dispatches) {
        hasher.update(format!("{} {:?} {:?}", dispatch.kernel, dispatch.params, dispatch.grid).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Keys whose values differ between two TOML documents.
fn differing_keys(before: &str, after: &str) -> Vec<String> {
    let tables: [toml::Table; 2] = [before, after].map(|text| text.parse().unwrap_or_default());
    let [before, after] = [&tables[0], &tables[1]].map(leaves);
    let all = before.keys().chain(after.keys().filter(|k| !before.contains_key(*k)));
    all.filter(|k| before.get(*k) != after.get(*k)).cloned().collect()
}

impl Checkpoint {
    /// Reads the state of a trainer; all its results must have arrived.
    pub(super) fn of(trainer: &Trainer, origin: &Origin, position: Position) -> Result<Self, TrainError> {
        let named = |arena: &[f32]| tensors_from_arena(&trainer.training().graph, trainer.layout(), arena);
        let parameters = named(&trainer.parameters()?);
        let weights = fingerprint(&parameters);
        let (moment1, moment2) = trainer.moments()?;
        let average = trainer.average()?;
        let others = [Some(named(&moment1)), moment2.as_deref().map(named), average.as_deref().map(named)];
        let mut tensors = BTreeMap::new();
        for (prefix, arena) in
            ["parameter", "moment1", "moment2", "ema"].iter().zip([Some(parameters)].into_iter().chain(others))
        {
            for (name, tensor) in arena.into_iter().flatten() {
                tensors.insert(format!("{prefix}/{name}"), tensor);
            }
        }
        let Position { validated, best, patch, sample, restorations, predictions } = position;
        let state = State {
            blake3: seal::UNSEALED.to_owned(),
            format: FORMAT,
            step: trainer.step_count(),
            sample,
            validated,
            best,
            patch,
            restorations,
            predictions,
            weights,
            origin: origin.clone(),
        };
        Ok(Self { path: PathBuf::new(), state, tensors })
    }

    /// The run's progress at this checkpoint.
    pub(super) fn position(&self) -> Position {
        let State { validated, best, patch, sample, restorations, predictions, .. } = self.state;
        Position { validated, best, patch, sample, restorations, predictions }
    }

    /// Whether every parameter and moment is finite.
    pub(super) fn is_finite(&self) -> bool {
        self.tensors.values().all(|t| t.data.iter().all(|x| x.is_finite()))
    }

    /// The sealed file.
    fn encode(&self, path: &Path) -> Result<Vec<u8>, TrainError> {
        let json = serde_json::to_string(&self.state).expect("a state is always JSON");
        let mut bytes = encode_tensors(path, &self.tensors, HashMap::from([(KEY.to_owned(), json)]))?;
        seal::seal(&mut bytes);
        Ok(bytes)
    }

    /// The checkpoint of a file; else what is wrong with the file.
    fn decode(path: &Path, bytes: &[u8]) -> Result<Self, String> {
        if !seal::is_intact(bytes) {
            return Err("is damaged (its checksum does not match)".to_owned());
        }
        let (metadata, tensors) = decode(path, bytes).map_err(|e| without_path(path, &e))?;
        let json = metadata.get(KEY).ok_or_else(|| format!("metadata key {KEY} is missing"))?;
        let mut state: State = serde_json::from_str(json).map_err(|e| format!("metadata key {KEY}: {e}"))?;
        if state.format != FORMAT {
            return Err(format!("format {} is not known, expected {FORMAT}", state.format));
        }
        if !state.patch.iter().all(|extent| (1..=LONGEST_PATCH).contains(extent)) {
            return Err(format!("patch {:?}, expected extents of 1 to {LONGEST_PATCH}", state.patch));
        }
        let factor = state.restorations.learning_rate;
        if !(0.0..=1.0).contains(&factor) {
            return Err(format!("factor {factor} on the learning rate, expected 0 to 1"));
        }
        state.blake3 = seal::UNSEALED.to_owned();
        Ok(Self { path: path.to_owned(), state, tensors })
    }

    /// Checks that a training of this network can go on from here.
    ///
    /// # Errors
    /// [`TrainError`] that names the tensor, what was expected and what was found.
    pub(super) fn check(&self, network: &Network) -> Result<(), TrainError> {
        for (name, expected) in parameter_shapes(network) {
            self.tensor("parameter", &name, &expected)?;
        }
        if !self.is_finite() {
            return Err(TrainError::run_folder(&self.path, "holds parameters or moments that are not finite"));
        }
        Ok(())
    }

    /// A tensor of this shape.
    fn tensor(&self, prefix: &str, name: &str, expected: &[usize]) -> Result<&Tensor, TrainError> {
        let name = format!("{prefix}/{name}");
        let tensor = self.tensors.get(&name);
        tensor.filter(|t| t.shape == expected).ok_or_else(|| {
            let found = tensor.map_or_else(|| "no such tensor".to_owned(), |t| format!("F32 {:?}", t.shape));
            ModelError::Tensor { path: self.path.clone(), name, expected: format!("F32 {expected:?}"), found }.into()
        })
    }

    /// Puts parameters, moments and the step into a trainer.
    pub(super) fn restore(&self, trainer: &mut Trainer) -> Result<(), TrainError> {
        let parameters = self.arena(trainer, "parameter")?;
        let moment1 = self.arena(trainer, "moment1")?;
        let moment2 = trainer.has_second_moment().then(|| self.arena(trainer, "moment2")).transpose()?;
        trainer.restore(self.state.step, &parameters, &moment1, moment2.as_deref());
        // Without an average in the file, the average starts at the parameters.
        if self.tensors.keys().any(|name| name.starts_with("ema/")) {
            trainer.set_average(&self.arena(trainer, "ema")?);
        }
        Ok(())
    }

    fn arena(&self, trainer: &Trainer, prefix: &str) -> Result<Vec<f32>, TrainError> {
        let graph = &trainer.training().graph;
        let mut named = BTreeMap::new();
        for parameter in graph.parameters() {
            let expected = parameter.layout.torch_shape(&graph.spec(parameter.value).shape);
            named.insert(parameter.name.clone(), self.tensor(prefix, &parameter.name, &expected)?.clone());
        }
        Ok(tensors_to_arena(graph, trainer.layout(), &named))
    }
}
