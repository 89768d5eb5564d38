//! The configuration of a training: one model and one loader.
//!
//! | module | what is in it |
//! |---|---|
//! | this one | the tables and their keys, and what follows from them for the trainer and the loader |
//! | `value` | types of values that TOML does not have |
//! | `labels` | what the keys of label values say together |
//! | `preset` | the configurations to start from |
//! | `ranges` | what each key takes beyond its type |
//! | `resolve` | values that are chosen from the data |
//! | `load`, `setting` | preset, TOML file and `--set key=value`, in this order, to a [`Config`] or to all mistakes |

mod error;
mod labels;
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
use crate::data::classes::{NamedValues, Values};
use crate::data::io::SeriesChoice;
use crate::data::{
    CacheBudget, Classes, DatasetOptions, DiskCache, Interpolation, LoaderSettings, Normalisation, PerChannel,
    Preparation, Sampling, TargetSpacing,
};
use crate::kernel::Algorithms;
use crate::nn::{Activation, Architecture, Architectures, Losses, Network};
use crate::optim::{LearningRate, OptimiserSettings, Optimisers, Schedules};
use crate::registry::{Choice, Hyperparameters, Kind, Registry};
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
    /// Where the channels of a case lie in files of their own that no known layout names: a pattern for each, relative to the
    /// folder of the data, e.g. `["{case}/{case}_t1.nii.gz", "{case}/{case}_t2.nii.gz"]`. Empty: the layout is recognised.
    pub channel_files: Vec<String>,
    /// With `channel_files`: the pattern of the label map, e.g. `"{case}/{case}_seg.nii.gz"`.
    pub label_file: String,
    /// Resample channels that lie on another grid onto that of the first; else they are refused.
    pub align: bool,
    /// Which series is read where an image is a folder with DICOM files of several: its SeriesInstanceUID, SeriesDescription or
    /// SeriesNumber, or `largest`. Empty: there must be one.
    pub series: SeriesChoice,
    /// Label values of voxels that have no say in loss, sampling, statistics and scores: one, or a list. They come to those
    /// that `dataset.json` names `ignore`.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub ignore: Values,
    /// The order in which regions are painted when label maps are written, later ones over earlier ones: the first value of
    /// each region. Empty: regions of more values first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions_order: Vec<u16>,
    /// `[data.labels]`: the classes by name, with the value or the list of values that label maps have for each, e.g.
    /// `prostate = 255`, `tumour = [2, 3]`. Empty: those of `dataset.json`, else 0 to the largest value.
    pub labels: Labels,
    /// `[data.regions]`: regions by name, which are learnt in place of the classes and may overlap, with the value or the list
    /// of values of each, e.g. `core = [2, 3]`. Where the region is found its first value is written. Without `[data.labels]`
    /// each value is a class. Empty: those of `dataset.json`, if it has any.
    #[serde(default, skip_serializing_if = "NamedValues::is_empty")]
    pub regions: NamedValues,
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
    /// A weight for each class, background included, or for each region; what is rare or matters most gets more. Empty: all have the
    /// same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_weights: Vec<f64>,
    /// Weights of the loss at the resolutions of a network with deep supervision, the highest first; they are divided by their sum.
    /// Empty: halved from one to the next, and none for the lowest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deep_supervision_weights: Vec<f64>,
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

