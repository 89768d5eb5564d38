//! MetaImage: files that ITK wrote, headers written here, and what the engine writes.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use vnet_engine::data::inspect::inspect;
use vnet_engine::data::io::{
    ByteOrder, Header, Scalar, files_written, output_name, read_header, read_label_map, read_volume, write_label_map,
    write_volume, write_volume_as,
};
use vnet_engine::data::{DataError, Grid, LabelMap, Volume};

use crate::crafted::{EXTENTS, OBLIQUE, VOXELS, close, folder, stored};

/// A header of 5 x 3 x 7 voxels; `{}` takes more lines.
const HEADER: &str = "ObjectType = Image\nNDims = 3\nDimSize = 5 3 7\nElementSpacing = 0.5 1.25 3\n\
    TransformMatrix = 0 1 0 -1 0 0 0 0 1\nOffset = 4 -5 6\n";

/// Columns of LPS directions (0, 1, 0), (-1, 0, 0), (0, 0, 1) times the spacings, first two rows negated.
const AFFINE: [[f64; 4]; 3] = [[0.0, 1.25, 0.0, -4.0], [-0.5, 0.0, 0.0, 5.0], [0.0, 0.0, 3.0, 6.0]];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/volumes").join(name)
}

fn write(dir: &TempDir, name: &str, text: &str, voxels: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, [text.as_bytes(), voxels].concat()).expect("written");
    path
}

fn shorts(big: bool) -> Vec<u8> {
    (0..VOXELS).flat_map(|v| if big { stored(v).to_be_bytes() } else { stored(v).to_le_bytes() }).collect()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

#[test]
fn files_of_itk() {
    let facts: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(golden("formats.json")).expect("golden data")).expect("JSON");
    for name in ["itk.mha", "itk.mhd"] {
        let volume = read_volume(&golden(name)).expect("readable");
        assert_eq!(serde_json::json!(volume.grid.extents), facts["shape"]);
        let numbers =
            |value: &serde_json::Value| -> Vec<f64> { serde_json::from_value(value.clone()).expect("numbers") };
        for (found, expected) in volume.grid.spacing.iter().zip(numbers(&facts["spacing"])) {
            assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
        }
        let affine: [[f64; 4]; 3] = serde_json::from_value(facts["affine"].clone()).expect("an affine");
        close(&volume.grid.affine, &affine, 1e-12);
        assert_eq!(volume.voxels.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), numbers(&facts["voxels"]));
        assert_eq!(read_header(&golden(name)).expect("readable").scalar, Scalar::Int16);
    }
}

#[test]
fn every_way_to_store_voxels() {
    let dir = folder();
    let voxels = shorts(false);
    let head = |more: &str| format!("{HEADER}{more}ElementType = MET_SHORT\nElementDataFile = ");
    std::fs::write(dir.path().join("v.raw"), &voxels).expect("written");
    std::fs::write(dir.path().join("v.zraw"), zlib(&voxels)).expect("written");
    std::fs::write(dir.path().join("big.raw"), shorts(true)).expect("written");
    std::fs::write(dir.path().join("preceded.raw"), [b"seven.\n", voxels.as_slice()].concat()).expect("written");
    let packed = zlib(&voxels);
    let size = packed.len();
    let padded = [packed.as_slice(), b"more"].concat();
    let files = [
        write(&dir, "a.mhd", &format!("{}v.raw\n", head("")), &[]),
        write(&dir, "b.mhd", &format!("{}v.raw", head("ElementByteOrderMSB = False\n")), &[]),
        write(&dir, "c.mhd", &format!("{}big.raw\n", head("BinaryDataByteOrderMSB = True\n")), &[]),
        write(&dir, "d.mhd", &format!("{}v.zraw\n", head("CompressedData = True\n")), &[]),
        write(&dir, "e.mhd", &format!("{}preceded.raw\n", head("HeaderSize = 7\n")), &[]),
        write(&dir, "f.mhd", &format!("{}preceded.raw\n", head("HeaderSize = -1\n")), &[]),
        write(&dir, "g.mha", &format!("{}LOCAL\n", head("")), &voxels),
        write(&dir, "h.MHA", &format!("{}Local\n", head("CompressedData = True\n")), &packed),
        write(
            &dir,
            "i.mha",
            &format!("{}LOCAL\n", head(&format!("CompressedData = True\nCompressedDataSize = {size}\n"))),
            &padded,
        ),
        write(&dir, "j.mhd", &format!("{}v.raw\n", head("")).replace('\n', "\r\n"), &[]),
        write(&dir, "k.mhd", &format!("{}v.raw\n", head("Comment: a = b\n\n")).replace(" = ", "="), &[]),
    ];
    for path in files {
        let volume = read_volume(&path).expect("readable");
        assert_eq!((volume.grid.extents, volume.grid.spacing), (EXTENTS, [0.5, 1.25, 3.0]), "{}", path.display());
        close(&volume.grid.affine, &AFFINE, 0.0);
        let expected: Vec<f32> = (0..VOXELS).map(|v| f32::from(stored(v))).collect();
        assert_eq!(volume.voxels, expected, "{}", path.display());
    }
    let header = read_header(&dir.path().join("c.mhd")).expect("readable");
    assert_eq!((header.byte_order, header.warnings.len()), (ByteOrder::Big, 1), "{:?}", header.warnings);
}

