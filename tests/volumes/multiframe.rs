//! Multi-frame DICOM files: those of other programs against what they hold, and crafted ones.
//!
//! `tools/golden_dicom.py` made `tests/golden/volumes/dicom`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use vnet_engine::data::io::{
    SeriesChoice, output_name, read_header, read_header_of, read_label_map, read_volume, read_volume_of,
};

use crate::crafted::{close, folder};
use crate::enhanced::{Enhanced, Frame, enhanced, fragments, frame};
use crate::slices::{RLE, encapsulated, slice};

/// What a golden file holds.
#[derive(Deserialize)]
struct Facts {
    shape: Vec<usize>,
    affine: [[f64; 4]; 3],
    first: Vec<f32>,
    min: f32,
    max: f32,
    /// Of the voxels as float32, little endian.
    sha256: String,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/volumes/dicom")
}

#[test]
fn files_of_pydicom_and_highdicom_hold_their_values() {
    let text = std::fs::read_to_string(golden().join("dicom.json")).expect("a file");
    let facts: std::collections::BTreeMap<String, Facts> = serde_json::from_str(&text).expect("facts");
    assert_eq!(facts.len(), 10);
    for (name, facts) in facts {
        let (file, choice) = name.split_once(' ').unwrap_or((&name, ""));
        let alone = folder();
        let copy = alone.path().join(file);
        std::fs::copy(golden().join(file), &copy).expect("copied");
        // By itself, and as the only file of a folder.
        for path in [alone.path(), &copy] {
            let choice: SeriesChoice = choice.into();
            let header = read_header_of(path, &choice).expect(&name);
            assert_eq!(header.shape, facts.shape, "{name}");
            // Positions have six digits after the point.
            close(&header.affine, &facts.affine, 1e-6);
            let voxels = read_volume_of(path, &choice).expect("readable").voxels;
            assert_eq!(voxels.len(), facts.shape.iter().product::<usize>());
            assert_eq!(voxels[..facts.first.len()], facts.first, "{name}");
            let bytes: Vec<u8> = voxels.iter().flat_map(|voxel| voxel.to_le_bytes()).collect();
            let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, facts.sha256, "{name}");
            let least = voxels.iter().copied().fold(f32::INFINITY, f32::min);
            let most = voxels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!((least, most), (facts.min, facts.max), "{name}");
        }
    }
}

/// A file `a.dcm` in a folder of its own.
fn write(file: &Enhanced) -> (tempfile::TempDir, PathBuf) {
    let dir = folder();
    let path = dir.path().join("a.dcm");
    std::fs::write(&path, file.bytes()).expect("written");
    (dir, path)
}

fn expected(frames: &[Frame]) -> Vec<f32> {
    frames.iter().flat_map(|frame| &frame.pixels).map(|&pixel| f32::from(pixel)).collect()
}

#[test]
fn frames_are_sorted_and_scaled_each_by_its_own() {
    let mut frames: Vec<Frame> = [2, 0, 1].map(frame).to_vec();
    frames[0].rescale = Some(("-10", "0.5"));
    for undefined in [false, true] {
        let (dir, path) = write(&Enhanced { undefined, ..enhanced(frames.clone()) });
        for path in [dir.path(), &path] {
            let volume = read_volume(path).expect("readable");
            assert_eq!((volume.grid.extents, volume.grid.spacing), ([4, 3, 3], [0.5, 0.75, 2.5]));
            let affine = [[-0.5, 0.0, 0.0, -10.0], [0.0, -0.45, -2.0, 20.0], [0.0, -0.6, 1.5, 5.0]];
            close(&volume.grid.affine, &affine, 1e-5);
            let sorted: Vec<Frame> = (0..3).map(frame).collect();
            assert_eq!(volume.voxels[..24], expected(&sorted[..2]));
            let scaled: Vec<f32> = sorted[2].pixels.iter().map(|&pixel| f32::from(pixel) * 0.5 - 10.0).collect();
            assert_eq!(volume.voxels[24..], scaled);
        }
        assert_eq!(output_name(&path), "a.nii.gz");
    }
    // Several files make one volume.
    let dir = folder();
    let halves = [enhanced([3, 0].map(frame).to_vec()), enhanced([1, 2].map(frame).to_vec())];
    for (index, half) in halves.iter().enumerate() {
        std::fs::write(dir.path().join(format!("IM{index}")), half.bytes()).expect("written");
    }
    let volume = read_volume(dir.path()).expect("readable");
    assert_eq!(volume.voxels, expected(&[0, 1, 2, 3].map(frame)));
    let labels = read_label_map(dir.path()).expect("whole numbers");
    assert_eq!(labels.voxels.len(), 48);
}

