//! Volumes, label maps and folders.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::crafted::{Crafted, VOXELS, stored};
use crate::enhanced::{Enhanced, Frame, enhanced, fragments, frame};
use crate::files::{DataSet, PutInto, bomb, changed, gzipped, header, image, label, metaimage, typed};
use crate::slices::{RLE, Slice, Start, element, encapsulated, object, slice};
use crate::{Case, dry_run};

/// A data set whose image `b` is this file.
fn with_image(root: &Path, name: &str, file: &dyn PutInto) -> Vec<String> {
    file.put_into(&DataSet::new(root).replace_image(name));
    dry_run(&[])
}

fn with_label(root: &Path, name: &str, file: &dyn PutInto) -> Vec<String> {
    file.put_into(&DataSet::new(root).replace_label(name));
    dry_run(&[])
}

/// A data set whose image `b` is a symbolic link.
fn with_link(root: &Path, to: &str) -> Vec<String> {
    symlink(to, DataSet::new(root).replace_image("b.nii")).expect("a link");
    dry_run(&[])
}

fn short(value: i16) -> [u8; 2] {
    value.to_be_bytes()
}

fn float(value: f32) -> [u8; 4] {
    value.to_be_bytes()
}

fn two_to_the_120() -> Crafted {
    Crafted::new(true, true, 64, 64).dim(&[3, 1 << 40, 1 << 40, 1 << 40, 1, 1, 1, 1])
}

fn seven_axes() -> Crafted {
    Crafted::new(true, false, 2, 8).dim(&[7, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1, 1, 1])
}

fn cut(bytes: &[u8], by: usize) -> Vec<u8> {
    bytes[..bytes.len() - by].to_vec()
}

fn flipped(mut bytes: Vec<u8>, from_the_end: usize) -> Vec<u8> {
    let at = bytes.len() - from_the_end;
    bytes[at] ^= 0x10;
    bytes
}

