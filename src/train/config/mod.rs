//! The configuration of a training: one model and one loader.
//!
//! | module | what is in it |
//! |---|---|
//! | this one | the tables and their keys, and what follows from them for the trainer and the loader |
//! | `value` | types of values that TOML does not have |
//! | `preset` | the configurations to start from |
//! | `ranges` | what each key takes beyond its type |
//! | `resolve` | values that are chosen from the data |
//! | `load`, `setting` | preset, TOML file and `--set key=value`, in this order, to a [`Config`] or to all mistakes |

mod error;
mod load;
mod nearest;
mod preset;
mod ranges;
mod resolve;
mod setting;
mod value;

pub use error::ConfigError;
pub(super) use load::leaves;
pub use nearest::{did_you_mean, nearest_name};
pub use preset::Preset;
pub use resolve::choose_patch;
pub use setting::Setting;
pub use value::{Auto, AutoOr, ByteSize, CacheDir, CtWindow, Labels, Patch, Threads};

use super::{MemoryMode, TrainerSettings};
use crate::augment::Augmentation;
use crate::data::{
    CacheBudget, DiskCache, Interpolation, LoaderSettings, Normalisation, PerChannel, Preparation, Sampling,
    TargetSpacing,
};
use crate::kernel::Algorithms;
use crate::nn::{Architecture, Architectures, Losses, Network};
use crate::optim::{LearningRate, OptimiserSettings, Optimisers, Schedules};
use crate::registry::{Choice, Hyperparameters, Kind};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// Everything that determines a training besides its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Seed of the split, the initial weights and the order of the cases.
    pub seed: u64,
    /// Which kernels the 5x5x5 convolutions run on: `auto`, `direct`, `winograd`, or `naive`, the slow oracle.
    pub kernels: Algorithms,
    /// Shape of the network.
    pub network: NetworkConfig,
    /// How volumes are prepared.
    pub data: DataConfig,
    /// Random changes of the samples, on the device.
    pub augmentation: Augmentation,
    /// Length, batch, loss, and when to validate and store.
    pub training: TrainingConfig,
    /// Update rule.
    pub optimiser: OptimiserConfig,
    /// Learning rate over the steps.
    pub schedule: ScheduleConfig,
    /// What happens when the training goes wrong.
    pub health: HealthConfig,
}

/// `[network]`; channels of the image and classes come from the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// `kind`, one of the [`Architectures`], and the keys that it reads: `base`, `encoder` and `decoder` of V-Net.
    #[serde(flatten)]
    pub architecture: Choice<Architectures>,
    /// Factor on the He weights of the last layer.
    pub head_gain: f32,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataConfig {
    /// Extents x, y, z of the network's input, or `"auto"`: the training volumes' median, rounded up to the network's
    /// divisor and, where it exceeds `max_patch_voxels`, reduced along its longest axes.
    pub patch: Patch,
    /// Limit for an automatic patch.
    pub max_patch_voxels: usize,
    /// Intensities: `z_score_all`, `z_score_non_zero`, `percentile_clip`, `ct_window` or `none`; or a list with one for each
    /// channel.
    pub normalisation: PerChannel<Normalisation>,
    /// For `ct_window`: `[lower, upper, mean, standard deviation]`, or `"auto"`: percentiles 0.5 and 99.5, mean and
    /// standard deviation of the training cases' foreground.
    pub ct_window: PerChannel<CtWindow>,
    /// Bring volumes to the orientation nearest to RAS.
    pub canonical: bool,
    /// `"native"`, or the spacing x, y, z in mm to which volumes are resampled.
    pub spacing: TargetSpacing,
    /// `linear` or `cubic`, for images; labels are linear per class.
    pub interpolation: Interpolation,
    /// Shares of training, validation and test where there is no `split.json`.
    pub split: [f64; 3],
    /// `whole`: each sample is a volume, centred in the patch, as in the paper; `patch`: a patch at a random place.
    pub sampling: Sampling,
    /// For `patch`: share of the patches that are centred on a foreground voxel, every class equally often.
    pub foreground: f64,
    /// Memory for prepared volumes of training and validation, e.g. `"2GiB"`. Volumes that do not fit are kept on disk
    /// (`cache_dir`). Those that are being prepared at one time take as much again, or one of them what it needs.
    pub cache: ByteSize,
    /// Folder on disk for prepared volumes. `"auto"`: `cache` in the run folder, for those that exceed `cache`, until the run
    /// is finished. Any other folder holds all volumes, stays, and may be shared by runs. `"none"`: volumes that exceed `cache`
    /// are prepared again for each sample and each validation.
    pub cache_dir: CacheDir,
    /// `[data.labels]`: the classes by name, with the value or the list of values that label maps have for each, e.g.
    /// `prostate = 255`, `tumour = [2, 3]`. Empty: those of `dataset.json`, else 0 to the largest value.
    pub labels: Labels,
}

