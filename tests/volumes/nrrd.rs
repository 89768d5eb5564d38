//! NRRD: files that ITK, pynrrd and slicerio wrote, headers written here, and what the engine writes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use vnet_engine::data::inspect::inspect;
use vnet_engine::data::io::{
    ByteOrder, Header, Scalar, case_of, files_written, output_name, read_header, read_label_map, read_volume,
    read_volumes, write_label_map, write_probabilities, write_volume, write_volume_as,
};
use vnet_engine::data::{DataError, Grid, LabelMap, Volume};

use crate::crafted::{EXTENTS, OBLIQUE, VOXELS, close, folder, stored};

/// A header of 5 x 3 x 7 voxels without type, encoding and voxels.
pub const HEADER: &str = "NRRD0004\ndimension: 3\nsizes: 5 3 7\nspace: left-posterior-superior\n\
    space directions: (0,0.5,0) (-1.25,0,0) (0,0,3)\nspace origin: (4,-5,6)\nkinds: domain domain domain\n";
const SHORT: &str = "type: short\nendian: little\nencoding: raw\n";
/// The directions and the origin of [`HEADER`] with their first two rows negated.
const AFFINE: [[f64; 4]; 3] = [[0.0, 1.25, 0.0, -4.0], [-0.5, 0.0, 0.0, 5.0], [0.0, 0.0, 3.0, 6.0]];

pub fn write(dir: &TempDir, name: &str, text: &str, voxels: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, [text.as_bytes(), b"\n", voxels].concat()).expect("written");
    path
}

pub fn shorts(big: bool) -> Vec<u8> {
    (0..VOXELS).flat_map(|v| if big { stored(v).to_be_bytes() } else { stored(v).to_le_bytes() }).collect()
}

fn expected() -> Vec<f32> {
    (0..VOXELS).map(|v| f32::from(stored(v))).collect()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes every byte")
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/volumes").join(name)
}

#[test]
fn files_of_other_programs() {
    let facts: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(golden("nrrd.json")).expect("golden data")).expect("JSON");
    let affine: [[f64; 4]; 3] = serde_json::from_value(facts["affine"].clone()).expect("an affine");
    let channels: Vec<Vec<f32>> = serde_json::from_value(facts["channels"].clone()).expect("numbers");
    let files =
        [("itk.nrrd", 1, false), ("itk_vector.nrrd", 2, true), ("itk_four.nrrd", 2, false), ("pynrrd.nhdr", 2, true)];
    for (name, count, interleaved) in files {
        let header = read_header(&golden(name)).expect("a header");
        assert_eq!((header.scalar, header.interleaved), (Scalar::Int16, interleaved), "{name}");
        let volumes = read_volumes(&golden(name)).expect("readable");
        assert_eq!(volumes.len(), count, "{name}");
        for (volume, expected) in volumes.iter().zip(&channels) {
            assert_eq!(serde_json::json!(volume.grid.extents), facts["shape"], "{name}");
            close(&volume.grid.affine, &affine, 1e-12);
            assert_eq!(&volume.voxels, expected, "{name}");
        }
    }
    assert_eq!(read_header(&golden("pynrrd.nhdr")).expect("a header").byte_order, ByteOrder::Big);
    let path = golden("slicer.seg.nrrd");
    let header = read_header(&path).expect("a header");
    let segments: Vec<_> = header.segments().iter().map(|s| (s.value, s.name.as_str(), s.color)).collect();
    assert_eq!(segments, [(3, "left kidney", Some([0.5, 0.25, 1.0])), (7, "cyst", Some([0.0, 1.0, 0.75]))]);
    let labels = read_label_map(&path).expect("readable");
    close(&labels.grid.affine, &affine, 1e-12);
    assert_eq!(serde_json::json!(labels.voxels), facts["labels"]);
}

