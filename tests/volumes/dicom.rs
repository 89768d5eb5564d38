//! DICOM series, written byte by byte: order, geometry and scaling of slices, and series that are none.

use std::path::Path;

use proptest::prelude::*;
use vnet_engine::data::inspect::inspect;
use vnet_engine::data::io::{Scalar, is_series, output_name, read_header, read_volume, write_label_map, write_volume};
use vnet_engine::data::{DataError, LabelMap};

use crate::crafted::{close, folder};
use crate::slices::{RLE, Slice, slice};

/// Slices under names whose order is not theirs.
fn write_series(dir: &Path, slices: &[Slice]) {
    for (index, slice) in slices.iter().enumerate() {
        slice.write(dir, &format!("IM{:02}", (index * 7 + 3) % 11));
    }
}

#[test]
fn slices_are_sorted_by_position() {
    let dir = folder();
    write_series(dir.path(), &(0..5).map(slice).collect::<Vec<_>>());
    std::fs::write(dir.path().join("notes.txt"), "no DICOM").expect("written");
    std::fs::write(dir.path().join("DICOMDIR"), "passed over").expect("written");
    assert!(is_series(dir.path()));
    let volume = read_volume(dir.path()).expect("readable");
    assert_eq!(volume.grid.extents, [4, 3, 5]);
    assert!((volume.grid.spacing[2] - 2.5).abs() < 1e-5, "{:?}", volume.grid.spacing);
    assert_eq!(volume.grid.spacing[..2], [0.5, 0.75]);
    // x of LPS rises with the columns, so RAS falls; rows run along (0, 0.6, -0.8) of LPS.
    let affine = [[-0.5, 0.0, 0.0, -10.0], [0.0, -0.45, -2.0, 20.0], [0.0, -0.6, 1.5, 5.0]];
    close(&volume.grid.affine, &affine, 1e-5);
    let expected: Vec<f32> = (0..5).flat_map(|number| slice(number).pixels).map(f32::from).collect();
    assert_eq!(volume.voxels, expected);
    let header = read_header(dir.path()).expect("readable");
    assert_eq!((header.scalar, header.scaling), (Scalar::Uint16, None));
    let inspection = inspect(dir.path()).expect("readable");
    assert_eq!((inspection.dtype, inspection.min, inspection.max), ("uint16", Some(0.0), Some(521.0)));
    // Results go elsewhere, into a format that is written.
    let labels = LabelMap { grid: volume.grid.clone(), voxels: vec![1; 60] };
    let name = output_name(dir.path());
    assert!(name.ends_with(".nii.gz"), "{name}");
    let output = folder();
    for name in [name.as_str(), "labels.mha"] {
        let path = output.path().join(name);
        write_label_map(&path, &labels, &header).expect("written");
        assert!(read_volume(&path).expect("readable").grid.same_grid(&volume.grid), "{name}");
    }
    let refused = write_volume(dir.path(), &volume).expect_err("a folder").to_string();
    assert!(refused.contains("DICOM is not written"), "{refused}");
}

#[test]
fn stored_numbers_become_intensities() {
    let dir = folder();
    let ct = |number| Slice { rescale: Some(("-1024", "0.5")), ..slice(number) };
    write_series(dir.path(), &[ct(0), ct(1)]);
    let header = read_header(dir.path()).expect("readable");
    assert_eq!(header.scalar, Scalar::Uint16);
    let expected = |slope: [f32; 2], intercept: f32| -> Vec<f32> {
        let scaled = |number: usize| slice(number).pixels.into_iter().map(move |p| f32::from(p) * slope[number]);
        (0..2).flat_map(scaled).map(|value| value + intercept).collect()
    };
    assert_eq!(read_volume(dir.path()).expect("readable").voxels, expected([0.5, 0.5], -1024.0));
    // A scaling of its own for every slice, as PET has it.
    let pet = Slice { rescale: Some(("-1024", "3")), ..slice(1) };
    write_series(dir.path(), &[ct(0), pet]);
    assert_eq!(read_header(dir.path()).expect("readable").scalar, Scalar::Float64);
    assert_eq!(read_volume(dir.path()).expect("readable").voxels, expected([0.5, 3.0], -1024.0));
}

#[test]
fn bits_beside_the_sample_do_not_count() {
    let dir = folder();
    // 12 bits of two's complement under an overlay in the highest bit.
    let pixels = [0x8FFF, 0x8800, 0x07FF, 0, 1, 2, 3, 4, 5, 6, 7, 0xF000];
    Slice { signed: 1, pixels: pixels.to_vec(), ..slice(0) }.write(dir.path(), "a");
    let volume = read_volume(dir.path()).expect("readable");
    assert_eq!(volume.voxels[..3], [-1.0, -2048.0, 2047.0]);
    assert_eq!(volume.voxels[11], 0.0);
    // One slice: its thickness is the spacing.
    assert_eq!((volume.grid.extents, volume.grid.spacing), ([4, 3, 1], [0.5, 0.75, 9.0]));
    let bytes = Slice { allocated: 8, stored: 8, pixels: (244..256).collect(), ..slice(0) };
    bytes.write(dir.path(), "a");
    let volume = read_volume(dir.path()).expect("readable");
    assert_eq!(volume.voxels, (244..256u16).map(f32::from).collect::<Vec<_>>());
}

