//! Files that are cut, lie about their size, or hold what no volume holds: an error that names the
//! file, or the file's content, never a panic.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use vnet_engine::data::DataError;
use vnet_engine::data::inspect::inspect;
use vnet_engine::data::io::{read_header, read_label_map, read_volume};

use crate::crafted::{Crafted, OBLIQUE, VOXELS, folder, stored, write_bytes};

#[test]
fn cut_files_are_errors() {
    let dir = folder();
    let file = Crafted::new(false, false, 4, 16).i16s((0..VOXELS).map(stored));
    for length in [0, 3, 40, 347] {
        let path = dir.path().join("cut.nii");
        write_bytes(&path, &file.bytes[..length]);
        assert!(matches!(read_header(&path), Err(DataError::Truncated { .. })), "{length} bytes of header");
    }
    for length in [348, 400, file.bytes.len() - 1] {
        let path = dir.path().join("cut.nii");
        write_bytes(&path, &file.bytes[..length]);
        let error = read_volume(&path).expect_err("cut");
        let expected = format!("562 bytes are expected, {length} are there");
        assert!(error.to_string().contains(&expected), "{error}");
        assert!(read_header(&path).is_ok(), "the header is whole");
        // The same inside an intact gzip stream.
        let path = dir.path().join("cut.nii.gz");
        write_bytes(&path, &file.bytes[..length]);
        assert!(matches!(read_volume(&path), Err(DataError::Truncated { .. })));
    }
    let path = file.write(&dir, "whole.nii.gz");
    let compressed = std::fs::read(&path).expect("a file");
    for length in [compressed.len() / 2, compressed.len() - 4] {
        std::fs::write(&path, &compressed[..length]).expect("written");
        assert!(matches!(read_volume(&path), Err(DataError::Compressed { .. })), "{length} of {}", compressed.len());
    }
    let mut flipped = compressed.clone();
    let at = flipped.len() - 6;
    flipped[at] ^= 0x10;
    std::fs::write(&path, &flipped).expect("written");
    assert!(matches!(read_volume(&path), Err(DataError::Compressed { .. })), "wrong checksum");
}

