//! From folders to batches: layouts and their mistakes, the loader's promise that batch b depends
//! on (seed, b) alone, and whether the phantom is the task it claims to be.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vnet_engine::data::TargetSpacing;
use vnet_engine::data::dataset::{images_only, label_of, volumes_of};
use vnet_engine::data::io::{Header, read_label_map, read_volume, write_label_map, write_volume};
use vnet_engine::data::loader::case_of_sample;
use vnet_engine::data::phantom::{PhantomSettings, make_case, write_dataset};
use vnet_engine::data::prepare::{Fit, prepare_image, prepare_pair};
use vnet_engine::data::{
    CacheBudget, Case, DataError, Dataset, Grid, LabelMap, Loader, LoaderSettings, Normalisation, Preparation, Volume,
};

const EXTENTS: [usize; 3] = [6, 5, 3];

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Left, anterior, superior, oblique.
fn grid() -> Grid {
    let affine = [[-0.9, 0.1, 0.0, 30.0], [0.1, 1.2, 0.2, -20.0], [0.0, -0.1, 2.5, 5.0]];
    Grid { extents: EXTENTS, spacing: [0.9, 1.2, 2.5], affine }
}

fn write_image(dir: &Path, file: &str, grid: &Grid, seed: usize) {
    std::fs::create_dir_all(dir).expect("a folder");
    let voxels = (0..grid.voxel_count()).map(|v| ((v * (seed + 3) * 7) % 101) as f32 - 20.0).collect();
    write_volume(&dir.join(file), &Volume { grid: grid.clone(), voxels }).expect("written");
}

fn write_label(dir: &Path, file: &str, grid: &Grid, top: u16) {
    std::fs::create_dir_all(dir).expect("a folder");
    let voxels = (0..grid.voxel_count()).map(|v| if v % 7 == 2 { top } else { (v % 2) as u16 }).collect();
    write_label_map(&dir.join(file), &LabelMap { grid: grid.clone(), voxels }, &Header::for_grid(grid))
        .expect("written");
}

/// Cases a, b, c … in `images/` and `labels/`.
fn small_dataset(count: usize) -> (TempDir, Dataset) {
    let dir = folder();
    for index in 0..count {
        let file = format!("{}.nii.gz", ["c", "a", "e", "b", "d"][index]);
        write_image(&dir.path().join("images"), &file, &grid(), index);
        write_label(&dir.path().join("labels"), &file, &grid(), 2);
    }
    let dataset = Dataset::open(dir.path()).expect("a data set");
    (dir, dataset)
}

fn preparation() -> Preparation {
    Preparation { patch: [8, 4, 4], classes: 3, canonical: true, ..Preparation::native(Normalisation::ZScoreAll) }
}

#[test]
fn folders_with_equal_names() {
    let (dir, dataset) = small_dataset(4);
    for hidden in ["._a.nii.gz", "notes.txt", ".DS_Store"] {
        std::fs::write(dir.path().join("images").join(hidden), "x").expect("written");
    }
    assert_eq!(Dataset::open(dir.path()).expect("a data set"), dataset);
    assert_eq!(dataset.names(), ["a", "b", "c", "e"]);
    assert_eq!(dataset.cases[1].label, dir.path().join("labels/b.nii.gz"));
    assert!(dataset.class_names.is_empty());
    assert_eq!(dataset.check(None).expect("sound"), 3);
    assert_eq!(dataset.check(Some(5)).expect("sound"), 5);
    let chosen = dataset.select(&["e".into(), "a".into()]);
    assert_eq!(chosen.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), ["e", "a"]);
    let images = images_only(&dir.path().join("images")).expect("images");
    assert_eq!(images.len(), 4);
    assert!(images[0].ends_with("a.nii.gz"));
}