fn singular() -> [[f64; 4]; 3] {
    [[1.0, 2.0, 0.0, 0.0], [2.0, 4.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
}

fn floats(special: f32) -> Crafted {
    typed(16, 32).f32s((0..VOXELS).map(|v| if v == 51 { special } else { (v % 3) as f32 }))
}

fn doubles(value: f64) -> Crafted {
    let mut file = typed(64, 64);
    file.bytes.extend((0..VOXELS).flat_map(|_| value.to_le_bytes()));
    file
}

const B: &str = "b.nii";

pub const NIFTI: &[Case] = &[
    Case { name: "no bytes", make: |r| with_image(r, B, &Vec::new()), words: &["b.nii", "cut short", "348"] },
    Case { name: "three bytes", make: |r| with_image(r, B, &vec![92, 1, 0]), words: &["b.nii", "cut short"] },
    Case {
        name: "header without voxels",
        make: |r| with_image(r, B, &header()),
        words: &["b.nii", "562 bytes", "352"],
    },
    Case {
        name: "one byte short",
        make: |r| with_image(r, B, &cut(&image().bytes, 1)),
        words: &["b.nii", "cut short"],
    },
    Case {
        name: "terabytes",
        make: |r| with_image(r, B, &header().dim(&[3, 32_000, 32_000, 32_000, 1, 1, 1, 1])),
        words: &["b.nii", "32000 x 32000 x 32000 voxels, expected at most"],
    },
    Case {
        name: "two gigabytes of nothing",
        make: |r| with_image(r, B, &header().dim(&[3, 1000, 1000, 1000, 1, 1, 1, 1])),
        words: &["b.nii", "2000000352 bytes are expected", "grid"],
    },
    Case { name: "2^120 voxels", make: |r| with_image(r, B, &two_to_the_120()), words: &["b.nii", "voxels"] },
    Case {
        name: "2^80 voxels on four axes",
        make: |r| with_image(r, B, &seven_axes()),
        words: &["b.nii", "at most 64 channels"],
    },
    Case {
        name: "negative extent",
        make: |r| with_image(r, B, &image().dim(&[3, 5, -3, 7, 1, 1, 1, 1])),
        words: &["b.nii", "dim is [3, 5, -3"],
    },
    Case {
        name: "extent 0",
        make: |r| with_image(r, B, &image().dim(&[3, 5, 0, 7, 1, 1, 1, 1])),
        words: &["b.nii", "dim is [3, 5, 0"],
    },
    Case {
        name: "nine axes",
        make: |r| with_image(r, B, &image().dim(&[9, 5, 3, 7, 1, 1, 1, 1])),
        words: &["b.nii", "dim is [9"],
    },
    Case {
        name: "series over time",
        make: |r| with_image(r, B, &image().dim(&[4, 5, 3, 1, 7, 1, 1, 1])),
        words: &["b.nii", "7 channels, expected 1 channel"],
    },
    Case {
        name: "one slice",
        make: |r| with_image(r, B, &image().dim(&[2, 35, 3, 1, 1, 1, 1, 1])),
        words: &["b.nii", "35 x 3", "three axes"],
    },
    Case {
        name: "wrong sizeof_hdr",
        make: |r| with_image(r, B, &changed(image(), 0, &347i32.to_be_bytes())),
        words: &["b.nii", "sizeof_hdr is 347", "348"],
    },
    Case {
        name: "ANALYZE 7.5",
        make: |r| with_image(r, B, &changed(image(), 344, &[0; 4])),
        words: &["b.nii", "ANALYZE"],
    },
    Case {
        name: "magic with control characters",
        make: |r| with_image(r, B, &changed(image(), 344, b"\0\n\x1b[")),
        words: &["b.nii", "magic"],
    },
    Case {
        name: "unknown type",
        make: |r| with_image(r, B, &changed(image(), 70, &short(2826))),
        words: &["b.nii", "datatype is 2826"],
    },
    Case {
        name: "colours",
        make: |r| with_image(r, B, &changed(image(), 70, &short(128))),
        words: &["b.nii", "rgb24"],
    },
    Case {
        name: "complex numbers",
        make: |r| with_image(r, B, &changed(image(), 70, &short(32))),
        words: &["b.nii", "complex64"],
    },
    Case {
        name: "float128",
        make: |r| with_image(r, B, &changed(image(), 70, &short(1536))),
        words: &["b.nii", "float128"],
    },
    Case {
        name: "voxels within the header",
        make: |r| with_image(r, B, &changed(image(), 108, &float(100.0))),
        words: &["b.nii", "vox_offset is 100"],
    },
    Case {
        name: "voxels nowhere",
        make: |r| with_image(r, B, &changed(image(), 108, &float(f32::NAN))),
        words: &["b.nii", "vox_offset is NaN"],
    },
    Case {
        name: "voxels far after the header",
        make: |r| with_image(r, B, &changed(image(), 108, &float(1e30))),
        words: &["b.nii", "cut short"],
    },
    Case {
        name: "dependent axes",
        make: |r| with_image(r, B, &image().sform(1, singular())),
        words: &["b.nii", "independent"],
    },
    Case {
        name: "affine of NaN",
        make: |r| with_image(r, B, &image().sform(1, [[f64::NAN; 4]; 3])),
        words: &["b.nii", "finite axes"],
    },
    Case {
        name: "infinite spacing",
        make: |r| with_image(r, B, &image().pixdim(&[1.0, f64::INFINITY, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])),
        words: &["b.nii", "finite"],
    },
    Case {
        name: "intercept of NaN",
        make: |r| with_image(r, B, &image().scaling(2.0, f64::NAN)),
        words: &["b.nii", "scl_inter is NaN"],
    },
    Case {
        name: "one voxel of NaN",
        make: |r| with_image(r, B, &floats(f32::NAN)),
        words: &["b.nii", "1 of 105 voxels are NaN or infinite", "[1, 1, 3]"],
    },
    Case {
        name: "beyond float32",
        make: |r| with_image(r, B, &doubles(1e300)),
        words: &["b.nii", "105 of 105 voxels"],
    },
    Case {
        name: "cut gzip",
        make: |r| with_image(r, "b.nii.gz", &cut(&gzipped(&image().bytes), 30)),
        words: &["b.nii.gz", "damaged or cut short"],
    },
    Case {
        name: "wrong checksum",
        make: |r| with_image(r, "b.nii.gz", &flipped(gzipped(&image().bytes), 6)),
        words: &["b.nii.gz", "damaged or cut short"],
    },
    Case {
        name: "gzip of a text",
        make: |r| with_image(r, "b.nii.gz", &gzipped("no volume ".repeat(99).as_bytes())),
        words: &["b.nii.gz", "sizeof_hdr"],
    },
    Case {
        name: "gzip bomb of 10^11 voxels",
        make: |r| with_image(r, "b.nii.gz", &bomb(&header().dim(&[3, 5000, 5000, 4000, 1, 1, 1, 1]).bytes, 20)),
        words: &["b.nii.gz", "5000 x 5000 x 4000 voxels"],
    },
    Case {
        name: "gzip bomb within bounds",
        make: |r| with_image(r, "b.nii.gz", &bomb(&header().dim(&[3, 1000, 1000, 300, 1, 1, 1, 1]).bytes, 75)),
        words: &["b.nii", "extents (x, y, z) are [5, 3, 7] instead of [1000, 1000, 300]"],
    },
    Case {
        name: "gzip bomb that ends early",
        make: |r| with_image(r, "b.nii.gz", &bomb(&header().dim(&[3, 5, 3, 20_000, 1, 1, 1, 1]).bytes, 0)),
        words: &["b.nii.gz", "cut short", "grid"],
    },
    Case {
        name: "pair without voxels",
        make: |r| with_image(r, "b.hdr", &changed(header(), 344, b"\x001in")),
        words: &["b.img", "cannot open"],
    },
    Case {
        name: "pair in one file",
        make: |r| with_image(r, B, &changed(image(), 344, b"\x001in")),
        words: &["b.nii", "magic is a pair's"],
    },
    Case {
        name: "pipe",
        make: |r| {
            let path = DataSet::new(r).replace_image(B);
            assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
            dry_run(&[])
        },
        words: &["b.nii", "a pipe or a device"],
    },
    Case { name: "device", make: |r| with_link(r, "/dev/zero"), words: &["b.nii", "a pipe or a device"] },
    Case { name: "link to itself", make: |r| with_link(r, B), words: &["b.nii", "symbolic links"] },
    Case { name: "link to nothing", make: |r| with_link(r, "absent.nii"), words: &["b.nii", "a link to absent.nii"] },
];

const M: &str = "b.mha";

pub const METAIMAGE: &[Case] = &[
    Case {
        name: "empty header",
        make: |r| with_image(r, M, &Vec::new()),
        words: &["b.mha", "ElementDataFile is absent"],
    },
    Case {
        name: "no header",
        make: |r| with_image(r, M, &(0..=255u8).cycle().take(9000).collect::<Vec<_>>()),
        words: &["b.mha", "line is"],
    },
    Case {
        name: "header without end",
        make: |r| with_image(r, M, &b"Comment = x\n".repeat(5000)),
        words: &["b.mha", "ElementDataFile is absent"],
    },
    Case { name: "no axes", make: |r| with_image(r, M, &metaimage("NDims = 0")), words: &["b.mha", "NDims is 0"] },
    Case { name: "99 axes", make: |r| with_image(r, M, &metaimage("NDims = 99")), words: &["b.mha", "NDims is 99"] },
    Case {
        name: "negative DimSize",
        make: |r| with_image(r, M, &metaimage("DimSize = 5 -3 7")),
        words: &["b.mha", "DimSize is \"5 -3 7\""],
    },
    Case {
        name: "DimSize of two",
        make: |r| with_image(r, M, &metaimage("DimSize = 5 21")),
        words: &["b.mha", "DimSize is \"5 21\""],
    },
    Case {
        name: "DimSize of a million cubed",
        make: |r| with_image(r, M, &metaimage("DimSize = 1000000 1000000 1000000")),
        words: &["b.mha", "voxels, expected at most"],
    },
    Case {
        name: "DimSize beyond 2^64",
        make: |r| with_image(r, M, &metaimage("DimSize = 18446744073709551615 18446744073709551615 2")),
        words: &["b.mha", "voxels"],
    },
    Case {
        name: "unknown ElementType",
        make: |r| with_image(r, M, &metaimage("ElementType = MET_STRING")),
        words: &["b.mha", "ElementType is \"MET_STRING\""],
    },
    Case {
        name: "spacing 0",
        make: |r| with_image(r, M, &metaimage("ElementSpacing = 0.5 0 3")),
        words: &["b.mha", "ElementSpacing is [0.5, 0.0, 3.0]"],
    },
    Case {
        name: "spacing of nan",
        make: |r| with_image(r, M, &metaimage("ElementSpacing = 0.5 nan 3")),
        words: &["b.mha", "ElementSpacing"],
    },
    Case {
        name: "dependent directions",
        make: |r| with_image(r, M, &metaimage("TransformMatrix = 1 0 0 1 0 0 0 0 1")),
        words: &["b.mha", "TransformMatrix", "independent"],
    },
    Case {
        name: "voxel file that is absent",
        make: |r| with_image(r, "b.mhd", &metaimage("ElementDataFile = absent.raw")),
        words: &["absent.raw", "cannot open"],
    },
    Case {
        name: "voxel file that is a device",
        make: |r| with_image(r, "b.mhd", &metaimage("ElementDataFile = /dev/zero")),
        words: &["/dev/zero", "a pipe or a device"],
    },
    Case {
        name: "voxel file that is the folder",
        make: |r| with_image(r, "b.mhd", &metaimage("ElementDataFile = ..")),
        words: &["..", "directory"],
    },
    Case {
        name: "voxels cut",
        make: |r| with_image(r, M, &cut(&metaimage("NDims = 3"), 1)),
        words: &["b.mha", "cut short"],
    },
    Case {
        name: "voxels that are no zlib",
        make: |r| with_image(r, M, &metaimage("CompressedData = True")),
        words: &["b.mha", "damaged"],
    },
    Case {
        name: "compressed beyond the file",
        make: |r| {
            let mut text = metaimage("CompressedData = True");
            text.splice(0..0, *b"CompressedDataSize = 99999999999\n");
            with_image(r, M, &text)
        },
        words: &["b.mha", "cut short"],
    },
    Case {
        name: "text voxels",
        make: |r| with_image(r, M, &metaimage("BinaryData = False")),
        words: &["b.mha", "BinaryData"],
    },
    Case {
        name: "list of files",
        make: |r| with_image(r, M, &metaimage("ElementDataFile = LIST")),
        words: &["b.mha", "ElementDataFile is \"LIST\""],
    },
    Case {
        name: "negative HeaderSize",
        make: |r| with_image(r, M, &metaimage("HeaderSize = -5")),
        words: &["b.mha", "HeaderSize is -5"],
    },
    Case {
        name: "seven channels",
        make: |r| with_image(r, M, &metaimage("ElementNumberOfChannels = 7")),
        words: &["b.mha", "cut short"],
    },
];

/// A data set whose image `b` is a series of these slices.
fn with_series(root: &Path, slices: &[Slice]) -> Vec<String> {
    let folder = DataSet::new(root).replace_image("b");
    std::fs::create_dir(&folder).expect("created");
    for (number, slice) in slices.iter().enumerate() {
        slice.write(&folder, &format!("IM{number}"));
    }
    dry_run(&[])
}

/// A data set whose image `b` is one slice with its bytes changed.
fn with_file(root: &Path, slice: &Slice, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<String> {
    let arguments = with_series(root, std::slice::from_ref(slice));
    let path = root.join("data/images/b/IM0");
    let bytes = std::fs::read(&path).expect("read");
    std::fs::write(path, change(bytes)).expect("written");
    arguments
}

/// The file with more elements in front of all others of its data set.
fn with_elements(bytes: &[u8], elements: &[u8]) -> Vec<u8> {
    let (meta, rest) = bytes.split_at(data_set(bytes));
    [meta, elements, rest].concat()
}

/// Where the data set of a file begins.
fn data_set(bytes: &[u8]) -> usize {
    bytes.windows(4).position(|window| window == [8, 0, 0x60, 0]).expect("the data set")
}

/// Replaces the value of an unsigned short of group 0028.
fn with_short(mut bytes: Vec<u8>, number: u8, value: u16) -> Vec<u8> {
    let tag = [0x28, 0, number, 0, b'U', b'S', 2, 0];
    let at = bytes.windows(8).position(|window| window == tag).expect("the attribute") + 8;
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    bytes
}

const JPEG: &str = "1.2.840.10008.1.2.4.70";

/// The file with a lossless JPEG image of 64 x 64 zeros in place of its pixels.
fn with_jpeg(bytes: Vec<u8>) -> Vec<u8> {
    let at = bytes.windows(4).position(|window| window == [0xE0, 0x7F, 0x10, 0]).expect("pixels");
    let mut image = vec![0xFF, 0xD8, 0xFF, 0xC3, 0, 11, 16, 0, 64, 0, 64, 1, 1, 0x11, 0];
    image.extend([0xFF, 0xC4, 0, 20, 0, 1]);
    image.extend([0; 16]);
    image.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 0, 0]);
    image.extend([0; 512]);
    image.extend([0xFF, 0xD9]);
    let mut pixels = encapsulated(&[0]);
    // The fragment after the empty offset table: 8 bytes of header, then 64 of segments and two of run lengths each.
    let fragment = 12 + 8;
    pixels.truncate(fragment);
    pixels.extend([0xFE, 0xFF, 0, 0xE0]);
    pixels.extend((image.len() as u32 + image.len() as u32 % 2).to_le_bytes());
    pixels.extend(&image);
    pixels.resize(pixels.len().next_multiple_of(2), 0);
    pixels.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    [&bytes[..at], &pixels].concat()
}

/// The file with 300 MB of deflated zeros in place of its data set.
fn deflated_bomb(bytes: Vec<u8>) -> Vec<u8> {
    use std::io::{Read as _, Write as _};
    let meta = bytes[..data_set(&bytes)].to_vec();
    let mut encoder = flate2::write::DeflateEncoder::new(meta, flate2::Compression::fast());
    std::io::copy(&mut std::io::repeat(0).take(300_000_000), &mut encoder).expect("written");
    encoder.flush().expect("written");
    encoder.finish().expect("written")
}

/// A data set whose image `b` is a series of eight slices like that.
fn deflated_bombs(root: &Path) -> Vec<String> {
    let arguments = with_file(root, &Slice { syntax: DEFLATED, ..slice(0) }, deflated_bomb);
    let folder = root.join("data/images/b");
    for number in 1..8 {
        std::fs::copy(folder.join("IM0"), folder.join(format!("IM{number}"))).expect("copied");
    }
    arguments
}

/// Where the pixels of a file without representations begin.
fn data_of(bytes: &[u8]) -> usize {
    bytes.windows(4).position(|window| window == [0xE0, 0x7F, 0x10, 0]).expect("the pixels")
}

/// The file without its last bytes.
fn cut_bytes(mut bytes: Vec<u8>, count: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - count);
    bytes
}

