//! A DICOM file as its data set (PS3.10, section 7.1): transfer syntax, elements, pixels.
//!
//! Nothing is copied but a deflated data set, which is inflated within bounds.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::read::DeflateDecoder;

use super::elements::{Coding, Element, Elements, Fragments, IMPLICIT, META, PIXEL_DATA, Problem, Tag, Value};
use super::start::{beginning, coding_at};
use crate::data::DataError;

const TRANSFER_SYNTAX: Tag = (0x0002, 0x0010);
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

/// The elements of a file, up to the pixel data, which are the last of them that count.
pub(super) struct DataSet<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// Of [`INFLATED`], where the bytes are.
    _inflated: Option<MutexGuard<'static, ()>>,
    pub(super) coding: Coding,
    /// Transfer syntax.
    pub(super) syntax: String,
    pub(super) elements: Elements,
}

impl<'a> DataSet<'a> {
    /// The data set of a file of these bytes.
    pub(super) fn read(path: &Path, bytes: &'a [u8]) -> Result<DataSet<'a>, DataError> {
        let length = bytes.len() as u64;
        DataSet::parse(bytes).map_err(|problem| DataSet::wrong(path, problem, length))
    }

    /// The error of a file of this length.
    pub(super) fn wrong(path: &Path, problem: Problem, length: u64) -> DataError {
        match problem {
            Problem::Short(needed) => DataError::truncated(path, needed, length),
            Problem::Unlike => DataError::unusable(
                path,
                "it begins as no DICOM file does, expected DICM after 128 bytes or elements of group 2 or 8",
            ),
            Problem::Items((group, element)) => {
                let problem =
                    format!("sequence ({group:04X},{element:04X}) is damaged, expected items with whole elements");
                DataError::unusable(path, problem)
            }
            Problem::Deflated(reason) => DataError::unusable(path, format!("the deflated data set: {reason}")),
        }
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
        let elements = Elements::read(&bytes, at..bytes.len(), coding)?;
        let encapsulated = matches!(elements.get(PIXEL_DATA), Some(Value::Fragments(_)));
        if syntax.is_empty() && !encapsulated {
            syntax = if coding.explicit { EXPLICIT_LITTLE } else { IMPLICIT_LITTLE }.to_owned();
        }
        Ok(DataSet { bytes, _inflated, coding, syntax, elements })
    }

    /// True if there is an element of this tag.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.elements.get(tag).is_some()
    }

    /// The bytes of an element; none if it is absent.
    pub(super) fn value(&self, tag: Tag) -> Option<&[u8]> {
        self.elements.value(&self.bytes, tag)
    }

    /// Text without trailing blanks; none if the element is absent.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        self.value(tag).map(text)
    }

    /// An unsigned number of 16 bits; none if the element is absent or shorter.
    #[cfg(test)]
    pub(super) fn short(&self, tag: Tag) -> Option<u16> {
        Some(self.coding.short(*self.value(tag)?.first_chunk()?))
    }

    /// Uncompressed pixels of one frame of `count` cells of `cell` bytes, little endian; none if they are not there.
    pub(super) fn native_frame(&self, frame: usize, count: usize, cell: usize) -> Option<Cow<'_, [u8]>> {
        let pixels = self.value(PIXEL_DATA)?;
        let length = count.checked_mul(cell)?;
        let start = frame.checked_mul(length)?;
        let end = start.checked_add(length)?;
        let words = cell == 2 || self.elements.vr(PIXEL_DATA) == Some(*b"OW");
        if !(self.coding.big && words) {
            return pixels.get(start..end).map(Cow::Borrowed);
        }
        // The bytes of each word are the other way round.
        (start..end).map(|at| pixels.get(at ^ 1).copied()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
    }

    /// Encapsulated pixels; none if there are none.
    pub(super) fn fragments(&self) -> Option<&Fragments> {
        match self.elements.get(PIXEL_DATA)? {
            Value::Fragments(fragments) => Some(fragments),
            Value::Bytes(_) | Value::Items(_) => None,
        }
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
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
        let fragments = set.fragments().expect("encapsulated");
        let pieces: Vec<&[u8]> = fragments.pieces.iter().map(|range| &bytes[range.clone()]).collect();
        assert_eq!((pieces, &bytes[fragments.table.clone()]), (vec![&b"ab"[..], b"cd"], &[0; 4][..]));
        assert_eq!(set.native_frame(0, 4, 1), None);
        assert_eq!(set.short((0x28, 0x10)), Some(3));
    }

    #[test]
    fn what_follows_the_pixels_or_is_in_other_groups_does_not_count() {
        let pixels: &[u8] = b"\xE0\x7F\x10\0OW\0\0\x04\0\0\0abcd";
        let other: &[u8] = b"\x29\0\x10\0US\x02\0\x03\0";
        for stray in 0..8 {
            let bytes = file(&[ROWS, other, pixels, &vec![7; stray]]);
            let set = DataSet::parse(&bytes).expect("whole");
            assert_eq!(set.native_frame(0, 2, 2).as_deref(), Some(&b"abcd"[..]), "{stray} bytes after");
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
