//! Are voxels where they say? Headers are written byte by byte here, and files that the engine
//! writes are read by the `nifti` crate too, so reader and writer are not only compared with each
//! other.

#[path = "volumes/alignment.rs"]
mod alignment;
#[path = "volumes/channels.rs"]
mod channels;
#[path = "volumes/crafted.rs"]
mod crafted;
#[path = "volumes/damaged.rs"]
mod damaged;
#[path = "volumes/dicom.rs"]
mod dicom;
#[path = "volumes/enhanced.rs"]
mod enhanced;
#[path = "volumes/geometry.rs"]
mod geometry;
#[path = "volumes/metaimage.rs"]
mod metaimage;
#[path = "volumes/multiframe.rs"]
mod multiframe;
#[path = "volumes/nrrd.rs"]
mod nrrd;
#[path = "volumes/segments.rs"]
mod segments;
#[path = "volumes/slices.rs"]
mod slices;

use std::path::Path;

use nifti::{IntoNdArray, NiftiObject, ReaderOptions};
use vnet_engine::data::io::{
    ByteOrder, Header, Scalar, read_header, read_label_map, read_volume, write_label_map, write_volume, write_volume_as,
};
use vnet_engine::data::{DataError, Grid, LabelMap, Volume};

use crafted::{Crafted, EXTENTS, OBLIQUE, VOXELS, close, folder, stored, write_bytes};

#[test]
fn both_versions_and_byte_orders() {
    let dir = folder();
    for two in [false, true] {
        for big in [false, true] {
            for name in ["a.nii", "a.nii.gz", "a.NII"] {
                let file = Crafted::new(two, big, 4, 16).sform(2, OBLIQUE).i16s((0..VOXELS).map(stored));
                let path = file.write(&dir, name);
                let volume = read_volume(&path).expect("readable");
                assert_eq!(volume.grid.extents, EXTENTS, "two {two} big {big}");
                for (got, length) in volume.grid.spacing.iter().zip([0.492_848, 1.240_967, 2.958_04]) {
                    assert!((got - length).abs() < 1e-5, "{got}");
                }
                close(&volume.grid.affine, &OBLIQUE, if two { 0.0 } else { 1e-5 });
                let expected: Vec<f32> = (0..VOXELS).map(|v| f32::from(stored(v))).collect();
                assert_eq!(volume.voxels, expected, "two {two} big {big}");
                let header = read_header(&path).expect("readable");
                assert_eq!(header.byte_order, if big { ByteOrder::Big } else { ByteOrder::Little });
            }
        }
    }
}

#[test]
fn pairs_are_found_from_either_file() {
    let dir = folder();
    for (header_name, voxel_name) in [("p.hdr", "p.img"), ("q.hdr.gz", "q.img.gz"), ("R.HDR", "R.IMG")] {
        let mut file = Crafted::new(false, true, 4, 16).sform(1, OBLIQUE);
        file.bytes[344..348].copy_from_slice(b"ni1\0");
        file.put(108, &0f32.to_be_bytes());
        file.bytes.truncate(348);
        let header = file.write(&dir, header_name);
        assert!(matches!(read_volume(&header), Err(DataError::Io { .. })), "{voxel_name} is not there yet");
        let voxels: Vec<u8> = (0..VOXELS).flat_map(|v| stored(v).to_be_bytes()).collect();
        write_bytes(&dir.path().join(voxel_name), &voxels);
        for name in [header_name, voxel_name] {
            let volume = read_volume(&dir.path().join(name)).expect("readable");
            assert_eq!(volume.voxels[17], f32::from(stored(17)));
        }
    }
}

#[test]
fn scaling_as_nibabel() {
    let dir = folder();
    let read = |slope, intercept| {
        let file = Crafted::new(false, false, 4, 16).scaling(slope, intercept).i16s((0..VOXELS).map(stored));
        read_volume(&file.write(&dir, "s.nii"))
    };
    let first = f32::from(stored(0));
    assert_eq!(read(0.25, -3.0).expect("readable").voxels[0], first * 0.25 - 3.0);
    for slope in [0.0, f64::NAN, f64::INFINITY] {
        assert_eq!(read(slope, 7.0).expect("readable").voxels[0], first, "slope {slope} means no scaling");
    }
    let message = read(2.0, f64::NAN).expect_err("no intercept").to_string();
    assert!(message.contains("scl_inter is NaN"), "{message}");
}