/// A slice of 64 MB of elements without value, each with another tag.
fn with_many_elements(bytes: Vec<u8>) -> Vec<u8> {
    let element = |tag: u32| [&(0x0029_0000 + tag).rotate_right(16).to_le_bytes()[..], b"US\0\0"].concat();
    with_elements(&bytes, &(0..8_000_000).flat_map(element).collect::<Vec<u8>>())
}

const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

/// JPEG-LS without losses.
const PREDICTION: &str = "1.2.840.10008.1.2.4.80";
/// The headers of a JPEG-LS image of 65535 x 65535 pixels.
const PREDICTED: &[u8] = b"\xFF\xD8\xFF\xF7\0\x0B\x0C\xFF\xFF\xFF\xFF\x01\x01\x11\0\xFF\xDA\0\x08\x01\x01\0\0\0\0";
/// A sequence and an item, both without an end.
const DEEP: &[u8] = b"\x18\0\x14\x91SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF";

/// A data set whose image `b` is a folder with one multi-frame file, which is changed before and after it is made bytes.
fn with_frames(root: &Path, change: impl Fn(&mut Enhanced), bytes: impl Fn(Vec<u8>) -> Vec<u8>) -> Vec<String> {
    let dir = DataSet::new(root).replace_image("b");
    std::fs::create_dir(&dir).expect("created");
    let mut file = enhanced(vec![frame(0)]);
    change(&mut file);
    std::fs::write(dir.join("IM0"), bytes(file.bytes())).expect("written");
    dry_run(&[])
}