#[test]
fn every_way_to_store_voxels() {
    let dir = folder();
    let voxels = shorts(false);
    let raw = |more: &str| format!("{HEADER}{SHORT}{more}");
    let coded = |coding: &str, more: &str| raw(more).replace("encoding: raw", &format!("encoding: {coding}"));
    let text: String = (0..VOXELS).map(|v| format!("{}{}", stored(v), [" ", "\n", ", ", "\t\r\n"][v % 4])).collect();
    let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).expect("written");
    put("v.raw", &voxels);
    put("v.raw.gz", &gzip(&voxels));
    put("v.txt", text.as_bytes());
    put("skip.raw", &[b"one\ntwo\nseven__", &voxels[..]].concat());
    put("skip.raw.gz", &[b"one\ntwo\n", &gzip(&[b"seven__", &voxels[..]].concat())[..]].concat());
    put("skip.txt", format!("one\ntwo\nseven__{text}").as_bytes());
    for (number, slice) in voxels.chunks(30).enumerate() {
        put(&format!("s{:03}.raw", 3 + 2 * number), slice);
        put(&format!("s{:03}.gz", 3 + 2 * number), &gzip(slice));
    }
    let skips = "line skip: 2\nbyte skip: 7\n";
    let list = |ending: &str| (0..7).map(|n| format!("s{:03}.{ending}\n", 3 + 2 * n)).collect::<String>();
    let files = [
        write(&dir, "a.nrrd", &raw(""), &voxels),
        write(&dir, "b.nrrd", &raw("").replace("little", "BIG"), &shorts(true)),
        write(&dir, "c.nrrd", &coded("gzip", ""), &gzip(&voxels)),
        write(&dir, "d.nrrd", &coded("GZ", ""), &gzip(&voxels)),
        write(&dir, "e.nrrd", &coded("ascii", ""), text.as_bytes()),
        write(&dir, "f.nrrd", &coded("txt", "").replace("endian: little\n", ""), text.trim_end().as_bytes()),
        write(&dir, "g.nhdr", &raw("data file: v.raw\n"), &[]),
        write(&dir, "h.nhdr", &coded("gz", "datafile: ./v.raw.gz\n"), &[]),
        write(&dir, "i.nhdr", &coded("text", "data file: v.txt\n"), &[]),
        write(&dir, "j.nhdr", &raw(&format!("{skips}data file: skip.raw\n")), &[]),
        write(&dir, "k.nhdr", &coded("gzip", &format!("{skips}data file: skip.raw.gz\n")), &[]),
        write(&dir, "l.nhdr", &coded("ascii", &format!("{skips}data file: skip.txt\n")), &[]),
        write(&dir, "m.nhdr", &raw("byteskip: -1\ndata file: skip.raw\n"), &[]),
        write(&dir, "n.nrrd", &raw("lineskip: 1\nbyte skip: 3\n"), &[b"line\n\n\n\n", &voxels[..]].concat()),
        write(&dir, "o.nrrd", &raw("byte skip: -1\n"), &[b"\n\nmore", &voxels[..]].concat()),
        write(&dir, "p.nhdr", &raw(&format!("data file: LIST\n{}", list("raw"))), &[]),
        write(&dir, "q.nhdr", &coded("gzip", &format!("data file: LIST 2\n{}", list("gz"))), &[]),
        write(&dir, "r.nhdr", &raw("data file: s%03d.raw 3 15 2\n"), &[]),
        write(&dir, "s.nhdr", &raw("data file: ./s%03d.raw 3 15 2 2\n"), &[]),
        write(
            &dir,
            "u.nrrd",
            &raw("# a comment: with a colon\nkey:=a: b:=c\nname: x\nmeasurement frame: (1,0,0) (0,1,0) (0,0,1)\n"),
            &voxels,
        ),
    ];
    let no_end = dir.path().join("v.nhdr");
    std::fs::write(&no_end, raw("data file: v.raw").trim_end()).expect("written");
    for path in files.into_iter().chain([no_end]) {
        let volume = read_volume(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((volume.grid.extents, volume.grid.spacing), (EXTENTS, [0.5, 1.25, 3.0]), "{}", path.display());
        close(&volume.grid.affine, &AFFINE, 0.0);
        assert_eq!(volume.voxels, expected(), "{}", path.display());
        let header = read_header(&path).expect("a header");
        assert!(header.warnings.iter().all(|warning| warning.kind == "anisotropic"), "{:?}", header.warnings);
    }
    // Lines of Windows, the last of them empty.
    let windows = dir.path().join("w.nrrd");
    std::fs::write(&windows, [raw("\n").replace('\n', "\r\n").as_bytes(), &voxels].concat()).expect("written");
    assert_eq!(read_volume(&windows).expect("readable").voxels, expected());
}

