//! DICOM series, written byte by byte: order, geometry and scaling of slices, and what is refused.

use std::path::Path;

use proptest::prelude::*;
use vnet_engine::data::inspect::inspect;
use vnet_engine::data::io::{Scalar, is_series, output_name, read_header, read_volume, write_label_map, write_volume};
use vnet_engine::data::{DataError, LabelMap};

use crate::crafted::{close, folder};
use crate::slices::{NORMAL, RLE, Slice, Start, object, slice};

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
    // Another scaling for every slice, as in PET.
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
    refused(
        &with(|s| s.series = "1.2.9"),
        &["holds 2 series: 1.2.3.4 (MR, 2 images); 1.2.9 (MR, 1 image)", "--series"],
    );
    refused(&with(|s| s.spacing = "0.75\\0.7"), &["PixelSpacing"]);
    refused(&with(|s| s.orientation = "0\\1\\0\\0\\0\\-1"), &["ImageOrientationPatient"]);
    refused(&with(|s| (s.columns, s.pixels) = (5, vec![0; 15])), &["size of IM10 is [5, 3]"]);
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
    assert!(error.contains("is a slice of a DICOM series, expected the folder of the series"), "{error}");
    let bytes = std::fs::read(&path).expect("a file");
    for length in [132, 200, 400, bytes.len() - 30] {
        std::fs::write(&path, &bytes[..length]).expect("written");
        let error = read_volume(dir.path()).expect_err("cut");
        assert!(!matches!(error, DataError::Io { .. }), "{error}");
        assert!(error.to_string().contains("single.dcm"), "{error}");
    }
}

/// Files that lost their preamble or their file meta information, under names of other formats and none.
#[test]
fn files_are_recognised_by_their_content() {
    let dir = folder();
    let starts =
        [Start::Whole, Start::Magic, Start::Meta, Start::Preamble, Start::Explicit, Start::Implicit, Start::Implicit];
    let names = ["a.img", "b.dcm", "c", "d.nii", "e.1.2.3", "f.IMA", "g.nii.gz"];
    for (number, (start, name)) in starts.into_iter().zip(names).enumerate() {
        Slice { start, ..slice(number) }.write(dir.path(), name);
    }
    assert!(is_series(dir.path()));
    let volume = read_volume(dir.path()).expect("readable");
    let expected: Vec<f32> = (0..7).flat_map(|number| slice(number).pixels).map(f32::from).collect();
    assert_eq!((volume.grid.extents, volume.voxels), ([4, 3, 7], expected));
    assert_eq!(read_header(dir.path()).expect("readable").warnings, []);
    // A slice alone is no volume under any name.
    for name in ["a.img", "d.nii"] {
        let error = read_volume(&dir.path().join(name)).expect_err("a slice").to_string();
        assert!(error.contains("is a slice of a DICOM series, expected the folder"), "{error}");
    }
    // A folder is a series under any name.
    let named = dir.path().join("case.nii");
    std::fs::create_dir(&named).expect("a folder");
    slice(0).write(&named, "a.img");
    assert_eq!(read_volume(&named).expect("readable").grid.extents, [4, 3, 1]);
    // Encapsulated pixels cannot be decoded without the transfer syntax.
    Slice { start: Start::Explicit, syntax: RLE, ..slice(0) }.write(&named, "a.img");
    let error = read_volume(&named).expect_err("no transfer syntax").to_string();
    assert!(error.contains("a.img: transfer syntax \"\" is not read"), "{error}");
}

/// The class of segmentations, which have pixels of their own grid.
const SEGMENTATION: &str = "1.2.840.10008.5.1.4.1.1.66.4";

#[test]
fn what_lies_beside_the_slices_is_left_out_and_said() {
    let dir = folder();
    let write = |name: &str, content: &str| std::fs::write(dir.path().join(name), content).expect("written");
    write_series(dir.path(), &(0..5).map(slice).collect::<Vec<_>>());
    let warnings = || -> Vec<String> {
        let volume = read_volume(dir.path()).expect("readable");
        let expected: Vec<f32> = (0..5).flat_map(|number| slice(number).pixels).map(f32::from).collect();
        assert_eq!((volume.grid.extents, volume.voxels), ([4, 3, 5], expected));
        read_header(dir.path()).expect("readable").warnings.iter().map(ToString::to_string).collect()
    };
    for (name, content) in
        [("notes.txt", ""), ("README", "a scan"), (".hidden", ""), ("DICOMDIR", ""), ("a.json", "{}")]
    {
        write(name, content);
    }
    assert_eq!(warnings(), [""; 0]);
    object(dir.path(), "RS.1.dcm", "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT");
    object(dir.path(), "SR1", "1.2.840.10008.5.1.4.1.1.88.22", "SR");
    object(dir.path(), "PR1", "1.2.840.10008.5.1.4.1.1.11.1", "PR");
    object(dir.path(), "SEG1", SEGMENTATION, "SEG");
    object(dir.path(), "odd", "1.2.3", "");
    write("IM97", "");
    write("IM98.dcm", "");
    write("IM99.dcm", "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 5\n");
    write("picture.png", "\u{89}PNG");
    write("damaged.dcm", "\u{1}\u{2}");
    std::fs::create_dir(dir.path().join("thumbnails")).expect("a folder");
    assert_eq!(
        warnings(),
        [
            "files of 0 bytes are left out, slices may be missing: IM97, IM98.dcm",
            "files that are not DICOM are left out: damaged.dcm, picture.png",
            "folders beside the slices are left out: thumbnails",
            "git-lfs pointers are left out, slices may be missing: IM99.dcm",
            "objects that are no images are left out: PR1 (PR), RS.1.dcm (RTSTRUCT), SEG1 (SEG) and 2 more",
        ]
    );
    let inspected = inspect(dir.path()).expect("readable").warnings;
    assert!(inspected.iter().any(|warning| warning.contains("IM97, IM98.dcm")), "{inspected:?}");
}