#[test]
fn a_tilted_gantry_is_kept_and_said() {
    let dir = folder();
    let tilted: Vec<Slice> = (0..4)
        .map(|number| {
            let mut slice = slice(number);
            slice.position[0] += 0.5 * number as f64;
            slice
        })
        .collect();
    write_series(dir.path(), &tilted);
    let header = read_header(dir.path()).expect("readable");
    close(&header.affine, &[[-0.5, 0.0, -0.5, -10.0], [0.0, -0.45, -2.0, 20.0], [0.0, -0.6, 1.5, 5.0]], 1e-5);
    assert!(header.warnings.iter().any(|w| w.detail.contains("gantry tilt of 11.3")), "{:?}", header.warnings);
}

#[test]
fn series_that_are_none() {
    let refused = |slices: &[Slice], words: &[&str]| {
        let dir = folder();
        write_series(dir.path(), slices);
        let error = read_volume(dir.path()).expect_err("no volume").to_string();
        assert!(error.starts_with(&dir.path().display().to_string()) && !error.contains('\n'), "{error}");
        for word in words {
            assert!(error.contains(word), "{error}, expected {word}");
        }
    };
    let of = |numbers: &[usize]| numbers.iter().map(|&number| slice(number)).collect::<Vec<_>>();
    refused(&of(&[0, 1, 2, 4, 5]), &["5 slices are 3.125 mm apart on average", "none missing or doubled"]);
    refused(&of(&[0, 1, 1, 2]), &["apart on average", "is 0.000 mm from"]);
    refused(&of(&[3, 3]), &["0.000 mm apart"]);
    let with = |change: fn(&mut Slice)| {
        let mut slices = of(&[0, 1, 2]);
        change(&mut slices[1]);
        slices
    };
    refused(&with(|s| s.series = "1.2.9"), &["SeriesInstanceUID of IM10 is 1.2.9 and of IM03 1.2.3.4"]);
    refused(&with(|s| s.spacing = "0.75\\0.7"), &["PixelSpacing"]);
    refused(&with(|s| s.orientation = "0\\1\\0\\0\\0\\-1"), &["ImageOrientationPatient"]);
    refused(&with(|s| (s.columns, s.pixels) = (5, vec![0; 15])), &["size of IM10 is [5, 3]"]);
    refused(&with(|s| s.signed = 1), &["type of IM10 is int16"]);
    refused(&with(|s| s.spacing = "0.75\\0"), &["IM10: PixelSpacing"]);
    refused(&with(|s| s.orientation = "1\\0\\0\\1\\0\\0"), &["IM10: ImageOrientationPatient", "right angles"]);
    refused(&with(|s| s.orientation = "x\\0\\0\\1\\0\\0"), &["IM10: ImageOrientationPatient"]);
    refused(&with(|s| s.frames = Some("20")), &["IM10: NumberOfFrames is 20"]);
    refused(&with(|s| s.allocated = 12), &["IM10: BitsAllocated is 12"]);
    refused(&with(|s| s.rescale = Some(("0", "0"))), &["IM10: RescaleSlope is 0"]);
    refused(&with(|s| s.pixels.truncate(5)), &["IM10"]);
    // JPEG 2000.
    refused(&with(|s| s.syntax = "1.2.840.10008.1.2.4.90"), &["IM10"]);
    let dir = folder();
    let error = read_volume(dir.path()).expect_err("empty").to_string();
    assert!(error.contains("holds no DICOM files"), "{error}");
    let path = slice(0).write(dir.path(), "single.dcm");
    let error = read_volume(&path).expect_err("one file").to_string();
    assert!(error.contains("the folder of a DICOM series"), "{error}");
    let bytes = std::fs::read(&path).expect("a file");
    for length in [132, 200, 400, bytes.len() - 30] {
        std::fs::write(&path, &bytes[..length]).expect("written");
        let error = read_volume(dir.path()).expect_err("cut");
        assert!(!matches!(error, DataError::Io { .. }), "{error}");
        assert!(error.to_string().contains("single.dcm"), "{error}");
    }
}

#[test]
fn run_lengths_are_decoded() {
    let dir = folder();
    let packed: Vec<Slice> = (0..3).map(|number| Slice { syntax: RLE, ..slice(number) }).collect();
    write_series(dir.path(), &packed);
    let expected: Vec<f32> = (0..3).flat_map(|number| slice(number).pixels).map(f32::from).collect();
    assert_eq!(read_volume(dir.path()).expect("readable").voxels, expected);
}

proptest! {
    /// Whatever stands in a file, reading ends in a volume or an error.
    #[test]
    fn no_file_makes_the_reader_panic(
        changes in proptest::collection::vec((128usize..640, any::<u8>()), 1..6),
        packed in any::<bool>(),
    ) {
        let dir = folder();
        let syntax = if packed { RLE } else { slice(0).syntax };
        let path = Slice { syntax, ..slice(0) }.write(dir.path(), "a");
        let mut bytes = std::fs::read(&path).expect("a file");
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        std::fs::write(&path, &bytes).expect("written");
        if let Ok(volume) = read_volume(dir.path()) {
            prop_assert_eq!(volume.voxels.len(), volume.grid.voxel_count());
        }
    }
}