/// The run lengths of a frame: what is between the header of the one fragment and the end of the sequence.
fn runs(frame: &Frame) -> Vec<u8> {
    let whole = encapsulated(&frame.pixels);
    whole[12 + 8 + 8..whole.len() - 8].to_vec()
}

#[test]
fn offset_tables_and_fragments() {
    let frames: Vec<Frame> = (0..3).map(frame).collect();
    let runs: Vec<Vec<u8>> = frames.iter().map(runs).collect();
    let read = |pixels: Vec<u8>| {
        let (dir, _) = write(&Enhanced { pixels: Some((RLE, pixels)), ..enhanced(frames.clone()) });
        read_volume(dir.path()).map(|volume| volume.voxels).map_err(|error| error.to_string())
    };
    let [a, b, c] = [&runs[0][..], &runs[1][..], &runs[2][..]];
    let table = |offsets: &[usize]| -> Vec<u8> { offsets.iter().flat_map(|&at| (at as u32).to_le_bytes()).collect() };
    let length = |bytes: &[u8]| bytes.len() + 8;
    let expected = Ok(expected(&frames));
    assert_eq!(read(fragments(&[&[], a, b, c])), expected, "one fragment each");
    let whole = table(&[0, length(a), length(a) + length(b)]);
    assert_eq!(read(fragments(&[&whole, a, b, c])), expected, "with their offsets");
    // The second frame is in two fragments.
    let (first, second) = b.split_at(20);
    let split = table(&[0, length(a), length(a) + length(first) + length(second)]);
    assert_eq!(read(fragments(&[&split, a, first, second, c])), expected);
    let extended: Vec<u8> =
        [0, length(a), length(a) + length(b)].iter().flat_map(|&at| (at as u64).to_le_bytes()).collect();
    let mut element = [&[0xE0, 0x7F, 1, 0][..], b"OV\0\0", &24u32.to_le_bytes(), &extended].concat();
    element.extend(fragments(&[&[], a, b, c]));
    assert_eq!(read(element), expected, "the extended table");
    for (pixels, word) in [
        (fragments(&[&[], a, first, second, c]), "4 fragments without an offset table"),
        (fragments(&[&table(&[0, 2, 4]), a, b, c]), "the offset table"),
        (fragments(&[&table(&[0, length(a)]), a, b, c]), "has 2 offsets"),
        (fragments(&[&table(&[0, 0, length(a)]), a, b, c]), "the offset table"),
        (fragments(&[&[], a, b]), "2 fragments"),
        (fragments(&[&[], a, b, &c[..70]]), "run lengths"),
    ] {
        let error = read(pixels).expect_err("damaged");
        assert!(error.contains("a.dcm") && error.contains(word), "{error}, expected {word}");
    }
}

#[test]
fn several_volumes_are_listed_and_chosen() {
    let at = |place: usize, stack: &'static str, time: u32| Frame { stack, time, ..frame(place) };
    // Two stacks, of which the second has two times.
    let frames =
        vec![at(0, "1", 1), at(1, "1", 1), at(2, "1", 1), at(5, "2", 1), at(5, "2", 2), at(6, "2", 1), at(6, "2", 2)];
    let (dir, path) = write(&Enhanced { description: "Heart", ..enhanced(frames) });
    for path in [dir.path(), &path] {
        let error = read_header(path).expect_err("three volumes").to_string();
        for words in [
            "holds 3 volumes of one series",
            "1.2.3.4#1 (MR, \"Heart\", StackID 1, 3 images)",
            "1.2.3.4#2 (MR, \"Heart\", StackID 2, TemporalPositionIndex 1, 2 images)",
            "1.2.3.4#3 (MR, \"Heart\", StackID 2, TemporalPositionIndex 2, 2 images)",
            "--series",
        ] {
            assert!(error.contains(words), "{error}, expected {words}");
        }
        let extent = |choice: &str| {
            let header = read_header_of(path, &choice.into());
            header.map(|header| header.shape[2]).map_err(|error| error.to_string())
        };
        assert_eq!([extent("largest"), extent("heart#1"), extent("1.2.3.4#3")], [Ok(3), Ok(3), Ok(2)]);
        assert!(extent("Heart").expect_err("three").contains("3 series are \"Heart\""));
        assert!(extent("Heart#4").expect_err("none").contains("no series is \"Heart#4\""));
    }
    // Times that do not lie at one place are one volume: a scanner may count slices so.
    let (dir, _) = write(&enhanced(vec![at(0, "1", 1), at(1, "1", 2), at(2, "1", 3)]));
    assert_eq!(read_header(dir.path()).expect("one volume").shape, [4, 3, 3]);
}

