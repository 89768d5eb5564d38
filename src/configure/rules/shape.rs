//! Spacing, patch, base, levels and batch, which share one budget of time and memory.

use super::choices::{Spacing, target_spacing, three_digits};
use super::{Budget, Design};
use crate::configure::Fingerprint;
use crate::data::TargetSpacing;
use crate::kernel::Target;
use crate::nn::vnet::VNet;
use crate::nn::{InferenceGraph, Network};
use crate::plan::human_bytes;
use crate::train::config::Patch;
use crate::train::{Config, Forecast, Preset, TrainError};

/// Channels of level 0 to try, largest first.
const BASES: [usize; 3] = [16, 8, 4];
/// Batches to try: the paper's, which is also nnU-Net's smallest, then one sample.
const BATCHES: [usize; 2] = [2, 1];
/// Convolutions per stage of the paper.
const CONVOLUTIONS: [usize; 5] = [1, 2, 3, 3, 3];
/// Voxels along the shortest axis of the coarsest level, at least (nnU-Net's).
const COARSEST: usize = 4;
/// Voxels that a patch must have for a wider network, unless it is the whole median volume.
const WORTHWHILE: usize = 64 * 64 * 64;
/// Part of the median volume that a patch covers, at least (nnU-Net's).
const COVERED: f64 = 0.25;
/// Factor by which voxels are made larger at a time (nnU-Net's).
const COARSER: f64 = 1.03;
/// Steps within the budget, and views of each training case, at least.
const STEPS: f64 = 1000.0;
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
    pub(super) base: usize,
    pub(super) levels: usize,
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

/// Levels for volumes of these extents: as many as leave [`COARSEST`] voxels along the shortest axis, 2 to 5.
pub(super) fn levels(extents: [usize; 3]) -> usize {
    let shortest = extents.into_iter().min().unwrap_or(1);
    let enough = |levels: &usize| shortest.div_ceil(1 << (levels - 1)) >= COARSEST;
    (2..=CONVOLUTIONS.len()).rev().find(enough).unwrap_or(2)
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
    let tries = BASES.iter().flat_map(|&base| BATCHES.map(|batch| (base, batch)));
    for (base, batch) in tries {
        if let Some(shape) = search.largest(&spacing, base, batch)?
            && shape.voxels() >= WORTHWHILE.min(rounded(shape.median, shape.divisor()).iter().product())
        {
            return search.finished(shape);
        }
    }
    // The narrowest network with whatever patch fits, over the time if nothing is fast enough.
    match search.largest(&spacing, BASES[2], BATCHES[1])?.or(search.smallest(&spacing)?) {
        Some(shape) => Ok(Shape { narrowest: true, ..search.finished(shape)? }),
        None => search.too_large(&spacing),
    }
}

/// Extents rounded up to multiples of the network's divisor.
fn rounded(extents: [usize; 3], divisor: usize) -> [usize; 3] {
    extents.map(|extent| extent.next_multiple_of(divisor))
}