#[test]
fn every_type_by_all_its_names() {
    let dir = folder();
    type Encode = fn(f64) -> Vec<u8>;
    let types: [(&str, Encode); 10] = [
        ("signed char|int8|int8_t", |v| (v as i8).to_be_bytes().to_vec()),
        ("uchar|unsigned char|uint8|uint8_t", |v| (v.abs() as u8).to_be_bytes().to_vec()),
        ("short|short int|signed short|signed short int|int16|int16_t", |v| (v as i16).to_be_bytes().to_vec()),
        ("ushort|unsigned short|unsigned short int|uint16|uint16_t", |v| (v.abs() as u16).to_be_bytes().to_vec()),
        ("int|signed int|int32|int32_t", |v| (v as i32).to_be_bytes().to_vec()),
        ("uint|unsigned  int|uint32|uint32_t", |v| (v.abs() as u32).to_be_bytes().to_vec()),
        ("longlong|long long|long long int|signed long long|signed long long int|int64|int64_t", |v| {
            (v as i64).to_be_bytes().to_vec()
        }),
        ("ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t", |v| {
            (v.abs() as u64).to_be_bytes().to_vec()
        }),
        ("float|Float", |v| (v as f32).to_be_bytes().to_vec()),
        ("double", |v| v.to_be_bytes().to_vec()),
    ];
    let values = [-1.0, 0.0, 100.0, 7.0, -33.0, 5.0];
    for (names, encode) in types {
        for (name, big) in names.split('|').flat_map(|name| [(name, false), (name, true)]) {
            let swap = |mut bytes: Vec<u8>| {
                if !big {
                    bytes.reverse();
                }
                bytes
            };
            let voxels: Vec<u8> = values.into_iter().flat_map(|v| swap(encode(v))).collect();
            let endian = if big { "big" } else { "little" };
            let text = format!("NRRD0001\nTYPE: {name}\nDimension: 3\nsizes: 3 1 2\nendian: {endian}\nencoding: raw\n");
            let volume = read_volume(&write(&dir, "t.nrrd", &text, &voxels)).expect("readable");
            let signed = !name.starts_with('u');
            let expected = values.map(|v| if signed { v as f32 } else { v.abs() as f32 });
            assert_eq!(volume.voxels, expected, "{name}, big {big}");
        }
    }
}

