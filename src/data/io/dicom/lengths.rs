//! Lengths of elements against the length of the file.
//!
//! `dicom-parser` 0.10 asks for the memory that an element says it has, up to 4 GiB, before it reads. So every length
//! is checked first (PS3.5, section 7): elements one after the other, sequences and items entered. A deflated data set is
//! inflated for it, within bounds.

use std::io::Read;
use std::path::Path;

use flate2::read::DeflateDecoder;

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
const ITEM_END: (u16, u16) = (0xFFFE, 0xE00D);
const SEQUENCE_END: (u16, u16) = (0xFFFE, 0xE0DD);

/// How the elements behind the meta group are written.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Coding {
    explicit: bool,
    big: bool,
}

const META: Coding = Coding { explicit: true, big: false };
const IMPLICIT: Coding = Coding { explicit: false, big: false };

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

    /// Behind its value.
    fn end(&self, bytes: &[u8]) -> Result<usize, Problem> {
        let end = self.value.saturating_add(self.length as usize);
        if end > bytes.len() { Err(Problem::TooLong(end)) } else { Ok(end) }
    }
}

/// Sequences and items within each other, at most: the parser's recursion takes stack for each.
const MOST_NESTED: usize = 64;

/// Bytes of an inflated data set, at most.
const MOST_INFLATED: u64 = 1 << 28;

/// A sequence or item that is open.
struct Level {
    /// Behind its last byte; none: a delimiter ends it.
    end: Option<usize>,
    coding: Coding,
    /// Items hold pixels, not elements.
    pixels: bool,
}

/// What is wrong with a file.
#[derive(Debug, PartialEq)]
enum Problem {
    /// An element ends there, beyond the end.
    TooLong(usize),
    Nested,
    Deflated(String),
}

/// Checks that no element of a file is longer than the rest of it.
pub(super) fn check(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let failed = |reason: String| DataError::Dicom { path: path.to_path_buf(), reason };
    match data_set(bytes) {
        Ok(()) => Ok(()),
        Err(Problem::TooLong(needed)) => {
            Err(DataError::Truncated { path: path.to_path_buf(), needed: needed as u64, found: bytes.len() as u64 })
        }
        Err(Problem::Nested) => {
            Err(failed(format!("sequences are nested too deeply, expected at most {MOST_NESTED} levels")))
        }
        Err(Problem::Deflated(reason)) => Err(failed(format!("the deflated data set cannot be read: {reason}"))),
    }
}

/// The meta group, then the elements behind it in the coding that it names.
fn data_set(bytes: &[u8]) -> Result<(), Problem> {
    let mut at = 132;
    let mut syntax = String::new();
    while bytes.get(at..at + 2) == Some(&[2, 0]) {
        let Some(element) = Element::at(bytes, at, META) else { return Ok(()) };
        at = element.end(bytes)?;
        if element.tag == TRANSFER_SYNTAX {
            syntax = String::from_utf8_lossy(&bytes[element.value..at]).trim_end_matches(['\0', ' ']).to_owned();
        }
    }
    match syntax.as_str() {
        "1.2.840.10008.1.2" => elements(bytes, at, IMPLICIT),
        "1.2.840.10008.1.2.2" => elements(bytes, at, Coding { explicit: true, big: true }),
        "1.2.840.10008.1.2.1.99" => elements(&inflate(bytes.get(at..).unwrap_or_default())?, 0, META),
        _ => elements(bytes, at, META),
    }
}

fn inflate(packed: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let outcome = DeflateDecoder::new(packed).take(MOST_INFLATED + 1).read_to_end(&mut bytes);
    outcome.map_err(|error| Problem::Deflated(error.to_string()))?;
    if bytes.len() as u64 > MOST_INFLATED {
        return Err(Problem::Deflated(format!("more than {MOST_INFLATED} bytes")));
    }
    Ok(bytes)
}

