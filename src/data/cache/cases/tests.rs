//! Cases from memory, from disk, and from files.

use super::*;
use crate::data::dataset::Dataset;
use crate::data::phantom::{PhantomSettings, write_dataset};
use crate::data::{Crop, Normalisation, TargetSpacing, io};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

fn cases(folder: &Path) -> Vec<Case> {
    let settings = PhantomSettings { cases: 3, seed: 2, extents: [17, 13, 9], spacing: [6.0, 7.0, 8.0] };
    write_dataset(folder, &settings, |_| ()).expect("written");
    Dataset::open(folder).expect("a data set").cases
}

fn preparation() -> Preparation {
    let spacing = TargetSpacing::Millimetres([5.0, 5.0, 5.5]);
    Preparation { patch: [8, 8, 16], canonical: true, spacing, ..Preparation::native(Normalisation::ZScoreAll) }
}

const INDEXED: Use = Use::Training { foreground: true };

fn prepared(cases: &[Case], needs: Use, bytes: usize, disk: &DiskCache) -> PreparedCases {
    PreparedCases::new(cases.to_vec(), preparation(), Fit::Whole, needs, CacheBudget::new(bytes), disk.clone())
}

/// Image, label, foreground, reference and geometry.
type Contents = (Vec<u32>, Vec<u16>, [Vec<u8>; 2], Option<Vec<u16>>, String);

fn contents(case: &CachedCase) -> Contents {
    let Prepared { image, label, geometry, .. } = case.prepared.clone();
    let bits = image.iter().map(|voxel| voxel.to_bits()).collect();
    let reference = case.reference.clone().map(Voxels::into_vec);
    let foreground = case.foreground.arrays().map(<[u8]>::to_vec);
    (bits, label.expect("a pair").into_vec(), foreground, reference, format!("{geometry:?}"))
}

fn is_mapped(case: &CachedCase) -> bool {
    case.bytes() == 0
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).expect("listed").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn cases_are_the_same_bits_from_files_memory_and_disk() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = cases(&folder.path().join("data"));
    for needs in [INDEXED, Use::Training { foreground: false }, Use::Validation] {
        let disk = DiskCache::shared(folder.path().join(format!("cache {needs:?}")));
        let plain = prepared(&cases, needs, 0, &DiskCache::none());
        for (bytes, mapped) in [(0, true), (usize::MAX, false)] {
            let cached = prepared(&cases, needs, bytes, &disk);
            // Made and written in the first round of the first, mapped or read in all others.
            for _ in 0..2 {
                for index in 0..3 {
                    let [found, expected] = [&cached, &plain].map(|cases| cases.get(index).expect("a case"));
                    assert_eq!(contents(&found), contents(&expected));
                    assert!(!is_mapped(&expected));
                }
            }
            assert_eq!(is_mapped(&cached.get(0).expect("a case")), mapped);
            assert_eq!(cached.intensities(1, None).expect("a case"), plain.intensities(1, None).expect("a case"));
            assert_eq!(cached.budget.left() < bytes, !mapped, "{needs:?}");
            let (budget, before) = (cached.budget.clone(), bytes);
            drop(cached);
            assert_eq!(budget.left(), before);
        }
        assert!(disk.take_notes().is_empty());
        let files = if needs == Use::Validation { 6 } else { 3 };
        assert_eq!(disk.in_use().entries, files + 1, "and intensities");
        assert_eq!(disk.in_use().made, files + 1, "each is made once");
    }
}

/// The box is stored with the case: voxels are not read again to find it.
#[test]
fn a_cropped_case_comes_back_from_disk_with_its_box() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = cases(&folder.path().join("data"));
    let image = cases[0].image.first();
    let header = io::read_header(image).expect("read");
    let mut volume = io::read_volume(image).expect("read");
    let (extents, part) = (volume.grid.extents, [3..14, 2..11, 1..8]);
    for (at, voxel) in volume.voxels.iter_mut().enumerate() {
        let place = crate::data::volume::position_of(at, extents);
        *voxel = if (0..3).all(|axis| part[axis].contains(&place[axis])) { voxel.max(1.0) } else { 0.0 };
    }
    io::write_volume_as(image, &volume, header.scalar, &header).expect("written");
    let cropping = Preparation { crop: Crop::Nonzero, ..preparation() };
    let disk = DiskCache::shared(folder.path().join("cache"));
    let get = |disk: &DiskCache, preparation: &Preparation| {
        let budget = CacheBudget::new(0);
        let cases = cases[..1].to_vec();
        let of = PreparedCases::new(cases, preparation.clone(), Fit::Whole, Use::Validation, budget, disk.clone());
        contents(&of.get(0).expect("a case"))
    };
    let expected = get(&DiskCache::none(), &cropping);
    assert!(expected.4.contains("start: [3, 2, 1], extents: [11, 9, 7]"), "{}", expected.4);
    assert_eq!(get(&disk, &cropping), expected);
    assert_eq!(disk.in_use().made, 2);
    assert_eq!(get(&disk, &cropping), expected);
    assert_eq!(disk.in_use().made, 2, "it was read");
    assert_ne!(get(&disk, &preparation()), expected, "whole volumes have another key");
    assert!(disk.take_notes().is_empty());
}