#[test]
fn spaces_lead_to_the_patient() {
    let dir = folder();
    let vectors = "space directions: (0.5,0.1,0) (-0.2,1.25,0.3) (0,-0.1,3)\nspace origin: (4,-5,6)\n";
    let base = [[0.5, -0.2, 0.0, 4.0], [0.1, 1.25, -0.1, -5.0], [0.0, 0.3, 3.0, 6.0]];
    let with = |signs: [f64; 3]| std::array::from_fn(|row| base[row].map(|value: f64| signs[row] * value));
    let times = "space directions: (0.5,0.1,0,0) (-0.2,1.25,0.3,0) (0,-0.1,3,0)\nspace origin: (4,-5,6,9)\n";
    let read = |space: &str, vectors: &str| {
        let text = format!("NRRD0005\ndimension: 3\nsizes: 5 3 7\n{space}\n{vectors}{SHORT}");
        let path = write(&dir, "s.nrrd", &text, &shorts(false));
        let header = read_header(&path).unwrap_or_else(|error| panic!("{space}: {error}"));
        assert_eq!(read_volume(&path).expect("readable").voxels, expected());
        (header.affine, header.warnings.iter().filter(|warning| warning.kind.contains("space")).count())
    };
    for (space, signs, warnings) in [
        ("space: right-anterior-superior", [1.0, 1.0, 1.0], 0),
        ("space: RAS", [1.0, 1.0, 1.0], 0),
        ("space: left-anterior-superior", [-1.0, 1.0, 1.0], 0),
        ("space: LAS", [-1.0, 1.0, 1.0], 0),
        ("space: Left-Posterior-Superior", [-1.0, -1.0, 1.0], 0),
        ("space: LPS", [-1.0, -1.0, 1.0], 0),
        ("space: scanner-xyz", [-1.0, -1.0, 1.0], 1),
        ("space: 3D-right-handed", [-1.0, -1.0, 1.0], 1),
        ("space dimension: 3", [-1.0, -1.0, 1.0], 1),
    ] {
        assert_eq!(read(space, vectors), (with(signs), warnings), "{space}");
    }
    for (space, signs) in [
        ("space: left-posterior-superior-time", [-1.0, -1.0, 1.0]),
        ("space: LPST", [-1.0, -1.0, 1.0]),
        ("space: RAST", [1.0, 1.0, 1.0]),
        ("space: right-anterior-superior-time", [1.0, 1.0, 1.0]),
        ("space: LAST", [-1.0, 1.0, 1.0]),
    ] {
        assert_eq!(read(space, times), (with(signs), 0), "{space}");
    }
    // Without directions: spacings, or nothing.
    let (affine, warnings) = read("spacings: 0.5 1.25 3", "");
    assert_eq!((affine[0][0], affine[1][1], affine[2][2], warnings), (-0.5, -1.25, 3.0, 1));
    let (affine, _) = read("# nothing", "");
    assert_eq!((affine[0][0], affine[1][1], affine[2][2]), (-1.0, -1.0, 1.0));
    // Units of the space and of the axes.
    for (unit, factor) in [("mm", 1.0), ("m", 1e3), ("cm", 1e1), ("um", 1e-3), ("furlong", 1.0), ("", 1.0)] {
        let text = format!("space: RAS\nspace units: \"{unit}\" \"{unit}\" \"{unit}\"");
        let expected: [[f64; 4]; 3] = base.map(|row| row.map(|value| value * factor));
        close(&read(&text, vectors).0, &expected, 1e-12 * factor);
        let text = format!("spacings: 0.5 1.25 3\nunits: \"{unit}\" \"{unit}\" \"{unit}\"");
        assert_eq!(read(&text, "").0[2][2], 3.0 * factor, "{unit}");
    }
}

