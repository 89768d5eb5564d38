//! Batches, made in background threads while the device works.
//!
//! Sample number s of a training is case `permutation(seed, epoch)[s mod n]` with epoch = s div n,
//! and batch number b holds the samples b·size … b·size + size - 1: a pure function of (seed, b).
//! So a resumed training continues with the batch that it would have had, and any number of threads gives
//! the same batches: each thread makes whichever batch is next, and they are taken in order.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::cache::{CacheBudget, DiskCache, PreparedCases, Use};
use super::dataset::Case;
use super::intensities::Intensities;
use super::prepare::{Fit, Preparation, Prepared};
use super::sampling::{Centring, ForegroundBy, Sampling, crop, crop_channels, patch_start};
use super::shelf::Shelf;
use super::{Classes, DataError};
use crate::random::{Purpose, Stream};

/// Bytes of prepared volumes in memory that [`LoaderSettings::whole`] allows: 340 patches of 128 x 128 x 64.
const DEFAULT_CACHE_BYTES: usize = 2 << 30;
/// Batches that are made or wait ready, at least. There is one more than threads, as long as they take fewer than
/// [`AHEAD_BYTES`].
const LEAST_AHEAD: usize = 3;
const AHEAD_BYTES: usize = 1 << 30;

/// What a training step takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Normalised intensities, (N, D, H, W, C).
    pub image: Vec<f32>,
    /// Labels, (N, D, H, W): numbers of classes, or masks of regions ([`Classes::device_labels`]).
    pub label: Vec<u32>,
    /// Names of the N cases.
    pub cases: Vec<String>,
    /// What augmentation needs to know of the N samples.
    pub samples: Vec<Sample>,
}

/// A sample of a training, apart from its voxels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Number of the sample in the training, counted from 0. Together with the seed it determines everything random.
    pub number: u64,
    /// Spacing x, y, z of its voxels in mm.
    pub spacing: [f64; 3],
    /// Intensities of each channel of the prepared volume, where [`LoaderSettings::intensities`] asks for them: with
    /// [`Sampling::Whole`] those of the block, padding included.
    pub intensities: Option<Arc<Vec<Intensities>>>,
    /// Those of another training volume, where [`LoaderSettings::partners`] asks for them.
    pub partner: Option<Arc<Vec<Intensities>>>,
}

impl Batch {
    /// Whole samples that are in memory. A step with augmentation refuses such a batch, because augmentation needs to know
    /// more of its samples.
    ///
    /// # Errors
    /// [`DataError::Setting`] when a sample has no label.
    pub fn of(samples: &[Prepared]) -> Result<Batch, DataError> {
        Batch::of_labels(samples, None)
    }

    /// As [`Batch::of`], with the label of each class on the device: see [`Classes::device_labels`].
    ///
    /// # Errors
    /// As [`Batch::of`].
    pub fn of_labels(samples: &[Prepared], classes: Option<&[u32]>) -> Result<Batch, DataError> {
        let mut batch = Batch::default();
        for (number, sample) in samples.iter().enumerate() {
            let Some(label) = &sample.label else {
                let found = format!("sample {number} without a label");
                return Err(DataError::Setting { key: "batch", found, expected: "samples with labels" });
            };
            batch.push(&sample.image, label, classes);
            batch.cases.push(format!("sample {number}"));
        }
        Ok(batch)
    }

    /// Appends the voxels of a sample. `classes` are the labels of classes on the device where these are not their numbers.
    fn push(&mut self, image: &[f32], label: &[u16], classes: Option<&[u32]>) {
        self.image.extend_from_slice(image);
        match classes {
            // What is ignored has a number that no class has.
            None => self.label.extend(label.iter().copied().map(u32::from)),
            Some(of) => self.label.extend(label.iter().map(|&l| of.get(usize::from(l)).copied().unwrap_or(u32::MAX))),
        }
    }
}

