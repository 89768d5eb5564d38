//! What the values of the keys may be, beyond their types.

use super::Config;
use super::value::MOST_THREADS;
use crate::data::io::SeriesChoice;
use crate::data::layout::are_patterns;
use crate::data::patch::LONGEST_PATCH;
use crate::data::{IntensityStatistics, PerChannel, Split, TargetSpacing};
use crate::optim::ParameterGroup;
use std::borrow::Cow;

/// A key, whether its value is in range, and what is expected in words. NaN is in no range.
type Range = (&'static str, fn(&Config) -> bool, &'static str);

/// `table.key: condition on its value => what is expected`.
macro_rules! ranges {
    ($($table:ident $(. $key:ident)+ : $fits:expr => $expected:expr,)*) => {
        &[$((
            concat!(stringify!($table), $(".", stringify!($key)),+),
            |config| ($fits)(config.$table $(.$key)+.clone()),
            $expected,
        )),*]
    };
}

/// The keys that take less than their type holds. Hyperparameters bring their ranges with them
/// ([`crate::registry::Hyperparameter`]).
const RANGES: &[Range] = ranges! {
    network.head_gain: |gain| (0.0..=100.0).contains(&gain) => "0 to 100",
    data.patch: |patch: super::Patch| patch.fixed().is_none_or(is_extents) => "three extents from 1 to 4096",
    data.max_patch_voxels: |most| (1..=1 << 31).contains(&most) => "1 to 2147483648",
    data.spacing: |spacing: TargetSpacing| spacing.is_sensible() => "three numbers of mm from 0.01 to 100",
    data.ct_window: |windows: PerChannel<super::CtWindow>| windows
        .values()
        .iter()
        .all(|window| window.fixed().as_ref().is_none_or(IntensityStatistics::is_sensible)) =>
        "finite numbers with lower < upper and a standard deviation above 0",
    data.channel_files: |files: Vec<String>| are_patterns(&files) =>
        "at most 64 patterns of file names within the folder, each with {case}",
    data.label_file: |file: String| file.is_empty() || are_patterns(&[file]) =>
        "a pattern of file names within the folder, with {case}",
    data.series: |series: SeriesChoice| series.is_sensible() =>
        "a UID, a description, a number or \"largest\", of at most 256 characters",
    data.split: |shares| Split::check_fractions(shares).is_ok() =>
        "three numbers from 0 to 1 (training, validation, test), the first above 0, with sum 1",
    data.foreground: is_share => "a share from 0 to 1",
    data.cache_dir: |dir: super::CacheDir| dir.is_sensible() => "\"auto\", \"none\", or the path of a folder",
    augmentation.histogram_matching.probability: is_share => PROBABILITY,
    augmentation.deformation.probability: is_share => PROBABILITY,
    augmentation.deformation.sigma: |sigma| (0.0..=1000.0).contains(&sigma) => "0 to 1000 voxels",
    augmentation.rotation.probability: is_share => PROBABILITY,
    augmentation.rotation.degrees: |degrees: [f64; 3]| degrees.iter().all(|d| (0.0..=180.0).contains(d)) =>
        "three angles from 0 to 180",
    augmentation.scaling.probability: is_share => PROBABILITY,
    augmentation.scaling.range: |range| within(range, 0.1, 10.0) => "two factors from 0.1 to 10",
    augmentation.flip.probability: |axes: [f64; 3]| axes.into_iter().all(is_share) => PROBABILITY,
    augmentation.low_resolution.probability: is_share => PROBABILITY,
    augmentation.low_resolution.range: |range| within(range, 1.0, 16.0) => "two factors from 1 to 16",
    augmentation.blur.probability: is_share => PROBABILITY,
    augmentation.blur.range: |range| within(range, 0.0, 1.0) => "two standard deviations from 0 to 1 voxel",
    augmentation.bias_field.probability: is_share => PROBABILITY,
    augmentation.bias_field.range: |range| within(range, -2.0, 2.0) => "two coefficients from -2 to 2",
    augmentation.brightness.probability: is_share => PROBABILITY,
    augmentation.brightness.range: |range| within(range, 0.0, 10.0) => "two factors from 0 to 10",
    augmentation.contrast.probability: is_share => PROBABILITY,
    augmentation.contrast.range: |range| within(range, 0.0, 10.0) => "two factors from 0 to 10",
    augmentation.gamma.probability: is_share => PROBABILITY,
    augmentation.gamma.range: |range| within(range, 0.1, 10.0) => "two exponents from 0.1 to 10",
    augmentation.gamma.inverted: is_share => PROBABILITY,
    augmentation.noise.probability: is_share => PROBABILITY,
    augmentation.noise.range: |range| within(range, 0.0, 10.0) => "two standard deviations from 0 to 10",
    training.steps: |steps| steps >= 1 => "at least 1",
    training.batch: |batch| (1..=64).contains(&batch) => "1 to 64",
    training.loader_threads: |threads: super::Threads| threads.fixed().is_none_or(|count| (1..=MOST_THREADS).contains(&count)) =>
        "\"auto\" or 1 to 64",
    training.keep_checkpoints: |kept| (1..=1000).contains(&kept) => "1 to 1000",
    training.class_weights: is_weights => WEIGHTS,
    training.deep_supervision_weights: is_resolutions => RESOLUTIONS,
    training.ema_decay: |decay| (0.0..1.0).contains(&decay) => "0 (no average) up to, not including, 1",
    training.patience: |patience| patience <= 1_000_000 => "0 (never) to 1000000",
    // The kernels compute in float32.
    optimiser.learning_rate: |rate: f64| rate as f32 > 0.0 && rate <= 1e3 => "a positive number up to 1000",
    optimiser.weight_decay: |decay| (0.0..=1e3).contains(&decay) => "0 to 1000",
    optimiser.clip_norm: |norm| (0.0..=1e30).contains(&norm) => "0 (no clipping) to 1e30",
    optimiser.groups: |groups: Vec<ParameterGroup>| groups.iter().all(|group| is_factor(group.learning_rate_factor)) =>
        "factors on the learning rate from 1e-6 to 1e6; freeze takes parameters that stay as they are",
    health.learning_rate_factor: |factor| factor > 0.0 && factor <= 1.0 => "above 0, at most 1",
};