#[test]
fn a_series_is_chosen_among_several() {
    let dir = folder();
    for number in 0..3 {
        slice(number).write(dir.path(), &format!("IM{number}"));
    }
    let mut other = slice(7);
    other.series = "1.2.9";
    other.write(dir.path(), "scout");
    // A picture of 20 frames, of a third series, cannot be read, which only matters where it may be meant.
    let mut picture = slice(8);
    (picture.series, picture.frames) = ("1.2.10", Some("20"));
    picture.write(dir.path(), "picture");
    let error = read_volume(dir.path()).expect_err("three series").to_string();
    for words in ["holds 3 series", "1.2.3.4 (MR, 3 images)", "1.2.9 (MR, 1 image)", "1.2.10 (MR, 1 image)"] {
        assert!(error.contains(words), "{error}, expected {words}");
    }
    let read = |choice: &str| read_header_of(dir.path(), &choice.into());
    assert_eq!(read("1.2.3.4").expect("readable").shape, [4, 3, 3]);
    assert_eq!(read("largest").expect("readable").shape, [4, 3, 3]);
    assert_eq!(read("1.2.9").expect("readable").shape, [4, 3, 1]);
    let error = read("1.2.10").expect_err("of 20 frames").to_string();
    assert!(error.contains("picture: NumberOfFrames is 20"), "{error}");
    let error = read("1.2").expect_err("no series").to_string();
    assert!(error.contains("no series is \"1.2\""), "{error}");
    assert_eq!(SeriesChoice::default(), SeriesChoice::Only);
}

#[test]
fn a_single_frame_is_a_slice() {
    let (dir, path) = write(&enhanced(vec![frame(4)]));
    assert_eq!(read_header(dir.path()).expect("readable").spacing, [0.5, 0.75, 9.0]);
    let error = read_header(&path).expect_err("one frame").to_string();
    assert!(error.contains("is a slice of a DICOM series"), "{error}");
}

#[test]
fn what_frames_lack_is_said() {
    let refused = |file: Enhanced, words: &[&str]| {
        let (dir, _) = write(&file);
        let error = read_volume(dir.path()).expect_err("no volume").to_string();
        assert!(error.contains("a.dcm") && !error.contains('\n'), "{error}");
        words.iter().for_each(|word| assert!(error.contains(word), "{error}, expected {word}"));
    };
    let three = || enhanced((0..3).map(frame).collect());
    refused(Enhanced { stated: Some("4"), ..three() }, &["NumberOfFrames is 4, with 3 items"]);
    let mut scaled = three();
    scaled.frames[1].rescale = Some(("0", "0"));
    refused(scaled, &["RescaleSlope of frame 2 is 0"]);
    let mut far = three();
    far.frames[2].place = f64::MAX;
    refused(far, &["ImagePositionPatient of frame 3"]);
    let mut short = three();
    short.frames[2].pixels.pop();
    refused(short, &["72 bytes", "70"]);
    let broken = three().sequence(0x18, 0x9114, &[vec![1, 2, 3]]);
    refused(Enhanced { more: broken, ..three() }, &["sequence (0018,9114) is damaged"]);
    let mut gap = three();
    gap.frames[2].place = 3.5;
    let (dir, _) = write(&gap);
    let error = read_volume(dir.path()).expect_err("a gap").to_string();
    assert!(error.contains("frame 3 of a.dcm is 6.250 mm from frame 2 of a.dcm"), "{error}");
}
