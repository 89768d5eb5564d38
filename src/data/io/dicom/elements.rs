//! The elements of a DICOM file (PS3.5, section 7, and PS3.10, section 7.1), as ranges of its bytes.
//!
//! Read here, because `dicom-parser` 0.10 asks for the memory that an element says it has, up to 4 GiB, before it looks
//! whether the file has it, and follows nested sequences by recursion. Nothing is copied here but a deflated data set,
//! which is inflated within bounds. Sequences are stepped over: of defined length at once, else item by item.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::read::DeflateDecoder;

use super::start::{beginning, coding_at};
use crate::data::DataError;

/// Group and element.
pub(super) type Tag = (u16, u16);

/// Explicit VRs whose length has two bytes; all others have two reserved bytes and four of length.
pub(super) const SHORT: [&[u8; 2]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
];
/// The others.
pub(super) const LONG: [&[u8; 2]; 13] =
    [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"];
pub(super) const UNDEFINED: u32 = u32::MAX;
const TRANSFER_SYNTAX: Tag = (0x0002, 0x0010);
pub(super) const PIXEL_DATA: Tag = (0x7FE0, 0x0010);
const ITEM: Tag = (0xFFFE, 0xE000);
const ITEM_END: Tag = (0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = (0xFFFE, 0xE0DD);

/// The transfer syntax of a file that does not state it.
pub(super) const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
pub(super) const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
/// Bytes of an inflated data set, at most.
const MOST_INFLATED: u64 = 1 << 28;
/// Nor more than these and this many times the packed ones.
const ALWAYS_INFLATED: u64 = 1 << 24;
const INFLATED_PER_BYTE: u64 = 64;
/// Held by the data set that is inflated: slices are read on all cores, and memory is not to grow with their number.
static INFLATED: Mutex<()> = Mutex::new(());
/// Groups with the attributes that make a volume of slices, and the pixels; what is kept of others only takes memory.
const KEPT: [u16; 5] = [0x0008, 0x0018, 0x0020, 0x0028, PIXEL_DATA.0];

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Coding {
    pub(super) explicit: bool,
    big: bool,
}

impl Coding {
    fn short(self, bytes: [u8; 2]) -> u16 {
        if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }
}

pub(super) const META: Coding = Coding { explicit: true, big: false };
pub(super) const IMPLICIT: Coding = Coding { explicit: false, big: false };

/// What an element holds.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// Bytes of the data set.
    Bytes(Range<usize>),
    /// Encapsulated pixels: the fragments, without the offset table.
    Fragments(Vec<Range<usize>>),
}

/// The elements of a file that lie in no sequence, up to the pixel data, which are the last of them that count.
pub(super) struct DataSet<'a> {
    bytes: Cow<'a, [u8]>,
    /// Of [`INFLATED`], where the bytes are.
    _inflated: Option<MutexGuard<'static, ()>>,
    coding: Coding,
    /// Transfer syntax.
    pub(super) syntax: String,
    /// Values and VRs (blanks where they are implicit).
    elements: BTreeMap<Tag, (Value, [u8; 2])>,
}

/// What keeps bytes from being a data set.
#[derive(Debug, PartialEq)]
pub(super) enum Problem {
    /// They begin as no DICOM file does.
    Unlike,
    /// An element ends there, beyond the end.
    Short(u64),
    /// The deflated data set is damaged or too long.
    Deflated(String),
}

/// The header of an element: its tag, representation, length, and where its value begins.
pub(super) struct Element {
    pub(super) tag: Tag,
    pub(super) vr: [u8; 2],
    pub(super) length: u32,
    pub(super) value: usize,
}

