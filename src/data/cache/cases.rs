//! The cases of a training or of a validation, prepared.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::budget::CacheBudget;
use super::disk::{DiskCache, INTENSITIES, PREPARED, REFERENCE};
use super::entry::{self, Entry};
use super::key::Key;
use crate::data::dataset::Case;
use crate::data::intensities::{Intensities, QUANTILES};
use crate::data::prepare::{Fit, Preparation, Prepared, prepare_image, read_case_label};
use crate::data::sampling::Foreground;
use crate::data::voxels::Voxels;
use crate::data::{DataError, Geometry, Grid};

/// The array with the box of a cropped case.
const CROP: &str = "crop";

/// What cases are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Samples are cut from them.
    Training {
        /// Whether patches are centred on foreground, so that its index is needed.
        foreground: bool,
    },
    /// They are predicted, and scored on the grids of their files.
    Validation,
}

impl Use {
    /// Whether the index of foreground is needed.
    fn is_indexed(self) -> bool {
        self == Use::Training { foreground: true }
    }
}

/// A prepared case.
#[derive(Debug)]
pub(crate) struct CachedCase {
    /// Image and label, on the network's grid.
    pub(crate) prepared: Prepared,
    /// Where its foreground is; empty where that is not needed.
    pub(crate) foreground: Foreground,
    /// For validation: the label on the grid of the image's file.
    pub(crate) reference: Option<Voxels<u16>>,
}

/// Cases by number. Those in memory stay there while this lives: every case comes once per epoch or validation, so a policy
/// that evicts the oldest would lose each just before it is needed again. The others are mapped from their files on disk for
/// as long as they are used, or prepared again where there is no cache on disk.
#[derive(Debug)]
pub(crate) struct PreparedCases {
    cases: Vec<Case>,
    preparation: Preparation,
    fit: Fit,
    needs: Use,
    budget: CacheBudget,
    disk: DiskCache,
    /// One for each case. Whoever asks for a case that another thread prepares waits for it.
    slots: Vec<Mutex<Slot>>,
    /// A kilobyte for each channel of a case, outside the budget.
    intensities: Vec<Mutex<Option<Arc<Vec<Intensities>>>>>,
}

/// What is known of a case.
#[derive(Debug, Default)]
struct Slot {
    held: Option<Arc<CachedCase>>,
    /// What `held` has of the budget.
    taken: usize,
    /// What its entries depend on.
    key: Option<Key>,
    /// Whether its entries on disk have been read to their ends, or made, by this run.
    verified: bool,
}

impl CachedCase {
    /// Bytes of the process's own memory.
    fn bytes(&self) -> usize {
        let reference = self.reference.as_ref().map_or(0, Voxels::bytes);
        self.prepared.bytes() + self.foreground.bytes() + reference
    }
}

impl PreparedCases {
    /// Nothing is read before it is asked for.
    pub(crate) fn new(
        cases: Vec<Case>,
        preparation: Preparation,
        fit: Fit,
        needs: Use,
        budget: CacheBudget,
        disk: DiskCache,
    ) -> PreparedCases {
        let slots = cases.iter().map(|_| Mutex::default()).collect();
        let intensities = cases.iter().map(|_| Mutex::default()).collect();
        PreparedCases { cases, preparation, fit, needs, budget, disk, slots, intensities }
    }

    /// The cases as files.
    pub(crate) fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// How they are prepared.
    pub(crate) fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// A case: from memory, from disk, or prepared.
    ///
    /// # Errors
    /// [`DataError`] that names the file of the case.
    pub(crate) fn get(&self, index: usize) -> Result<Arc<CachedCase>, DataError> {
        let mut slot = lock(&self.slots[index]);
        if let Some(held) = &slot.held {
            return Ok(Arc::clone(held));
        }
        if self.disk.is_some() && slot.key.is_none() {
            slot.key = self.key(index);
        }
        if let Some((case, taken)) = self.load_from_disk(&mut slot) {
            return Ok(slot.hold(case, taken));
        }
        // Until the case is in its place.
        let turn = self.budget.turn();
        let case = self.make(index)?;
        let bytes = case.bytes();
        turn.made(bytes);
        let taken = self.budget.take(bytes).then_some(bytes);
        if taken.is_none() || self.disk.keeps_all() {
            slot.verified = self.store(index, slot.key.as_ref(), &case);
        }
        Ok(slot.hold(case, taken))
    }