pub const DICOM: &[Case] = &[
    Case { name: "slice cut", make: |r| with_file(r, &slice(0), |bytes| cut(&bytes, 5)), words: &["IM0", "cut short"] },
    Case {
        name: "element of 4 GiB",
        make: |r| {
            with_file(r, &slice(0), |bytes| {
                with_elements(&bytes, &[9, 0, 0x10, 0, b'O', b'B', 0, 0, 0xFE, 0xFF, 0xFF, 0xFF])
            })
        },
        words: &["IM0", "cut short", "429496"],
    },
    Case {
        name: "deflate bomb",
        make: |r| with_file(r, &Slice { syntax: DEFLATED, ..slice(0) }, deflated_bomb),
        words: &["IM0", "deflated", "at most"],
    },
    Case { name: "eight deflate bombs", make: deflated_bombs, words: &["images/b/IM", "deflated", "at most"] },
    Case {
        name: "eight million elements",
        make: |r| with_file(r, &Slice { columns: 5, ..slice(0) }, with_many_elements),
        words: &["IM0", "cut short"],
    },
    Case {
        name: "4 GiB of run lengths",
        make: |r| {
            with_file(r, &Slice { syntax: RLE, ..slice(0) }, |bytes| {
                with_short(with_short(bytes, 0x10, 65535), 0x11, 65535)
            })
        },
        words: &["IM0", "cut short"],
    },
    Case {
        name: "JPEG larger than its slice",
        make: |r| with_file(r, &Slice { syntax: JPEG, ..slice(0) }, with_jpeg),
        words: &["IM0", "64 x 64", "4 x 3"],
    },
    Case {
        name: "JPEG 2000",
        make: |r| with_series(r, &[Slice { syntax: "1.2.840.10008.1.2.4.90", ..slice(0) }]),
        words: &["IM0", "1.2.840.10008.1.2.4.90", "expected", "decompress()"],
    },
    Case {
        name: "JPEG-LS larger than its slice",
        make: |r| {
            let pixels = [PREDICTED, &[0; 64]].concat();
            with_frames(r, |file| file.pixels = Some((PREDICTION, fragments(&[&[], &pixels]))), |bytes| bytes)
        },
        words: &["b/IM0", "JPEG-LS", "width*height=4294836225"],
    },
    Case {
        name: "JPEG-LS cut",
        make: |r| {
            let mut pixels = [PREDICTED, &[0; 2]].concat();
            (pixels[8], pixels[10]) = (3, 4);
            (pixels[7], pixels[9]) = (0, 0);
            with_frames(r, |file| file.pixels = Some((PREDICTION, fragments(&[&[], &pixels]))), |bytes| bytes)
        },
        words: &["b/IM0", "JPEG-LS"],
    },
    Case {
        name: "frames that are not there",
        make: |r| with_frames(r, |file| file.stated = Some("2000000000"), |bytes| bytes),
        words: &["b/IM0", "NumberOfFrames is 2000000000, with 1 items"],
    },
    Case {
        name: "a hundred thousand frames",
        make: |r| {
            let many = |file: &mut Enhanced| {
                file.frames = vec![Frame { pixels: Vec::new(), ..frame(0) }; 100_000];
            };
            with_frames(r, many, |bytes| bytes)
        },
        words: &["b/IM0", "NumberOfFrames is 100000"],
    },
    Case {
        name: "sixty thousand frames of 64 MB each",
        make: |r| {
            let many = |file: &mut Enhanced| file.frames = vec![Frame { pixels: Vec::new(), ..frame(0) }; 60_000];
            with_frames(r, many, |bytes| with_short(with_short(bytes, 0x10, 8000), 0x11, 4000))
        },
        words: &["b/IM0", "cut short"],
    },
    Case {
        name: "functional groups a million deep",
        make: |r| {
            let open = |file: &mut Enhanced| file.more = DEEP.repeat(1_000_000);
            with_frames(r, open, |bytes| bytes)
        },
        words: &["b/IM0"],
    },
    Case {
        name: "a functional group longer than its item",
        make: |r| {
            let long = |file: &mut Enhanced| {
                file.more = file.sequence(0x18, 0x9114, &[b"\x18\0\x82\x90FD\xF0\xFF".to_vec()]);
            };
            with_frames(r, long, |bytes| bytes)
        },
        words: &["b/IM0", "sequence (0018,9114) is damaged"],
    },
    Case {
        name: "an offset table beyond the fragments",
        make: |r| {
            let wild = |file: &mut Enhanced| {
                file.frames = vec![frame(0), frame(1)];
                file.pixels = Some((RLE, fragments(&[&[0, 0, 0, 0, 0xF0, 0xFF, 0xFF, 0xFF], &[0; 64], &[0; 64]])));
            };
            with_frames(r, wild, |bytes| bytes)
        },
        words: &["b/IM0", "offset table"],
    },
    Case {
        name: "no position",
        make: |r| {
            with_file(r, &slice(0), |mut bytes| {
                let tag = [0x20, 0, 0x32, 0, b'D', b'S'];
                let at = bytes.windows(6).position(|window| window == tag).expect("the attribute");
                bytes[at + 2] = 0x31;
                bytes
            })
        },
        words: &["IM0", "ImagePositionPatient is absent"],
    },
    Case {
        name: "two series",
        make: |r| with_series(r, &[slice(0), Slice { series: "1.2.9", ..slice(1) }]),
        words: &["images/b", "holds 2 series", "1.2.9 (MR, 1 image)", "data.series"],
    },
    Case {
        name: "missing slice",
        make: |r| with_series(r, &[slice(0), slice(1), slice(3)]),
        words: &["images/b", "evenly spaced"],
    },
    Case {
        name: "twenty frames",
        make: |r| with_series(r, &[Slice { frames: Some("20"), ..slice(0) }]),
        words: &["IM0", "NumberOfFrames is 20"],
    },
    Case {
        name: "orientation of nan",
        make: |r| with_series(r, &[Slice { orientation: "nan\\0\\0\\0\\1\\0", ..slice(0) }]),
        words: &["IM0", "ImageOrientationPatient"],
    },
    Case {
        name: "position of 1e308",
        make: |r| with_series(r, &[slice(0), Slice { position: [1e308, 0.0, 0.0], ..slice(1) }]),
        words: &["IM1", "ImagePositionPatient"],
    },
    Case {
        name: "slice shifted in its plane",
        make: |r| {
            let mut shifted = slice(1);
            shifted.position[0] += 0.4;
            with_series(r, &[slice(0), shifted, slice(2)])
        },
        words: &["images/b", "IM1 is 0.80 pixels beside the line"],
    },
    Case {
        name: "elements without a preamble, cut",
        make: |r| with_file(r, &Slice { start: Start::Implicit, ..slice(0) }, |bytes| cut_bytes(bytes, 7)),
        words: &["IM0", "cut short"],
    },
    Case {
        name: "element of 4 GiB without a preamble",
        make: |r| {
            with_file(r, &Slice { start: Start::Implicit, ..slice(0) }, |bytes| {
                let (before, pixels) = bytes.split_at(data_of(&bytes));
                [before, &[0xDF, 0x7F, 0x10, 0, 0xFE, 0xFF, 0xFF, 0xFF], pixels].concat()
            })
        },
        words: &["IM0", "cut short", "429496"],
    },
    Case {
        name: "slices of no bytes",
        make: |r| {
            let arguments = with_series(r, &[]);
            (0..3).for_each(|n| std::fs::write(r.join(format!("data/images/b/IM{n}")), "").expect("written"));
            arguments
        },
        words: &["data/images: no image for b", "a folder without a DICOM series: files of 0 bytes", "IM0, IM1, IM2"],
    },
    Case {
        name: "contours alone",
        make: |r| {
            let arguments = with_series(r, &[]);
            object(&r.join("data/images/b"), "RS", "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT");
            arguments
        },
        words: &["images/b: holds no DICOM images", "RS (RTSTRUCT)"],
    },
    Case {
        name: "kind of 60,000 characters with line feeds",
        make: |r| {
            let arguments = with_series(r, &[]);
            object(&r.join("data/images/b"), "RS", "1.2.3", &"A\n\x1b[2J".repeat(10_000));
            arguments
        },
        words: &["images/b: holds no DICOM images", "RS (A2JA2J"],
    },
    Case {
        name: "series deeper",
        make: |r| {
            let arguments = with_series(r, &[]);
            let deeper = r.join("data/images/b/study/series");
            std::fs::create_dir_all(&deeper).expect("created");
            (0..40).for_each(|n| symlink("..", r.join(format!("data/images/b/study/{n}"))).expect("a link"));
            slice(0).write(&deeper, "IM0");
            arguments
        },
        words: &["no image for b", "the DICOM series lies deeper: in", "b/study/series"],
    },
    Case {
        name: "100,000 nested sequences",
        make: |r| {
            with_file(r, &slice(0), |bytes| {
                let mut open = element(8, 0x1140, "OB", &[]);
                open.splice(4..6, *b"SQ");
                open[8..12].fill(0xFF);
                open.extend([0xFE, 0xFF, 0, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF]);
                with_elements(&bytes, &open.repeat(100_000))
            })
        },
        words: &["IM0", "cut short"],
    },
];

