//! Spacing, patch, channels, levels and batch, which share one budget of time and memory.

use super::choices::{Spacing, target_spacing, three_digits};
use super::{Budget, Design};
use crate::configure::Fingerprint;
use crate::data::TargetSpacing;
use crate::kernel::Target;
use crate::nn::topology::{Topology, pool_and_kernels};
use crate::nn::unet::UNet;
use crate::nn::{InferenceGraph, Network};
use crate::plan::human_bytes;
use crate::train::config::Patch;
use crate::train::{Config, Forecast, Preset, TrainError};

/// Channels of level 0 to try, most first: nnU-Net's, a half and a quarter.
const FEATURES: [usize; 3] = [32, 16, 8];
/// Batches to try: nnU-Net's smallest, which is also the paper's, then one sample.
const BATCHES: [usize; 2] = [2, 1];
/// Factor of the head's first weights (docs/recipe.md).
const HEAD_GAIN: f32 = 0.3;
/// Units per stage (nnU-Net's).
const UNITS: usize = 2;
/// Voxels along an axis of the coarsest level, at least (nnU-Net's).
const COARSEST: usize = 4;
/// Times that an axis is halved, at most: as often as in nnU-Net's networks for patches of 128 voxels.
const HALVINGS: usize = 5;
/// Levels, at most.
const LEVELS: usize = 8;
/// Voxels to which an axis of a patch is shortened, at least: fewer show too little around each of them (docs/recipe.md).
const LEAST: usize = 32;
/// Voxels that a patch must have for a wider network, unless it covers enough of the median volume.
const WORTHWHILE: usize = 64 * 64 * 64;
/// Part of the median volume that a patch covers, at least (nnU-Net's).
const COVERED: f64 = 0.25;
/// Factor by which voxels are made larger at a time (nnU-Net's).
const COARSER: f64 = 1.03;
/// Steps within the budget, and views of each training case, at least.
const STEPS: f64 = 2500.0;
const EPOCHS: f64 = 10.0;
/// Part of the cases that train, in the presets.
const TRAINING: f64 = 0.7;
/// Part of the device's memory that a training may take.
const MEMORY: f64 = 0.8;

/// What limits the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Time,
    Memory,
}

impl Limit {
    fn word(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Memory => "memory",
        }
    }
}

/// What is trained, on what.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub(super) spacing: Spacing,
    pub(super) median: [usize; 3],
    pub(super) patch: [usize; 3],
    kernels: Vec<[usize; 3]>,
    strides: Vec<[usize; 3]>,
    pub(super) features: usize,
    pub(super) batch: usize,
    /// Seconds of a step at the nominal speed.
    pub(super) seconds: f64,
    /// Bytes of the forecast.
    pub(super) memory: u64,
    /// What made the patch smaller than the median volume, if it is.
    limit: Option<Limit>,
    /// Whether no width allows a patch that is large enough.
    narrowest: bool,
    /// What two samples of this patch exceed, if anything.
    against_two: Option<Limit>,
}

/// Levels of a network and its input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Levels {
    /// Kernels and strides (z, y, x), level 0 first.
    pub(super) kernels: Vec<[usize; 3]>,
    pub(super) strides: Vec<[usize; 3]>,
    /// Extents x, y, z of the input, multiples of what the strides divide.
    pub(super) patch: [usize; 3],
}

/// The levels for inputs of these extents (x, y, z): nnU-Net's rule, with two levels at least.
pub(super) fn levels(spacing: [f64; 3], extents: [usize; 3]) -> Levels {
    let ([x, y, z], [mm_x, mm_y, mm_z]) = (extents, spacing);
    let Topology { mut kernels, mut strides, .. } = pool_and_kernels([mm_z, mm_y, mm_x], [z, y, x], COARSEST, HALVINGS);
    kernels.truncate(LEVELS);
    strides.truncate(LEVELS);
    if strides.len() < 2 {
        strides.push([2; 3]);
        kernels.push([3; 3]);
    }
    let divisor = divisor(&strides);
    let mut patch = std::array::from_fn(|axis| extents[axis].next_multiple_of(divisor[axis]));
    // A single voxel cannot be normalised.
    if patch == divisor {
        patch = patch.map(|extent| 2 * extent);
    }
    Levels { kernels, strides, patch }
}

/// What extents x, y, z must be multiples of, for strides z, y, x.
fn divisor(strides: &[[usize; 3]]) -> [usize; 3] {
    std::array::from_fn(|axis| strides.iter().map(|stride| stride[2 - axis]).product())
}