#[test]
fn every_type_by_its_name() {
    let dir = folder();
    type Encode = fn(f64) -> Vec<u8>;
    let types: [(&str, Encode); 12] = [
        ("MET_CHAR", |v| (v as i8).to_be_bytes().to_vec()),
        ("MET_UCHAR", |v| (v.abs() as u8).to_be_bytes().to_vec()),
        ("MET_SHORT", |v| (v as i16).to_be_bytes().to_vec()),
        ("MET_USHORT", |v| (v.abs() as u16).to_be_bytes().to_vec()),
        ("MET_INT", |v| (v as i32).to_be_bytes().to_vec()),
        ("MET_UINT", |v| (v.abs() as u32).to_be_bytes().to_vec()),
        ("MET_LONG", |v| (v as i32).to_be_bytes().to_vec()),
        ("MET_ULONG", |v| (v.abs() as u32).to_be_bytes().to_vec()),
        ("MET_LONG_LONG", |v| (v as i64).to_be_bytes().to_vec()),
        ("MET_ULONG_LONG", |v| (v.abs() as u64).to_be_bytes().to_vec()),
        ("MET_FLOAT", |v| (v as f32).to_be_bytes().to_vec()),
        ("MET_DOUBLE", |v| v.to_be_bytes().to_vec()),
    ];
    let values = [-1.0, 0.0, 100.0, 7.0, -33.0, 5.0];
    for (name, encode) in types {
        for big in [false, true] {
            let mut voxels = Vec::new();
            for value in values {
                let mut bytes = encode(value);
                if !big {
                    bytes.reverse();
                }
                voxels.extend(bytes);
            }
            let msb = if big { "True" } else { "False" };
            let text = format!(
                "NDims = 3\nDimSize = 3 1 2\nElementByteOrderMSB = {msb}\nElementType = {name}\nElementDataFile = LOCAL\n"
            );
            let volume = read_volume(&write(&dir, "t.mha", &text, &voxels)).expect("readable");
            let signed = !name.starts_with("MET_U");
            let expected = values.map(|v| if signed { v as f32 } else { v.abs() as f32 });
            assert_eq!(volume.voxels, expected, "{name}, big {big}");
        }
    }
}