/// What the outputs of a network are that learns these classes, or their regions.
pub fn activation(classes: &Classes) -> Activation {
    if classes.regions().is_empty() { Activation::Softmax } else { Activation::Sigmoid }
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

    /// Checks that a network can be built, and that the loss is defined for its outputs.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key.
    pub fn check_network(&self, network: &Network) -> Result<(), ConfigError> {
        network.validate()?;
        let mistake = |key: &str, expected: String, found: String| {
            let (origin, key) = ("configuration".to_owned(), format!("training.{key}"));
            Err(ConfigError::Value { origin, key, expected, found })
        };
        let TrainingConfig { loss, class_weights, deep_supervision_weights, .. } = &self.training;
        if let Err(expected) = self.check_loss(network.activation) {
            return mistake("loss", expected, format!("{:?}", loss.kind.name()));
        }
        if let Some(expected) = self.class_weights_expected(network) {
            return mistake("class_weights", expected, format!("{class_weights:?}"));
        }
        let resolutions = network.resolutions();
        if !deep_supervision_weights.is_empty() && deep_supervision_weights.len() != resolutions {
            let expected = match resolutions {
                1 => "an empty list, since the network has no deep supervision".to_owned(),
                count => format!("{count} numbers, one for each resolution, or an empty list"),
            };
            return mistake("deep_supervision_weights", expected, format!("{deep_supervision_weights:?}"));
        }
        Ok(())
    }

    /// What is expected of the weights of the classes, where they are not that.
    fn class_weights_expected(&self, network: &Network) -> Option<String> {
        let TrainingConfig { loss, class_weights: weights, .. } = &self.training;
        let (outputs, name) = (network.activation.outputs(), loss.kind.name());
        let background = usize::from(network.activation.is_softmax());
        if weights.is_empty() {
            None
        } else if !loss.build().reads_class_weights() {
            Some(format!("an empty list, since the loss {name} reads no weights"))
        } else if weights.len() != network.classes {
            Some(format!("{} numbers, one for each of the {outputs}, or an empty list", network.classes))
        } else if weights[background..].iter().all(|&weight| weight == 0.0) {
            Some(format!("one number above 0 at least for the {outputs} of the foreground"))
        } else {
            None
        }
    }

    /// Checks that the loss is defined for outputs of this kind; else what is expected.
    fn check_loss(&self, activation: Activation) -> Result<(), String> {
        let is_defined = |loss: &Choice<Losses>| loss.build().is_defined(activation);
        if is_defined(&self.training.loss) {
            return Ok(());
        }
        let others = Losses::ENTRIES.iter().map(|entry| entry.name).filter(|name| is_defined(&Choice::named(name)));
        Err(format!("a loss for regions ({})", others.collect::<Vec<_>>().join(", ")))
    }

    /// The network for images of this number of channels and for what is learnt of these classes: themselves, or their
    /// regions.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be built, or its loss is not defined for regions.
    pub fn network_of(&self, channels: usize, classes: &Classes) -> Result<Network, ConfigError> {
        let network = self.network(channels, classes.outputs()).with_activation(activation(classes));
        self.check_network(&network)?;
        Ok(network)
    }

    /// How volumes are prepared for a patch x, y, z. Resolve an automatic CT window first
    /// ([`Config::resolved`]).
    ///
    /// # Panics
    /// When the keys of label values contradict each other: [`DataConfig::classes`] says so.
    pub fn preparation(&self, patch: [usize; 3], channels: usize, classes: usize) -> Preparation {
        let DataConfig { normalisation, ct_window, spacing, interpolation, canonical, align, .. } = self.data.clone();
        let intensities = ct_window.map(CtWindow::fixed);
        let labels = self.data.classes().expect("label values were checked");
        Preparation {
            normalisation,
            intensities,
            spacing,
            interpolation,
            patch,
            channels,
            classes,
            labels,
            canonical,
            align,
        }
    }

    /// The settings of the trainer.
    pub fn trainer_settings(&self) -> TrainerSettings {
        let TrainingConfig { batch, accumulation, memory, .. } = self.training;
        let augmentation = Some(self.augmentation).filter(Augmentation::is_active);
        // Patches that augmentation moves come with a margin of their surroundings.
        let margin = self.data.sampling == Sampling::Patch && self.augmentation.is_spatial();
        TrainerSettings {
            loss: self.training.loss.build(),
            class_weights: self.training.class_weights.iter().map(|&weight| weight as f32).collect(),
            deep_supervision_weights: self.training.deep_supervision_weights.iter().map(|&w| w as f32).collect(),
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

    /// What the data set is opened with.
    ///
    /// # Errors
    /// [`ConfigError`] when the keys of label values contradict each other.
    pub fn dataset_options(&self) -> Result<DatasetOptions, ConfigError> {
        let DataConfig { channel_files, label_file, align, series, .. } = self.data.clone();
        Ok(DatasetOptions { classes: self.data.classes()?, channel_files, label_file, align, series })
    }

    /// Checks that settings for each channel are as many as the channels.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key.
    pub fn check_channels(&self, channels: usize) -> Result<(), ConfigError> {
        let given =
            [("data.normalisation", self.data.normalisation.given()), ("data.ct_window", self.data.ct_window.given())];
        let wrong = given.into_iter().find_map(|(key, given)| Some((key, given.filter(|&given| given != channels)?)));
        wrong.map_or(Ok(()), |(key, given)| Err(ConfigError::Channels { key, given, channels }))
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
