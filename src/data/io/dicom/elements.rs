//! The elements of a DICOM file (PS3.5, section 7), as ranges of its bytes.
//!
//! Read here, because `dicom-parser` 0.10 asks for the memory that an element says it has, up to 4 GiB, before it looks
//! whether the file has it, and follows nested sequences by recursion. Nothing is copied here. Sequences are stepped over: of
//! defined length at once, else item by item; the items of one that is asked for are found then ([`Elements::items`]).

use std::collections::BTreeMap;
use std::ops::Range;

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
pub(super) const PIXEL_DATA: Tag = (0x7FE0, 0x0010);
const ITEM: Tag = (0xFFFE, 0xE000);
const ITEM_END: Tag = (0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = (0xFFFE, 0xE0DD);

/// Groups with the attributes that make a volume of slices, and the pixels; what is kept of others only takes memory.
const KEPT: [u16; 6] = [0x0008, 0x0018, 0x0020, 0x0028, 0x5200, PIXEL_DATA.0];

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Coding {
    pub(super) explicit: bool,
    pub(super) big: bool,
}

impl Coding {
    pub(super) fn short(self, bytes: [u8; 2]) -> u16 {
        if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    pub(super) fn long(self, bytes: [u8; 4]) -> u32 {
        if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// The coding within a sequence: unknown elements hold implicit ones (PS3.5, section 6.2.2, note 2).
    fn within(self, vr: [u8; 2]) -> Coding {
        if vr == *b"UN" { IMPLICIT } else { self }
    }
}

pub(super) const META: Coding = Coding { explicit: true, big: false };
pub(super) const IMPLICIT: Coding = Coding { explicit: false, big: false };

/// What an element holds.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// Bytes of the data set.
    Bytes(Range<usize>),
    /// The items of a sequence of undefined length, up to its end.
    Items(Range<usize>),
    /// Encapsulated pixels.
    Fragments(Fragments),
}

/// Encapsulated pixels: the offset table, which is the first item, and the fragments after it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fragments {
    pub(super) table: Range<usize>,
    pub(super) pieces: Vec<Range<usize>>,
}

/// Where an item of a sequence lies, and how its elements are written.
pub(super) type Item = (Range<usize>, Coding);

/// What keeps bytes from being a data set.
#[derive(Debug, PartialEq)]
pub(super) enum Problem {
    /// They begin as no DICOM file does.
    Unlike,
    /// An element ends there, beyond the end.
    Short(u64),
    /// The sequence of this tag is no row of items that hold their elements.
    Items(Tag),
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
            Ok(coding.long(four))
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
    pub(super) fn range(&self, bytes: &[u8]) -> Result<Range<usize>, Problem> {
        let end = self.value.saturating_add(self.length as usize);
        if end > bytes.len() { Err(Problem::Short(end as u64)) } else { Ok(self.value..end) }
    }
}

/// Elements that lie in no sequence, or in one item of a sequence.
#[derive(Debug, Default)]
pub(super) struct Elements {
    /// Values, VRs (blanks where they are implicit), and how what is in them is written.
    values: BTreeMap<Tag, (Value, [u8; 2], Coding)>,
}

impl Elements {
    /// The elements of a part of the bytes that may be wanted, up to the end of the item or to the pixel data, which are the last
    /// that count; of those of one tag the last.
    pub(super) fn read(bytes: &[u8], part: Range<usize>, coding: Coding) -> Result<Elements, Problem> {
        let bytes = &bytes[..part.end];
        let mut at = part.start;
        let mut values = BTreeMap::new();
        while at < bytes.len() {
            let element = Element::at(bytes, at, coding)?;
            if element.tag == ITEM_END {
                break;
            }
            let value = if element.length != UNDEFINED {
                Value::Bytes(element.range(bytes)?)
            } else if element.tag == PIXEL_DATA {
                Value::Fragments(fragments(bytes, element.value, coding)?)
            } else {
                Value::Items(element.value..after_sequence(bytes, &element, coding)?)
            };
            at = match &value {
                Value::Bytes(range) | Value::Items(range) => range.end,
                Value::Fragments(_) => bytes.len(),
            };
            if KEPT.contains(&element.tag.0) {
                values.insert(element.tag, (value, element.vr, coding));
            }
            if element.tag == PIXEL_DATA {
                break;
            }
        }
        Ok(Elements { values })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn get(&self, tag: Tag) -> Option<&Value> {
        self.values.get(&tag).map(|(value, ..)| value)
    }

    pub(super) fn vr(&self, tag: Tag) -> Option<[u8; 2]> {
        self.values.get(&tag).map(|(_, vr, _)| *vr)
    }

    /// The bytes of an element, of the bytes that it was read from; none if it is absent or no element with a value.
    pub(super) fn value<'b>(&self, bytes: &'b [u8], tag: Tag) -> Option<&'b [u8]> {
        match self.get(tag)? {
            Value::Bytes(range) => bytes.get(range.clone()),
            Value::Items(_) | Value::Fragments(_) => None,
        }
    }

    /// Where the items of a sequence lie, and how their elements are written; none if it is absent.
    pub(super) fn items(&self, bytes: &[u8], tag: Tag) -> Result<Vec<Item>, Problem> {
        let Some((Value::Bytes(range) | Value::Items(range), vr, coding)) = self.values.get(&tag) else {
            return Ok(Vec::new());
        };
        let (bytes, coding) = (&bytes[..range.end], coding.within(*vr));
        // What overruns the sequence is no shortness of the file.
        items(bytes, range.start, coding).map_err(|_| Problem::Items(tag))?.ok_or(Problem::Items(tag))
    }

    /// Adds the elements of the first item of a sequence.
    pub(super) fn extend_from_first(&mut self, bytes: &[u8], of: &Elements, tag: Tag) -> Result<(), Problem> {
        if let Some((item, coding)) = of.items(bytes, tag)?.into_iter().next() {
            let mut first = Elements::read(bytes, item, coding).map_err(|_| Problem::Items(tag))?;
            self.values.append(&mut first.values);
        }
        Ok(())
    }
}

