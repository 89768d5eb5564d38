//! JPEG 2000 (ISO/IEC 15444-1) in one component, as DICOM has it (PS3.5, A.4.4): decoded by `dicom-toolkit-jpeg2000`.
//!
//! The decoder makes tiles, precincts and code blocks of whatever size a codestream asks for, so its memory does not depend on the
//! length of the file. So it is not given the file's codestream but one that is written here from it: one SIZ, COD and QCD
//! whose sizes were looked at, and tile-parts that hold nothing but packets. What the decoder would do with other markers does
//! not matter then. Left out: the markers that only tell lengths. Refused: other ones (regions of interest, changes of
//! progression, packed headers, changes of the coding within a tile), high throughput, image offsets, small tiles and precincts.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use dicom_toolkit_jpeg2000::{DecodeSettings, Image};

const START: u16 = 0xFF4F;
const SIZE: u16 = 0xFF51;
const CODING: u16 = 0xFF52;
const QUANTISATION: u16 = 0xFF5C;
const TILE_PART: u16 = 0xFF90;
const DATA: u16 = 0xFF93;
const END: u16 = 0xFFD9;
/// Lengths of tile-parts and packets, and comments.
const PASSED_OVER: [u16; 5] = [0xFF55, 0xFF57, 0xFF58, 0xFF63, 0xFF64];

/// Sides of tiles and exponents of the sides of precincts, at least; 2^4 pixels are less than encoders choose.
const LEAST_TILE: u32 = 64;
const LEAST_PRECINCT: u8 = 4;
/// Exponents of the sides of a code block less 2, at most; their sum, also at least (15444-1, table A.18): 256 to 4096 pixels.
const MOST_SIDE: u8 = 8;
const BLOCK: RangeInclusive<u8> = 4..=8;
/// Layers and levels, at most.
const MOST_LAYERS: u16 = 32;
const MOST_LEVELS: u8 = 32;

/// Pixels of an image, at most: the decoder takes 15 to 20 bytes for each. Larger images than the second number are decoded one at
/// a time: slices are read on all cores, and memory is not to grow with their number.
const MOST_PIXELS: usize = 1 << 25;
const MANY_PIXELS: usize = 1 << 20;
static LARGE: Mutex<()> = Mutex::new(());

/// Decodes one image to little-endian cells of `bytes` bytes, or says what is wrong with it. Negative numbers are two's complement.
pub(super) fn decode(data: &[u8], extents: [usize; 2], bytes: usize) -> Result<Vec<u8>, String> {
    let stream = Stream::of(data)?;
    let [columns, rows] = extents;
    let Size { extents: found, precision, signed, .. } = stream.size;
    if found.map(|extent| extent as usize) != extents {
        let [found_columns, found_rows] = found;
        return Err(format!("{found_columns} x {found_rows} pixels, expected {columns} x {rows}"));
    }
    if usize::from(precision) > 8 * bytes {
        return Err(format!("{precision} bits per pixel, expected at most {}", 8 * bytes));
    }
    if columns * rows > MOST_PIXELS {
        return Err(format!("{columns} x {rows} pixels, expected at most {MOST_PIXELS}"));
    }
    let _alone = (columns * rows > MANY_PIXELS).then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner));
    let settings = DecodeSettings { resolve_palette_indices: false, strict: true, target_resolution: None };
    let image = Image::new(&stream.bytes, &settings).map_err(|error| error.to_string())?;
    let bitmap = image.decode_native().map_err(|error| error.to_string())?;
    let found = bitmap.data.len() / usize::from(bitmap.bytes_per_sample.max(1));
    if found != columns * rows {
        return Err(format!("{found} pixels, expected {}", columns * rows));
    }
    // The decoder takes all numbers as unsigned: signed ones come with half their range added.
    let shift = if signed { 1u16 << (precision - 1) } else { 0 };
    let cell = |number: u16| number.wrapping_sub(shift).to_le_bytes();
    Ok(if bitmap.bytes_per_sample == 1 {
        bitmap.data.iter().flat_map(|&number| cell(u16::from(number)).into_iter().take(bytes)).collect()
    } else {
        bitmap.data.as_chunks::<2>().0.iter().flat_map(|&pair| cell(u16::from_le_bytes(pair))).collect()
    })
}