/// Headers that promise more than the file can hold end at once, without memory for it.
#[test]
fn promises_are_checked_before_memory_is_asked_for() {
    let dir = folder();
    let start = Instant::now();
    let terabytes = Crafted::new(false, false, 64, 64).dim(&[3, 32_000, 32_000, 32_000, 1, 1, 1, 1]);
    for name in ["big.nii", "big.nii.gz"] {
        let error = read_volume(&terabytes.write(&dir, name)).expect_err("262 terabytes");
        assert!(error.to_string().contains("262144000000352 bytes are expected"), "{error}");
    }
    let overflow = Crafted::new(true, true, 64, 64).dim(&[3, 1 << 40, 1 << 40, 1 << 40, 1, 1, 1, 1]);
    assert!(matches!(read_volume(&overflow.write(&dir, "over.nii")), Err(DataError::Header { field: "dim", .. })));
    // A small volume in front of 200 MB of compressed zeros: only the volume is decompressed.
    let mut bomb = Crafted::new(false, false, 4, 16).i16s((0..VOXELS).map(stored));
    bomb.bytes.resize(200_000_000, 0);
    let path = bomb.write(&dir, "bomb.nii.gz");
    let reading = Instant::now();
    assert_eq!(read_volume(&path).expect("readable").voxels.len(), VOXELS);
    assert!(reading.elapsed() < Duration::from_millis(200), "{:?}", reading.elapsed());
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn headers_that_cannot_be_right() {
    let dir = folder();
    let message = |file: Crafted| {
        let path = file.i16s((0..VOXELS).map(stored)).write(&dir, "h.nii");
        let text = read_volume(&path).expect_err("wrong header").to_string();
        assert!(text.starts_with(&path.display().to_string()) && !text.contains('\n'), "{text}");
        text
    };
    let good = || Crafted::new(false, false, 4, 16);
    let with = |at: usize, bytes: &[u8]| {
        let mut file = good();
        file.put(at, bytes);
        file
    };
    for (file, expected) in [
        (with(0, &347i32.to_be_bytes()), "sizeof_hdr is 347"),
        (with(344, &[0; 4]), "ANALYZE 7.5"),
        (with(344, b"\0qqq"), "magic"),
        (with(70, &2826i16.to_be_bytes()), "datatype is 2826"),
        (with(108, &100f32.to_be_bytes()), "vox_offset is 100"),
        (with(108, &f32::NAN.to_be_bytes()), "vox_offset is NaN"),
        (good().dim(&[3, 5, 0, 7, 1, 1, 1, 1]), "dim is [3, 5, 0, 7"),
        (good().dim(&[3, 5, -3, 7, 1, 1, 1, 1]), "dim is [3, 5, -3, 7"),
        (good().dim(&[9, 5, 3, 7, 1, 1, 1, 1]), "dim is [9,"),
        (good().dim(&[2, 35, 3, 7, 1, 1, 1, 1]), "shape is 35 x 3, expected three axes"),
        (good().dim(&[4, 5, 3, 7, 2, 1, 1, 1]), "shape is 5 x 3 x 7 x 2, expected three axes"),
        (good().sform(1, [[1.0, 2.0, 0.0, 0.0], [2.0, 4.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]), "independent"),
        (good().sform(1, [[f64::NAN; 4]; 3]), "independent"),
        (with(70, &128i16.to_be_bytes()), "type rgb24"),
        (with(70, &32i16.to_be_bytes()), "type complex64"),
        (with(70, &1536i16.to_be_bytes()), "type float128"),
    ] {
        let text = message(file);
        assert!(text.contains(expected), "{text}, expected {expected}");
    }
    std::fs::write(dir.path().join("picture.png"), "no volume").expect("written");
    assert!(matches!(read_volume(&dir.path().join("picture.png")), Err(DataError::UnknownFormat { .. })));
    assert!(matches!(read_volume(&dir.path().join("absent.png")), Err(DataError::Io { .. })));
    assert!(matches!(read_volume(&dir.path().join("absent.nii")), Err(DataError::Io { .. })));
    std::fs::create_dir(dir.path().join("folder.nii")).expect("a folder");
    assert!(matches!(read_volume(&dir.path().join("folder.nii")), Err(DataError::Unusable { .. })));
}

#[test]
fn non_finite_voxels_are_refused_and_counted() {
    let dir = folder();
    let mut values: Vec<f32> = (0..VOXELS).map(|v| v as f32 * 0.5 - 3.0).collect();
    (values[32], values[60]) = (f32::NAN, f32::NEG_INFINITY);
    let path = Crafted::new(false, true, 16, 32).f32s(values.iter().copied()).write(&dir, "n.nii");
    let text = read_volume(&path).expect_err("not finite").to_string();
    // Voxel 32 = (2 * 3 + 0) * 5 + 2.
    assert!(text.contains("2 of 105 voxels are NaN or infinite (first at x, y, z = [2, 0, 2])"), "{text}");
    assert!(matches!(read_label_map(&path), Err(DataError::LabelValue { .. })));

    let inspection = inspect(&path).expect("readable");
    let finite: Vec<f64> = values.iter().filter(|v| v.is_finite()).map(|v| f64::from(*v)).collect();
    let mean = finite.iter().sum::<f64>() / finite.len() as f64;
    assert_eq!((inspection.nonfinite, inspection.min, inspection.max), (2, Some(-3.0), Some(49.0)));
    assert!((inspection.mean.expect("a mean") - mean).abs() < 1e-12);
    let json = serde_json::to_value(&inspection).expect("serialisable");
    assert_eq!(json["shape"], serde_json::json!([5, 3, 7]));
    assert_eq!((&json["dtype"], &json["nonfinite"]), (&"float32".into(), &2.into()));
    assert_eq!(json["affine"].as_array().map(Vec::len), Some(3));

    let nothing = Crafted::new(false, false, 16, 32).f32s([f32::NAN; VOXELS]).write(&dir, "nan.nii");
    let inspection = inspect(&nothing).expect("readable");
    assert_eq!((inspection.nonfinite, inspection.mean), (VOXELS, None));
    let series =
        Crafted::new(false, false, 16, 32).dim(&[4, 5, 3, 1, 7, 1, 1, 1]).f32s(values[..VOXELS].iter().copied());
    assert_eq!(inspect(&series.write(&dir, "series.nii")).expect("readable").shape, [5, 3, 1, 7]);
}

#[test]
fn labels_are_whole_numbers_from_0_to_65535() {
    let dir = folder();
    let read = |file: &Crafted| read_label_map(&file.write(&dir, "l.nii"));
    let floats = |special: f32| {
        Crafted::new(false, false, 16, 32).f32s((0..VOXELS).map(|v| if v == 51 { special } else { (v % 3) as f32 }))
    };
    assert_eq!(read(&floats(65535.0)).expect("readable").voxels[51], 65535);
    for (value, text) in [(0.5, "0.5"), (-1.0, "-1"), (65536.0, "65536"), (f32::INFINITY, "inf")] {
        let error = read(&floats(value)).expect_err("no label").to_string();
        assert!(error.contains(&format!("voxel x, y, z = [1, 1, 3] is {text}, expected a label")), "{error}");
    }
    // Stored as 255 times the label with a slope of float32(1 / 255), as some programs do.
    let scaled =
        Crafted::new(false, false, 4, 16).scaling(1.0 / 255.0, 0.0).i16s((0..VOXELS).map(|v| 255 * (v % 3) as i16));
    assert_eq!(read(&scaled).expect("readable").voxels[..4], [0, 1, 2, 0]);
    let negative = Crafted::new(false, false, 4, 16).i16s((0..VOXELS).map(stored));
    assert!(matches!(read(&negative), Err(DataError::LabelValue { .. })));
}

proptest! {
    /// Whatever stands in the header, reading ends in a volume or an error.
    #[test]
    fn no_header_makes_the_reader_panic(
        two in any::<bool>(),
        big in any::<bool>(),
        changes in proptest::collection::vec((0usize..540, any::<u8>()), 1..12),
    ) {
        let dir = folder();
        let mut file = Crafted::new(two, big, 4, 16).sform(1, OBLIQUE).i16s((0..VOXELS).map(stored));
        for (at, value) in changes {
            file.bytes[at] = value;
        }
        let path = file.write(&dir, "fuzz.nii");
        let _ = inspect(&path);
        if let Ok(volume) = read_volume(&path) {
            prop_assert_eq!(volume.voxels.len(), volume.grid.voxel_count());
        }
        let _ = read_label_map(&path);
    }
}
