//! From folders to batches: layouts and their mistakes, the loader's promise that batch b depends
//! on (seed, b) alone, and whether the phantom is the task it claims to be.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vnet_engine::data::TargetSpacing;
use vnet_engine::data::dataset::{images_only, label_maps_of};
use vnet_engine::data::io::{Header, read_label_map, read_volume, write_label_map, write_volume};
use vnet_engine::data::loader::case_of_sample;
use vnet_engine::data::phantom::{PhantomSettings, make_case, write_dataset};
use vnet_engine::data::prepare::{Fit, prepare_image, prepare_pair};
use vnet_engine::data::{
    CacheBudget, Case, Classes, DataError, Dataset, Folder, Grid, IntensityStatistics, LabelMap, Loader,
    LoaderSettings, Normalisation, Preparation, Split, Volume,
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

/// Classes by name and values, beside background 0.
fn classes(entries: &[(&str, &[u16])]) -> Classes {
    Classes::new(entries.iter().map(|(name, values)| ((*name).to_owned(), values.to_vec()))).expect("classes")
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
    assert_eq!(dataset.classes, None);
    assert_eq!(dataset.check().expect("sound"), Classes::numbered(3));
    let chosen = dataset.select(&["e".into(), "a".into()]);
    assert_eq!(chosen.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), ["e", "a"]);
    let images = images_only(&dir.path().join("images")).expect("images");
    assert_eq!(images.len(), 4);
    assert!(images[0].ends_with("a.nii.gz"));
}