    /// The intensities of a case's channels. Where the case is at hand, it is not read again.
    ///
    /// # Errors
    /// As [`PreparedCases::get`].
    pub(crate) fn intensities(
        &self,
        index: usize,
        at_hand: Option<&Arc<CachedCase>>,
    ) -> Result<Arc<Vec<Intensities>>, DataError> {
        let mut held = lock(&self.intensities[index]);
        if let Some(held) = &*held {
            return Ok(Arc::clone(held));
        }
        let key = if self.disk.keeps_all() { self.key(index) } else { None };
        let found = key.as_ref().and_then(|key| {
            let entry = self.disk.open(key, INTENSITIES)?;
            let read = read_intensities(&entry, self.preparation.channels);
            read.map_err(|reason| self.disk.reject(key, INTENSITIES, &reason)).ok()
        });
        let intensities = match found {
            Some(found) => found,
            None => {
                let case = at_hand.map_or_else(|| self.get(index), |case| Ok(Arc::clone(case)))?;
                let made = Intensities::of_channels(&case.prepared.image, case.prepared.channels);
                if let Some(key) = &key {
                    self.store_intensities(key, &case.prepared.geometry.input, &made);
                }
                made
            }
        };
        Ok(Arc::clone(held.insert(Arc::new(intensities))))
    }

    /// None where a file cannot be looked at; reading it says why.
    fn key(&self, index: usize) -> Option<Key> {
        Key::of(&self.cases[index], &self.preparation, self.fit).ok()
    }

    fn make(&self, index: usize) -> Result<CachedCase, DataError> {
        let case = &self.cases[index];
        let (prepared, image) = prepare_image(&case.image, &self.preparation, self.fit)?;
        let label = read_case_label(case, &image, &self.preparation)?;
        let prepared = prepared.with_label(&label);
        let labels = prepared.label.as_deref().filter(|_| self.needs.is_indexed());
        let foreground = labels.map(Foreground::of).unwrap_or_default();
        let reference = (self.needs == Use::Validation).then(|| label.voxels.into());
        Ok(CachedCase { prepared, foreground, reference })
    }

    /// A case whose entries are on disk, and what of the budget it took: read into memory if there is room, else mapped.
    fn load_from_disk(&self, slot: &mut Slot) -> Option<(CachedCase, Option<usize>)> {
        let key = slot.key.as_ref()?;
        let mut prepared = self.disk.open(key, PREPARED)?;
        let mut reference = match self.needs {
            Use::Training { .. } => None,
            Use::Validation => Some(self.disk.open(key, REFERENCE)?),
        };
        let entries = [Some(&prepared), reference.as_ref()];
        let bytes: u64 = entries.into_iter().flatten().map(|entry| entry.layout().bytes()).sum();
        let bytes = usize::try_from(bytes).ok()?;
        let taken = self.budget.take(bytes).then_some(bytes);
        let mut read = || {
            if taken.is_none() {
                for (entry, ending) in [(Some(&mut prepared), PREPARED), (reference.as_mut(), REFERENCE)] {
                    let Some(entry) = entry else { continue };
                    let checked = if slot.verified { Ok(()) } else { entry.verify() };
                    checked.and_then(|()| entry.map()).map_err(|reason| (ending, reason))?;
                }
            }
            self.read(&prepared, reference.as_ref())
        };
        match read() {
            Ok(case) => {
                slot.verified = true;
                Some((case, taken))
            }
            Err((ending, reason)) => {
                self.budget.give_back(taken.unwrap_or(0));
                self.disk.reject(key, ending, &reason);
                slot.verified = false;
                None
            }
        }
    }

    /// The case of its entries; the error says which of them is wrong.
    fn read(&self, prepared: &Entry, reference: Option<&Entry>) -> Result<CachedCase, (&'static str, String)> {
        let indexed = self.needs.is_indexed();
        let (prepared, foreground) =
            read_prepared(prepared, &self.preparation, self.fit, indexed).map_err(|reason| (PREPARED, reason))?;
        let reference = reference.map(|entry| {
            let voxels: Voxels<u16> = entry.array("reference")?;
            expect(voxels.len(), prepared.geometry.input.voxel_count(), "reference").map(|()| voxels)
        });
        let reference = reference.transpose().map_err(|reason| (REFERENCE, reason))?;
        Ok(CachedCase { prepared, foreground, reference })
    }

    /// Writes the entries of a case that are not there. False where they cannot be.
    fn store(&self, index: usize, key: Option<&Key>, case: &CachedCase) -> bool {
        // Files that changed while they were read have another key by now.
        let Some(key) = key.filter(|key| self.key(index).as_ref() == Some(key)) else { return false };
        let (prepared, grid) = (&case.prepared, &case.prepared.geometry.input);
        let Some(label) = &prepared.label else { return false };
        // An index is stored whatever this run needs: the next may need it.
        let made = (!self.needs.is_indexed()).then(|| Foreground::of(label));
        let [classes, up_to] = made.as_ref().unwrap_or(&case.foreground).arrays();
        let mut arrays: Vec<(&str, &[u8])> = vec![
            ("image", bytemuck::cast_slice(&prepared.image)),
            ("label", bytemuck::cast_slice(label)),
            ("foreground_classes", classes),
            ("foreground", up_to),
        ];
        let crop = prepared.geometry.crop.numbers();
        if !self.preparation.crop.is_none() {
            arrays.push((CROP, bytemuck::cast_slice(&crop)));
        }
        let is_stored = self.put(key, PREPARED, grid, &arrays);
        let reference = case.reference.as_ref().map(|reference| {
            let arrays: [(&str, &[u8]); 1] = [("reference", bytemuck::cast_slice(reference))];
            self.put(key, REFERENCE, grid, &arrays)
        });
        is_stored && reference.unwrap_or(true)
    }

