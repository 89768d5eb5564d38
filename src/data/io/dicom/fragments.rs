//! Which fragments of encapsulated pixels make which frame (PS3.5, annex A.4).

use std::borrow::Cow;
use std::ops::Range;

use super::dataset::DataSet;
use super::elements::Tag;

const EXTENDED_OFFSETS: Tag = (0x7FE0, 0x0001);
/// Bytes of the tag and the length in front of a fragment.
const ITEM_HEADER: usize = 8;
/// The end of an image of JPEG and its kin, and among how many last bytes of a fragment it is looked for: a fragment may be filled up.
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];
const AMONG_LAST: usize = 10;

/// The fragments of each of `frames` frames: by the extended offset table, by the basic one, else one fragment for a frame, else
/// up to the fragments that end an image.
pub(super) fn of_frames(file: &DataSet<'_>, frames: usize) -> Result<Vec<Range<usize>>, String> {
    let Some(fragments) = file.fragments() else { return Ok(Vec::new()) };
    let count = fragments.pieces.len();
    let offsets = offsets(file).filter(|offsets| !offsets.is_empty());
    if frames == 1 {
        return Ok(std::iter::once(0..count).collect());
    }
    if let Some(offsets) = offsets {
        let first = fragments.pieces.first().map_or(0, |piece| piece.start - ITEM_HEADER);
        // Fragments lie one after the other, so where they begin is sorted.
        let starts: Vec<u64> =
            fragments.pieces.iter().map(|piece| (piece.start - ITEM_HEADER - first) as u64).collect();
        let found: Option<Vec<usize>> = offsets.iter().map(|offset| starts.binary_search(offset).ok()).collect();
        let found = found.filter(|found| found.len() == frames && found.is_sorted_by(|a, b| a < b));
        let mut found = found.ok_or_else(|| {
            format!(
                "the offset table of the frames has {} offsets, expected where each of {frames} begins",
                offsets.len()
            )
        })?;
        found.push(count);
        return Ok(found.windows(2).map(|pair| pair[0]..pair[1]).collect());
    }
    if count == frames {
        return Ok((0..count).map(|index| index..index + 1).collect());
    }
    let ends: Vec<usize> = (0..count).filter(|&index| ends_image(file, &fragments.pieces[index])).collect();
    if ends.len() != frames || ends.last() != Some(&(count - 1)) {
        return Err(format!("{count} fragments without an offset table, expected one for each of {frames} frames"));
    }
    Ok((0..frames).map(|index| index.checked_sub(1).map_or(0, |before| ends[before] + 1)..ends[index] + 1).collect())
}

/// The offsets of frames from the first fragment's header; none where there is no table.
fn offsets(file: &DataSet<'_>) -> Option<Vec<u64>> {
    if let Some(extended) = file.value(EXTENDED_OFFSETS) {
        return Some(extended.as_chunks::<8>().0.iter().map(|&eight| u64::from_le_bytes(eight)).collect());
    }
    let table = file.bytes.get(file.fragments()?.table.clone())?;
    Some(table.as_chunks::<4>().0.iter().map(|&four| u64::from(u32::from_le_bytes(four))).collect())
}

fn ends_image(file: &DataSet<'_>, piece: &Range<usize>) -> bool {
    let bytes = &file.bytes[piece.clone()];
    let last = &bytes[bytes.len().saturating_sub(AMONG_LAST)..];
    last.windows(2).any(|pair| pair == END_OF_IMAGE)
}

/// The bytes of fragments, one after the other.
pub(super) fn joined<'a>(file: &'a DataSet<'_>, indices: Range<usize>) -> Cow<'a, [u8]> {
    let pieces = file.fragments().and_then(|fragments| fragments.pieces.get(indices)).unwrap_or_default();
    match pieces {
        [piece] => Cow::Borrowed(&file.bytes[piece.clone()]),
        _ => Cow::Owned(pieces.iter().flat_map(|piece| &file.bytes[piece.clone()]).copied().collect()),
    }
}