impl Search<'_> {
    /// A network on the whole median volume.
    fn whole(&self, spacing: &Spacing, base: usize, batch: usize) -> Result<Shape, TrainError> {
        let median = self.fingerprint.median_extents(spacing.mm);
        let (spacing, levels) = (spacing.clone(), levels(median));
        let patch = rounded(median, 1 << (levels - 1));
        let mut shape = Shape {
            spacing,
            median,
            patch,
            base,
            levels,
            batch,
            seconds: 0.0,
            memory: 0,
            limit: None,
            narrowest: false,
            against_two: None,
        };
        shape.seconds = self.seconds_per_voxel(&shape)? * (shape.voxels() * batch) as f64;
        Ok(shape)
    }

    /// The largest patch of this network within time and memory, if there is one.
    fn largest(&self, spacing: &Spacing, base: usize, batch: usize) -> Result<Option<Shape>, TrainError> {
        let mut shape = self.whole(spacing, base, batch)?;
        loop {
            let limit = if self.is_fast(&shape) { self.memory_limit(&mut shape)? } else { Some(Limit::Time) };
            if limit.is_none() {
                return Ok(Some(shape));
            }
            shape.limit = limit;
            if !shape.shrink() {
                return Ok(None);
            }
        }
    }

    /// The smallest patch of the narrowest network, if memory allows it.
    fn smallest(&self, spacing: &Spacing) -> Result<Option<Shape>, TrainError> {
        let mut shape = self.whole(spacing, BASES[2], BATCHES[1])?;
        while shape.shrink() {}
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
            match self.largest(&spacing, shape.base, shape.batch)? {
                Some(coarse) => shape = coarse,
                None => break,
            }
        }
        shape.spacing.mm = shape.spacing.mm.map(three_digits);
        Ok(shape)
    }

    fn seconds_per_voxel(&self, shape: &Shape) -> Result<f64, TrainError> {
        let edge = COARSEST * shape.divisor();
        let graph = InferenceGraph::new(&shape.network(self.fingerprint), 1, [edge; 3])?;
        let forward: u64 = graph.layers.iter().map(|layer| layer.flops).sum();
        // The gradients of inputs and of weights each cost as much as the forward pass.
        Ok(3.0 * forward as f64 / edge.pow(3) as f64 / self.budget.nominal.flops_per_second(shape.base))
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
        let median = self.fingerprint.median_extents(spacing.mm);
        let smallest = VNet { base: BASES[2], encoder: vec![1, 2], decoder: vec![1] };
        let [x, y, z] = rounded(median, 2);
        let needed = Network::new(1, self.fingerprint.classes, smallest);
        let forecast = Forecast::new(&needed, &Preset::Small.config().trainer_settings(), [z, y, x], self.target)?;
        let ways =
            "no patch of a network with base 4 fits; give a larger --memory-budget or another --device".to_owned();
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

    fn divisor(&self) -> usize {
        1 << (self.levels - 1)
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
        config.network(fingerprint.channels, fingerprint.classes)
    }

    /// Shortens the axis that is longest in mm by one divisor; false if none can be shorter.
    fn shrink(&mut self) -> bool {
        let divisor = self.divisor();
        let long = (0..3).filter(|&axis| self.patch[axis] > COARSEST * divisor);
        let length = |axis: usize| self.patch[axis] as f64 * self.spacing.mm[axis];
        let longest = long.max_by(|&a, &b| length(a).total_cmp(&length(b)).then(b.cmp(&a)));
        if let Some(axis) = longest {
            let before = self.voxels() as f64;
            self.patch[axis] -= divisor;
            self.seconds *= self.voxels() as f64 / before;
        }
        longest.is_some()
    }

    /// Puts the shape into a configuration.
    pub(super) fn apply(&self, config: &mut Config) {
        let [encoder, decoder] = [self.levels, self.levels - 1].map(|stages| CONVOLUTIONS[..stages].to_vec());
        config.network.choose(&VNet { base: self.base, encoder, decoder });
        config.data.patch = Patch::Fixed(self.patch);
        config.data.spacing = TargetSpacing::Millimetres(self.spacing.mm);
        config.training.batch = self.batch;
    }

    /// The reasons for spacing, patch, base, levels and batch.
    pub(super) fn explain(&self, design: &mut Design, fingerprint: &Fingerprint, budget: &Budget) {
        let is_fast = self.is_fast(fingerprint, budget);
        design.because("network.base", self.reason_of_base(is_fast, budget.minutes));
        let levels = format!(
            "{} levels with the paper's convolutions per stage: the shortest axis of the median volume, {} voxels, keeps \
             {COARSEST} or more on the coarsest.",
            self.levels,
            self.median.iter().min().unwrap_or(&0)
        );
        design.because("network.encoder", levels);
        design.because("network.decoder", "as the encoder, without its coarsest level.");
        design.because("data.spacing", self.spacing.reason(fingerprint, self.covers()));
        design.because("data.patch", self.reason_of_patch(is_fast));
        design.because("training.batch", self.reason_of_batch());
    }

    fn reason_of_base(&self, is_fast: bool, minutes: f64) -> String {
        let choice = match self.narrowest {
            false => "the most of 16 (the paper's), 8 and 4 with which time and memory allow a patch of",
            true => "the least of 16 (the paper's), 8 and 4, since with none of them time and memory allow a patch of",
        };
        let fast = if is_fast { "fast enough" } else { "too slow, like all others," };
        format!(
            "channels of the finest level, {choice} {WORTHWHILE} voxels or the median volume. A step takes about {:.2} s \
             by the kind of the device, {fast} for {STEPS:.0} steps and {EPOCHS:.0} views of each training case within \
             {minutes} minutes. Peak memory {}.",
            self.seconds,
            human_bytes(self.memory)
        )
    }

    fn reason_of_patch(&self, is_fast: bool) -> String {
        let ([x, y, z], [px, py, pz], divisor) = (self.median, self.patch, self.divisor());
        let Some(limit) = self.limit else {
            return format!(
                "the median volume at this spacing, {x} x {y} x {z}, rounded up to multiples of {divisor}."
            );
        };
        let share = 100.0 * self.voxels() as f64 / (x * y * z) as f64;
        let end = match is_fast {
            true => format!("{} allows no more", limit.word()),
            false => "the smallest, since time allows none".to_owned(),
        };
        format!(
            "{px} x {py} x {pz} voxels, {share:.0} % of the median volume at this spacing ({x} x {y} x {z}), as near to a \
             cube in mm as multiples of {divisor} come: {end}."
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