/// How batches are made.
#[derive(Clone, Debug)]
pub struct LoaderSettings {
    /// Samples of a batch.
    pub batch: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Number of the first sample.
    pub start_sample: u64,
    /// Workers; the batches do not depend on their number.
    pub threads: usize,
    /// Budget for prepared volumes in memory; several users may share it.
    pub cache: CacheBudget,
    /// Where those are kept that memory has no room for.
    pub disk: DiskCache,
    /// Which part of a volume a sample is.
    pub sampling: Sampling,
    /// Share of the patches that are centred on foreground.
    pub foreground: f64,
    /// On what these are centred equally often.
    pub foreground_by: ForegroundBy,
    /// Extents x, y, z of a sample: those of the patch, or more for a patch that augmentation rotates.
    pub block: [usize; 3],
    /// True to describe each volume's intensities.
    pub intensities: bool,
    /// True to describe those of another training volume too, for each sample.
    pub partners: bool,
}

impl LoaderSettings {
    /// Whole volumes, centred in `patch`, by one worker.
    pub fn whole(patch: [usize; 3], batch: usize, seed: u64) -> LoaderSettings {
        LoaderSettings {
            batch,
            seed,
            start_sample: 0,
            threads: 1,
            cache: CacheBudget::new(DEFAULT_CACHE_BYTES),
            disk: DiskCache::none(),
            sampling: Sampling::Whole,
            foreground: 0.0,
            foreground_by: ForegroundBy::Class,
            block: patch,
            intensities: false,
            partners: false,
        }
    }

    /// Batches that are made or wait ready, at most.
    fn ahead(&self, channels: usize) -> usize {
        let voxels = self.block.iter().fold(self.batch, |voxels, &extent| voxels.saturating_mul(extent));
        let bytes = voxels.saturating_mul(channels * size_of::<f32>() + size_of::<u32>());
        (self.threads + 1).min(AHEAD_BYTES / bytes.max(1)).max(LEAST_AHEAD)
    }
}

/// Endless source of training batches.
#[derive(Debug)]
pub struct Loader {
    shelf: Arc<Shelf>,
    workers: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Starts the workers.
    ///
    /// # Errors
    /// [`DataError::Setting`] when no batch can be made.
    pub fn start(cases: Vec<Case>, preparation: Preparation, settings: LoaderSettings) -> Result<Loader, DataError> {
        let positive = |key, value: usize| match value {
            0 => Err(DataError::Setting { key, found: "0".into(), expected: "at least 1" }),
            _ => Ok(()),
        };
        positive("number of training cases", cases.len())?;
        positive("batch", settings.batch)?;
        positive("loader threads", settings.threads)?;
        positive("patch", preparation.patch.iter().product())?;
        let threads = settings.threads;
        let shelf = Arc::new(Shelf::new(settings.ahead(preparation.channels) as u64));
        let source = Arc::new(Source::new(cases, preparation, settings));
        let mut loader = Loader { shelf, workers: Vec::new() };
        for number in 0..threads {
            let (source, shelf) = (Arc::clone(&source), Arc::clone(&loader.shelf));
            let work = move || {
                while let Some(begun) = shelf.begin() {
                    let batch = source.make(begun.number());
                    begun.finish(batch);
                }
            };
            let worker = std::thread::Builder::new().name(format!("loader-{number}")).spawn(work);
            loader.workers.push(worker.map_err(DataError::io(std::path::Path::new("loader"), "start a thread"))?);
        }
        Ok(loader)
    }

    /// The next batch; waits until it is ready. After an error there are no more.
    #[expect(clippy::should_implement_trait, reason = "endless, and an error is not an item: no Iterator")]
    pub fn next(&mut self) -> Result<Batch, DataError> {
        self.shelf.take()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shelf.stop();
        for worker in self.workers.drain(..) {
            // A worker's panic was reported on stderr when it happened.
            let _ = worker.join();
        }
    }
}

/// Index of the case from which sample number `sample` is made, of a training on `cases` cases.
pub fn case_of_sample(seed: u64, cases: usize, sample: u64) -> usize {
    let (epoch, position) = (sample / cases as u64, sample % cases as u64);
    let order = Stream::new(seed, Purpose::Order, epoch).permutation(cases);
    order[usize::try_from(position).expect("below the number of cases")]
}