/// Elements from `at` on.
fn elements(bytes: &[u8], mut at: usize, coding: Coding) -> Result<(), Problem> {
    let mut open: Vec<Level> = Vec::new();
    loop {
        while open.pop_if(|level| level.end.is_some_and(|end| end <= at)).is_some() {}
        let (coding, pixels) = open.last().map_or((coding, false), |level| (level.coding, level.pixels));
        let Some(element) = Element::at(bytes, at, coding) else { return Ok(()) };
        if element.tag == ITEM_END || element.tag == SEQUENCE_END {
            open.pop_if(|level| level.end.is_none());
            at = element.value;
            continue;
        }
        let unknown = element.vr == *b"UN" && element.length == UNDEFINED;
        let items = bytes.get(element.value..).is_some_and(|value| {
            let tag = if coding.big { [0xFF, 0xFE, 0xE0, 0] } else { [0xFE, 0xFF, 0, 0xE0] };
            value.starts_with(&tag)
        });
        let inner = Level {
            end: (element.length != UNDEFINED).then(|| element.value.saturating_add(element.length as usize)),
            // Unknown elements of undefined length hold implicit ones (PS3.5, section 6.2.2, note 2).
            coding: if unknown { IMPLICIT } else { coding },
            pixels: pixels || element.tag == PIXEL_DATA,
        };
        let entered = inner.end.is_none() || element.vr == *b"SQ" || ((items || element.tag == ITEM) && !pixels);
        if inner.end.is_some() {
            at = element.end(bytes)?;
        }
        if entered {
            at = element.value;
            open.push(inner);
        }
        if open.len() > MOST_NESTED {
            return Err(Problem::Nested);
        }
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
        let too_long = |elements: &[&[u8]]| data_set(&file(elements));
        assert_eq!(too_long(&[rows]), Ok(()));
        // 132 bytes in front, ten of rows, twelve of header, 0x10000004 of value.
        assert_eq!(too_long(&[rows, long]), Err(Problem::TooLong(132 + 10 + 12 + 0x1000_0004)));
        let implicit_long: &[u8] = b"\xE0\x7F\x10\0\x04\0\0\x10abcd";
        assert_eq!(too_long(&[implicit, implicit_long]), Err(Problem::TooLong(132 + 26 + 8 + 0x1000_0004)));
        // Within an item of a sequence, of undefined and of defined length.
        let open: &[u8] = b"\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF";
        assert_eq!(too_long(&[open, long]), Err(Problem::TooLong(132 + 20 + 12 + 0x1000_0004)));
        let closed: &[u8] = b"\x08\0\x40\x11SQ\0\0\x18\0\0\0\xFE\xFF\0\xE0\x10\0\0\0";
        assert_eq!(too_long(&[closed, long]), Err(Problem::TooLong(132 + 20 + 12 + 0x1000_0004)));
        let fragment: &[u8] = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\0\0ab";
        assert_eq!(too_long(&[fragment]), Err(Problem::TooLong(132 + 20 + 0xFFFF)));
    }

    #[test]
    fn nesting_has_an_end() {
        let open: &[u8] = b"\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF";
        let nested = |levels: usize| data_set(&file(&[&open.repeat(levels / 2)]));
        assert_eq!(nested(MOST_NESTED), Ok(()));
        assert_eq!(nested(MOST_NESTED + 2), Err(Problem::Nested));
        // As many one after the other, each closed.
        let closed = [open, b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0"].concat();
        assert_eq!(data_set(&file(&[&closed.repeat(MOST_NESTED)])), Ok(()));
    }

    #[test]
    fn deflated_data_sets_are_looked_into() {
        let syntax: &[u8] = b"\x02\0\x10\0UI\x16\x001.2.840.10008.1.2.1.99";
        let deflated = |bytes: &[u8]| {
            let mut packed = Vec::new();
            flate2::read::DeflateEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut packed).expect("packed");
            data_set(&file(&[syntax, &packed]))
        };
        assert_eq!(deflated(b"\x28\0\x10\0US\x02\0\x03\0"), Ok(()));
        assert_eq!(deflated(b"\xE0\x7F\x10\0OW\0\0\x04\0\0\x10abcd"), Err(Problem::TooLong(12 + 0x1000_0004)));
        let bomb = vec![0; usize::try_from(MOST_INFLATED).expect("it fits") + 1];
        assert!(matches!(deflated(&bomb), Err(Problem::Deflated(_))));
    }
}
