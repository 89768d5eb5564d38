//! Multi-frame DICOM files written byte by byte.

use crate::slices::{NORMAL, ORIENTATION, element};

/// One frame of 4 columns and 3 rows in the making.
#[derive(Clone)]
pub struct Frame {
    /// Its place along the normal, in steps of 2.5 mm.
    pub place: f64,
    pub stack: &'static str,
    pub time: u32,
    pub rescale: Option<(&'static str, &'static str)>,
    pub pixels: Vec<u16>,
}

/// A file of several frames.
#[derive(Clone)]
pub struct Enhanced {
    pub frames: Vec<Frame>,
    pub series: &'static str,
    pub description: &'static str,
    /// `NumberOfFrames`, if it is not their number.
    pub stated: Option<&'static str>,
    /// Sequences and items without lengths.
    pub undefined: bool,
    /// In place of uncompressed pixels: transfer syntax and the whole element (or several).
    pub pixels: Option<(&'static str, Vec<u8>)>,
    /// More of each functional group item.
    pub more: Vec<u8>,
}

pub fn frame(number: usize) -> Frame {
    let pixels = (0..12).map(|pixel| (number * 100 + pixel * pixel) as u16).collect();
    Frame { place: number as f64, stack: "1", time: 1, rescale: None, pixels }
}

pub fn enhanced(frames: Vec<Frame>) -> Enhanced {
    let (series, description) = ("1.2.3.4", "");
    Enhanced { frames, series, description, stated: None, undefined: false, pixels: None, more: Vec::new() }
}

const UNDEFINED: [u8; 4] = [0xFF; 4];

/// An element with four bytes of length, which may be undefined.
fn long(group: u16, number: u16, kind: &str, length: [u8; 4], value: &[u8]) -> Vec<u8> {
    let tag = [group.to_le_bytes(), number.to_le_bytes()].concat();
    let kind = if kind.is_empty() { Vec::new() } else { [kind.as_bytes(), &[0, 0]].concat() };
    [&tag, &kind, &length[..], value].concat()
}

/// An item of encapsulated pixels, or of a sequence.
pub fn item(value: &[u8]) -> Vec<u8> {
    long(0xFFFE, 0xE000, "", (value.len() as u32).to_le_bytes(), value)
}

/// Pixel data in these items, of which the first is the offset table.
pub fn fragments(items: &[&[u8]]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|bytes| item(bytes)).collect();
    let end = long(0xFFFE, 0xE0DD, "", [0; 4], &[]);
    long(0x7FE0, 0x10, "OB", UNDEFINED, &[items, end].concat())
}

impl Enhanced {
    pub fn sequence(&self, group: u16, number: u16, items: &[Vec<u8>]) -> Vec<u8> {
        if !self.undefined {
            let items: Vec<u8> = items.iter().flat_map(|bytes| item(bytes)).collect();
            return long(group, number, "SQ", (items.len() as u32).to_le_bytes(), &items);
        }
        let end = |number| long(0xFFFE, number, "", [0; 4], &[]);
        let open = |bytes: &Vec<u8>| long(0xFFFE, 0xE000, "", UNDEFINED, &[bytes.clone(), end(0xE00D)].concat());
        let items: Vec<u8> = items.iter().flat_map(open).collect();
        long(group, number, "SQ", UNDEFINED, &[items, end(0xE0DD)].concat())
    }

    fn item_of(&self, frame: &Frame) -> Vec<u8> {
        let along = 2.5 * frame.place;
        let position = [10.0, -20.0 + along * NORMAL[1], 5.0 + along * NORMAL[2]];
        let position = position.map(|value| format!("{value:.6}")).join("\\");
        let content = [
            element(0x20, 0x9056, "SH", frame.stack.as_bytes()),
            element(0x20, 0x9128, "UL", &frame.time.to_le_bytes()),
        ];
        let mut groups = self.sequence(0x20, 0x9111, &[content.concat()]);
        groups.extend(self.sequence(0x20, 0x9113, &[element(0x20, 0x32, "DS", position.as_bytes())]));
        if let Some((intercept, slope)) = frame.rescale {
            let both =
                [element(0x28, 0x1052, "DS", intercept.as_bytes()), element(0x28, 0x1053, "DS", slope.as_bytes())];
            groups.extend(self.sequence(0x28, 0x9145, &[both.concat()]));
        }
        groups.extend(&self.more);
        groups
    }

    pub fn bytes(&self) -> Vec<u8> {
        let syntax = self.pixels.as_ref().map_or("1.2.840.10008.1.2.1", |(syntax, _)| syntax);
        let short = |group, number, value: u16| element(group, number, "US", &value.to_le_bytes());
        let count = self.frames.len().to_string();
        let measures = [element(0x18, 0x50, "DS", b"9"), element(0x28, 0x30, "DS", b"0.75\\0.5")];
        let mut shared = self.sequence(0x20, 0x9116, &[element(0x20, 0x37, "DS", ORIENTATION.as_bytes())]);
        shared.extend(self.sequence(0x28, 0x9110, &[measures.concat()]));
        let frames: Vec<Vec<u8>> = self.frames.iter().map(|frame| self.item_of(frame)).collect();
        let cells = self.frames.iter().flat_map(|frame| &frame.pixels).flat_map(|pixel| pixel.to_le_bytes());
        let native = || element(0x7FE0, 0x10, "OW", &cells.collect::<Vec<_>>());
        [
            vec![0; 128],
            b"DICM".to_vec(),
            element(2, 0x10, "UI", syntax.as_bytes()),
            element(8, 0x60, "CS", b"MR"),
            element(8, 0x103E, "LO", self.description.as_bytes()),
            element(0x20, 0xE, "UI", self.series.as_bytes()),
            short(0x28, 2, 1),
            element(0x28, 8, "IS", self.stated.unwrap_or(&count).as_bytes()),
            short(0x28, 0x10, 3),
            short(0x28, 0x11, 4),
            short(0x28, 0x100, 16),
            short(0x28, 0x101, 12),
            short(0x28, 0x102, 11),
            short(0x28, 0x103, 0),
            self.sequence(0x5200, 0x9229, &[shared]),
            self.sequence(0x5200, 0x9230, &frames),
            self.pixels.as_ref().map_or_else(native, |(_, pixels)| pixels.clone()),
        ]
        .concat()
    }
}