/// Samples that a training sees, at least.
pub(super) fn samples_wanted(cases: usize) -> f64 {
    EPOCHS * (TRAINING * cases as f64).max(1.0)
}

/// One step of nnU-Net's way to larger voxels: first the axes that are much finer than the coarsest, then all.
pub(super) fn coarser(spacing: [f64; 3]) -> [f64; 3] {
    let most = spacing.into_iter().fold(0.0, f64::max);
    let fine = spacing.map(|mm| most / mm > 2.0);
    let any = fine.contains(&true);
    std::array::from_fn(|axis| spacing[axis] * if fine[axis] || !any { COARSER } else { 1.0 })
}

struct Search<'a> {
    fingerprint: &'a Fingerprint,
    budget: &'a Budget,
    target: &'a Target,
}

pub(super) fn choose_shape(fingerprint: &Fingerprint, budget: &Budget, target: &Target) -> Result<Shape, TrainError> {
    let search = Search { fingerprint, budget, target };
    let spacing = target_spacing(fingerprint);
    let tries = FEATURES.iter().flat_map(|&features| BATCHES.map(|batch| (features, batch)));
    for (features, batch) in tries {
        if let Some(shape) = search.largest(&spacing, features, batch)?
            && (shape.covers() || shape.voxels() >= WORTHWHILE)
        {
            return search.finished(shape);
        }
    }
    // The narrowest network with whatever patch fits, over the time if nothing is fast enough.
    match search.largest(&spacing, FEATURES[2], BATCHES[1])?.or(search.smallest(&spacing)?) {
        Some(shape) => Ok(Shape { narrowest: true, ..search.finished(shape)? }),
        None => search.too_large(&spacing),
    }
}