#[test]
fn headers_that_cannot_be_right() {
    let dir = folder();
    let good = format!("{HEADER}ElementType = MET_SHORT\nElementDataFile = LOCAL\n");
    let swapped = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    for (text, expected) in [
        (swapped("Type = Image", "Type = Tube"), "ObjectType is \"Tube\""),
        (swapped("NDims = 3\n", ""), "NDims is absent"),
        (swapped("NDims = 3", "NDims = 900"), "NDims is 900"),
        (swapped("5 3 7", "5 3"), "DimSize is \"5 3\""),
        (swapped("5 3 7", "5 -3 7"), "DimSize is \"5 -3 7\""),
        (swapped("5 3 7", "5 0 7"), "DimSize is [5, 0, 7]"),
        (swapped("5 3 7", "4294967296 4294967296 2"), "2^64"),
        (swapped("5 3 7", "5000 300 70"), "210000"),
        (swapped("NDims = 3\nDimSize = 5 3 7", "NDims = 2\nDimSize = 5 21"), "ElementSpacing"),
        (swapped("0.5 1.25 3", "0.5 0 3"), "ElementSpacing is [0.5, 0.0, 3.0]"),
        (swapped("0.5 1.25 3", "0.5 -1.25 3"), "expected one positive number of mm"),
        (swapped("0.5 1.25 3", "0.5 nan 3"), "ElementSpacing"),
        (swapped("0 1 0 -1 0 0 0 0 1", "0 1 0 0 2 0 0 0 1"), "three independent"),
        (swapped("0 1 0 -1 0 0 0 0 1", "0 1 0 -1"), "TransformMatrix"),
        (swapped("4 -5 6", "4 inf 6"), "three independent finite"),
        (swapped("MET_SHORT", "MET_STRING"), "ElementType is \"MET_STRING\""),
        (
            swapped("ElementType", "ElementNumberOfChannels = 2\nElementType"),
            "shape is 5 x 3 x 7 x 2, expected three axes",
        ),
        (swapped("ElementType", "ElementNumberOfChannels = -2\nElementType"), "ElementNumberOfChannels is \"-2\""),
        (swapped("MET_SHORT", "MET_UCHAR\nElementNumberOfChannels = 3"), "shape is 5 x 3 x 7 x 3, expected three axes"),
        (swapped("LOCAL", "LIST"), "ElementDataFile is \"LIST\""),
        (swapped("LOCAL", "slice%03d.raw 1 7 1"), "ElementDataFile"),
        (swapped("LOCAL", ""), "ElementDataFile"),
        (swapped("LOCAL", "absent.raw"), "absent.raw: cannot open"),
        (swapped("ElementType", "BinaryData = False\nElementType"), "BinaryData is False"),
        (swapped("ElementType", "CompressedData = maybe\nElementType"), "CompressedData is \"maybe\""),
        (swapped("ElementType", "CompressedData = True\nElementType"), "compressed stream is damaged"),
        (swapped("ElementType", "HeaderSize = -7\nElementType"), "HeaderSize is -7"),
        (swapped("ElementType", "no sign\nElementType"), "line is \"no sign\""),
    ] {
        let path = write(&dir, "wrong.mha", &text, &shorts(false));
        let error = read_volume(&path).expect_err(expected).to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}, expected {expected}");
        assert!(error.starts_with(&dir.path().display().to_string()), "{error}");
    }
    let endless = write(&dir, "endless.mhd", &swapped("ElementDataFile = LOCAL\n", ""), &[]);
    let error = read_volume(&endless).expect_err("no end").to_string();
    assert!(error.contains("ElementDataFile is absent"), "{error}");
    let cut = write(&dir, "cut.mha", &good, &shorts(false)[..209]);
    let error = read_volume(&cut).expect_err("cut").to_string();
    assert!(error.contains("the file is cut short"), "{error}");
    let packed = zlib(&shorts(false));
    let text = swapped("ElementType", "CompressedData = True\nElementType");
    let cut = write(&dir, "cut.mha", &text, &packed[..packed.len() - 7]);
    assert!(matches!(read_volume(&cut), Err(DataError::Compressed { .. })));
    // One voxel short inside an intact stream, and a stream that cannot hold what is promised.
    let short = write(&dir, "short.mha", &text, &zlib(&shorts(false)[..208]));
    assert!(matches!(read_volume(&short), Err(DataError::Truncated { needed: 210, found: 208, .. })));
    let huge = write(&dir, "huge.mha", &text.replace("5 3 7", "5000 3000 700"), &packed);
    assert!(matches!(read_volume(&huge), Err(DataError::Truncated { .. })));
}

#[test]
fn missing_geometry_is_said() {
    let dir = folder();
    let text = "NDims = 2\nDimSize = 15 7\nElementType = MET_SHORT\nElementDataFile = LOCAL\n";
    let inspection = inspect(&write(&dir, "plain.mha", text, &shorts(false))).expect("readable");
    assert_eq!((inspection.shape, inspection.spacing), (vec![15, 7], vec![1.0, 1.0]));
    assert_eq!(inspection.orientation, "LPS");
    for word in ["ElementSpacing", "TransformMatrix"] {
        assert!(inspection.warnings.iter().any(|w| w.contains(word)), "{:?}", inspection.warnings);
    }
}