    fn store_intensities(&self, key: &Key, grid: &Grid, intensities: &[Intensities]) {
        let quantiles: Vec<f32> = intensities.iter().flat_map(|channel| channel.quantiles.iter().copied()).collect();
        let means: Vec<f32> = intensities.iter().map(|channel| channel.mean).collect();
        let arrays: [(&str, &[u8]); 2] =
            [("quantiles", bytemuck::cast_slice(&quantiles)), ("means", bytemuck::cast_slice(&means))];
        // What cannot be written is computed again.
        let _ = self.put(key, INTENSITIES, grid, &arrays);
    }

    fn put(&self, key: &Key, ending: &str, grid: &Grid, arrays: &[(&str, &[u8])]) -> bool {
        let bytes = arrays.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        self.disk.write(key, ending, bytes, |file| entry::write(file, key, grid, arrays))
    }
}

impl Slot {
    /// Keeps a case that has a part of the budget.
    fn hold(&mut self, case: CachedCase, taken: Option<usize>) -> Arc<CachedCase> {
        let case = Arc::new(case);
        if let Some(taken) = taken {
            (self.held, self.taken) = (Some(Arc::clone(&case)), taken);
        }
        case
    }
}

impl Drop for PreparedCases {
    fn drop(&mut self) {
        self.budget.give_back(self.slots.iter().map(|slot| lock(slot).taken).sum());
    }
}

/// A slot is changed when everything about its case is known, so a poisoned one is whole.
fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The prepared case of an entry. Its geometry follows from the grid of the file.
fn read_prepared(
    entry: &Entry,
    preparation: &Preparation,
    fit: Fit,
    indexed: bool,
) -> Result<(Prepared, Foreground), String> {
    let crop: Option<Voxels<u32>> = (!preparation.crop.is_none()).then(|| entry.array(CROP)).transpose()?;
    let geometry = Geometry::of_cached(entry.layout().grid(), crop.as_deref(), preparation, fit)?;
    let voxels = geometry.grid.voxel_count();
    let (image, label): (Voxels<f32>, Voxels<u16>) = (entry.array("image")?, entry.array("label")?);
    expect(image.len(), voxels.saturating_mul(preparation.channels), "image")?;
    expect(label.len(), voxels, "label")?;
    let foreground = match indexed {
        true => {
            Foreground::of_arrays(entry.array("foreground_classes")?.into_vec(), entry.array("foreground")?, voxels)?
        }
        false => Foreground::default(),
    };
    Ok((Prepared { image, channels: preparation.channels, label: Some(label), geometry }, foreground))
}

fn read_intensities(entry: &Entry, channels: usize) -> Result<Vec<Intensities>, String> {
    let (quantiles, means): (Voxels<f32>, Voxels<f32>) = (entry.array("quantiles")?, entry.array("means")?);
    expect(quantiles.len(), channels * QUANTILES, "quantiles")?;
    expect(means.len(), channels, "means")?;
    let of = |(quantiles, mean): (&[f32], &f32)| Intensities { quantiles: quantiles.to_vec(), mean: *mean };
    Ok(quantiles.chunks_exact(QUANTILES).zip(means.iter()).map(of).collect())
}

fn expect(found: usize, expected: usize, what: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found} numbers of {what}, expected {expected}")) }
}

/// Reads the bytes of an entry as each of the kinds, as if all checksums were right; whatever they hold, nothing but an error
/// comes of it. True where they are a case.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(bytes: &[u8]) -> bool {
    let Some(entry) = entry::of_bytes(bytes) else { return false };
    let _ = read_intensities(&entry, 1);
    let _ = entry.array::<u16>("reference");
    let preparation = Preparation { patch: [3, 2, 1], ..Preparation::native(crate::data::Normalisation::None) };
    let mut is_case = false;
    for fit in [Fit::Patch, Fit::Whole] {
        let Ok((prepared, foreground)) = read_prepared(&entry, &preparation, fit, true) else { continue };
        let (label, extents) = (prepared.label.expect("it was read"), prepared.geometry.grid.extents);
        for sample in 0..4 {
            let start = crate::data::sampling::patch_start(&label, &foreground, extents, [3, 2, 1], 1.0, 0, sample);
            assert!((0..3).all(|axis| start[axis] + preparation.patch[axis] <= extents[axis]));
        }
        is_case = true;
    }
    is_case
}

#[cfg(test)]
mod tests;