impl Search<'_> {
    /// A network on the whole median volume.
    fn whole(&self, spacing: &Spacing, features: usize, batch: usize) -> Result<Shape, TrainError> {
        let median = self.fingerprint.median_extents(spacing.mm);
        let Levels { kernels, strides, patch } = levels(spacing.mm, median);
        self.timed(Shape {
            spacing: spacing.clone(),
            median,
            patch,
            kernels,
            strides,
            features,
            batch,
            seconds: 0.0,
            memory: 0,
            limit: None,
            narrowest: false,
            against_two: None,
        })
    }

    /// The shape with the time of a step.
    fn timed(&self, shape: Shape) -> Result<Shape, TrainError> {
        let [x, y, z] = shape.patch;
        let graph = InferenceGraph::new(&shape.network(self.fingerprint), shape.batch, [z, y, x])?;
        let forward: u64 = graph.layers.iter().map(|layer| layer.flops).sum();
        // The gradients of inputs and of weights each cost as much as the forward pass.
        let seconds = 3.0 * forward as f64 / self.budget.nominal.flops_per_second(shape.features);
        Ok(Shape { seconds, ..shape })
    }

    /// The same with the axis that is longest in mm shortened by one divisor; none if no axis can be shorter.
    fn shorter(&self, shape: &Shape) -> Result<Option<Shape>, TrainError> {
        let Some(shortened) = shape.shortened() else { return Ok(None) };
        let Levels { kernels, strides, patch } = levels(shape.spacing.mm, shortened);
        let same_levels = Shape { patch: shortened, ..shape.clone() };
        let shorter = Shape { patch, kernels, strides, ..shape.clone() };
        // Other levels may round another axis up as far as this one was shortened.
        let is_smaller = shorter.voxels() < shape.voxels();
        self.timed(if is_smaller { shorter } else { same_levels }).map(Some)
    }

    /// The largest patch of this network within time and memory, if there is one.
    fn largest(&self, spacing: &Spacing, features: usize, batch: usize) -> Result<Option<Shape>, TrainError> {
        let mut shape = self.whole(spacing, features, batch)?;
        loop {
            let limit = if self.is_fast(&shape) { self.memory_limit(&mut shape)? } else { Some(Limit::Time) };
            if limit.is_none() {
                return Ok(Some(shape));
            }
            match self.shorter(&Shape { limit, ..shape })? {
                Some(shorter) => shape = shorter,
                None => return Ok(None),
            }
        }
    }

    /// The smallest patch of the narrowest network.
    fn least(&self, spacing: &Spacing) -> Result<Shape, TrainError> {
        let mut shape = self.whole(spacing, FEATURES[2], BATCHES[1])?;
        while let Some(shorter) = self.shorter(&shape)? {
            shape = shorter;
        }
        Ok(shape)
    }

    /// The same, if memory allows it.
    fn smallest(&self, spacing: &Spacing) -> Result<Option<Shape>, TrainError> {
        let mut shape = self.least(spacing)?;
        let limit = self.memory_limit(&mut shape)?;
        shape.limit = Some(Limit::Time);
        Ok(limit.is_none().then_some(shape))
    }

    /// Makes the patch cover enough, and finds what two samples would exceed.
    fn finished(&self, shape: Shape) -> Result<Shape, TrainError> {
        let shape = self.covering(shape)?;
        let mut two = Shape { batch: 2, seconds: 2.0 / shape.batch as f64 * shape.seconds, ..shape.clone() };
        let against_two = if self.is_fast(&two) { self.memory_limit(&mut two)? } else { Some(Limit::Time) };
        Ok(Shape { against_two, ..shape })
    }

    /// Larger voxels until the patch covers enough of the median volume, or nothing fits.
    fn covering(&self, mut shape: Shape) -> Result<Shape, TrainError> {
        while !shape.covers() {
            let mut spacing = Spacing { coarsened: true, ..shape.spacing.clone() };
            spacing.mm = coarser(spacing.mm);
            match self.largest(&spacing, shape.features, shape.batch)? {
                Some(coarse) => shape = coarse,
                None => break,
            }
        }
        shape.spacing.mm = shape.spacing.mm.map(three_digits);
        Ok(shape)
    }

    fn is_fast(&self, shape: &Shape) -> bool {
        shape.is_fast(self.fingerprint, self.budget)
    }

    /// Sets the forecast of memory; returns the limit if it is exceeded.
    fn memory_limit(&self, shape: &mut Shape) -> Result<Option<Limit>, TrainError> {
        let mut config = Preset::Small.config();
        shape.apply(&mut config);
        let [x, y, z] = shape.patch;
        let network = shape.network(self.fingerprint);
        match Forecast::new(&network, &config.trainer_settings(), [z, y, x], self.target) {
            Ok(forecast) => shape.memory = forecast.total(),
            Err(TrainError::Plan(_) | TrainError::Infer(_)) => return Ok(Some(Limit::Memory)),
            Err(error) => return Err(error),
        }
        let most = self.budget.memory.map_or(u64::MAX, |bytes| (MEMORY * bytes as f64) as u64);
        Ok((shape.memory > most).then_some(Limit::Memory))
    }

    /// The error of a device on which nothing fits: that of the smallest network.
    fn too_large(&self, spacing: &Spacing) -> Result<Shape, TrainError> {
        let smallest = self.least(spacing)?;
        let ([x, y, z], needed) = (smallest.patch, smallest.network(self.fingerprint));
        let forecast = Forecast::new(&needed, &Preset::Small.config().trainer_settings(), [z, y, x], self.target)?;
        let ways =
            "no patch of a network with 8 channels on its finest level fits; give a larger --memory-budget or another --device".to_owned();
        Err(TrainError::Budget {
            needed: forecast.total(),
            budget: self.budget.memory.unwrap_or(0).min(forecast.total()),
            ways,
        })
    }
}

impl Shape {
    pub(super) fn voxels(&self) -> usize {
        self.patch.iter().product()
    }

    fn is_fast(&self, fingerprint: &Fingerprint, budget: &Budget) -> bool {
        let steps = budget.minutes * 60.0 / self.seconds;
        steps >= STEPS && steps * self.batch as f64 >= samples_wanted(fingerprint.cases.len())
    }

    pub(super) fn covers(&self) -> bool {
        self.voxels() as f64 >= COVERED * self.median.iter().product::<usize>() as f64
    }

    fn network(&self, fingerprint: &Fingerprint) -> Network {
        let mut config = Preset::Small.config();
        self.apply(&mut config);
        fingerprint.network(&config)
    }

    /// The patch with the axis that is longest in mm shortened by one divisor, none if no axis can be shorter.
    fn shortened(&self) -> Option<[usize; 3]> {
        let divisor = divisor(&self.strides);
        let long = (0..3).filter(|&axis| self.patch[axis] >= LEAST + divisor[axis]);
        let length = |axis: usize| self.patch[axis] as f64 * self.spacing.mm[axis];
        let longest = long.max_by(|&a, &b| length(a).total_cmp(&length(b)).then(b.cmp(&a)))?;
        let mut patch = self.patch;
        patch[longest] -= divisor[longest];
        Some(patch)
    }