#[test]
fn folders_without_slices_say_what_they_hold() {
    let dir = folder();
    let refused = || read_volume(dir.path()).expect_err("no slices").to_string();
    let write = |name: &str, content: &str| std::fs::write(dir.path().join(name), content).expect("written");
    write("IM1", "");
    write("IM2", "version https://git-lfs.github.com/spec/v1\n");
    let error = refused();
    for words in ["holds no DICOM files", "files of 0 bytes", "IM1", "git-lfs pointers", "IM2"] {
        assert!(error.contains(words), "{error}, expected {words}");
    }
    assert!(!is_series(dir.path()));
    object(dir.path(), "RS1", "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT");
    let error = refused();
    assert!(error.contains("holds no DICOM images") && error.contains("RS1 (RTSTRUCT)"), "{error}");
    // A series that lies deeper is found, up to a depth; a folder that links to itself ends the search too.
    let dir = folder();
    let deeper = dir.path().join("study/series");
    std::fs::create_dir_all(&deeper).expect("folders");
    std::os::unix::fs::symlink("..", dir.path().join("study/around")).expect("a link");
    slice(0).write(&deeper, "IM1");
    let error = read_volume(dir.path()).expect_err("no slices").to_string();
    assert!(error.contains(&format!("holds no DICOM files; a series lies in {}", deeper.display())), "{error}");
    assert!(!error.contains("left out"), "{error}");
}

/// A slice that was cut before its pixels, or before its attributes, is damaged and not left out.
#[test]
fn damaged_slices_are_named() {
    let dir = folder();
    write_series(dir.path(), &(0..5).map(slice).collect::<Vec<_>>());
    let path = dir.path().join("IM03");
    let bytes = std::fs::read(&path).expect("a file");
    let at = |tag: [u8; 4]| bytes.windows(4).position(|window| window == tag).expect("the element");
    for (end, words) in [
        (at([0xE0, 0x7F, 0x10, 0]), "IM03: the file is cut short"),
        (at([0x20, 0, 0xE, 0]), "IM03: SamplesPerPixel is absent"),
        (at([0x28, 0, 0x10, 0]) + 5, "IM03: the file is cut short"),
    ] {
        std::fs::write(&path, &bytes[..end]).expect("written");
        let error = read_volume(dir.path()).expect_err("damaged").to_string();
        assert!(error.contains(words), "{error}, expected {words}");
    }
    Slice { frames: Some("7"), ..slice(1) }.write(dir.path(), "IM10");
    let error = read_volume(dir.path()).expect_err("damaged").to_string();
    for words in ["2 of 5 DICOM files cannot be read (IM03, IM10)", "IM03: the file is cut short"] {
        assert!(error.contains(words), "{error}, expected {words}");
    }
}