#[test]
fn every_type_of_a_handcrafted_file() {
    let dir = folder();
    let values = [1.0, 0.0, 100.0, 7.0];
    // Type code, bytes, and a stored value made from a number.
    type Encode = fn(f64) -> Vec<u8>;
    let codes: [(i16, usize, Encode); 10] = [
        (2, 1, |v| (v as u8).to_be_bytes().to_vec()),
        (256, 1, |v| (-v as i8).to_be_bytes().to_vec()),
        (4, 2, |v| (-v as i16).to_be_bytes().to_vec()),
        (512, 2, |v| (v as u16 + 60_000).to_be_bytes().to_vec()),
        (8, 4, |v| (-v as i32 * 100_000).to_be_bytes().to_vec()),
        (768, 4, |v| (v as u32 + 4_000_000_000).to_be_bytes().to_vec()),
        (1024, 8, |v| (-v as i64 * 1_000_000_000_000).to_be_bytes().to_vec()),
        (1280, 8, |v| (v as u64 + (1 << 63)).to_be_bytes().to_vec()),
        (16, 4, |v| (v as f32 * 0.5).to_be_bytes().to_vec()),
        (64, 8, |v| (v * 1e-3).to_be_bytes().to_vec()),
    ];
    let expected: [fn(f64) -> f64; 10] = [
        |v| v,
        |v| -v,
        |v| -v,
        |v| v + 60_000.0,
        |v| -v * 1e5,
        |v| v + 4e9,
        |v| -v * 1e12,
        |v| v + 2f64.powi(63),
        |v| v * 0.5,
        |v| v * 1e-3,
    ];
    for ((code, size, encode), expected) in codes.into_iter().zip(expected) {
        for big in [false, true] {
            let mut file = Crafted::new(false, big, code, 8 * size as i16).dim(&[3, 2, 1, 2, 1, 1, 1, 1]);
            for value in values {
                let mut bytes = encode(value);
                assert_eq!(bytes.len(), size);
                if !big {
                    bytes.reverse();
                }
                file.bytes.extend(bytes);
            }
            let volume = read_volume(&file.write(&dir, "t.nii")).expect("readable");
            let expected: Vec<f32> = values.iter().map(|v| expected(*v) as f32).collect();
            assert_eq!(volume.voxels, expected, "type code {code}, big {big}");
        }
    }
}

#[test]
fn geometry_by_precedence() {
    let dir = folder();
    // A third of a turn about (1, 1, 1): x goes to y, y to z, z to x.
    let (quaternion, offset) = ([0.5, 0.5, 0.5], [4.0, -5.0, 6.0]);
    let grid = |file: Crafted| read_header(&file.i16s((0..VOXELS).map(stored)).write(&dir, "g.nii")).expect("readable");
    let both = || Crafted::new(false, false, 4, 16).qform(1, quaternion, offset);

    let header = grid(both().sform(3, OBLIQUE));
    close(&header.affine, &OBLIQUE, 1e-5);
    assert!(header.warnings.iter().any(|w| w.kind.contains("disagree by more")), "{:?}", header.warnings);

    let turned = [[0.0, 0.0, 3.0, 4.0], [0.5, 0.0, 0.0, -5.0], [0.0, 1.25, 0.0, 6.0]];
    close(&grid(both().sform(0, OBLIQUE)).affine, &turned, 1e-6);
    let mirrored = [[0.0, 0.0, -3.0, 4.0], [0.5, 0.0, 0.0, -5.0], [0.0, 1.25, 0.0, 6.0]];
    close(&grid(both().pixdim(&[-1.0, 0.5, 1.25, 3.0, 1.0, 1.0, 1.0, 1.0])).affine, &mirrored, 1e-6);
    close(&grid(both().pixdim(&[0.0, -0.5, 1.25, 3.0, 1.0, 1.0, 1.0, 1.0])).affine, &turned, 1e-6);

    let header = grid(Crafted::new(false, false, 4, 16));
    close(&header.affine, &[[-0.5, 0.0, 0.0, 1.0], [0.0, 1.25, 0.0, -1.25], [0.0, 0.0, 3.0, -9.0]], 1e-6);
    assert!(header.warnings[0].kind.contains("neither sform nor qform"), "{:?}", header.warnings);

    let half_turn = grid(Crafted::new(false, false, 4, 16).qform(1, [0.0, 0.0, 1.0 + 1e-6], offset));
    close(&half_turn.affine, &[[-0.5, 0.0, 0.0, 4.0], [0.0, -1.25, 0.0, -5.0], [0.0, 0.0, 3.0, 6.0]], 1e-6);
}

