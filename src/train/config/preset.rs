use super::{
    AutoOr, ByteSize, CacheDir, Config, DataConfig, HealthConfig, Labels, NetworkConfig, OptimiserConfig,
    ScheduleConfig, TrainingConfig,
};
use crate::augment::Augmentation;
use crate::data::classes::{NamedValues, Values};
use crate::data::io::SeriesChoice;
use crate::data::{Interpolation, Normalisation, Sampling, TargetSpacing};
use crate::kernel::Algorithms;
use crate::nn::Architecture;
use crate::nn::vnet::VNet;
use crate::registry::{Choice, Hyperparameters, Kind, Registry};
use crate::train::MemoryMode;
use serde::Serialize;

/// A named configuration to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The paper's network and protocol: 65 million parameters, patch 128 x 128 x 64, batch 2, SGD.
    Paper,
    /// Half the paper's channels and a level less: for one small GPU.
    Small,
    /// A quarter of the paper's channels, four levels: trains on a CPU in minutes.
    Tiny,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Paper, Self::Small, Self::Tiny];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Small => "small",
            Self::Tiny => "tiny",
        }
    }

    /// What it is, in a line.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Paper => {
                "The paper's network and protocol: 65 million parameters, patch 128 x 128 x 64, batch 2, SGD"
            }
            Self::Small => "Half the paper's channels and a level less: for one small GPU",
            Self::Tiny => "A quarter of the paper's channels, four levels: trains on a CPU in minutes",
        }
    }

    /// The configuration of this name.
    pub fn config(self) -> Config {
        match self {
            Self::Paper => paper(),
            Self::Small => small(),
            Self::Tiny => tiny(),
        }
    }
}

/// The entry of a name that is in the table.
fn known<R: Registry>(name: &str) -> Kind<R> {
    name.parse().expect("the table has it")
}

fn vnet(base: usize, encoder: &[usize], decoder: &[usize]) -> NetworkConfig {
    let network = VNet { base, encoder: encoder.to_vec(), decoder: decoder.to_vec() };
    NetworkConfig { architecture: (&network as &dyn Architecture).into(), head_gain: 0.05 }
}

/// The whole of a configuration; the other presets say what differs.
fn small() -> Config {
    Config {
        seed: 0,
        kernels: Algorithms::Auto,
        network: vnet(8, &[1, 2, 3, 3], &[1, 2, 3]),
        data: DataConfig {
            patch: AutoOr::AUTO,
            max_patch_voxels: 1 << 20,
            normalisation: Normalisation::ZScoreAll.into(),
            canonical: true,
            spacing: TargetSpacing::default(),
            interpolation: Interpolation::Linear,
            ct_window: AutoOr::AUTO.into(),
            channel_files: Vec::new(),
            label_file: String::new(),
            align: false,
            series: SeriesChoice::Only,
            split: [0.7, 0.1, 0.2],
            sampling: Sampling::Whole,
            foreground: 0.33,
            cache: ByteSize(2 << 30),
            cache_dir: CacheDir::Auto,
            ignore: Values::default(),
            regions_order: Vec::new(),
            labels: Labels(None),
            regions: NamedValues::new(),
        },
        augmentation: Augmentation::general(),
        training: TrainingConfig {
            steps: 4_000,
            batch: 2,
            accumulation: 1,
            // Without normalisation a small network may collapse to background under Dice alone, whose gradient
            // vanishes there; cross-entropy's does not.
            loss: Choice::named("dice_cross_entropy"),
            class_weights: Vec::new(),
            deep_supervision_weights: Vec::new(),
            validate_every: 500,
            checkpoint_every: 250,
            keep_checkpoints: 2,
            loader_threads: AutoOr::AUTO,
            memory: MemoryMode::Normal,
            ema_decay: 0.0,
            patience: 0,
            tensorboard: true,
        },
        optimiser: OptimiserConfig {
            kind: known("adam"),
            learning_rate: 1e-3,
            hyperparameters: Hyperparameters::default(),
            weight_decay: 0.0,
            clip_norm: 12.0,
        },
        schedule: ScheduleConfig { kind: known("poly"), warm_up: 20, hyperparameters: Hyperparameters::default() },
        health: HealthConfig::default(),
    }
}

fn tiny() -> Config {
    let Config { data, training, .. } = small();
    Config {
        network: vnet(4, &[1, 2, 3, 3], &[1, 2, 3]),
        data: DataConfig { max_patch_voxels: 100_000, ..data },
        augmentation: Augmentation { enabled: false, ..Augmentation::general() },
        training: TrainingConfig { steps: 350, batch: 1, validate_every: 100, checkpoint_every: 100, ..training },
        ..small()
    }
}

fn paper() -> Config {
    let Config { data, training, optimiser, schedule, .. } = small();
    Config {
        network: vnet(16, &[1, 2, 3, 3, 3], &[1, 2, 3, 3]),
        data: DataConfig {
            patch: AutoOr::Fixed([128, 128, 64]),
            normalisation: Normalisation::ZScoreNonZero.into(),
            spacing: TargetSpacing::Millimetres([1.0, 1.0, 1.5]),
            ..data
        },
        augmentation: Augmentation::paper(),
        training: TrainingConfig { steps: 30_000, loss: Choice::named("dice"), ..training },
        optimiser: OptimiserConfig {
            kind: known("sgd"),
            learning_rate: 1e-4,
            weight_decay: 5e-4,
            clip_norm: 0.0,
            ..optimiser
        },
        schedule: ScheduleConfig { kind: known("step"), warm_up: 0, ..schedule },
        ..small()
    }
}