struct Source {
    cases: PreparedCases,
    /// Labels of classes on the device.
    labels: Option<Vec<u32>>,
    /// The classes of each region, where patches are centred on regions.
    regions: Vec<Vec<u16>>,
    settings: LoaderSettings,
}

impl Source {
    fn new(cases: Vec<Case>, preparation: Preparation, settings: LoaderSettings) -> Source {
        // The index of foreground also tells which voxels are not ignored.
        let foreground = settings.sampling == Sampling::Patch;
        let fit = Fit::of_training(settings.sampling);
        let labels = preparation.labels.as_ref().map(Classes::device_labels);
        let of_regions = |classes: &&Classes| !classes.regions().is_empty() && !settings.foreground_by.is_class();
        let regions = preparation.labels.as_ref().filter(of_regions).map(Classes::targets).unwrap_or_default();
        let regions = regions.into_iter().map(|region| region.classes).collect();
        let (budget, disk) = (settings.cache.clone(), settings.disk.clone());
        let cases = PreparedCases::new(cases, preparation, fit, Use::Training { foreground }, budget, disk);
        Source { cases, labels, regions, settings }
    }

    fn make(&self, number: u64) -> Result<Batch, DataError> {
        let size = self.settings.batch as u64;
        let voxels = self.settings.batch * self.settings.block.iter().product::<usize>();
        let channels = self.cases.preparation().channels;
        let (image, label) = (Vec::with_capacity(voxels * channels), Vec::with_capacity(voxels));
        let mut batch = Batch { image, label, ..Batch::default() };
        for position in 0..size {
            self.append(&mut batch, self.settings.start_sample + number * size + position)?;
        }
        Ok(batch)
    }

    /// Appends sample number `number` of the training.
    fn append(&self, batch: &mut Batch, number: u64) -> Result<(), DataError> {
        let index = case_of_sample(self.settings.seed, self.cases.cases().len(), number);
        let case = self.cases.get(index)?;
        let prepared = &case.prepared;
        let label = prepared.label.as_ref().expect("a pair has a label");
        match self.settings.sampling {
            Sampling::Whole => batch.push(&prepared.image, label, self.labels.as_deref()),
            Sampling::Patch => {
                let (extents, block, patch) =
                    (prepared.geometry.grid.extents, self.settings.block, self.cases.preparation().patch);
                let LoaderSettings { seed, foreground: share, .. } = self.settings;
                let centring = Centring { share, regions: &self.regions };
                let start = patch_start(label, &case.foreground, extents, patch, centring, seed, number);
                let margin: [usize; 3] = std::array::from_fn(|axis| (block[axis] - patch[axis]) / 2);
                let start = std::array::from_fn(|axis| start[axis] as i64 - margin[axis] as i64);
                let image = crop_channels(&prepared.image, prepared.channels, extents, start, block, 0.0);
                batch.push(&image, &crop(label, extents, start, block, 0), self.labels.as_deref());
            }
        }
        let spacing = prepared.geometry.grid.spacing;
        let intensities = self.settings.intensities.then(|| self.cases.intensities(index, Some(&case))).transpose()?;
        // Another case may need the memory.
        drop(case);
        let partner = || self.cases.intensities(self.partner(index, number), None);
        let partner = self.settings.partners.then(partner).transpose()?;
        batch.samples.push(Sample { number, spacing, intensities, partner });
        batch.cases.push(self.cases.cases()[index].name.clone());
        Ok(())
    }

    /// Another case for a sample, each as likely; the case itself if it is the only one.
    fn partner(&self, index: usize, number: u64) -> usize {
        let cases = self.cases.cases().len();
        if cases == 1 {
            return index;
        }
        let other = Stream::new(self.settings.seed, Purpose::HistogramPartner, number).below(cases - 1);
        other + usize::from(other >= index)
    }
}