/// `[training]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingConfig {
    /// Optimiser steps.
    pub steps: u64,
    /// Samples of a step. If they do not fit the device at once, gradients are accumulated over smaller batches.
    pub batch: usize,
    /// Passes of a step, at least, over which gradients are accumulated: each computes an equal part of the batch. There are
    /// more where such a part does not fit the device.
    pub accumulation: usize,
    /// What is minimised: `loss`, one of the [`Losses`], and the keys that it reads.
    #[serde(flatten)]
    pub loss: Choice<Losses>,
    /// Steps between validations; 0: only at the end.
    pub validate_every: u64,
    /// Steps between checkpoints; 0: only at the end.
    pub checkpoint_every: u64,
    /// How many of the newest checkpoints are kept. If one is damaged, `--resume` uses the one before it.
    pub keep_checkpoints: usize,
    /// Threads that prepare batches: a number, or `"auto"` for one per core. Batches do not depend on it.
    pub loader_threads: Threads,
    /// `normal`, or `low`: compute activations again instead of keeping them.
    pub memory: MemoryMode,
    /// Decay of the exponential moving average of the parameters, which then predicts the cases; 0: no average.
    pub ema_decay: f64,
    /// Training stops early after this many validations without a better mean Dice; 0: never.
    pub patience: u64,
    /// Write event files for TensorBoard into the run folder.
    pub tensorboard: bool,
}

/// `[optimiser]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptimiserConfig {
    /// Update rule, by its name among the [`Optimisers`].
    pub kind: Kind<Optimisers>,
    /// Learning rate before the schedule.
    pub learning_rate: f64,
    /// Hyperparameters of all rules: `momentum` and `nesterov` of SGD, `beta1`, `beta2` and `epsilon` of Adam and AdamW.
    #[serde(flatten)]
    pub hyperparameters: Hyperparameters<Optimisers>,
    /// Weight decay of all parameters but biases and PReLU slopes.
    pub weight_decay: f64,
    /// Largest global norm of the gradient; 0: no clipping.
    pub clip_norm: f64,
}

/// `[schedule]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleConfig {
    /// Schedule, by its name among the [`Schedules`].
    pub kind: Kind<Schedules>,
    /// Steps over which the learning rate rises linearly from 0.
    pub warm_up: u64,
    /// Hyperparameters of all schedules: `every` and `factor` of `step`, `power` of `poly`.
    #[serde(flatten)]
    pub hyperparameters: Hyperparameters<Schedules>,
}

impl NetworkConfig {
    /// Takes this architecture, which is in the table.
    ///
    /// # Panics
    /// When it is not.
    pub fn choose(&mut self, architecture: &dyn Architecture) {
        self.architecture = architecture.into();
    }
}

/// `[health]`: what happens when a training goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthConfig {
    /// Do `nonfinite` after this many consecutive steps whose loss or gradient is not finite; 0: never. A gradient that is
    /// not finite is never applied.
    pub nonfinite_steps: u64,
    /// `continue`, `restore` or `stop`.
    pub nonfinite: Reaction,
    /// Do `collapsed` after this many consecutive validations that predict one class in every voxel of every case; 0: never.
    pub collapsed_validations: u64,
    /// `continue`, `restore` or `stop`.
    pub collapsed: Reaction,
    /// Factor on the learning rate with each restoration.
    pub learning_rate_factor: f64,
    /// Restorations, at most; then the training stops.
    pub most_restorations: u32,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            nonfinite_steps: 5,
            nonfinite: Reaction::Restore,
            collapsed_validations: 5,
            collapsed: Reaction::Continue,
            learning_rate_factor: 0.5,
            most_restorations: 3,
        }
    }
}