/// An int32 label map with one odd value.
fn wide(value: i32) -> Crafted {
    let mut file = typed(8, 32);
    file.bytes.extend((0..VOXELS).flat_map(|v| if v == 51 { value } else { 1 }.to_le_bytes()));
    file
}

pub const LABELS: &[Case] = &[
    Case {
        name: "label of 10^9",
        make: |r| with_label(r, B, &wide(1_000_000_000)),
        words: &["labels/b.nii", "[1, 1, 3] is 1000000000, expected a label"],
    },
    Case { name: "negative label", make: |r| with_label(r, B, &wide(-1)), words: &["labels/b.nii", "is -1"] },
    Case { name: "label 65536", make: |r| with_label(r, B, &wide(65536)), words: &["labels/b.nii", "is 65536"] },
    Case {
        name: "label 300",
        make: |r| with_label(r, B, &wide(300)),
        words: &["labels/b.nii", "0, 1, 300 occur", "2 to 299 in no case"],
    },
    Case { name: "half a label", make: |r| with_label(r, B, &floats(0.5)), words: &["labels/b.nii", "is 0.5"] },
    Case { name: "label of NaN", make: |r| with_label(r, B, &floats(f32::NAN)), words: &["labels/b.nii", "is NaN"] },
    Case {
        name: "label of infinity",
        make: |r| with_label(r, B, &floats(f32::INFINITY)),
        words: &["labels/b.nii", "is inf"],
    },
    Case {
        name: "label on another grid",
        make: |r| with_label(r, B, &header().dim(&[3, 3, 5, 7, 1, 1, 1, 1]).i16s([0; VOXELS])),
        words: &["labels/b.nii", "[3, 5, 7] instead of [5, 3, 7]", "images/b.nii"],
    },
    Case {
        name: "label shifted",
        make: |r| {
            let shifted = [[-0.5, 0.0, 0.0, 1.0], [0.0, 1.25, 0.0, -1.25], [0.0, 0.0, 3.0, -6.0]];
            with_label(r, B, &label().sform(1, shifted))
        },
        words: &["labels/b.nii", "affine places voxel", "images/b.nii"],
    },
    Case { name: "label of colours", make: |r| with_label(r, B, &typed(128, 24)), words: &["labels/b.nii", "rgb24"] },
    Case {
        name: "label that is its image",
        make: |r| with_label(r, B, &header().i16s((0..VOXELS).map(stored))),
        words: &["labels/b.nii", "is -60, expected a label"],
    },
];

