//! DICOM files written byte by byte.

use std::path::{Path, PathBuf};

/// What a file begins with, and how its elements are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Preamble, `DICM`, file meta information.
    Whole,
    /// No preamble.
    Magic,
    /// Neither preamble nor `DICM`.
    Meta,
    /// Preamble and `DICM`, but no file meta information.
    Preamble,
    /// The data set alone, with value representations.
    Explicit,
    /// The data set alone, without value representations.
    Implicit,
}

/// A slice of 4 columns and 3 rows in the making.
#[derive(Clone)]
pub struct Slice {
    pub position: [f64; 3],
    pub orientation: &'static str,
    pub series: &'static str,
    pub spacing: &'static str,
    pub columns: u16,
    pub allocated: u16,
    pub stored: u16,
    pub signed: u16,
    pub rescale: Option<(&'static str, &'static str)>,
    /// More elements of group 0028, in ascending order after Columns and before BitsAllocated.
    pub frames: Option<&'static str>,
    pub pixels: Vec<u16>,
    pub syntax: &'static str,
    pub start: Start,
}

/// Axes of an oblique slice (LPS): rows along (0, 0.6, -0.8), normal = (1, 0, 0) x that = (0, 0.8, 0.6).
pub const ORIENTATION: &str = "1\\0\\0\\0\\0.6\\-0.8";
pub const NORMAL: [f64; 3] = [0.0, 0.8, 0.6];

pub fn slice(number: usize) -> Slice {
    let along = 2.5 * number as f64;
    Slice {
        position: [10.0, -20.0 + along * NORMAL[1], 5.0 + along * NORMAL[2]],
        orientation: ORIENTATION,
        series: "1.2.3.4",
        spacing: "0.75\\0.5",
        columns: 4,
        allocated: 16,
        stored: 12,
        signed: 0,
        rescale: None,
        frames: None,
        pixels: (0..12).map(|pixel| (number * 100 + pixel * pixel) as u16).collect(),
        syntax: "1.2.840.10008.1.2.1",
        start: Start::Whole,
    }
}

/// Explicit VR, little endian.
pub fn element(group: u16, number: u16, kind: &str, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(if kind == "UI" || kind == "OB" { 0 } else { b' ' });
    }
    let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.extend(kind.as_bytes());
    if kind.starts_with('O') {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend(value);
    bytes
}

/// The elements without their value representations.
fn implicit(explicit: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = explicit;
    while let Some((tag, after)) = rest.split_at_checked(4) {
        let (header, length) = match after[0] {
            b'O' => (8, u32::from_le_bytes(after[4..8].try_into().expect("four bytes"))),
            _ => (4, u32::from(u16::from_le_bytes(after[2..4].try_into().expect("two bytes")))),
        };
        let (value, next) = after[header..].split_at(length as usize);
        bytes.extend([tag, &length.to_le_bytes(), value].concat());
        rest = next;
    }
    bytes
}

/// An object of another class (and series) that has no pixels.
pub fn object(dir: &Path, name: &str, class: &str, modality: &str) {
    let elements = [
        element(8, 0x16, "UI", class.as_bytes()),
        element(8, 0x60, "CS", modality.as_bytes()),
        element(0x20, 0xE, "UI", b"1.2.9.9"),
    ];
    let meta = element(2, 0x10, "UI", b"1.2.840.10008.1.2.1");
    std::fs::write(dir.join(name), [&[0; 128], &b"DICM"[..], &meta, &elements.concat()].concat()).expect("written");
}

/// RLE lossless.
pub const RLE: &str = "1.2.840.10008.1.2.5";