/// The items from `at` to the end of the bytes or of their sequence; none where something else lies between them.
fn items(bytes: &[u8], mut at: usize, coding: Coding) -> Result<Option<Vec<Item>>, Problem> {
    let mut found = Vec::new();
    while at < bytes.len() {
        let item = Element::at(bytes, at, coding)?;
        let range = match item.tag {
            SEQUENCE_END => break,
            ITEM if item.length == UNDEFINED => item.value..after_sequence(bytes, &item, coding)?,
            ITEM => item.range(bytes)?,
            _ => return Ok(None),
        };
        at = range.end;
        found.push((range, coding));
    }
    Ok(Some(found))
}

/// The items of encapsulated pixels.
fn fragments(bytes: &[u8], mut at: usize, coding: Coding) -> Result<Fragments, Problem> {
    let mut pieces = Vec::new();
    loop {
        let item = Element::at(bytes, at, coding)?;
        if item.tag != ITEM {
            let table = if pieces.is_empty() { at..at } else { pieces.remove(0) };
            return Ok(Fragments { table, pieces });
        }
        let range = item.range(bytes)?;
        at = range.end;
        pieces.push(range);
    }
}

/// The end of a sequence or an item of undefined length.
fn after_sequence(bytes: &[u8], sequence: &Element, coding: Coding) -> Result<usize, Problem> {
    let mut open = vec![coding.within(sequence.vr)];
    let mut at = sequence.value;
    while let Some(&coding) = open.last() {
        let element = Element::at(bytes, at, coding)?;
        at = element.value;
        if element.tag == ITEM_END || element.tag == SEQUENCE_END {
            open.pop();
        } else if element.length == UNDEFINED {
            open.push(coding.within(element.vr));
        } else {
            at = element.range(bytes)?.end;
        }
    }
    Ok(at)
}