/// The folder of a run has what memory has no room for, and nothing else.
#[test]
fn the_folder_of_a_run_takes_what_memory_does_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = cases(&folder.path().join("data"));
    let one = prepared(&cases, INDEXED, 0, &DiskCache::none()).get(0).expect("a case").bytes();
    let cache = folder.path().join("cache");
    let all = prepared(&cases, INDEXED, 3 * one, &DiskCache::of_run(&cache));
    (0..3).for_each(|index| drop(all.get(index).expect("a case")));
    assert!(!cache.exists());
    let disk = DiskCache::of_run(&cache);
    let two = prepared(&cases, INDEXED, 2 * one, &disk);
    for _ in 0..2 {
        (0..3).for_each(|index| drop(two.get(index).expect("a case")));
    }
    assert_eq!((entries(&cache).len(), disk.in_use().made), (1, 1));
    assert!([0, 1, 2].map(|index| is_mapped(&two.get(index).expect("a case"))) == [false, false, true]);
}

#[test]
fn changed_files_and_damaged_entries_are_prepared_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = cases(&folder.path().join("data"));
    let cache = folder.path().join("cache");
    let get = |disk: &DiskCache| prepared(&cases, INDEXED, 0, disk).get(0).expect("a case");
    let first = DiskCache::shared(&cache);
    let expected = contents(&get(&first));
    let [entry] = &entries(&cache)[..] else { panic!("one entry") };
    let whole = fs::read(entry).expect("read");
    let mut damaged = whole.clone();
    *damaged.last_mut().expect("not empty") ^= 1;
    // The middle of the image.
    let mut middle = whole.clone();
    middle[whole.len() / 3] ^= 0x40;
    for bytes in [&damaged[..], &middle, &whole[..whole.len() / 2], b"", b"VNET-PREPARED-LE"] {
        fs::write(entry, bytes).expect("written");
        let disk = DiskCache::shared(&cache);
        assert_eq!(contents(&get(&disk)), expected);
        let notes = disk.take_notes();
        assert!(notes.len() == 1 && notes[0].contains(&entry.display().to_string()), "{notes:?}");
        assert!(fs::read(entry).expect("read") == whole, "the same entry");
    }
    // An entry of another case under this name.
    let other = prepared(&cases, INDEXED, 0, &DiskCache::shared(folder.path().join("other")));
    drop(other.get(1).expect("a case"));
    fs::copy(&entries(&folder.path().join("other"))[0], entry).expect("copied");
    let disk = DiskCache::shared(&cache);
    assert_eq!(contents(&get(&disk)), expected);
    assert!(disk.take_notes()[0].contains("other files"));
    // The label changes: a new entry beside the old one.
    let header = io::read_header(&cases[0].label).expect("a header");
    let mut label = io::read_label_map(&cases[0].label).expect("a label map");
    label.voxels.iter_mut().for_each(|voxel| *voxel = 1 - *voxel);
    io::write_label_map(&cases[0].label, &label, &header).expect("written");
    let disk = DiskCache::shared(&cache);
    assert_ne!(contents(&get(&disk)), expected);
    assert_eq!((entries(&cache).len(), disk.in_use().made), (2, 1));
}

/// Threads of two runs that share a folder ask for every case at the same time: each run prepares each case once at most, and
/// all of them see the same.
#[test]
fn threads_and_runs_share_a_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = cases(&folder.path().join("data"));
    let expected: Vec<_> = {
        let plain = prepared(&cases, INDEXED, 0, &DiskCache::none());
        (0..3).map(|index| contents(&plain.get(index).expect("a case"))).collect()
    };
    let disks = [(); 2].map(|()| DiskCache::shared(folder.path().join("cache")));
    let runs = [(&disks[0], 0), (&disks[1], 60_000)].map(|(disk, bytes)| prepared(&cases, INDEXED, bytes, disk));
    let seen = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for run in &runs {
            for _ in 0..4 {
                scope.spawn(|| {
                    for index in (0..30).map(|turn| turn % 3) {
                        assert!(contents(&run.get(index).expect("a case")) == expected[index]);
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
    });
    assert_eq!(seen.into_inner(), 2 * 4 * 30);
    for disk in &disks {
        assert!(disk.in_use().made <= 3 && disk.take_notes().is_empty());
    }
    assert_eq!(entries(&folder.path().join("cache")).len(), 3, "nothing is left over");
}

#[test]
fn what_is_forecast_is_what_it_takes() {
    use crate::data::{Sampling, training_bytes, validation_bytes};
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = cases(&folder.path().join("data"));
    let of = |needs, fit| {
        let none = DiskCache::none();
        let cases = PreparedCases::new(cases.clone(), preparation(), fit, needs, CacheBudget::new(usize::MAX), none);
        (0..3).map(|index| cases.get(index).expect("a case").bytes() as u64).sum::<u64>()
    };
    // The index of foreground is not forecast: its size depends on the labels.
    let plain = Use::Training { foreground: false };
    let training = |sampling| training_bytes(&cases, &preparation(), sampling).expect("headers");
    assert_eq!(training(Sampling::Patch), of(plain, Fit::Whole));
    assert_eq!(training(Sampling::Whole), of(plain, Fit::Patch));
    assert_eq!(validation_bytes(&cases, &preparation()).expect("headers"), of(Use::Validation, Fit::Whole));
}