fn folder(root: &Path, name: &str) {
    std::fs::create_dir_all(root.join(name)).expect("created");
}

pub const FOLDERS: &[Case] = &[
    Case { name: "no folder", make: |_| dry_run(&[]), words: &["data", "cannot list"] },
    Case {
        name: "file for a folder",
        make: |r| {
            std::fs::write(r.join("data"), "x").expect("written");
            dry_run(&[])
        },
        words: &["data", "is a file, expected a folder"],
    },
    Case {
        name: "empty folder",
        make: |r| {
            folder(r, "data");
            dry_run(&[])
        },
        words: &["data", "no data set"],
    },
    Case {
        name: "no images",
        make: |r| {
            folder(r, "data/images");
            folder(r, "data/labels");
            dry_run(&[])
        },
        words: &["data/images", "no volumes"],
    },
    Case {
        name: "labels in a format that is not read",
        make: |r| {
            let set = DataSet::new(r);
            std::fs::rename(set.label("a.nii"), set.label("a.mnc")).expect("renamed");
            dry_run(&[])
        },
        words: &["no label for a", "a.mnc: passed over"],
    },
    Case {
        name: "git-lfs pointer",
        make: |r| {
            let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 99999999999999999999\n";
            std::fs::write(DataSet::new(r).image("a.nii"), pointer).expect("written");
            dry_run(&[])
        },
        words: &["a.nii: is a git-lfs pointer,"],
    },
    Case {
        name: "page of an error",
        make: |r| {
            std::fs::write(DataSet::new(r).label("a.nii"), "<html>\x1b[2J\n".repeat(100_000)).expect("written");
            dry_run(&[])
        },
        words: &["labels/a.nii"],
    },
    Case {
        name: "fifty thousand files of other formats",
        make: |r| {
            let set = DataSet::new(r);
            std::fs::remove_file(set.label("a.nii")).expect("removed");
            (0..50_000).for_each(|n| std::fs::write(set.label(&format!("{n}.png")), "\0").expect("written"));
            dry_run(&[])
        },
        words: &["no label for a", "in 50000 files: 0.png"],
    },
    Case {
        name: "folder that links to itself",
        make: |r| {
            folder(r, "data/images");
            symlink("labels", r.join("data/labels")).expect("a link");
            dry_run(&[])
        },
        words: &["data", "no data set"],
    },
    Case {
        name: "image without label",
        make: |r| {
            std::fs::remove_file(DataSet::new(r).label("a.nii")).expect("removed");
            dry_run(&[])
        },
        words: &["data/labels", "no label for a"],
    },
    Case {
        name: "label without image",
        make: |r| {
            std::fs::remove_file(DataSet::new(r).image("a.nii")).expect("removed");
            dry_run(&[])
        },
        words: &["data/images", "no image for a"],
    },
    Case {
        name: "two files of a case",
        make: |r| {
            image().put_into(&DataSet::new(r).image("a.nii.gz"));
            dry_run(&[])
        },
        words: &["data/images", "a.nii and a.nii.gz"],
    },
    Case {
        name: "line feed in a name",
        make: |r| {
            let set = DataSet::new(r);
            header().put_into(&set.image("c\nerror: d\x1b[2J.nii"));
            label().put_into(&set.label("c\nerror: d\x1b[2J.nii"));
            dry_run(&[])
        },
        words: &["c\\nerror: d\\u{1b}[2J.nii", "cut short"],
    },
    Case {
        name: "name that is not UTF-8",
        make: |r| {
            let set = DataSet::new(r);
            image().put_into(&set.image("").join(std::ffi::OsStr::from_bytes(b"c\xFF.nii")));
            dry_run(&[])
        },
        words: &["data/images", "not UTF-8"],
    },
    Case {
        name: "dataset.json that is none",
        make: |r| {
            DataSet::new(r);
            std::fs::write(r.join("data/dataset.json"), "{\"labels\": ").expect("written");
            dry_run(&[])
        },
        words: &["dataset.json", "line 1"],
    },
    Case {
        name: "dataset.json of 100 MB",
        make: |r| {
            DataSet::new(r);
            let file = std::fs::File::create(r.join("data/dataset.json")).expect("created");
            file.set_len(100_000_000).expect("a long file");
            dry_run(&[])
        },
        words: &["dataset.json", "100000000 bytes, expected at most"],
    },
    Case {
        name: "run folder in use",
        make: |r| {
            DataSet::new(r);
            folder(r, "run");
            std::fs::write(r.join("run/log.jsonl"), "precious").expect("written");
            dry_run(&[])
        },
        words: &["run", "--resume"],
    },
    Case {
        name: "inspection of a header alone",
        make: |r| {
            header().put_into(&r.join("h\u{7}.nii"));
            vec!["inspect".into(), "h\u{7}.nii".into()]
        },
        words: &["1 of 1 volumes"],
    },
    Case {
        name: "evaluation of a damaged label map",
        make: |r| {
            let set = DataSet::new(r);
            cut(&label().bytes, 9).put_into(&set.label("b.nii"));
            ["evaluate", "--predictions", "data/labels", "--labels", "data/labels", "--out", "s"]
                .map(str::to_owned)
                .to_vec()
        },
        words: &["labels/b.nii", "cut short"],
    },
];
