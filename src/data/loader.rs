//! Batches, made in the background while the device works.
//!
//! Sample number s of a training is case `permutation(seed, epoch)[s mod n]` with epoch = s div n,
//! and batch number b holds the samples b·size … b·size + size - 1: a pure function of (seed, b).
//! So a resumed training goes on with the batch it would have had, and any number of threads gives
//! the same batches: worker t of T makes the batches t, t + T, …, each into its own queue, and the
//! queues are read in turn.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::DataError;
use super::dataset::Case;
use super::prepare::{Preparation, Prepared, prepare_case};
use super::random::{Purpose, Stream};

/// Prepared volumes that are kept in memory unless [`Loader::with_cache`] says otherwise: 2 GiB,
/// which is 340 patches of 128 x 128 x 64.
pub const DEFAULT_CACHE_BYTES: usize = 2 << 30;
/// Batches that wait ready in each worker's queue; one more is in the worker's hands.
const QUEUED: usize = 2;

/// What a training step takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalised intensities, (N, D, H, W, 1).
    pub image: Vec<f32>,
    /// Labels, (N, D, H, W).
    pub label: Vec<u32>,
    /// Names of the N cases.
    pub cases: Vec<String>,
}

/// Endless source of training batches.
#[derive(Debug)]
pub struct Loader {
    queues: Vec<Receiver<Result<Batch, DataError>>>,
    turn: usize,
    failed: bool,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Starts `threads` workers that make batches of `batch` samples from sample number
    /// `start_sample` on.
    pub fn new(
        cases: Vec<Case>,
        preparation: Preparation,
        batch: usize,
        seed: u64,
        start_sample: u64,
        threads: usize,
    ) -> Result<Loader, DataError> {
        Loader::with_cache(cases, preparation, batch, seed, start_sample, threads, DEFAULT_CACHE_BYTES)
    }

    /// As [`Loader::new`], keeping prepared volumes of at most `cache_bytes` in memory.
    pub fn with_cache(
        cases: Vec<Case>,
        preparation: Preparation,
        batch: usize,
        seed: u64,
        start_sample: u64,
        threads: usize,
        cache_bytes: usize,
    ) -> Result<Loader, DataError> {
        let positive = |key, value: usize| match value {
            0 => Err(DataError::Setting { key, found: "0".into(), expected: "at least 1" }),
            _ => Ok(()),
        };
        positive("number of training cases", cases.len())?;
        positive("batch", batch)?;
        positive("loader threads", threads)?;
        positive("patch", preparation.patch.iter().product())?;
        let source = Arc::new(Source { cases, preparation, batch, seed, start_sample, cache: Cache::new(cache_bytes) });
        let stop = Arc::new(AtomicBool::new(false));
        let mut queues = Vec::new();
        let mut workers = Vec::new();
        for first in 0..threads {
            let (sender, receiver) = sync_channel(QUEUED);
            let (source, stop) = (Arc::clone(&source), Arc::clone(&stop));
            let work = move || source.work(first as u64, threads as u64, &sender, &stop);
            let worker = std::thread::Builder::new()
                .name(format!("loader-{first}"))
                .spawn(work)
                .map_err(DataError::io(std::path::Path::new("loader"), "start a thread"))?;
            queues.push(receiver);
            workers.push(worker);
        }
        Ok(Loader { queues, turn: 0, failed: false, stop, workers })
    }

    /// The next batch; waits until it is ready. After an error there are no more.
    #[expect(clippy::should_implement_trait, reason = "endless, and an error is not an item: no Iterator")]
    pub fn next(&mut self) -> Result<Batch, DataError> {
        if self.failed {
            return Err(DataError::LoaderStopped);
        }
        // A worker hangs up only after an error of its own, which was in the queue before.
        let batch = self.queues[self.turn].recv().unwrap_or(Err(DataError::LoaderStopped));
        self.turn = (self.turn + 1) % self.queues.len();
        self.failed = batch.is_err();
        batch
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Closing the queues wakes the workers that wait for room.
        self.queues.clear();
        for worker in self.workers.drain(..) {
            // A worker's panic was reported on stderr when it happened.
            let _ = worker.join();
        }
    }
}

/// Index of the case that is sample number `sample` of a training on `cases` cases.
pub fn case_of_sample(seed: u64, cases: usize, sample: u64) -> usize {
    let (epoch, position) = (sample / cases as u64, sample % cases as u64);
    let order = Stream::new(seed, Purpose::Order, epoch).permutation(cases);
    order[usize::try_from(position).expect("below the number of cases")]
}

struct Source {
    cases: Vec<Case>,
    preparation: Preparation,
    batch: usize,
    seed: u64,
    start_sample: u64,
    cache: Cache,
}

impl Source {
    /// Makes every `stride`-th batch until told to stop, or until the first error.
    fn work(&self, first: u64, stride: u64, queue: &SyncSender<Result<Batch, DataError>>, stop: &AtomicBool) {
        let mut number = first;
        while !stop.load(Ordering::Relaxed) {
            let batch = self.make(number);
            let failed = batch.is_err();
            if queue.send(batch).is_err() || failed {
                return;
            }
            number += stride;
        }
    }

    fn make(&self, number: u64) -> Result<Batch, DataError> {
        let voxels: usize = self.preparation.patch.iter().product();
        let mut batch = Batch {
            image: Vec::with_capacity(self.batch * voxels),
            label: Vec::with_capacity(self.batch * voxels),
            cases: Vec::with_capacity(self.batch),
        };
        for position in 0..self.batch as u64 {
            let sample = self.start_sample + number * self.batch as u64 + position;
            let index = case_of_sample(self.seed, self.cases.len(), sample);
            let case = &self.cases[index];
            let prepared = self.cache.get_or_make(index, || prepare_case(case, &self.preparation))?;
            batch.image.extend_from_slice(&prepared.image);
            let label = prepared.label.as_ref().expect("prepare_case gives a label");
            batch.label.extend(label.iter().copied().map(u32::from));
            batch.cases.push(case.name.clone());
        }
        Ok(batch)
    }
}

/// Prepared cases, kept from the first until the budget is spent. Nothing is thrown out: every case
/// comes once per epoch, so a policy that replaces the oldest would have lost each case just before
/// it is due again.
struct Cache {
    budget: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    cases: HashMap<usize, Arc<Prepared>>,
}

impl Cache {
    fn new(budget: usize) -> Cache {
        Cache { budget, held: Mutex::new(Held::default()) }
    }

    fn get_or_make(
        &self,
        case: usize,
        make: impl FnOnce() -> Result<Prepared, DataError>,
    ) -> Result<Arc<Prepared>, DataError> {
        // No code panics while it holds the lock, so a poisoned one is whole.
        let lock = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = lock().cases.get(&case) {
            return Ok(Arc::clone(prepared));
        }
        // Without the lock: another worker may make the same case, and either copy will do.
        let prepared = Arc::new(make()?);
        let mut held = lock();
        let bytes = prepared.bytes();
        if held.bytes + bytes <= self.budget && !held.cases.contains_key(&case) {
            held.bytes += bytes;
            held.cases.insert(case, Arc::clone(&prepared));
        }
        Ok(prepared)
    }
}