/// Names that differ only in how their letters are composed are one name: file systems and archives change it.
#[test]
fn names_are_paired_whatever_their_composition() {
    let (composed, decomposed) = ("F\u{e4}lle_\u{ac00}", "Fa\u{308}lle_\u{1100}\u{1161}");
    let dir = folder();
    let (images, labels) = (dir.path().join("images"), dir.path().join("labels"));
    write_image(&images, &format!("{composed}.nii.gz"), &grid(), 1);
    write_label(&labels, &format!("{decomposed}.nii"), &grid(), 2);
    let dataset = Dataset::open(dir.path()).expect("a data set");
    assert_eq!(dataset.names(), [composed]);
    assert!(dataset.cases[0].label.ends_with(format!("{decomposed}.nii")), "the file is opened by the name it has");
    assert!(label_maps_of(&labels).expect("volumes").volumes.contains_key(composed));
    let text = format!("{{\"train\": [\"{decomposed}\"]}}");
    let split = Split::from_text(Path::new("split.json"), &text, &dataset.names(), None).expect("the case");
    assert_eq!(dataset.select(&split.train), dataset.cases);
    write_image(&images, &format!("{decomposed}.nii"), &grid(), 1);
    let error = Dataset::open(dir.path()).expect_err("two images of one case").to_string();
    assert!(error.contains("are both volumes of case"), "{error}");
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
    let expected = classes(&[("PZ", &[1]), ("TZ", &[2])]);
    assert_eq!((&dataset.classes, dataset.check().expect("sound")), (&Some(expected.clone()), expected));
    // A class that is declared need not occur, and values that are not declared are no classes.
    open(r#"{"labels": {"background": 0, "PZ": 1, "TZ": 2, "AFS": 3}}"#).expect("a data set").check().expect("sound");
    let few = open(r#"{"labels": {"background": 0, "PZ": 1}}"#).expect("a data set");
    let error = few.check().expect_err("2 is not declared").to_string();
    let line = "prostate_02.nii: voxel x, y, z = [2, 0, 0] has the label value 2, expected 0 (background), 1 (PZ)";
    assert!(error.contains(line), "{error}");
    // What the user declares replaces what the file declares.
    let region = r#"{"labels": {"background": 0, "TZ": 2, "whole": [1, 2]}}"#;
    let error = open(region).expect_err("regions in no order").to_string();
    assert!(error.contains("dataset.json: regions_class_order is missing"), "{error}");
    let whole = classes(&[("whole", &[1, 2])]);
    assert_eq!(Dataset::open_checked(dir.path(), Some(&whole)).expect("a data set").1.classes, whole);
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
    assert_eq!(dataset.check().expect("sound").count(), 3);
    let volume = read_volume(dataset.cases[1].image.first()).expect("an image");
    assert!(volume.grid.same_grid(&grid()) && volume.grid.orientation_code() == "LAS");
    // Only the images are to be segmented.
    let images = images_only(dir.path()).expect("images");
    assert_eq!(images, [dir.path().join("Case00.mhd"), dir.path().join("Case01.mhd")]);
    let labels = label_maps_of(dir.path()).expect("labels").volumes;
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["Case00", "Case01"]);
    assert_eq!(labels["Case01"], dir.path().join("Case01_segmentation.mhd"));
    write_image(dir.path(), "Case02.mhd", &grid(), 2);
    let error = Dataset::open(dir.path()).expect_err("a label is missing").to_string();
    assert!(error.ends_with("no label for Case02"), "{error}");
    assert_eq!(label_maps_of(dir.path()).expect("labels").volumes, labels, "an image without a label is none");
    // Formats may be mixed: the ending is not part of the name.
    write_label(dir.path(), "Case02_segmentation.nii.gz", &grid(), 2);
    assert_eq!(Dataset::open(dir.path()).expect("a data set").check().expect("sound").count(), 3);
}

#[test]
fn of_two_layouts_in_one_folder_the_second_is_told() {
    let dir = folder();
    for [images, labels] in [["images", "labels"], ["imagesTr", "labelsTr"]] {
        write_image(&dir.path().join(images), "a.nii", &grid(), 1);
        write_label(&dir.path().join(labels), "a.nii", &grid(), 2);
    }
    let dataset = Dataset::open(dir.path()).expect("a data set");
    assert!(dataset.cases[0].image.first().ends_with("images/a.nii"));
    let told: Vec<String> = dataset.warnings.notices().iter().map(ToString::to_string).collect();
    let [second, first] = ["imagesTr", "images"].map(|name| dir.path().join(name).display().to_string());
    let expected = "passed over, the folder holds two data sets and the other one is read";
    assert_eq!(told, [format!("{second}: {expected}: {first}")]);
}

#[test]
fn folders_without_a_data_set() {
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

/// What a folder holds and is not read is said, once for each reason.
#[test]
fn nothing_is_passed_over_in_silence() {
    let (dir, whole) = small_dataset(3);
    let images = dir.path().join("images");
    let write = |name: &str, content: &[u8]| std::fs::write(images.join(name), content).expect("written");
    for (name, content) in [("README", "text"), ("a.json", "{}"), ("split.json", "[]"), ("plan.toml", ""), (".x", "")] {
        write(name, content.as_bytes());
    }
    write_image(&images, "pair.hdr", &grid(), 3);
    write_image(&images, "voxels.mhd", &grid(), 3);
    for name in ["pair.hdr", "voxels.mhd"] {
        write_label(&dir.path().join("labels"), name, &grid(), 2);
    }
    let sound = Dataset::open(dir.path()).expect("a data set");
    assert!(sound.warnings.is_empty() && whole.warnings.is_empty(), "{:?}", sound.warnings);
    assert_eq!(sound.names(), ["a", "c", "e", "pair", "voxels"]);

    for name in ["x.mnc", "y.mgz", "z.png", "empty.dcm"] {
        write(name, b"\0\x01");
    }
    write("lost.raw", b"\0\x01");
    write("pointer.mnc", b"version https://git-lfs.github.com/spec/v1\nsize 7\n");
    write("IM1", &[&[0; 128], &b"DICM"[..]].concat());
    write_image(&images.join("f.nii"), "f.nii.gz", &grid(), 3);
    std::fs::create_dir_all(images.join("case/study/series")).expect("folders");
    std::fs::write(images.join("case/study/series/IM1"), [&[0; 128], &b"DICM"[..]].concat()).expect("written");
    std::fs::create_dir(images.join("old")).expect("a folder");
    write_label(&dir.path().join("labels"), "g.mnc.nii", &grid(), 1);
    std::fs::rename(dir.path().join("labels/g.mnc.nii"), dir.path().join("labels/g.mnc")).expect("renamed");
    let dataset = Dataset::open(dir.path()).expect("a data set");
    assert_eq!(dataset.cases, sound.cases);
    let told: Vec<String> = dataset.warnings.notices().iter().map(ToString::to_string).collect();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (series, label) = (path("images/case/study/series"), path("labels/g.mnc"));
    let expected = [
        format!("{}: passed over, DICOM files are read from a folder of their own", path("images/IM1")),
        format!("{}: passed over, the DICOM series lies deeper: in {series}", path("images/case")),
        format!("5 files: {}", [path("images/empty.dcm"), path("images/x.mnc"), path("images/y.mgz")].join(", ")),
        format!("{}: passed over, a folder with the name of a volume: it holds f.nii.gz", path("images/f.nii")),
        format!("{}: passed over, voxels without a header of the same name", path("images/lost.raw")),
        format!("{}: passed over, a folder without a DICOM series", path("images/old")),
        format!("{}: passed over, a git-lfs pointer in place of a file", path("images/pointer.mnc")),
    ];
    for line in &expected {
        assert!(told.iter().any(|told| told.contains(line.as_str())), "{line}\n{}", told.join("\n"));
    }
    assert_eq!(told.len(), expected.len(), "{}", told.join("\n"));
    let listed = Folder::list(&dir.path().join("labels")).expect("listed");
    assert_eq!(listed.warnings.notices()[0].files, [Path::new(&label)]);
}

/// Where nothing is left, or a partner is missing, the error says what was passed over.
#[test]
fn errors_say_what_was_passed_over() {
    let (dir, _) = small_dataset(3);
    let (images, labels) = (dir.path().join("images"), dir.path().join("labels"));
    let rename =
        |folder: &Path, from: &str, to: &str| std::fs::rename(folder.join(from), folder.join(to)).expect("renamed");
    let open = || Dataset::open(dir.path()).expect_err("no data set").to_string();
    // Labels in another format.
    rename(&labels, "a.nii.gz", "a.mnc");
    let error = open();
    let expected = "labels: no label for a; a.mnc: passed over, not in a format that is read (NIfTI, MetaImage, NRRD, folders of DICOM series)";
    assert!(error.ends_with(expected), "{error}");
    rename(&labels, "a.mnc", "a.nii.gz");
    // A channel that nnU-Net would name, without the one before it.
    rename(&images, "c.nii.gz", "c_0001.nii.gz");
    let error = open();
    assert!(error.ends_with("images: no volume {case}_0000 for c"), "{error}");
    rename(&images, "c_0001.nii.gz", "c.nii.gz");
    // Folders named like volumes, and nothing else.
    for name in ["a", "c", "e"] {
        let file = images.join(format!("{name}.nii.gz"));
        std::fs::create_dir(images.join(format!("{name}.nii"))).expect("a folder");
        std::fs::rename(file, images.join(format!("{name}.nii/{name}.nii.gz"))).expect("moved");
    }
    let expected = "no volumes; expected files that end in .nii, .nii.gz, .hdr, .mha, .mhd, .nrrd, .nhdr or \
        .seg.nrrd; passed over, a folder with the \
                    name of a volume: it holds a.nii.gz, in the first of 3 files: a.nii, c.nii, e.nii";
    for error in [open(), images_only(&images).expect_err("no volumes").to_string()] {
        assert!(error.ends_with(expected), "{error}");
    }
    // One folder with labels in another format.
    let dir = folder();
    write_image(dir.path(), "Case00.mhd", &grid(), 1);
    write_image(dir.path(), "Case01.mhd", &grid(), 1);
    std::fs::write(dir.path().join("Case00_segmentation.mnc"), [0, 1]).expect("written");
    let error = Dataset::open(dir.path()).expect_err("no labels").to_string();
    assert!(error.contains("no data set") && error.contains("Case00_segmentation.mnc"), "{error}");
    write_label(dir.path(), "Case01_segmentation.mhd", &grid(), 1);
    let error = Dataset::open(dir.path()).expect_err("a label").to_string();
    assert!(error.contains("no label for Case00; ") && error.contains("Case00_segmentation.mnc"), "{error}");
}

/// The error of a file that is text or a git-lfs pointer says so, also where the file should hold voxels.
#[test]
fn text_is_no_volume() {
    let dir = folder();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8675309\n";
    let read = |name: &str, content: &str| {
        std::fs::write(dir.path().join(name), content).expect("written");
        read_volume(&dir.path().join(name)).expect_err("no volume").to_string()
    };
    for name in ["a.nii", "a.nii.gz", "a.hdr", "a.mha", "a.mhd"] {
        let error = read(name, pointer);
        let expected = format!("{name}: is a git-lfs pointer to a file of 8675309 bytes, expected the file itself");
        assert!(error.contains(&expected), "{error}");
    }
    let error = read("b.nii.gz", "<!DOCTYPE html>\n<title>404</title>\n");
    assert!(error.ends_with("b.nii.gz: is text that begins \"<!DOCTYPE html>\", expected a volume"), "{error}");
    write_image(dir.path(), "c.mhd", &grid(), 1);
    let voxels = std::fs::read_dir(dir.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.file_stem().is_some_and(|stem| stem == "c") && path.extension().is_some_and(|e| e != "mhd"))
        .expect("the voxels");
    std::fs::write(&voxels, pointer).expect("written");
    let error = read_volume(&dir.path().join("c.mhd")).expect_err("no voxels").to_string();
    assert!(error.contains("is a git-lfs pointer") && error.contains(&voxels.display().to_string()), "{error}");
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
    let declared = classes(&[("a", &[1]), ("b", &[2])]);
    let error = Dataset { classes: Some(declared), ..dataset.clone() }.check().expect_err("four wrong labels");
    let DataError::Many { problems, .. } = &error else { panic!("{error}") };
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((problems.len(), lines.len()), (5, 6), "{text}");
    for (line, expected) in lines.iter().zip([
        "5 problems",
        "a.nii.gz: affine places voxel",
        "b.nii.gz: extents (x, y, z) are [5, 6, 3] instead of [6, 5, 3]",
        "b.nii.gz: voxel x, y, z = [2, 0, 0] has the label value 9, expected 0 (background), 1 (a), 2 (b)",
        "c.nii.gz: voxel x, y, z = [0, 0, 0] is -20",
        "d.nii.gz: is text that begins \"no gzip\", expected a volume",
    ]) {
        assert!(line.contains(expected), "{line}, expected {expected}");
    }
    let message = prepare_pair(&dataset.cases[0], &preparation(), Fit::Patch).expect_err("shifted").to_string();
    assert!(message.contains("labels/a.nii.gz: affine") && message.contains("images/a.nii.gz"), "{message}");
}

/// Without a declaration, every value from 0 to the largest occurs in some case, and some voxel is foreground.
#[test]
fn classes_that_no_case_proves_are_refused() {
    let (dir, dataset) = small_dataset(2);
    let write = |values: [[u16; 3]; 2]| {
        for (case, values) in dataset.cases.iter().zip(values) {
            let voxels = (0..grid().voxel_count()).map(|v| values[v % 3]).collect();
            let map = LabelMap { grid: grid(), voxels };
            write_label_map(&case.label, &map, &Header::for_grid(&grid())).expect("written");
        }
    };
    for (values, words) in [
        ([[0, 0, 0], [0, 0, 0]], &["no label map has a voxel of a class (label values: 0)"][..]),
        ([[0, 0, 0], [0, 255, 255]], &["label values 0, 255 occur", "255 first in", "c.nii.gz", "1 to 254 in no case"]),
        (
            [[0, 1, 3], [0, 0, 1]],
            &["label values 0, 1, 3 occur", "3 first in", "a.nii.gz", "but 2 in no case", "data.labels"],
        ),
        ([[1, 2, 2], [1, 1, 2]], &["label values 1, 2 occur", "but 0 in no case"]),
        ([[0, 17, 2035], [0, 0, 0]], &["0, 17, 2035 occur", "1 to 16, 18 to 2034 in no case"]),
    ] {
        write(values);
        let error = dataset.check().expect_err("not proven").to_string();
        for word in words {
            assert!(error.contains(word), "{word} is not in {error}");
        }
    }
    // Together they prove three classes; each alone does not.
    write([[0, 2, 2], [0, 1, 0]]);
    assert_eq!(dataset.check().expect("sound"), Classes::numbered(3));
    write([[0, 17, 2035], [0, 0, 0]]);
    let atlas = classes(&[("left", &[17]), ("right", &[2035])]);
    assert_eq!(Dataset::open_checked(dir.path(), Some(&atlas)).expect("declared").1.classes, atlas);
    // Declared, and nothing of it there.
    write([[0, 0, 0], [0, 0, 0]]);
    let error = Dataset::open_checked(dir.path(), Some(&atlas)).expect_err("empty").to_string();
    assert!(
        error.contains("expected labelled voxels in some case: 0 (background), 17 (left), 2035 (right)"),
        "{error}"
    );
    // A label map that cannot be read may have the values that are missing: only it is named.
    write([[0, 1, 3], [0, 0, 1]]);
    std::fs::write(&dataset.cases[1].label, "no gzip").expect("written");
    let DataError::Many { problems, .. } = dataset.check().expect_err("broken") else { panic!("a list") };
    assert_eq!(problems.len(), 1);
}

#[test]
fn a_blank_image_among_good_ones_is_named() {
    let (_dir, dataset) = small_dataset(3);
    let blank = Volume { grid: grid(), voxels: vec![-7.0; grid().voxel_count()] };
    write_volume(dataset.cases[1].image.first(), &blank).expect("written");
    let error = dataset.check().expect_err("blank").to_string();
    let path = dataset.cases[1].image.first().display();
    assert!(error.contains(&format!("{path}: every voxel has the value -7: a blank image")), "{error}");
}

/// The values of the files are classes from the preparation on: in samples, patches and the statistics of the foreground.
#[test]
fn mapped_and_merged_values_are_classes_in_every_sample() {
    let (_dir, dataset) = small_dataset(3);
    // Classes 0, 1 and 2 become 9 (of background), 2 or 3 by turns (of one class), and 255.
    let value_of = |v: usize, class: u16| [9, 2 + (v % 2) as u16, 255][usize::from(class)];
    let numbered: Vec<LabelMap> =
        dataset.cases.iter().map(|case| read_label_map(&case.label).expect("a label")).collect();
    let whole = |labels: Option<Classes>| Preparation { labels, ..preparation() };
    let samples = |labels: &Option<Classes>| -> Vec<Vec<u32>> {
        let patch = LoaderSettings {
            sampling: vnet_engine::data::Sampling::Patch,
            foreground: 1.0,
            ..LoaderSettings::whole([4, 4, 2], 2, 3)
        };
        let small = Preparation { patch: [4, 4, 2], ..whole(labels.clone()) };
        let settings = [(whole(labels.clone()), LoaderSettings::whole([8, 4, 4], 2, 3)), (small, patch)];
        let batches = settings.into_iter().flat_map(|(preparation, settings)| {
            let mut loader = Loader::start(dataset.cases.clone(), preparation, settings).expect("batches");
            (0..3).map(move |_| loader.next().expect("a batch").label).collect::<Vec<_>>()
        });
        batches.collect()
    };
    let (expected, foreground) = (samples(&None), IntensityStatistics::of_foreground(&dataset.cases, None, false));
    for (case, label) in dataset.cases.iter().zip(&numbered) {
        let voxels = label.voxels.iter().enumerate().map(|(v, &class)| value_of(v, class)).collect();
        write_label_map(&case.label, &LabelMap { grid: grid(), voxels }, &Header::for_grid(&grid())).expect("written");
    }
    let labels = classes(&[("background", &[0, 9]), ("b", &[2, 3]), ("a", &[255])]);
    assert_eq!(samples(&Some(labels.clone())), expected);
    let found = IntensityStatistics::of_foreground(&dataset.cases, Some(&labels), false).expect("foreground");
    assert_eq!(found, foreground.expect("foreground"));
    let error = prepare_pair(&dataset.cases[0], &whole(None), Fit::Patch).expect_err("9 is no class").to_string();
    assert!(error.contains("has the label value 9, expected 0 to 2"), "{error}");
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
    let whole = Preparation { normalisation: Normalisation::None.into(), ..preparation() };
    let (prepared, _header) = prepare_image(&case.image, &whole, Fit::Whole).expect("prepared");
    let voxels = read_volume(case.image.first()).expect("an image").voxels;
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
        assert!(text.contains("c.nii.gz: 5433 x 6042 x 7524 voxels at the training spacing"), "{text}");
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
    for (threads, cache) in [(1, 0), (2, usize::MAX), (3, 1500), (40, 0)] {
        assert_eq!(batches(&dataset.cases, 2, 0, threads, cache, 12), reference, "{threads} threads, cache {cache}");
    }
    assert_eq!(batches(&dataset.cases, 2, 14, 2, usize::MAX, 5), reference[7..], "resumed after 7 batches");
    let voxels = 8 * 4 * 4;
    assert!(reference.iter().all(|batch| (batch.image.len(), batch.label.len()) == (2 * voxels, 2 * voxels)));
    for (position, name) in reference[3].cases.iter().enumerate() {
        let case = dataset.cases.iter().find(|case| case.name == *name).expect("a case");
        let prepared = prepare_pair(case, &preparation(), Fit::Patch).expect("prepared");
        assert_eq!(reference[3].image[position * voxels..][..voxels], prepared.image[..]);
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
    std::fs::write(dataset.cases[1].image.first(), "no volume").expect("written");
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
    assert_eq!((&dataset.cases, dataset.check().expect("sound").count()), (&cases, 2));
    let (volume, label) = make_case(&settings, 2);
    assert_eq!(read_volume(cases[2].image.first()).expect("an image").voxels, volume.voxels);
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