/// Pixel data of one frame: an empty offset table and a fragment with the high and the low bytes as literal runs.
pub fn encapsulated(pixels: &[u16]) -> Vec<u8> {
    let segment = |shift: u16| {
        let mut bytes = vec![u8::try_from(pixels.len() - 1).expect("one literal run")];
        bytes.extend(pixels.iter().map(|pixel| (pixel >> shift) as u8));
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    };
    let (high, low) = (segment(8), segment(0));
    let mut header = vec![2u32, 64, 64 + high.len() as u32];
    header.resize(16, 0);
    let fragment: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).chain(high).chain(low).collect();
    let item =
        |number: u16, length: u32| [0xFEu8, 0xFF].into_iter().chain(number.to_le_bytes()).chain(length.to_le_bytes());
    let mut bytes = vec![0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
    bytes.extend(item(0xE000, 0));
    bytes.extend(item(0xE000, fragment.len() as u32).chain(fragment));
    bytes.extend(item(0xE0DD, 0));
    bytes
}

impl Slice {
    pub fn write(&self, dir: &Path, name: &str) -> PathBuf {
        let meta = [
            element(2, 1, "OB", &[0, 1]),
            element(2, 2, "UI", b"1.2.840.10008.5.1.4.1.1.4"),
            element(2, 3, "UI", b"1.2.3.4.5"),
            element(2, 0x10, "UI", self.syntax.as_bytes()),
            element(2, 0x12, "UI", b"1.2.3"),
        ]
        .concat();
        let length = element(2, 0, "UL", &(meta.len() as u32).to_le_bytes());
        let before = match self.start {
            Start::Whole => [&[0; 128], &b"DICM"[..], &length, &meta].concat(),
            Start::Magic => [&b"DICM"[..], &length, &meta].concat(),
            Start::Meta => [length, meta].concat(),
            Start::Preamble => [&[0; 128], &b"DICM"[..]].concat(),
            Start::Explicit | Start::Implicit => Vec::new(),
        };
        let mut bytes = Vec::new();
        let short = |group, number, value: u16| element(group, number, "US", &value.to_le_bytes());
        bytes.extend(element(8, 0x60, "CS", b"MR"));
        bytes.extend(element(0x18, 0x50, "DS", b"9"));
        bytes.extend(element(0x20, 0xE, "UI", self.series.as_bytes()));
        let position = self.position.map(|value| format!("{value:.6}")).join("\\");
        bytes.extend(element(0x20, 0x32, "DS", position.as_bytes()));
        bytes.extend(element(0x20, 0x37, "DS", self.orientation.as_bytes()));
        bytes.extend(short(0x28, 2, 1));
        bytes.extend(element(0x28, 4, "CS", b"MONOCHROME2"));
        if let Some(frames) = self.frames {
            bytes.extend(element(0x28, 8, "IS", frames.as_bytes()));
        }
        bytes.extend(short(0x28, 0x10, 3));
        bytes.extend(short(0x28, 0x11, self.columns));
        bytes.extend(element(0x28, 0x30, "DS", self.spacing.as_bytes()));
        bytes.extend(short(0x28, 0x100, self.allocated));
        bytes.extend(short(0x28, 0x101, self.stored));
        bytes.extend(short(0x28, 0x102, self.stored - 1));
        bytes.extend(short(0x28, 0x103, self.signed));
        if let Some((intercept, slope)) = self.rescale {
            bytes.extend(element(0x28, 0x1052, "DS", intercept.as_bytes()));
            bytes.extend(element(0x28, 0x1053, "DS", slope.as_bytes()));
        }
        if self.syntax == RLE {
            bytes.extend(encapsulated(&self.pixels));
        } else if self.allocated == 8 {
            let cells: Vec<u8> = self.pixels.iter().map(|&pixel| pixel as u8).collect();
            bytes.extend(element(0x7FE0, 0x10, "OB", &cells));
        } else {
            let cells: Vec<u8> = self.pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
            bytes.extend(element(0x7FE0, 0x10, "OW", &cells));
        }
        if self.start == Start::Implicit {
            bytes = implicit(&bytes);
        }
        let path = dir.join(name);
        std::fs::write(&path, [before, bytes].concat()).expect("written");
        path
    }
}