impl Element {
    pub(super) fn at(bytes: &[u8], at: usize, coding: Coding) -> Result<Element, Problem> {
        let end = |length: usize| at.saturating_add(length);
        let head = |from: usize, length: usize| {
            bytes.get(end(from)..end(from + length)).ok_or(Problem::Short(end(from + length) as u64))
        };
        let short = |from: usize| head(from, 2).map(|two| coding.short([two[0], two[1]]));
        let long = |from: usize| -> Result<u32, Problem> {
            let four: [u8; 4] = head(from, 4)?.try_into().expect("four bytes");
            Ok(if coding.big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
        };
        let tag = (short(0)?, short(2)?);
        if !coding.explicit || tag.0 == ITEM.0 {
            return Ok(Element { tag, vr: *b"  ", length: long(4)?, value: end(8) });
        }
        let vr: [u8; 2] = head(4, 2)?.try_into().expect("two bytes");
        if SHORT.contains(&&vr) {
            return Ok(Element { tag, vr, length: u32::from(short(6)?), value: end(8) });
        }
        Ok(Element { tag, vr, length: long(8)?, value: end(12) })
    }

    /// The value of an element of defined length.
    fn range(&self, bytes: &[u8]) -> Result<Range<usize>, Problem> {
        let end = self.value.saturating_add(self.length as usize);
        if end > bytes.len() { Err(Problem::Short(end as u64)) } else { Ok(self.value..end) }
    }
}

impl<'a> DataSet<'a> {
    /// The data set of a file of these bytes.
    pub(super) fn read(path: &Path, bytes: &'a [u8]) -> Result<DataSet<'a>, DataError> {
        let length = bytes.len() as u64;
        DataSet::parse(bytes).map_err(|problem| match problem {
            Problem::Short(needed) => DataError::truncated(path, needed, length),
            Problem::Unlike => DataError::unusable(
                path,
                "it begins as no DICOM file does, expected DICM after 128 bytes or elements of group 2 or 8",
            ),
            Problem::Deflated(reason) => DataError::unusable(path, format!("the deflated data set: {reason}")),
        })
    }

    pub(super) fn parse(bytes: &'a [u8]) -> Result<DataSet<'a>, Problem> {
        let mut at = beginning(bytes).ok_or(Problem::Unlike)?;
        let mut syntax = String::new();
        while bytes.get(at..at.saturating_add(2)) == Some(&[2, 0]) {
            let element = Element::at(bytes, at, META)?;
            let value = element.range(bytes)?;
            at = value.end;
            if element.tag == TRANSFER_SYNTAX {
                syntax = text(&bytes[value]);
            }
        }
        let coding = match syntax.as_str() {
            IMPLICIT_LITTLE => IMPLICIT,
            "1.2.840.10008.1.2.2" => Coding { explicit: true, big: true },
            "" => coding_at(bytes, at).unwrap_or(META),
            _ => META,
        };
        let rest = bytes.get(at..).unwrap_or_default();
        let deflated = syntax == "1.2.840.10008.1.2.1.99";
        let _inflated = deflated.then(|| INFLATED.lock().unwrap_or_else(PoisonError::into_inner));
        let (bytes, at) = if deflated { (Cow::Owned(inflate(rest)?), 0) } else { (Cow::Borrowed(bytes), at) };
        let elements = elements(&bytes, at, coding)?;
        let encapsulated = matches!(elements.get(&PIXEL_DATA), Some((Value::Fragments(_), _)));
        if syntax.is_empty() && !encapsulated {
            syntax = if coding.explicit { EXPLICIT_LITTLE } else { IMPLICIT_LITTLE }.to_owned();
        }
        Ok(DataSet { bytes, _inflated, coding, syntax, elements })
    }

    /// True if there is an element of this tag.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.elements.contains_key(&tag)
    }

    /// The bytes of an element; none if it is absent.
    pub(super) fn value(&self, tag: Tag) -> Option<&[u8]> {
        match &self.elements.get(&tag)?.0 {
            Value::Bytes(range) => Some(&self.bytes[range.clone()]),
            Value::Fragments(_) => None,
        }
    }

    /// Text without trailing blanks; none if the element is absent.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        self.value(tag).map(text)
    }

    /// An unsigned number of 16 bits; none if the element is absent or shorter.
    pub(super) fn short(&self, tag: Tag) -> Option<u16> {
        Some(self.coding.short(*self.value(tag)?.first_chunk()?))
    }

    /// Uncompressed pixels, little endian, in cells of `cell` bytes; none if there are none or they are encapsulated.
    pub(super) fn native_pixels(&self, cell: usize) -> Option<Cow<'_, [u8]>> {
        let pixels = self.value(PIXEL_DATA)?;
        let words = cell == 2 || self.elements.get(&PIXEL_DATA).is_some_and(|(_, vr)| vr == b"OW");
        if !(self.coding.big && words) {
            return Some(Cow::Borrowed(pixels));
        }
        let (pairs, _) = pixels.as_chunks::<2>();
        Some(Cow::Owned(pairs.iter().flat_map(|&[high, low]| [low, high]).collect()))
    }