/// The key whose range depends on another.
const ACCUMULATION: Range = (
    "training.accumulation",
    |c| c.training.accumulation >= 1 && c.training.batch.is_multiple_of(c.training.accumulation),
    "a divisor of training.batch",
);

const PROBABILITY: &str = "a probability from 0 to 1";

fn is_factor(value: f64) -> bool {
    (1e-6..=1e6).contains(&value)
}

const WEIGHTS: &str = "numbers from 0 to 1000, one at least above 0, or an empty list";

fn is_weights(weights: Vec<f64>) -> bool {
    let in_range = weights.iter().all(|weight| (0.0..=1000.0).contains(weight));
    in_range && (weights.is_empty() || weights.iter().any(|&weight| weight > 0.0))
}

const RESOLUTIONS: &str = "numbers from 0 to 1000, the first above 0, or an empty list";

/// Without a weight of the highest resolution nothing would train the head.
fn is_resolutions(weights: Vec<f64>) -> bool {
    weights.first().is_none_or(|&first| first > 0.0) && is_weights(weights)
}

fn is_share(value: f64) -> bool {
    (0.0..=1.0).contains(&value)
}

fn is_extents(extents: [usize; 3]) -> bool {
    extents.iter().all(|extent| (1..=LONGEST_PATCH).contains(extent))
}

fn within([low, high]: [f64; 2], least: f64, most: f64) -> bool {
    least <= low && low <= high && high <= most
}

/// The keys whose values are out of range, with what is expected.
pub(super) fn out_of_range(config: &Config) -> impl Iterator<Item = (Cow<'static, str>, &'static str)> {
    let fixed = RANGES.iter().chain([&ACCUMULATION]).filter(|(_, fits, _)| !fits(config));
    let of = |table| move |(key, expected, _): (&str, _, _)| (Cow::from(format!("{table}.{key}")), expected);
    let networks = config.network.architecture.values.mistakes().into_iter().map(of("network"));
    let losses = config.training.loss.values.mistakes().into_iter().map(of("training"));
    let optimisers = config.optimiser.hyperparameters.mistakes().into_iter().map(of("optimiser"));
    let schedules = config.schedule.hyperparameters.mistakes().into_iter().map(of("schedule"));
    let fixed = fixed.map(|(key, _, expected)| (Cow::from(*key), *expected));
    fixed.chain(networks).chain(losses).chain(optimisers).chain(schedules)
}