/// A codestream that was looked at.
struct Stream {
    size: Size,
    /// The codestream in a plain form.
    bytes: Vec<u8>,
}

/// The bytes of a codestream that are left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("the codestream is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn short(&mut self) -> Result<u16, String> {
        self.take(2).map(|two| u16::from_be_bytes([two[0], two[1]]))
    }

    fn long(&mut self) -> Result<u32, String> {
        Ok(u32::from(self.short()?) << 16 | u32::from(self.short()?))
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.take(1).map(|one| one[0])
    }

    /// The parameters of a marker segment.
    fn segment(&mut self) -> Result<Reader<'a>, String> {
        let length = usize::from(self.short()?);
        self.take(length.checked_sub(2).ok_or("a marker segment without length")?).map(Reader)
    }
}

impl Stream {
    fn of(data: &[u8]) -> Result<Stream, String> {
        let mut reader = Reader(data);
        if reader.short() != Ok(START) || reader.short() != Ok(SIZE) {
            return Err("it begins as no codestream does, expected FF4F FF51".to_owned());
        }
        let parameters = reader.segment()?.0;
        let size = Size::of(parameters)?;
        let tiles = size.tiles();
        let mut stream = Stream { size, bytes: Vec::with_capacity(data.len()) };
        stream.bytes.extend(START.to_be_bytes());
        stream.put(SIZE, parameters);
        stream.headers(&mut reader)?;
        stream.tile_parts(&mut reader, tiles)?;
        stream.bytes.extend(END.to_be_bytes());
        Ok(stream)
    }

    fn put(&mut self, marker: u16, parameters: &[u8]) {
        self.bytes.extend(marker.to_be_bytes());
        self.bytes.extend((parameters.len() as u16 + 2).to_be_bytes());
        self.bytes.extend(parameters);
    }

    /// The main header after its first segment, up to the marker of the first tile-part.
    fn headers(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        let (mut coding, mut quantisation) = (false, false);
        loop {
            match reader.short()? {
                CODING if !coding => {
                    coding = true;
                    let parameters = reader.segment()?.0;
                    check_coding(parameters)?;
                    self.put(CODING, parameters);
                }
                QUANTISATION if !quantisation => {
                    quantisation = true;
                    let parameters = reader.segment()?.0;
                    self.put(QUANTISATION, parameters);
                }
                TILE_PART if coding && quantisation => return Ok(()),
                marker if PASSED_OVER.contains(&marker) => drop(reader.segment()?),
                marker => return Err(unread(marker)),
            }
        }
    }

    /// All tile-parts, of which the marker of the first one was read.
    fn tile_parts(&mut self, reader: &mut Reader<'_>, tiles: u32) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        loop {
            let mut header = reader.segment()?;
            let (tile, length, numbers) = (header.short()?, header.long()? as usize, header.take(2)?);
            if u32::from(tile) >= tiles || !header.0.is_empty() {
                return Err(format!("tile {tile}, expected less than {tiles}"));
            }
            // The length counts from the marker, 12 bytes before; 0 says: all that is left.
            let length = if length == 0 { before_end(reader.0) } else { length.saturating_sub(12) };
            let mut part = Reader(reader.take(length)?);
            loop {
                match part.short()? {
                    DATA => break,
                    marker if PASSED_OVER.contains(&marker) => drop(part.segment()?),
                    marker => return Err(unread(marker)),
                }
            }
            seen.insert(tile);
            let length = part.0.len() as u32 + 14;
            self.put(TILE_PART, &[&tile.to_be_bytes(), &length.to_be_bytes()[..], numbers].concat());
            self.bytes.extend(DATA.to_be_bytes());
            self.bytes.extend(part.0);
            match reader.short() {
                Ok(TILE_PART) => {}
                Ok(marker) if marker != END => return Err(unread(marker)),
                _ if seen.len() == tiles as usize => return Ok(()),
                _ => return Err(format!("the codestream has {} of {tiles} tiles", seen.len())),
            }
        }
    }
}