/// Voxels that hold their own world coordinate stay true through writing, reading and
/// reorientation.
#[test]
fn linear_ramp_along_the_affine() {
    let dir = folder();
    let affine = [[0.0, -1.3, 0.1, 12.0], [0.0, 0.1, 2.9, -40.0], [-0.8, 0.0, 0.0, 33.0]];
    let grid = Grid { extents: EXTENTS, spacing: [0.8, 1.3038, 2.9017], affine };
    let place = |index: usize| [index % 5, index / 5 % 3, index / 15].map(|v| v as f64);
    for axis in 0..3 {
        let voxels: Vec<f32> = (0..VOXELS).map(|index| grid.to_world(place(index))[axis] as f32).collect();
        let path = dir.path().join("ramp.nii.gz");
        write_volume(&path, &Volume { grid: grid.clone(), voxels }).expect("written");
        let volume = read_volume(&path).expect("readable");
        for (index, voxel) in volume.voxels.iter().enumerate() {
            let world = volume.grid.to_world(place(index))[axis];
            assert!((f64::from(*voxel) - world).abs() < 1e-4, "axis {axis}, voxel {index}: {voxel} at {world}");
        }
        assert_eq!(volume.grid.orientation_code(), "ILA");
    }
}

#[test]
fn every_type_round_trips() {
    let dir = folder();
    let integers: Vec<f32> = (0..VOXELS).map(|v| (v as f32 * 1.9).floor() - 90.0).collect();
    let grid = Grid { extents: EXTENTS, spacing: [1.5, 0.75, 4.0], affine: OBLIQUE };
    let scalars = [
        (Scalar::Uint8, 0.0),
        (Scalar::Int8, -128.0),
        (Scalar::Uint16, 0.0),
        (Scalar::Int16, -32768.0),
        (Scalar::Uint32, 0.0),
        (Scalar::Int32, f64::MIN),
        (Scalar::Uint64, 0.0),
        (Scalar::Int64, f64::MIN),
        (Scalar::Float32, f64::MIN),
        (Scalar::Float64, f64::MIN),
    ];
    for (scalar, lowest) in scalars {
        for name in ["r.nii", "r.nii.gz", "r.hdr", "r.hdr.gz"] {
            let voxels: Vec<f32> =
                if lowest == 0.0 { integers.iter().map(|v| v + 90.0).collect() } else { integers.clone() };
            let volume = Volume { grid: grid.clone(), voxels };
            let path = dir.path().join(name);
            write_volume_as(&path, &volume, scalar, &Header::for_grid(&grid)).expect("written");
            let back = read_volume(&path).expect("readable");
            assert_eq!(back.voxels, volume.voxels, "{scalar:?} {name}");
            assert!(back.grid.same_grid(&grid), "{scalar:?} {name}");
            assert_eq!(read_header(&path).expect("readable").scalar, scalar);
        }
    }
}

/// Another implementation agrees about shape, voxels, qform and sform of what we write.
#[test]
fn written_files_are_read_by_the_nifti_crate() {
    let dir = folder();
    // A rotation about z by the angle of the 3-4-5 triangle, mirrored along z.
    let affine = [[0.6 * 0.5, -0.8 * 1.25, 0.0, 9.0], [0.8 * 0.5, 0.6 * 1.25, 0.0, -8.0], [0.0, 0.0, -3.0, 7.0]];
    let grid = Grid { extents: EXTENTS, spacing: [0.5, 1.25, 3.0], affine };
    let voxels: Vec<f32> = (0..VOXELS).map(|v| f32::from(stored(v)) * 0.25).collect();
    for name in ["x.nii", "x.nii.gz"] {
        let path = dir.path().join(name);
        write_volume(&path, &Volume { grid: grid.clone(), voxels: voxels.clone() }).expect("written");
        let object = ReaderOptions::new().read_file(&path).expect("readable");
        let header = object.header().clone();
        assert_eq!((header.qform_code, header.sform_code, header.bitpix), (1, 1, 32));
        assert_eq!(header.pixdim[..4], [-1.0, 0.5, 1.25, 3.0]);
        assert_eq!(header.srow_y, [0.4, 0.75, 0.0, -8.0]);
        // Half the angle: cos = 2 / sqrt 5, sin = 1 / sqrt 5.
        assert!((f64::from(header.quatern_d) - 0.2f64.sqrt()).abs() < 1e-6, "{}", header.quatern_d);
        let array = object.into_volume().into_ndarray::<f32>().expect("float32");
        assert_eq!(array.shape(), EXTENTS);
        for (index, voxel) in voxels.iter().enumerate() {
            assert_eq!(array[[index % 5, index / 5 % 3, index / 15]], *voxel, "voxel {index}");
        }
    }
}