/// From any format to any other, and back: voxels and grid are the same.
#[test]
fn formats_convert_into_each_other() {
    let dir = folder();
    let grid = Grid { extents: EXTENTS, spacing: [0.4929, 1.2410, 2.9585], affine: OBLIQUE };
    let voxels: Vec<f32> = (0..VOXELS).map(|v| f32::from(stored(v))).collect();
    let volume = Volume { grid: grid.clone(), voxels };
    for name in ["m.mha", "m.mhd"] {
        for scalar in [Scalar::Int16, Scalar::Int32, Scalar::Int64, Scalar::Float32, Scalar::Float64] {
            let path = dir.path().join(name);
            write_volume_as(&path, &volume, scalar, &Header::for_grid(&grid)).expect("written");
            let header = read_header(&path).expect("readable");
            assert_eq!((header.scalar, &header.shape[..]), (scalar, &EXTENTS[..]));
            let back = read_volume(&path).expect("readable");
            assert_eq!(back.voxels, volume.voxels);
            close(&back.grid.affine, &grid.affine, 1e-5);
            // From there to NIfTI, which has float32 for the affine.
            let nifti = dir.path().join("n.nii.gz");
            write_volume_as(&nifti, &back, scalar, &header).expect("written");
            let again = read_volume(&nifti).expect("readable");
            assert_eq!(again.voxels, volume.voxels);
            assert!(again.grid.same_grid(&back.grid));
            close(&again.grid.affine, &grid.affine, 1e-5);
        }
    }
    assert_eq!(files_written(&dir.path().join("m.mhd")).len(), 2);
    assert!(dir.path().join("m.zraw").exists() && !dir.path().join("m.raw").exists());
    // A label map for a big-endian MetaImage.
    let text = format!("{HEADER}ElementByteOrderMSB = True\nElementType = MET_SHORT\nElementDataFile = LOCAL\n");
    let image = write(&dir, "image.mha", &text, &shorts(true));
    let header = read_header(&image).expect("readable");
    for (name, top) in [("l.mha", 255), ("l.mhd", 256), ("l.nii", 3), ("l.hdr", 700)] {
        let voxels: Vec<u16> = (0..VOXELS).map(|v| if v == 20 { top } else { (v % 4) as u16 }).collect();
        let labels = LabelMap { grid: header.grid(&image).expect("three axes"), voxels };
        let path = dir.path().join(name);
        write_label_map(&path, &labels, &header).expect("written");
        let back = read_label_map(&path).expect("readable");
        assert_eq!((back.grid.affine, back.grid.spacing), (AFFINE, [0.5, 1.25, 3.0]), "{name}");
        assert_eq!(back.voxels, labels.voxels, "{name}");
        let scalar = read_header(&path).expect("readable").scalar;
        assert_eq!(scalar, if top > 255 { Scalar::Uint16 } else { Scalar::Uint8 });
    }
    assert_eq!(output_name(&image), "image.mha");
    // A matrix printed with six digits, as scanners' files have it, comes back digit for digit.
    let printed = HEADER
        .replace("0 1 0 -1 0 0 0 0 1", "0.997416 -0.0150985 0.0702438 0 0.97767 0.210144 -0.071848 -0.2096 0.97514");
    let text = format!("{printed}ElementType = MET_SHORT\nElementDataFile = LOCAL\n");
    let header = read_header(&write(&dir, "printed.mha", &text, &shorts(false))).expect("readable");
    let labels = LabelMap { grid: header.grid(&image).expect("three axes"), voxels: vec![1; VOXELS] };
    write_label_map(&dir.path().join("printed_label.mha"), &labels, &header).expect("written");
    let back = read_header(&dir.path().join("printed_label.mha")).expect("readable");
    assert_eq!(back.spacing, [0.5, 1.25, 3.0]);
    close(&back.affine, &header.affine, 1e-15);
}

/// A volume whose first voxels look like the beginning of a gzip stream.
#[test]
fn bare_voxels_are_never_taken_for_gzip() {
    let dir = folder();
    let grid = Grid::axis_aligned([4, 3, 2], [1.0, 2.0, 3.0]);
    let mut voxels: Vec<f32> = (0..24u8).map(f32::from).collect();
    voxels[0] = f32::from(i16::from_le_bytes([0x1f, 0x8b]));
    let volume = Volume { grid: grid.clone(), voxels };
    let pair = dir.path().join("pair.hdr");
    write_volume_as(&pair, &volume, Scalar::Int16, &Header::for_grid(&grid)).expect("written");
    let bytes = std::fs::read(dir.path().join("pair.img")).expect("voxels");
    assert_eq!(bytes[..2], [0x1f, 0x8b]);
    assert_eq!(read_volume(&pair).expect("readable").voxels, volume.voxels);
    let text = "NDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\nElementDataFile = pair.img\n";
    assert_eq!(read_volume(&write(&dir, "p.mhd", text, &[])).expect("readable").voxels, volume.voxels);
    assert!(write_volume(&dir.path().join("p.png"), &volume).is_err());
}

proptest! {
    /// Whatever stands in the header, reading ends in a volume or an error.
    #[test]
    fn no_header_makes_the_reader_panic(
        changes in proptest::collection::vec((0usize..190, any::<u8>()), 1..8),
        compressed in any::<bool>(),
    ) {
        let dir = folder();
        let flag = if compressed { "True" } else { "False" };
        let text = format!("{HEADER}CompressedData = {flag}\nElementType = MET_SHORT\nElementDataFile = LOCAL\n");
        let mut bytes = text.into_bytes();
        bytes.extend(if compressed { zlib(&shorts(false)) } else { shorts(false) });
        for (at, value) in changes {
            bytes[at] = value;
        }
        let path = dir.path().join("fuzz.mha");
        std::fs::write(&path, &bytes).expect("written");
        let _ = inspect(&path);
        if let Ok(volume) = read_volume(&path) {
            prop_assert_eq!(volume.voxels.len(), volume.grid.voxel_count());
        }
    }
}
