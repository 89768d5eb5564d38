//! Lengths of elements against the length of the file.
//!
//! `dicom-parser` 0.10 asks for the memory that an element says it has, up to 4 GiB, before it reads. So every length
//! is checked first (PS3.5, section 7): elements one after the other, sequences and items entered, not nested. What
//! cannot be followed, a deflated data set and what comes after an unknown element of undefined length, is let pass.

use std::path::Path;

use crate::data::DataError;

/// Explicit VRs whose length has two bytes; all others have two reserved bytes and four of length.
const SHORT: [&[u8; 2]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
];
const UNDEFINED: u32 = u32::MAX;
const TRANSFER_SYNTAX: (u16, u16) = (0x0002, 0x0010);
const PIXEL_DATA: (u16, u16) = (0x7FE0, 0x0010);
const ITEM: (u16, u16) = (0xFFFE, 0xE000);

/// How the elements behind the meta group are written.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Coding {
    explicit: bool,
    big: bool,
}

const META: Coding = Coding { explicit: true, big: false };

/// The header of an element: its tag, representation, length, and where its value begins.
struct Element {
    tag: (u16, u16),
    vr: [u8; 2],
    length: u32,
    value: usize,
}

impl Element {
    fn at(bytes: &[u8], at: usize, coding: Coding) -> Option<Element> {
        let short = |at: usize| -> Option<u16> {
            let pair = *bytes.get(at..)?.first_chunk::<2>()?;
            Some(if coding.big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
        };
        let long = |at: usize| -> Option<u32> {
            let four = *bytes.get(at..)?.first_chunk::<4>()?;
            Some(if coding.big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
        };
        let tag = (short(at)?, short(at + 2)?);
        if !coding.explicit || tag.0 == ITEM.0 {
            return Some(Element { tag, vr: *b"  ", length: long(at + 4)?, value: at + 8 });
        }
        let vr = *bytes.get(at + 4..)?.first_chunk::<2>()?;
        if SHORT.contains(&&vr) {
            return Some(Element { tag, vr, length: u32::from(short(at + 6)?), value: at + 8 });
        }
        Some(Element { tag, vr, length: long(at + 8)?, value: at + 12 })
    }
}

/// Reads a file and checks that no element is longer than the rest of it.
pub(super) fn check(path: &Path) -> Result<(), DataError> {
    let bytes = std::fs::read(path).map_err(DataError::io(path, "read"))?;
    match too_long(&bytes) {
        None => Ok(()),
        Some(needed) => {
            Err(DataError::Truncated { path: path.to_path_buf(), needed: needed as u64, found: bytes.len() as u64 })
        }
    }
}

/// The end of the first element that ends beyond the file.
fn too_long(bytes: &[u8]) -> Option<usize> {
    let mut at = 132;
    let mut coding = META;
    let mut behind = META;
    let mut in_pixels = false;
    loop {
        if coding == META && bytes.get(at..at + 2) != Some(&[2, 0]) {
            coding = behind;
        }
        let element = Element::at(bytes, at, coding)?;
        let end = element.value.saturating_add(element.length as usize);
        let items = bytes.get(element.value..).is_some_and(|value| {
            let tag = if coding.big { [0xFF, 0xFE, 0xE0, 0] } else { [0xFE, 0xFF, 0, 0xE0] };
            value.starts_with(&tag)
        });
        if element.length == UNDEFINED {
            // A sequence, an item or encapsulated pixels: entered.
            if element.vr == *b"UN" && !items {
                return None;
            }
            in_pixels |= element.tag == PIXEL_DATA;
            at = element.value;
            continue;
        }
        if end > bytes.len() {
            return Some(end);
        }
        if element.tag == TRANSFER_SYNTAX {
            let uid = String::from_utf8_lossy(&bytes[element.value..end]);
            behind = match uid.trim_end_matches(['\0', ' ']) {
                "1.2.840.10008.1.2" => Coding { explicit: false, big: false },
                "1.2.840.10008.1.2.2" => Coding { explicit: true, big: true },
                "1.2.840.10008.1.2.1.99" => return None,
                _ => META,
            };
        }
        let entered = element.vr == *b"SQ" || (items && !in_pixels) || (element.tag == ITEM && !in_pixels);
        at = if entered { element.value } else { end };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(elements: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        bytes.extend(elements.concat());
        bytes
    }

    #[test]
    fn every_length_is_looked_at() {
        let implicit: &[u8] = b"\x02\0\x10\0UI\x12\x001.2.840.10008.1.2\0";
        let rows: &[u8] = b"\x28\0\x10\0US\x02\0\x03\0";
        let long: &[u8] = b"\xE0\x7F\x10\0OW\0\0\x04\0\0\x10abcd";
        assert_eq!(too_long(&file(&[rows])), None);
        // 132 bytes in front, ten of rows, twelve of header, 0x10000004 of value.
        assert_eq!(too_long(&file(&[rows, long])), Some(132 + 10 + 12 + 0x1000_0004));
        let implicit_long: &[u8] = b"\xE0\x7F\x10\0\x04\0\0\x10abcd";
        assert_eq!(too_long(&file(&[implicit, implicit_long])), Some(132 + 26 + 8 + 0x1000_0004));
        // Within an item of a sequence, of undefined and of defined length.
        let open: &[u8] = b"\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF";
        assert_eq!(too_long(&file(&[open, long])), Some(132 + 20 + 12 + 0x1000_0004));
        let closed: &[u8] = b"\x08\0\x40\x11SQ\0\0\x18\0\0\0\xFE\xFF\0\xE0\x10\0\0\0";
        assert_eq!(too_long(&file(&[closed, long])), Some(132 + 20 + 12 + 0x1000_0004));
        let fragment: &[u8] = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\0\0ab";
        assert_eq!(too_long(&file(&[fragment])), Some(132 + 20 + 0xFFFF));
    }
}
