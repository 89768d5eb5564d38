//! Recognises DICOM files by their first bytes (PS3.10, section 7.1), also files that lack preamble or file meta information.

use crate::data::io::content::START;

use super::elements::{Coding, Element, IMPLICIT, LONG, META, SHORT, Tag, UNDEFINED};

/// Bytes of the preamble that a file should begin with, and what follows them.
const PREAMBLE: usize = 128;
const MAGIC: &[u8] = b"DICM";

/// True if a file that begins with these bytes, [`START`] of them or all, is DICOM.
pub(super) fn is_dicom(start: &[u8]) -> bool {
    beginning(start).is_some()
}

/// Where the elements of a file begin: after preamble and `DICM`, after `DICM` alone, or at once, as in files whose
/// preamble or file meta information is lost; then with group 2 or 8, which is what ITK's `GDCMImageIO::CanReadFile` asks.
pub(super) fn beginning(bytes: &[u8]) -> Option<usize> {
    let first = PREAMBLE + MAGIC.len();
    if bytes.get(PREAMBLE..first) == Some(MAGIC) {
        return Some(first);
    }
    if bytes.starts_with(MAGIC) {
        return Some(MAGIC.len());
    }
    let group = *bytes.first_chunk::<2>()?;
    (matches!(u16::from_le_bytes(group), 2 | 8) && coding_at(bytes, 0).is_some()).then_some(0)
}

/// How the elements from there are written, where they look like elements.
pub(super) fn coding_at(bytes: &[u8], at: usize) -> Option<Coding> {
    let window = &bytes[..bytes.len().min(at.saturating_add(START))];
    [META, IMPLICIT].into_iter().find(|&coding| are_elements(window, at, coding))
}

/// True if all elements that begin in the window have rising tags, even lengths and, where they say it, a representation of the
/// standard: one of these, and without representations two, which have less to say. What follows the file meta information is
/// written in another way.
fn are_elements(window: &[u8], mut at: usize, coding: Coding) -> bool {
    let mut before = None;
    let mut count = 0;
    while let Ok(element) = Element::at(window, at, coding) {
        let known = !coding.explicit || SHORT.contains(&&element.vr) || LONG.contains(&&element.vr);
        let whole = element.length == UNDEFINED || element.length % 2 == 0;
        if before.is_some_and(|before: Tag| before.0 == 2 && element.tag.0 != 2) {
            break;
        }
        if !known || !whole || before.is_some_and(|before| before >= element.tag) {
            return false;
        }
        (before, count) = (Some(element.tag), count + 1);
        if element.length == UNDEFINED {
            break;
        }
        at = element.value.saturating_add(element.length as usize);
    }
    count >= if coding.explicit { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::super::dataset::tests::{ROWS, file};
    use super::super::dataset::{DataSet, EXPLICIT_LITTLE, IMPLICIT_LITTLE};
    use super::super::elements::Problem;
    use super::*;

    #[test]
    fn files_are_recognised_by_their_elements() {
        let meta: &[u8] = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0";
        let explicit: &[u8] = b"\x08\0\x60\0CS\x02\0MR";
        let implicit: &[u8] = b"\x08\0\x60\0\x02\0\0\0MR\x28\0\x10\0\x02\0\0\0\x03\0";
        for bytes in [
            file(&[meta, explicit, ROWS]),
            file(&[explicit, ROWS]),
            file(&[implicit]),
            [b"DICM", meta, explicit, ROWS].concat(),
            [meta, explicit, ROWS].concat(),
            [explicit, ROWS].concat(),
            implicit.to_vec(),
            [&b"\x02\0\x10\0UI\x12\x001.2.840.10008.1.2\0"[..], implicit].concat(),
        ] {
            assert!(is_dicom(&bytes), "{bytes:?}");
            let set = DataSet::parse(&bytes).expect("whole");
            let syntax = if bytes.ends_with(ROWS) { EXPLICIT_LITTLE } else { IMPLICIT_LITTLE };
            assert_eq!((set.short((0x28, 0x10)), set.syntax.as_str()), (Some(3), syntax), "{bytes:?}");
        }
        // Text, a NIfTI header, voxels that begin with 8, elements that fall, an unknown representation.
        let falling = [ROWS, explicit].concat();
        let voxels: Vec<u8> = (0..200u16).flat_map(|v| (8 + v % 3).to_le_bytes()).collect();
        for bytes in [b"\x08\0".as_slice(), b"version 1", b"\x5C\x01\0\0", &voxels, &falling, b"\x08\0\x60\0XX\x02\0MR"]
        {
            assert!(!is_dicom(bytes), "{bytes:?}");
            assert_eq!(DataSet::parse(bytes).map(|_| ()), Err(Problem::Unlike));
        }
    }
}