/// Bytes before the marker of the end, after which a byte may fill up a fragment.
fn before_end(bytes: &[u8]) -> usize {
    let end = END.to_be_bytes();
    let stripped = bytes.strip_suffix(&end).or_else(|| bytes.strip_suffix(&[0])?.strip_suffix(&end));
    stripped.unwrap_or(bytes).len()
}

fn unread(marker: u16) -> String {
    format!("marker {marker:04X}, which is not read")
}

/// What a SIZ segment says of an image in one component without offsets (15444-1, A.5.1).
struct Size {
    extents: [u32; 2],
    tile: [u32; 2],
    precision: u8,
    signed: bool,
}

impl Size {
    fn of(parameters: &[u8]) -> Result<Size, String> {
        let mut reader = Reader(parameters);
        reader.short()?;
        let mut pair = || Ok::<_, String>([reader.long()?, reader.long()?]);
        let [extents, offset, tile, tile_offset] = [pair()?, pair()?, pair()?, pair()?];
        let (components, depth, steps) = (reader.short()?, reader.byte()?, reader.take(2)?);
        if components != 1 || steps != [1, 1] || !reader.0.is_empty() {
            return Err(format!("{components} components, expected one of full size"));
        }
        if offset != [0, 0] || tile_offset != [0, 0] {
            return Err("the image is offset from its tiles, expected one that is not".to_owned());
        }
        if (0..2).any(|axis| extents[axis] > 0xFFFF || tile[axis] < LEAST_TILE.min(extents[axis].max(1))) {
            return Err(format!("tiles of {} x {} pixels, expected at least {LEAST_TILE}", tile[0], tile[1]));
        }
        // Tiles may be larger than the image, by how much means nothing.
        let precision = (depth & 0x7F) + 1;
        if precision > 16 {
            return Err(format!("{precision} bits per pixel, expected at most 16"));
        }
        Ok(Size { extents, tile, precision, signed: depth & 0x80 != 0 })
    }

    fn tiles(&self) -> u32 {
        self.extents[0].div_ceil(self.tile[0]) * self.extents[1].div_ceil(self.tile[1])
    }
}