#[test]
fn decathlon() {
    let dir = folder();
    for name in ["prostate_10", "prostate_02"] {
        write_image(&dir.path().join("imagesTr"), &format!("{name}.nii.gz"), &grid(), 1);
        write_label(&dir.path().join("labelsTr"), &format!("{name}.nii"), &grid(), 2);
    }
    let open = |json: &str| {
        std::fs::write(dir.path().join("dataset.json"), json).expect("written");
        Dataset::open(dir.path())
    };
    let dataset = open(r#"{"labels": {"0": "background", "2": "TZ", "1": "PZ"}}"#).expect("a data set");
    assert_eq!(dataset.names(), ["prostate_02", "prostate_10"]);
    assert_eq!(dataset.class_names, ["background", "PZ", "TZ"]);
    let dataset = open(r#"{"labels": {"background": 0, "TZ": 2, "whole": [1, 2]}}"#).expect("a data set");
    assert_eq!(dataset.class_names, ["background", "class 1", "TZ"]);
    assert!(matches!(open("{"), Err(DataError::Json { .. })));
}

/// MetaImage volumes with their labels in one folder, as PROMISE12 ships.
#[test]
fn promise12() {
    let dir = folder();
    for (name, seed) in [("Case01", 1), ("Case00", 2)] {
        write_image(dir.path(), &format!("{name}.mhd"), &grid(), seed);
        write_label(dir.path(), &format!("{name}_segmentation.mhd"), &grid(), 2);
    }
    let dataset = Dataset::open(dir.path()).expect("a data set");
    assert_eq!(dataset.names(), ["Case00", "Case01"]);
    assert!(dataset.cases[0].label.ends_with("Case00_segmentation.mhd"));
    assert_eq!(dataset.check(None).expect("sound"), 3);
    let volume = read_volume(&dataset.cases[1].image).expect("an image");
    assert!(volume.grid.same_grid(&grid()) && volume.grid.orientation_code() == "LAS");
    // Only the images are to be segmented.
    let images = images_only(dir.path()).expect("images");
    assert_eq!(images, [dir.path().join("Case00.mhd"), dir.path().join("Case01.mhd")]);
    let volumes = volumes_of(dir.path()).expect("volumes");
    assert_eq!(label_of(&volumes, "Case01"), Some(&dir.path().join("Case01_segmentation.mhd")));
    assert_eq!(label_of(&volumes, "Case01_segmentation"), Some(&dir.path().join("Case01_segmentation.mhd")));
    assert_eq!(label_of(&volumes, "Case02"), None);
    write_image(dir.path(), "Case02.mhd", &grid(), 2);
    let error = Dataset::open(dir.path()).expect_err("a label is missing").to_string();
    assert!(error.ends_with("no label for Case02"), "{error}");
    // Formats may be mixed: the ending is not part of the name.
    write_label(dir.path(), "Case02_segmentation.nii.gz", &grid(), 2);
    assert_eq!(Dataset::open(dir.path()).expect("a data set").check(None).expect("sound"), 3);
}

#[test]
fn layouts_that_are_none() {
    let dir = folder();
    assert!(matches!(Dataset::open(&dir.path().join("absent")), Err(DataError::Io { .. })));
    assert!(matches!(Dataset::open(dir.path()), Err(DataError::NoDataset { .. })));
    for name in ["images", "labels"] {
        std::fs::create_dir(dir.path().join(name)).expect("a folder");
    }
    assert!(matches!(Dataset::open(dir.path()), Err(DataError::NoVolumes { .. })));
    assert!(matches!(images_only(dir.path()), Err(DataError::NoVolumes { .. })));

    let (images, labels) = (dir.path().join("images"), dir.path().join("labels"));
    for index in 0..8 {
        write_image(&images, &format!("case{index}.nii"), &grid(), index);
    }
    write_label(&labels, "case3.nii", &grid(), 1);
    let error = Dataset::open(dir.path()).expect_err("labels are missing").to_string();
    let expected = "labels: no label for case0, case1, case2, case4, case5 and 2 more (7 in all)";
    assert!(error.ends_with(expected), "{error}");
    for index in 0..8 {
        write_label(&labels, &format!("case{index}.nii"), &grid(), 1);
    }
    write_label(&labels, "case8.nii", &grid(), 1);
    let error = Dataset::open(dir.path()).expect_err("an image is missing").to_string();
    assert!(error.ends_with("images: no image for case8"), "{error}");
    write_image(&images, "case8.nii", &grid(), 8);
    assert!(Dataset::open(dir.path()).is_ok());
    write_image(&images, "case8.nii.gz", &grid(), 8);
    let error = Dataset::open(dir.path()).expect_err("two images of one case").to_string();
    assert!(error.contains("case8.nii and case8.nii.gz are both"), "{error}");
}

#[test]
fn check_reports_every_problem_at_once() {
    let (dir, dataset) = small_dataset(5);
    let labels = dir.path().join("labels");
    let mut shifted = grid();
    shifted.affine[2][3] += 2.5;
    write_label(&labels, "a.nii.gz", &shifted, 1);
    write_label(&labels, "b.nii.gz", &Grid { extents: [5, 6, 3], ..grid() }, 9);
    write_image(&labels, "c.nii.gz", &grid(), 4);
    std::fs::write(labels.join("d.nii.gz"), "no gzip").expect("written");
    let error = dataset.check(Some(3)).expect_err("four wrong labels");
    let DataError::Many { problems, .. } = &error else { panic!("{error}") };
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((problems.len(), lines.len()), (5, 6), "{text}");
    for (line, expected) in lines.iter().zip([
        "5 problems",
        "a.nii.gz: affine places voxel",
        "b.nii.gz: extents (x, y, z) are [5, 6, 3] instead of [6, 5, 3]",
        "b.nii.gz: label 9 occurs, expected labels from 0 to 2 (3 classes)",
        "c.nii.gz: voxel x, y, z = [0, 0, 0] is -20",
        "d.nii.gz: sizeof_hdr is",
    ]) {
        assert!(line.contains(expected), "{line}, expected {expected}");
    }
    let message = prepare_pair(&dataset.cases[0], &preparation(), Fit::Patch).expect_err("shifted").to_string();
    assert!(message.contains("labels/a.nii.gz: affine") && message.contains("images/a.nii.gz"), "{message}");
}

#[test]
fn prepared_case_returns_to_its_own_grid() {
    let (_dir, dataset) = small_dataset(2);
    let case = &dataset.cases[0];
    let prepared = prepare_pair(case, &preparation(), Fit::Patch).expect("prepared");
    assert_eq!((prepared.image.len(), prepared.geometry.grid.extents), (8 * 4 * 4, [8, 4, 4]));
    assert_eq!(prepared.geometry.grid.orientation_code(), "RAS");
    // y is cropped from 5 to 4, at its upper end; all other labels come back.
    let label = read_label_map(&case.label).expect("a label");
    let back = prepared.geometry.restore_labels(prepared.label.as_ref().expect("a label"), 99);
    for (index, (got, expected)) in back.iter().zip(&label.voxels).enumerate() {
        let cropped = index / EXTENTS[0] % EXTENTS[1] == 4;
        assert_eq!(*got, if cropped { 99 } else { *expected }, "voxel {index}");
    }
    let whole = Preparation { normalisation: Normalisation::None, ..preparation() };
    let (prepared, _header) = prepare_image(&case.image, &whole, Fit::Whole).expect("prepared");
    let voxels = read_volume(&case.image).expect("an image").voxels;
    assert_eq!(prepared.geometry.restore_image(&prepared.image, f32::NAN), voxels);
}

/// A spacing that is a thousandth of what was meant asks for no memory.
#[test]
fn volumes_that_would_be_too_large_are_named() {
    let (_dir, dataset) = small_dataset(1);
    let fine = Preparation { spacing: TargetSpacing::Millimetres([0.001, 0.001, 0.001]), ..preparation() };
    for error in [
        prepare_pair(&dataset.cases[0], &fine, Fit::Patch).expect_err("too large"),
        prepare_image(&dataset.cases[0].image, &fine, Fit::Whole).expect_err("too large"),
    ] {
        let text = error.to_string();
        assert!(text.contains("c.nii.gz: 5400 x 6000 x 7500 voxels at the training spacing"), "{text}");
    }
}

fn whole(batch: usize, seed: u64) -> LoaderSettings {
    LoaderSettings::whole(preparation().patch, batch, seed)
}

fn batches(
    cases: &[Case],
    batch: usize,
    start: u64,
    threads: usize,
    cache: usize,
    count: usize,
) -> Vec<vnet_engine::data::Batch> {
    let settings = LoaderSettings { start_sample: start, threads, cache: CacheBudget::new(cache), ..whole(batch, 77) };
    let mut loader = Loader::start(cases.to_vec(), preparation(), settings).expect("a loader");
    (0..count).map(|_| loader.next().expect("a batch")).collect()
}

#[test]
fn batches_do_not_depend_on_threads_cache_or_start() {
    let (_dir, dataset) = small_dataset(5);
    let reference = batches(&dataset.cases, 2, 0, 1, usize::MAX, 12);
    for (threads, cache) in [(1, 0), (2, usize::MAX), (3, 1500)] {
        assert_eq!(batches(&dataset.cases, 2, 0, threads, cache, 12), reference, "{threads} threads, cache {cache}");
    }
    assert_eq!(batches(&dataset.cases, 2, 14, 2, usize::MAX, 5), reference[7..], "resumed after 7 batches");
    let voxels = 8 * 4 * 4;
    assert!(reference.iter().all(|batch| (batch.image.len(), batch.label.len()) == (2 * voxels, 2 * voxels)));
    for (position, name) in reference[3].cases.iter().enumerate() {
        let case = dataset.cases.iter().find(|case| case.name == *name).expect("a case");
        let prepared = prepare_pair(case, &preparation(), Fit::Patch).expect("prepared");
        assert_eq!(reference[3].image[position * voxels..][..voxels], prepared.image);
    }
}

#[test]
fn every_epoch_has_every_case_in_an_order_of_its_own() {
    let epoch = |seed, epoch: u64| (0..11).map(|p| case_of_sample(seed, 11, epoch * 11 + p)).collect::<Vec<_>>();
    for number in 0..20 {
        assert_eq!(epoch(4, number).into_iter().collect::<BTreeSet<_>>().len(), 11);
    }
    assert_ne!(epoch(4, 0), epoch(4, 1));
    assert_ne!(epoch(4, 0), epoch(5, 0));
}

#[test]
fn loader_reports_the_broken_file_and_stops() {
    let (_dir, dataset) = small_dataset(3);
    std::fs::write(&dataset.cases[1].image, "no volume").expect("written");
    let settings = LoaderSettings { threads: 2, ..whole(1, 5) };
    let mut loader = Loader::start(dataset.cases.clone(), preparation(), settings).expect("a loader");
    let error = (0..6).find_map(|_| loader.next().err()).expect("case c comes in the first epoch");
    assert!(error.to_string().contains("c.nii.gz"), "{error}");
    assert!(matches!(loader.next(), Err(DataError::LoaderStopped)));
}

#[test]
fn dropping_a_loader_ends_its_threads() {
    let (_dir, dataset) = small_dataset(2);
    let start = Instant::now();
    for threads in [1, 4] {
        let settings = LoaderSettings { threads, ..whole(2, 5) };
        drop(Loader::start(dataset.cases.clone(), preparation(), settings).expect("a loader"));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    for (cases, batch, threads) in [(Vec::new(), 1, 1), (dataset.cases.clone(), 0, 1), (dataset.cases.clone(), 1, 0)] {
        let settings = LoaderSettings { threads, ..whole(batch, 5) };
        assert!(matches!(Loader::start(cases, preparation(), settings), Err(DataError::Setting { .. })));
    }
}

#[test]
fn phantom_data_set_is_whole_and_repeatable() {
    let dir = folder();
    let settings = PhantomSettings { cases: 3, seed: 11, ..PhantomSettings::default() };
    let mut done = Vec::new();
    let cases = write_dataset(dir.path(), &settings, |count| done.push(count)).expect("written");
    assert_eq!(done, [1, 2, 3]);
    let dataset = Dataset::open(dir.path()).expect("a data set");
    assert_eq!((&dataset.cases, dataset.check(Some(2)).expect("sound")), (&cases, 2));
    let (volume, label) = make_case(&settings, 2);
    assert_eq!(read_volume(&cases[2].image).expect("an image").voxels, volume.voxels);
    assert_eq!(read_label_map(&cases[2].label).expect("a label").voxels, label.voxels);
    // A case does not depend on how many there are, but on the seed.
    assert_eq!(make_case(&PhantomSettings { cases: 9, ..settings.clone() }, 2).0, volume);
    assert_ne!(make_case(&PhantomSettings { seed: 12, ..settings.clone() }, 2).1, label);
    for broken in [
        PhantomSettings { cases: 0, ..settings.clone() },
        PhantomSettings { extents: [9, 0, 9], ..settings.clone() },
        PhantomSettings { spacing: [1.0, -1.0, 1.0], ..settings },
    ] {
        assert!(matches!(write_dataset(dir.path(), &broken, |_| ()), Err(DataError::Setting { .. })));
    }
}

/// The organ is 1 to 5 % of the voxels, whole inside the field of view, and no band of intensities
/// finds it.
#[test]
fn phantom_is_a_segmentation_task() {
    let settings = PhantomSettings { seed: 5, ..PhantomSettings::default() };
    let mut scales = Vec::new();
    for number in 0..12 {
        let (volume, label) = make_case(&settings, number);
        let count = label.voxels.len();
        let organ = label.voxels.iter().filter(|&&v| v == 1).count();
        let share = organ as f64 / count as f64;
        assert!((0.01..0.05).contains(&share), "case {number}: {share}");
        let [nx, ny, nz] = volume.grid.extents;
        let on_border = label.voxels.iter().enumerate().filter(|(index, value)| {
            let (x, y, z) = (index % nx, index / nx % ny, index / (nx * ny));
            **value == 1 && (x == 0 || y == 0 || z == 0 || x == nx - 1 || y == ny - 1 || z == nz - 1)
        });
        assert_eq!(on_border.count(), 0, "case {number}");

        let mut sorted = volume.voxels.clone();
        sorted.sort_by(f32::total_cmp);
        scales.push(f64::from(sorted[count / 2]));
        let quantile = |twentieth: usize| sorted[(count - 1) * twentieth / 20];
        for low in 0..20 {
            for high in low + 1..=20 {
                let band = quantile(low)..=quantile(high);
                let chosen = volume.voxels.iter().zip(&label.voxels).filter(|(value, _)| band.contains(value));
                let (mut both, mut size) = (0, 0);
                chosen.for_each(|(_, label)| (both, size) = (both + usize::from(*label), size + 1));
                let dice = 2.0 * both as f64 / (size + organ) as f64;
                assert!(dice < 0.4, "case {number}: voxels in {band:?} are the organ with Dice {dice}");
            }
        }
    }
    let (least, most) = scales.iter().fold((f64::INFINITY, 0.0f64), |(a, b), &v| (a.min(v), b.max(v)));
    assert!(most > 2.0 * least, "medians from {least} to {most}");
}