#[test]
fn channels_are_the_first_or_the_last_axis() {
    let dir = folder();
    let planar: Vec<u8> = (0..2 * VOXELS).flat_map(|v| stored(v).to_le_bytes()).collect();
    let beside: Vec<u8> = (0..2 * VOXELS).flat_map(|v| stored(v % 2 * VOXELS + v / 2).to_le_bytes()).collect();
    let vectors = ["(0,0.5,0)", "(-1.25,0,0)", "(0,0,3)"].join(" ");
    let head = |sizes: &str, more: &str| {
        let axes = sizes.split(' ').count();
        format!("NRRD0005\ndimension: {axes}\nsizes: {sizes}\nspace origin: (4,-5,6)\n{more}\n{SHORT}")
    };
    let lps = |directions: &str| format!("space: LPS\nspace directions: {directions}");
    for (text, interleaved, has_directions) in [
        (head("2 5 3 7", &lps(&format!("none {vectors}"))), true, true),
        (head("5 3 7 2", &lps(&format!("{vectors} none"))), false, true),
        (head("5 3 7 2", &lps(&format!("{vectors} (nan,nan,nan)"))), false, true),
        (head("2 5 3 7", "kinds: vector domain domain domain"), true, false),
        (head("5 3 7 2", "kinds: domain domain domain list"), false, false),
        (head("5 3 7 2", "kinds: domain domain domain domain"), false, false),
        (head("5 3 7 2", "# neither"), false, false),
        (head("2 5 3 7", "kinds: list space space space"), true, false),
        // Axes of one element may lie anywhere.
        (head("1 2 5 1 3 7", &lps("none none (0,0.5,0) none (-1.25,0,0) (0,0,3)")), true, true),
    ] {
        let path = write(&dir, "c.nrrd", &text, if interleaved { &beside } else { &planar });
        let header = read_header(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((header.channels(&path).expect("channels"), header.interleaved), (2, interleaved), "{text}");
        let volumes = read_volumes(&path).expect("readable");
        assert_eq!(volumes.len(), 2, "{text}");
        for (channel, volume) in volumes.iter().enumerate() {
            let expected: Vec<f32> = (0..VOXELS).map(|v| f32::from(stored(channel * VOXELS + v))).collect();
            assert_eq!((volume.grid.extents, &volume.voxels), (EXTENTS, &expected), "{text}");
            if has_directions {
                close(&volume.grid.affine, &AFFINE, 0.0);
            }
        }
    }
    let refused = |text: &str, words: &str| {
        let path = write(&dir, "c.nrrd", text, &planar);
        let error = read_volumes(&path).expect_err(words).to_string();
        assert!(error.contains(words) && !error.contains('\n'), "{error}, expected {words}");
    };
    let between = lps("(0,0.5,0) none (-1.25,0,0) (0,0,3)");
    refused(&head("5 2 3 7", &between), "before or after those of space");
    refused(&head("2 5 3 7 2", &lps(&format!("none {vectors} none"))), "before or after those of space");
    refused(&head("5 3 7 2", &lps(&format!("{vectors} (1,1,1)"))), "4 are axes of space");
    refused(&head("2 5", "kinds: list list"), "0 are axes of space");
    refused(&head("2 5 3 7", "kinds: list domain"), "kinds is \"list domain\"");
}

/// By every ending of NRRD, and in every type: voxels, affine and type stay.
#[test]
fn what_is_written_is_read() {
    let dir = folder();
    let grid = Grid { extents: EXTENTS, spacing: [0.492_848, 1.240_967, 2.958_04], affine: OBLIQUE };
    let volume = Volume { grid: grid.clone(), voxels: expected() };
    for (number, name) in ["a.nrrd", "b.nhdr", "c.NRRD", "d.seg.nrrd"].into_iter().enumerate() {
        let path = dir.path().join(name);
        write_volume(&path, &volume).expect("written");
        let back = read_volume(&path).expect("readable");
        assert_eq!(back.voxels, volume.voxels, "{name}");
        close(&back.grid.affine, &OBLIQUE, 1e-6);
        let header = read_header(&path).expect("a header");
        assert_eq!((header.scalar, header.is_probability()), (Scalar::Float32, false));
        assert!(header.segments().is_empty(), "intensities are no segments");
        // NRRD to NRRD: not a bit of the geometry changes.
        let again = dir.path().join(format!("again_{number}.nrrd"));
        for scalar in [Scalar::Int8, Scalar::Int16, Scalar::Int32, Scalar::Int64, Scalar::Float32, Scalar::Float64] {
            let small = Volume { grid: grid.clone(), voxels: expected().iter().map(|v| (v / 2.0).floor()).collect() };
            write_volume_as(&again, &small, scalar, &header).expect("written");
            let back = read_header(&again).expect("a header");
            assert_eq!((back.affine, back.spacing, back.scalar), (header.affine, header.spacing, scalar));
            assert_eq!(read_volume(&again).expect("readable").voxels, small.voxels);
        }
        write_probabilities(&again, &volume, &header).expect("written");
        assert!(read_header(&again).expect("a header").is_probability());
        // What is made of probabilities is none.
        let labels = LabelMap { grid: grid.clone(), voxels: (0..VOXELS).map(|v| (v * 7) as u16).collect() };
        write_label_map(&dir.path().join("l.nii"), &labels, &read_header(&again).expect("a header")).expect("written");
        write_label_map(&again, &labels, &read_header(&dir.path().join("l.nii")).expect("a header")).expect("written");
        assert_eq!(read_label_map(&again).expect("readable").voxels, labels.voxels);
        assert_eq!((read_header(&again).expect("a header").scalar), Scalar::Uint16);
    }
    let names = |name: &str| {
        files_written(&dir.path().join(name))
            .iter()
            .map(|p| p.strip_prefix(dir.path()).expect("in it").display().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (names("b.nhdr"), names("a.nrrd")),
        (vec!["b.raw.gz".into(), "b.nhdr".into()], vec!["a.nrrd".to_owned()])
    );
    assert_eq!(output_name(Path::new("in/a.nrrd")), "a.nrrd");
    assert_eq!([case_of("a.nrrd"), case_of("a.seg.nrrd"), case_of("a.nhdr")], [Some("a"); 3]);
    // Equal content gives equal files.
    let [one, two] = ["x.nrrd", "y.nrrd"].map(|name| {
        write_volume(&dir.path().join(name), &volume).expect("written");
        std::fs::read(dir.path().join(name)).expect("there")
    });
    assert_eq!(one, two);
    // A disc that is full, or no folder: nothing is left behind.
    assert!(matches!(write_volume(&dir.path().join("none/a.nrrd"), &volume), Err(DataError::Io { .. })));
    let header = Header::for_grid(&grid);
    assert!(write_volume_as(&dir.path().join("z.nrrd"), &volume, Scalar::Uint8, &header).is_err(), "negative values");
    assert!(!dir.path().join("z.nrrd").exists());
}

#[test]
fn headers_that_cannot_be_right() {
    let dir = folder();
    let good = format!("{HEADER}{SHORT}");
    let swapped = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let coded = |coding: &str| swapped("encoding: raw", &format!("encoding: {coding}"));
    for (text, expected) in [
        (swapped("NRRD0004", "NRRD0006"), "the first line is \"NRRD0006\", expected NRRD0001 to NRRD0005"),
        (swapped("NRRD0004", "P5"), "the first line is \"P5\""),
        (swapped("dimension: 3\n", ""), "dimension is absent"),
        (swapped("dimension: 3", "dimension: 900"), "dimension is 900"),
        (swapped("dimension: 3", "dimension: -3"), "dimension is \"-3\""),
        (swapped("sizes: 5 3 7", "sizes: 5 3"), "sizes is \"5 3\""),
        (swapped("sizes: 5 3 7\n", ""), "sizes is absent"),
        (swapped("sizes: 5 3 7", "sizes: 5 0 7"), "sizes is [5, 0, 7]"),
        (swapped("5 3 7", "4294967296 4294967296 2"), "less than 2^61 voxels"),
        (swapped("5 3 7", "5000 300 70"), "the file is cut short"),
        (swapped("type: short", "type: block"), "type is \"block\""),
        (swapped("type: short", "type: char"), "type is \"char\""),
        (swapped("type: short\n", ""), "type is absent"),
        (swapped("endian: little\n", ""), "endian is absent"),
        (swapped("endian: little", "endian: middle"), "endian is \"middle\""),
        (swapped("encoding: raw\n", ""), "encoding is absent"),
        (coded("bzip2"), "encoding is \"bzip2\", expected raw, gzip or ascii"),
        (coded("hex"), "encoding is \"hex\""),
        (coded("gzip"), "compressed stream is damaged"),
        (format!("{}byte skip: -1\n", coded("gzip")), "byte skip is -1"),
        (format!("{good}byte skip: -7\n"), "byte skip is -7"),
        (format!("{good}byte skip: 9999\n"), "the file is cut short"),
        (format!("{good}line skip: 9999999999999999\n"), "the file is cut short"),
        (format!("{good}line skip: -1\n"), "line skip is \"-1\""),
        (swapped("(0,0.5,0)", "(0,0,0)"), "three independent"),
        (swapped("(0,0.5,0)", "(0,inf,0)"), "three independent finite"),
        (swapped("(0,0.5,0)", "(0,0.5)"), "space directions is"),
        (swapped("(0,0.5,0)", "0,0.5,0"), "space directions is"),
        (swapped("(4,-5,6)", "(4,-5)"), "space origin is"),
        (swapped("(4,-5,6)", "4 -5 6"), "space origin is"),
        (format!("{good}no colon\n"), "line is \"no colon\""),
        (format!("{good}data file: absent.raw\n"), "absent.raw: cannot open"),
        (format!("{good}data file:\n"), "data file is \"\""),
        (format!("{good}data file: LIST\n"), "data file is 0 files"),
        (format!("{good}data file: LIST\na\na\na\n"), "3 files, 1 of them different"),
        (format!("{good}data file: LIST\na\nb\n"), "data file is 2 files for 105 voxels"),
        (format!("{good}data file: s%d%s 1 7 1\n"), "data file is \"s%d%s 1 7 1\""),
        (format!("{good}data file: s%d.raw 1 99999999 1\n"), "data file is"),
    ] {
        // What follows a list is more names.
        let voxels = if text.contains("LIST") { Vec::new() } else { shorts(false) };
        let path = write(&dir, "wrong.nrrd", &text, &voxels);
        let error = read_volume(&path).expect_err(expected).to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}, expected {expected}");
        assert!(error.starts_with(&dir.path().display().to_string()), "{error}");
    }
    let texts = [
        ("1 2 3", "the file is cut short"),
        ("1 2 3 a", "number 3 of the text is \"a\", expected int16"),
        ("1 70000", "number 1 of the text is \"70000\""),
        ("1 2.5", "number 1 of the text is \"2.5\""),
        (&"1".repeat(500), "number 0 of the text is"),
    ];
    for (text, expected) in texts {
        let path = write(&dir, "text.nrrd", &coded("ascii"), text.as_bytes());
        // 105 numbers need 209 bytes.
        let error = read_volume(&path).expect_err(expected).to_string();
        assert_eq!(error.contains("the file is cut short"), text.len() < 209, "{error}");
        let path = write(&dir, "text.nrrd", &coded("ascii"), format!("{text}{}", " ".repeat(300)).as_bytes());
        let error = read_volume(&path).expect_err(expected).to_string();
        let expected =
            if expected.contains("short") { "the text ends after 3 numbers, expected 105" } else { expected };
        assert!(error.contains(expected), "{error}, expected {expected}");
    }
    let cut = write(&dir, "cut.nrrd", &good, &shorts(false)[..209]);
    assert!(matches!(read_volume(&cut), Err(DataError::Truncated { .. })));
    let packed = gzip(&shorts(false));
    let cut = write(&dir, "cut.nrrd", &coded("gzip"), &packed[..packed.len() - 9]);
    assert!(matches!(read_volume(&cut), Err(DataError::Compressed { .. })));
    let short = write(&dir, "short.nrrd", &coded("gzip"), &gzip(&shorts(false)[..208]));
    assert!(matches!(read_volume(&short), Err(DataError::Truncated { needed: 210, found: 208, .. })));
    let huge = write(&dir, "huge.nrrd", &coded("gzip").replace("5 3 7", "5000 3000 700"), &packed);
    assert!(matches!(read_volume(&huge), Err(DataError::Truncated { .. })));
    // A header without an end.
    let endless = dir.path().join("endless.nrrd");
    std::fs::write(&endless, format!("{good}{}", "# more\n".repeat(800_000))).expect("written");
    assert!(read_volume(&endless).expect_err("no end").to_string().contains("within 4 MiB"));
}

proptest! {
    /// Whatever stands in the header, reading ends in a volume or an error.
    #[test]
    fn no_header_makes_the_reader_panic(
        changes in proptest::collection::vec((0usize..230, any::<u8>()), 1..8),
        compressed in any::<bool>(),
    ) {
        let dir = folder();
        let coding = if compressed { "gzip" } else { "raw" };
        let text = format!("{HEADER}{SHORT}\n").replace("encoding: raw", &format!("encoding: {coding}"));
        let mut bytes = text.into_bytes();
        bytes.extend(if compressed { gzip(&shorts(false)) } else { shorts(false) });
        for (at, value) in changes {
            bytes[at] = value;
        }
        let path = dir.path().join("fuzz.nrrd");
        std::fs::write(&path, &bytes).expect("written");
        let _ = inspect(&path);
        if let Ok(volume) = read_volume(&path) {
            prop_assert_eq!(volume.voxels.len(), volume.grid.voxel_count());
        }
    }
}