#[test]
fn label_map_keeps_the_grid_and_header_of_its_image() {
    let dir = folder();
    for two in [false, true] {
        let mut image = Crafted::new(two, true, 16, 32)
            .dim(&[4, 5, 3, 7, 1, 1, 1, 1])
            .scaling(0.5, 3.0)
            .qform(1, [0.5, 0.5, 0.5], [4.0, -5.0, 6.0])
            .sform(4, OBLIQUE)
            .f32s((0..VOXELS).map(|v| v as f32));
        let description = if two { 240 } else { 148 };
        image.bytes[description..description + 9].copy_from_slice(b"scanner A");
        let header = read_header(&image.write(&dir, "image.nii")).expect("readable");
        for (top, scalar, bits) in [(255, Scalar::Uint8, 8u16), (256, Scalar::Uint16, 16)] {
            let voxels: Vec<u16> = (0..VOXELS).map(|v| if v == 20 { top } else { (v % 4) as u16 }).collect();
            let labels = LabelMap { grid: header.grid(Path::new("image.nii")).expect("three axes"), voxels };
            let path = dir.path().join("label.nii");
            write_label_map(&path, &labels, &header).expect("written");
            let back = read_header(&path).expect("readable");
            assert_eq!((back.scalar, &back.shape, back.byte_order), (scalar, &vec![5, 3, 7, 1], ByteOrder::Big));
            assert_eq!((back.affine, back.scaling), (header.affine, None));
            assert_eq!(read_label_map(&path).expect("readable"), labels);
            // Byte for byte the image's header but for the fields that describe voxels.
            let written = std::fs::read(&path).expect("a file");
            let size = if two { 540 } else { 348 };
            let (kind, scale, range) = if two { (12..16, 176..192, 192..208) } else { (70..74, 112..120, 124..132) };
            for at in (0..size).filter(|at| ![&kind, &scale, &range].iter().any(|field| field.contains(at))) {
                assert_eq!(written[at], image.bytes[at], "byte {at} of the header, NIfTI-2 {two}");
            }
            assert_eq!(written[kind.end - 2..kind.end], bits.to_be_bytes());
        }
    }
}

#[test]
fn extents_beyond_nifti_1_make_nifti_2() {
    let dir = folder();
    let grid = Grid::axis_aligned([33_000, 1, 2], [0.25, 1.0, 3.0]);
    let path = dir.path().join("long.nii.gz");
    let voxels: Vec<u16> = (0..66_000u32).map(|v| (v % 251) as u16).collect();
    write_label_map(&path, &LabelMap { grid: grid.clone(), voxels: voxels.clone() }, &Header::for_grid(&grid))
        .expect("written");
    let back = read_label_map(&path).expect("readable");
    assert_eq!((back.grid.extents, back.voxels), (grid.extents, voxels));
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let dir = folder();
    let path = dir.path().join("old.nii");
    let grid = Grid::axis_aligned([2, 1, 3], [1.0, 2.0, 3.0]);
    let good = Volume { grid: grid.clone(), voxels: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
    write_volume(&path, &good).expect("written");
    let mut bad = good.clone();
    bad.voxels[4] = 40_000.0;
    let error = write_volume_as(&path, &bad, Scalar::Int16, &Header::for_grid(&grid)).expect_err("above int16");
    assert!(error.to_string().contains("value 40000 cannot be written as int16"), "{error}");
    bad.voxels.pop();
    assert!(matches!(write_volume(&path, &bad), Err(DataError::VoxelCount { .. })));
    assert_eq!(read_volume(&path).expect("still there"), good);
    assert!(matches!(write_volume(&dir.path().join("no/such/folder.nii"), &good), Err(DataError::Io { .. })));
    let names: Vec<_> =
        std::fs::read_dir(dir.path()).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(names, ["old.nii"]);
}