/// Refuses codings (15444-1, A.6.1) whose parts are so small or many that the decoder would need a multiple of the image.
fn check_coding(parameters: &[u8]) -> Result<(), String> {
    let mut reader = Reader(parameters);
    let (style, _, layers, _) = (reader.byte()?, reader.byte()?, reader.short()?, reader.byte()?);
    let (levels, block, passes, _) = (reader.byte()?, reader.take(2)?, reader.byte()?, reader.byte()?);
    if passes & 0x40 != 0 {
        return Err("high-throughput code blocks, which are not read".to_owned());
    }
    if levels > MOST_LEVELS || layers > MOST_LAYERS {
        return Err(format!("{levels} levels and {layers} layers, expected at most {MOST_LEVELS} and {MOST_LAYERS}"));
    }
    if block.iter().any(|&side| side > MOST_SIDE) || !BLOCK.contains(&(block[0] + block[1])) {
        let [columns, rows] = [block[0], block[1]].map(|side| u32::from(side) + 2);
        return Err(format!("code blocks of 2^{columns} x 2^{rows} pixels, expected 256 to 4096 pixels"));
    }
    let small = |precinct: &u8| precinct & 0xF < LEAST_PRECINCT || precinct >> 4 < LEAST_PRECINCT;
    let expected = if style & 1 == 1 { usize::from(levels) + 1 } else { 0 };
    if reader.0.len() != expected || reader.0.iter().any(small) {
        return Err(format!("precincts of exponents {:?}, expected {expected} of at least {LEAST_PRECINCT}", reader.0));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u16, parameters: &[u8]) -> Vec<u8> {
        [&marker.to_be_bytes(), &(parameters.len() as u16 + 2).to_be_bytes(), parameters].concat()
    }

    /// A codestream of an image of 4 x 3 pixels whose tile-part has these markers before its packets.
    fn stream(more: &[u8], in_part: &[u8], length: Option<u32>) -> Vec<u8> {
        let longs: Vec<u8> = [4u32, 3, 0, 0, 4, 3, 0, 0].iter().flat_map(|long| long.to_be_bytes()).collect();
        let size = segment(SIZE, &[&[0, 0], &longs[..], &[0, 1, 0x8B, 1, 1]].concat());
        let coding = segment(CODING, &[0, 0, 0, 1, 0, 1, 4, 4, 0, 1]);
        let quantisation = segment(QUANTISATION, &[0x40, 0x60, 0x68, 0x68, 0x70]);
        let packets = [0x80, 0, 0];
        let all = 12 + in_part.len() + 2 + packets.len();
        let length = length.unwrap_or(all as u32);
        let part = segment(TILE_PART, &[&[0, 0], &length.to_be_bytes()[..], &[0, 1]].concat());
        let begin = START.to_be_bytes().to_vec();
        let data = DATA.to_be_bytes();
        let end = END.to_be_bytes();
        [&begin, &size, more, &coding, &quantisation, &part, in_part, &data, &packets, &end].concat()
    }

    #[test]
    fn only_what_was_looked_at_is_decoded() {
        let plain = stream(&[], &[], None);
        let of = |bytes: &[u8]| Stream::of(bytes).map(|stream| stream.bytes);
        assert_eq!(of(&plain), Ok(plain.clone()));
        let comment = segment(0xFF64, b"\0\x01made by");
        let lengths = segment(0xFF58, &[0, 0x83]);
        assert_eq!(of(&stream(&comment, &lengths, None)), Ok(plain.clone()));
        // Without a length, and filled up.
        assert_eq!(of(&[stream(&[], &[], Some(0)), vec![0]].concat()), Ok(plain.clone()));
        assert_eq!(of(&plain[..plain.len() - 2]), Ok(plain.clone()), "without its end");
        for (bytes, word) in [
            (stream(&segment(0xFF5E, &[0, 0, 1]), &[], None), "FF5E"),
            (stream(&[], &segment(CODING, &[0, 0, 0, 1, 0, 1, 0, 0, 0, 1]), None), "FF52"),
            (stream(&segment(CODING, &[0, 0, 0, 1, 0, 33, 4, 4, 0, 1]), &[], None), "33 levels"),
            (stream(&segment(CODING, &[0, 0, 0, 1, 0, 1, 4, 4, 0x40, 1]), &[], None), "high-throughput"),
            (stream(&[], &[], Some(100)), "cut short"),
            (stream(&[], &[], Some(5)), "cut short"),
            (plain[..60].to_vec(), "cut short"),
            (b"\0\0\0\x0CjP  ".to_vec(), "begins as no codestream"),
        ] {
            let problem = of(&bytes).expect_err(word);
            assert!(problem.contains(word), "{problem}, expected {word}");
        }
    }

    #[test]
    fn signed_numbers_have_half_their_range_taken_off() {
        // No packet has a block: every number is 0.
        assert_eq!(decode(&stream(&[], &[], None), [4, 3], 2), Ok(vec![0; 24]));
        assert_eq!(
            decode(&stream(&[], &[], None), [4, 3], 1).expect_err("12 bits"),
            "12 bits per pixel, expected at most 8"
        );
    }
}