/// What a training does when it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reaction {
    /// Note it and go on.
    Continue,
    /// Go back to the last good checkpoint, with a smaller learning rate.
    Restore,
    /// End with an error. The last good checkpoint is kept.
    Stop,
}

impl Config {
    /// The configuration as a TOML document.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration is a table")
    }

    /// The configuration for people: a line for each table, with its name.
    pub fn facts(&self) -> Vec<(String, String)> {
        let table = Table::try_from(self).expect("a configuration is a table");
        let line = |(key, value): (&String, &Value)| format!("{key} {value}");
        let of = |(name, value): (String, Value)| match value {
            Value::Table(inner) => (name, inner.iter().map(line).collect::<Vec<_>>().join("; ")),
            value => (name, value.to_string()),
        };
        table.into_iter().map(of).collect()
    }

    /// The network for this number of channels and classes.
    pub fn network(&self, channels: usize, classes: usize) -> Network {
        Network::of(channels, classes, self.network.architecture.build())
    }

    /// How volumes are prepared for a patch x, y, z. Resolve an automatic CT window first
    /// ([`Config::resolved`]).
    pub fn preparation(&self, patch: [usize; 3], channels: usize, classes: usize) -> Preparation {
        let DataConfig { normalisation, ct_window, labels, spacing, interpolation, canonical, .. } = self.data.clone();
        let (intensities, labels) = (ct_window.map(CtWindow::fixed), labels.0);
        Preparation { normalisation, intensities, spacing, interpolation, patch, channels, classes, labels, canonical }
    }

    /// The settings of the trainer.
    pub fn trainer_settings(&self) -> TrainerSettings {
        let TrainingConfig { batch, accumulation, memory, .. } = self.training;
        let augmentation = Some(self.augmentation).filter(Augmentation::is_active);
        // Patches that augmentation moves come with a margin of their surroundings.
        let margin = self.data.sampling == Sampling::Patch && self.augmentation.is_spatial();
        TrainerSettings {
            loss: self.training.loss.build(),
            optimiser: self.optimiser_settings(),
            batch,
            accumulation,
            memory,
            ema_decay: (self.training.ema_decay > 0.0).then_some(self.training.ema_decay),
            augmentation,
            seed: self.seed,
            margin,
        }
    }

    /// A new budget of `data.cache` bytes.
    pub fn cache_budget(&self) -> CacheBudget {
        CacheBudget::new(usize::try_from(self.data.cache.0).unwrap_or(usize::MAX))
    }

    /// The settings of a loader of batches of `batch` samples of a patch x, y, z, from sample `start_sample` on, with a new
    /// [cache](Config::cache_budget) in memory and none on disk.
    pub fn loader_settings(&self, patch: [usize; 3], batch: usize, start_sample: u64) -> LoaderSettings {
        LoaderSettings {
            batch,
            seed: self.seed,
            start_sample,
            threads: self.training.loader_threads.count(),
            cache: self.cache_budget(),
            disk: DiskCache::none(),
            sampling: self.data.sampling,
            foreground: self.data.foreground,
            block: self.trainer_settings().block(patch),
            intensities: self.augmentation.needs_intensities(),
            partners: self.augmentation.matches_histograms(),
        }
    }

    /// The optimiser, weight decay and clipping.
    pub fn optimiser_settings(&self) -> OptimiserSettings {
        let o = &self.optimiser;
        let clip_norm = (o.clip_norm > 0.0).then_some(o.clip_norm);
        OptimiserSettings { optimiser: o.kind.build(&o.hyperparameters), weight_decay: o.weight_decay, clip_norm }
    }

    /// Learning rate of a step. Steps count from 0.
    pub fn learning_rate(&self, step: u64) -> f64 {
        let s = &self.schedule;
        let schedule = s.kind.build(&s.hyperparameters);
        let rate = LearningRate { base: self.optimiser.learning_rate, warm_up: s.warm_up, schedule };
        rate.at(step, self.training.steps)
    }
}