    /// Puts the shape into a configuration.
    pub(super) fn apply(&self, config: &mut Config) {
        let mut network = UNet::plain(&vec![UNITS; self.strides.len()]);
        network.features = self.features;
        // Empty lists mean 3x3x3 and 2 everywhere.
        if self.kernels.iter().flatten().any(|&taps| taps != 3) {
            network.options.kernels.clone_from(&self.kernels);
        }
        if self.strides[1..].iter().flatten().any(|&stride| stride != 2) {
            network.options.strides.clone_from(&self.strides);
        }
        config.network.choose(&network);
        config.network.head_gain = HEAD_GAIN;
        config.data.patch = Patch::Fixed(self.patch);
        config.data.spacing = TargetSpacing::Millimetres(self.spacing.mm);
        config.training.batch = self.batch;
    }

    /// The reasons for spacing, patch, channels, levels and batch.
    pub(super) fn explain(&self, design: &mut Design, fingerprint: &Fingerprint, budget: &Budget) {
        let is_fast = self.is_fast(fingerprint, budget);
        design.because(
            "network.kind",
            "nnU-Net's plain network: 3x3x3 kernels and instance normalisation learn more in the same time than V-Net's \
             5x5x5 without (docs/recipe.md).",
        );
        design.because("network.features", self.reason_of_features(is_fast, budget.minutes));
        let halved = divisor(&self.strides);
        let levels = format!(
            "{} levels of {UNITS} convolutions each, as nnU-Net's rule: an axis is halved while {COARSEST} voxels stay of the \
             patch and no other axis is less than half as coarse; x, y, z are divided by {halved:?}.",
            self.strides.len()
        );
        design.because("network.units", levels);
        design.because(
            "network.head_gain",
            "learns on small patches and on whole volumes. With the presets' 0.05, which suits networks without normalisation, a \
             U-Net did not tell two classes apart on whole volumes (docs/recipe.md).",
        );
        design.because("network.kernels", "one tap along an axis until its spacing is less than twice the finest.");
        design.because("network.strides", "thick slices are not halved before the others are as coarse.");
        design.because("data.spacing", self.spacing.reason(fingerprint, self.covers()));
        design.because("data.patch", self.reason_of_patch(is_fast));
        design.because("training.batch", self.reason_of_batch());
    }

    fn reason_of_features(&self, is_fast: bool, minutes: f64) -> String {
        let choice = match self.narrowest {
            false => "the most of 32 (nnU-Net's), 16 and 8 with which time and memory allow a patch of",
            true => "the least of 32 (nnU-Net's), 16 and 8, since with none of them time and memory allow a patch of",
        };
        let fast = if is_fast { "fast enough" } else { "too slow, like all others," };
        format!(
            "channels of the finest level, {choice} {WORTHWHILE} voxels or a quarter of the median volume. A step takes about {:.2} s \
             by the kind of the device, {fast} for {STEPS:.0} steps and {EPOCHS:.0} views of each training case within \
             {minutes} minutes. Peak memory {}.",
            self.seconds,
            human_bytes(self.memory)
        )
    }

    fn reason_of_patch(&self, is_fast: bool) -> String {
        let ([x, y, z], [px, py, pz], divisor) = (self.median, self.patch, divisor(&self.strides));
        let Some(limit) = self.limit else {
            return format!(
                "the median volume at this spacing, {x} x {y} x {z}, rounded up to multiples of {divisor:?}."
            );
        };
        let share = 100.0 * self.voxels() as f64 / (x * y * z) as f64;
        let end = match is_fast {
            true => format!("{} allows no more", limit.word()),
            false => "the smallest, since time allows none".to_owned(),
        };
        format!(
            "{px} x {py} x {pz} voxels, {share:.0} % of the median volume at this spacing ({x} x {y} x {z}), as near to a \
             cube in mm as multiples of {divisor:?} come: {end}."
        )
    }

    fn reason_of_batch(&self) -> String {
        match (self.batch, self.against_two) {
            (1, Some(Limit::Time)) => {
                format!("one sample: two would take {:.2} s per step, too long for the budget.", 2.0 * self.seconds)
            }
            (1, Some(Limit::Memory)) => {
                format!("one sample: two would take more than {:.0} % of the device's memory.", 100.0 * MEMORY)
            }
            (1, None) => "one sample: two were too much before the voxels were made larger.".to_owned(),
            _ => "two samples, as in the paper and nnU-Net's least.".to_owned(),
        }
    }
}