/// What is of one grid, with slices on both sides of each tolerance.
#[test]
fn slices_that_are_nearly_even_make_one_grid() {
    let read = |slices: &[Slice]| {
        let dir = folder();
        write_series(dir.path(), slices);
        read_header(dir.path()).map_err(|error| error.to_string())
    };
    let with = |change: &dyn Fn(&mut Slice)| {
        let mut slices: Vec<Slice> = (0..5).map(slice).collect();
        change(&mut slices[2]);
        read(&slices)
    };
    // Spacings of other digits: the last of four columns of 0.5 mm may move by a tenth of a pixel. The lowest slice decides.
    for spacing in ["0.75\\0.500004", "0.75\\0.512", "0.7501\\0.5"] {
        let header = with(&|slice| slice.spacing = spacing).expect("one grid");
        assert_eq!((header.spacing[..2].to_vec(), header.warnings), (vec![0.5, 0.75], vec![]), "{spacing}");
    }
    for spacing in ["0.75\\0.514", "0.77\\0.5"] {
        let error = with(&|slice| slice.spacing = spacing).expect_err("another grid");
        assert!(error.contains("PixelSpacing of IM06"), "{error}");
    }
    assert!(with(&|slice| slice.orientation = "1\\0\\0\\0\\0.6001\\-0.7999").is_ok());
    let error = with(&|slice| slice.orientation = "1\\0\\0\\0\\0.65\\-0.76").expect_err("another grid");
    assert!(error.contains("ImageOrientationPatient of IM06"), "{error}");
    // Off the even place by a part of 2.5 mm along the slices.
    let along =
        |part: f64| move |slice: &mut Slice| (0..3).for_each(|axis| slice.position[axis] += 2.5 * part * NORMAL[axis]);
    let header = with(&along(0.16)).expect("one grid");
    assert!((header.spacing[2] - 2.5).abs() < 1e-5, "{:?}", header.spacing);
    let told: Vec<String> = header.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["slices are not evenly spaced: 0.4000 mm off the mean of 2.5000 mm, which is taken"]);
    assert_eq!(with(&along(0.00009)).expect("one grid").warnings, [], "as ITK, up to 1e-4");
    assert_eq!(with(&along(0.00011)).expect("one grid").warnings.len(), 1);
    for part in [0.17, -0.17, 1.0] {
        assert!(with(&along(part)).expect_err("uneven").contains("evenly spaced"), "{part}");
    }
    // Across the slices by a part of 0.5 mm.
    assert!(with(&|slice| slice.position[0] += 0.16 * 0.5).is_ok());
    let error = with(&|slice| slice.position[0] -= 0.17 * 0.5).expect_err("shifted");
    assert!(error.contains("IM06 is 0.17 pixels beside the line of the slices"), "{error}");
    // Mosaics lie in one plane, but for rounding.
    let beside = Slice { position: [12.0, -20.0 + 1e-6, 5.0], ..slice(1) };
    assert!(read(&[slice(0), beside]).expect_err("one plane").contains("beside each other in one plane"));
    // The last slice decides the spacing, as in ITK: (4 x 2.5 + 0.06) / 4 mm.
    let mut slices: Vec<Slice> = (0..5).map(slice).collect();
    along(0.024)(&mut slices[4]);
    let header = read(&slices).expect("one grid");
    assert!((header.spacing[2] - 2.515).abs() < 1e-5, "{:?}", header.spacing);
}

/// Wherever one of several slices is missing, and however few are left, it is found.
#[test]
fn a_missing_slice_is_never_taken_for_jitter() {
    for count in 4..12 {
        for missing in 1..count - 1 {
            let dir = folder();
            for number in (0..count).filter(|number| *number != missing) {
                slice(number).write(dir.path(), &format!("{number}"));
            }
            let error = read_header(dir.path()).expect_err("one is missing").to_string();
            assert!(error.contains("none missing or doubled"), "{missing} of {count}: {error}");
        }
    }
}

#[test]
fn signed_and_unsigned_slices_make_one_volume() {
    let dir = folder();
    let pixels = [0xFFFF, 0x8000, 0x7FFF, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let whole = |number, signed| Slice { stored: 16, signed, pixels: pixels.to_vec(), ..slice(number) };
    write_series(dir.path(), &[whole(0, 1), whole(1, 0)]);
    assert_eq!(read_header(dir.path()).expect("readable").scalar, Scalar::Int32);
    let volume = read_volume(dir.path()).expect("readable");
    assert_eq!(volume.voxels[..3], [-1.0, -32768.0, 32767.0]);
    assert_eq!(volume.voxels[12..15], [65535.0, 32768.0, 32767.0]);
    assert_eq!(inspect(dir.path()).expect("readable").dtype, "int32");
}

/// The odd file is named, not those that it differs from.
#[test]
fn a_localizer_of_the_series_is_named() {
    let dir = folder();
    write_series(dir.path(), &(0..3).map(slice).collect::<Vec<_>>());
    Slice { columns: 6, pixels: vec![0; 18], ..slice(7) }.write(dir.path(), "00-scout");
    let error = read_header(dir.path()).expect_err("a localizer").to_string();
    assert!(error.contains("size of 00-scout is [6, 3] and of IM03 [4, 3]"), "{error}");
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
    /// Wherever slices say that they lie, what is made of them is a grid.
    #[test]
    fn no_position_makes_a_grid_that_is_none(
        positions in proptest::collection::vec(proptest::array::uniform3(prop_oneof![-9.0..9.0, -1e9..1e9, Just(1e308)]), 1..5),
        even in any::<bool>(),
        spacing in prop_oneof![Just("0.75\\0.5"), Just("1e-300\\1e9"), Just("1e9\\1e9"), Just("0.7501\\0.5")],
    ) {
        let dir = folder();
        for (number, position) in positions.iter().enumerate() {
            let mut slice = Slice { spacing: if number == 0 { spacing } else { "0.75\\0.5" }, ..slice(number) };
            if !even {
                slice.position = *position;
            }
            slice.write(dir.path(), &format!("{number}"));
        }
        if let Ok(header) = read_header(dir.path()) {
            prop_assert!(header.affine.iter().flatten().all(|number| number.is_finite()));
            prop_assert!(header.spacing.iter().all(|spacing| spacing.is_finite() && *spacing > 0.0), "{:?}", header.spacing);
            prop_assert_eq!(header.shape, [4, 3, positions.len()]);
        }
    }

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