    /// The fragments of encapsulated pixels, one after the other; none if there are none.
    pub(super) fn fragments(&self) -> Option<Vec<u8>> {
        let Value::Fragments(ranges) = &self.elements.get(&PIXEL_DATA)?.0 else { return None };
        Some(ranges.iter().flat_map(|range| &self.bytes[range.clone()]).copied().collect())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches(['\0', ' ']).to_owned()
}

fn inflate(packed: &[u8]) -> Result<Vec<u8>, Problem> {
    let most = MOST_INFLATED.min(ALWAYS_INFLATED + INFLATED_PER_BYTE * packed.len() as u64);
    let mut bytes = Vec::new();
    let outcome = DeflateDecoder::new(packed).take(most + 1).read_to_end(&mut bytes);
    outcome.map_err(|error| Problem::Deflated(error.to_string()))?;
    if bytes.len() as u64 > most {
        return Err(Problem::Deflated(format!("more than {most} bytes, expected at most as many")));
    }
    Ok(bytes)
}

/// The elements from `at` to the pixel data that lie in no sequence and may be wanted; of those of one tag the last.
fn elements(bytes: &[u8], mut at: usize, coding: Coding) -> Result<BTreeMap<Tag, (Value, [u8; 2])>, Problem> {
    let mut elements = BTreeMap::new();
    while at < bytes.len() {
        let element = Element::at(bytes, at, coding)?;
        if element.length != UNDEFINED {
            let value = element.range(bytes)?;
            at = value.end;
            if KEPT.contains(&element.tag.0) {
                elements.insert(element.tag, (Value::Bytes(value), element.vr));
            }
        } else if element.tag == PIXEL_DATA {
            let ranges = fragments(bytes, element.value, coding)?;
            elements.insert(element.tag, (Value::Fragments(ranges), element.vr));
        } else {
            at = after_sequence(bytes, &element, coding)?;
        }
        if element.tag == PIXEL_DATA {
            break;
        }
    }
    Ok(elements)
}

/// The fragments of encapsulated pixels after the offset table, which is the first item.
fn fragments(bytes: &[u8], mut at: usize, coding: Coding) -> Result<Vec<Range<usize>>, Problem> {
    let mut ranges = Vec::new();
    loop {
        let item = Element::at(bytes, at, coding)?;
        if item.tag != ITEM {
            return Ok(ranges.split_off(1.min(ranges.len())));
        }
        ranges.push(item.range(bytes)?);
        at = ranges.last().map_or(at, |range| range.end);
    }
}

/// The end of a sequence of undefined length.
fn after_sequence(bytes: &[u8], sequence: &Element, coding: Coding) -> Result<usize, Problem> {
    // Unknown elements of undefined length hold implicit ones (PS3.5, section 6.2.2, note 2).
    let inner = |vr: [u8; 2], coding| if vr == *b"UN" { IMPLICIT } else { coding };
    let mut open = vec![inner(sequence.vr, coding)];
    let mut at = sequence.value;
    while let Some(&coding) = open.last() {
        let element = Element::at(bytes, at, coding)?;
        at = element.value;
        if element.tag == ITEM_END || element.tag == SEQUENCE_END {
            open.pop();
        } else if element.length == UNDEFINED {
            open.push(inner(element.vr, coding));
        } else {
            at = element.range(bytes)?.end;
        }
    }
    Ok(at)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const ROWS: &[u8] = b"\x28\0\x10\0US\x02\0\x03\0";
    /// A sequence and an item in it, both of undefined length, and their ends.
    const OPEN: &[u8] = b"\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF";
    const CLOSE: &[u8] = b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0";

    pub(in super::super) fn file(elements: &[&[u8]]) -> Vec<u8> {
        [&[0; 128], &b"DICM"[..], &elements.concat()].concat()
    }

    /// The rows of a file where they follow other elements.
    fn rows(elements: &[&[u8]]) -> Result<Option<u16>, Problem> {
        DataSet::parse(&file(&[elements, &[ROWS]].concat())).map(|set| set.short((0x28, 0x10)))
    }

    #[test]
    fn every_length_is_looked_at() {
        let implicit: &[u8] = b"\x02\0\x10\0UI\x12\x001.2.840.10008.1.2\0";
        let long: &[u8] = b"\xE0\x7F\x10\0OW\0\0\x04\0\0\x10abcd";
        let short = |elements: &[&[u8]]| DataSet::parse(&file(elements)).map(|_| ());
        assert_eq!(rows(&[]), Ok(Some(3)));
        // 132 bytes in front, ten of rows, twelve of header, 0x10000004 of value.
        assert_eq!(short(&[ROWS, long]), Err(Problem::Short(132 + 10 + 12 + 0x1000_0004)));
        let implicit_long: &[u8] = b"\xE0\x7F\x10\0\x04\0\0\x10abcd";
        assert_eq!(short(&[implicit, implicit_long]), Err(Problem::Short(132 + 26 + 8 + 0x1000_0004)));
        assert_eq!(short(&[OPEN, long]), Err(Problem::Short(132 + 20 + 12 + 0x1000_0004)));
        assert_eq!(short(&[OPEN, ROWS]), Err(Problem::Short(132 + 20 + 10 + 2)), "never closed");
        assert_eq!(short(&[&ROWS[..7]]), Err(Problem::Short(140)));
    }

    #[test]
    fn sequences_are_stepped_over() {
        let closed = [OPEN, b"\x28\0\x10\0US\x02\0\x09\0", CLOSE].concat();
        assert_eq!(rows(&[&closed]), Ok(Some(3)));
        let nested = [OPEN.repeat(5000), CLOSE.repeat(5000)].concat();
        assert_eq!(rows(&[&nested]), Ok(Some(3)));
        // An unknown element of undefined length whose item has an implicit element of ten bytes.
        let unknown: &[u8] =
            b"\x09\0\x10\x10UN\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF\x28\0\x10\0\x02\0\0\0\x07\0";
        assert_eq!(rows(&[unknown, CLOSE]), Ok(Some(3)));
    }

    #[test]
    fn fragments_come_without_the_offset_table() {
        let pixels: &[u8] = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\x04\0\0\0\0\0\0\0\
            \xFE\xFF\0\xE0\x02\0\0\0ab\xFE\xFF\0\xE0\x02\0\0\0cd\xFE\xFF\xDD\xE0\0\0\0\0";
        let bytes = file(&[ROWS, pixels]);
        let set = DataSet::parse(&bytes).expect("whole");
        assert_eq!((set.fragments(), set.native_pixels(1)), (Some(b"abcd".to_vec()), None));
        assert_eq!(set.short((0x28, 0x10)), Some(3));
    }

    #[test]
    fn what_follows_the_pixels_or_is_in_other_groups_does_not_count() {
        let pixels: &[u8] = b"\xE0\x7F\x10\0OW\0\0\x04\0\0\0abcd";
        let other: &[u8] = b"\x29\0\x10\0US\x02\0\x03\0";
        for stray in 0..8 {
            let bytes = file(&[ROWS, other, pixels, &vec![7; stray]]);
            let set = DataSet::parse(&bytes).expect("whole");
            assert_eq!(set.native_pixels(2).as_deref(), Some(&b"abcd"[..]), "{stray} bytes after");
            assert_eq!((set.elements.len(), set.short((0x29, 0x10))), (2, None));
        }
    }

    #[test]
    fn deflated_data_sets_are_inflated_within_bounds() {
        let syntax: &[u8] = b"\x02\0\x10\0UI\x16\x001.2.840.10008.1.2.1.99";
        let deflated = |bytes: &[u8]| {
            let mut packed = Vec::new();
            let mut encoder = flate2::read::DeflateEncoder::new(bytes, flate2::Compression::fast());
            encoder.read_to_end(&mut packed).expect("packed");
            DataSet::parse(&file(&[syntax, &packed])).map(|set| set.short((0x28, 0x10)))
        };
        assert_eq!(deflated(ROWS), Ok(Some(3)));
        assert_eq!(deflated(b"\xE0\x7F\x10\0OW\0\0\x04\0\0\x10abcd"), Err(Problem::Short(12 + 0x1000_0004)));
        // A thousandth of it is left when it is packed.
        let bomb = vec![0; usize::try_from(2 * ALWAYS_INFLATED).expect("it fits")];
        assert!(matches!(deflated(&bomb), Err(Problem::Deflated(_))));
    }
}
