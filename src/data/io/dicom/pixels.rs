//! From the pixel data of a file to cells of one or two bytes. Sizes are compared before anything is decoded.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use jpeg_decoder::{Decoder, PixelFormat};

use super::dataset::DataSet;
use super::elements::PIXEL_DATA;
use super::{fragments, jpeg_ls, rle};
use crate::data::DataError;

/// Uncompressed: implicit, explicit, deflated, big endian.
const NATIVE: [&str; 4] = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"];
/// JPEG: baseline, extended, lossless with any predictor and with the first.
const JPEG: [&str; 4] =
    ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"];
/// JPEG-LS: lossless, near-lossless.
const JPEG_LS: [&str; 2] = ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"];
/// Run lengths.
const RLE_LOSSLESS: &str = "1.2.840.10008.1.2.5";

/// The way on where pixels cannot be decoded.
const UNPACKED: &str = "pydicom's `dcmread(FILE).decompress()` undoes a compression";

/// What each kind of coding is decoded by.
type Decode = fn(&[u8], [usize; 2], usize) -> Result<Vec<u8>, String>;

/// The pixels of a file, by frame.
pub(super) struct Pixels<'a> {
    path: &'a Path,
    file: &'a DataSet<'a>,
    /// How frames are decoded, and which fragments each of them has; none where they are not encapsulated.
    encapsulated: Option<(Decode, Vec<Range<usize>>)>,
}

impl<'a> Pixels<'a> {
    /// Of a file with so many frames.
    pub(super) fn of(path: &'a Path, file: &'a DataSet<'a>, frames: usize) -> Result<Pixels<'a>, DataError> {
        let wrong = |reason: String| DataError::unusable(path, reason);
        let syntax = file.syntax.as_str();
        if NATIVE.contains(&syntax) {
            return Ok(Pixels { path, file, encapsulated: None });
        }
        let decode = decoder(syntax).map_err(wrong)?;
        let fragments = fragments::of_frames(file, frames).map_err(wrong)?;
        Ok(Pixels { path, file, encapsulated: Some((decode, fragments)) })
    }

    /// Cells of a frame of `extents` (columns, rows), `bytes` each, little endian.
    pub(super) fn frame(&self, index: usize, extents: [usize; 2], bytes: usize) -> Result<Cow<'_, [u8]>, DataError> {
        let count = extents[0] * extents[1];
        let Some((decode, frames)) = &self.encapsulated else {
            let found = self.file.value(PIXEL_DATA).unwrap_or_default().len() as u64;
            let short = || DataError::truncated(self.path, ((index + 1) * count * bytes) as u64, found);
            return self.file.native_frame(index, count, bytes).ok_or_else(short);
        };
        let data = fragments::joined(self.file, frames.get(index).cloned().unwrap_or_default());
        let cells = decode(&data, extents, bytes).map_err(|reason| DataError::unusable(self.path, reason))?;
        Ok(Cow::Owned(cells))
    }
}

/// What decodes the frames of a transfer syntax, or why nothing does, and the way on.
fn decoder(syntax: &str) -> Result<Decode, String> {
    match syntax {
        RLE_LOSSLESS => Ok(run_lengths),
        _ if JPEG.contains(&syntax) => Ok(jpeg),
        _ if JPEG_LS.contains(&syntax) => Ok(|data, extents, bytes| {
            jpeg_ls::decode(data, extents, bytes).map_err(|reason| format!("JPEG-LS pixels: {reason}; {UNPACKED}"))
        }),
        _ => Err(format!(
            "transfer syntax {syntax:?} is not read, expected uncompressed, deflated, RLE, JPEG or JPEG-LS pixels; \
             {UNPACKED}"
        )),
    }
}

fn run_lengths(data: &[u8], extents: [usize; 2], bytes: usize) -> Result<Vec<u8>, String> {
    let count = extents[0] * extents[1];
    let damaged = || format!("run lengths are damaged or cut short, expected {count} pixels");
    rle::decode(data, count, bytes).ok_or_else(damaged)
}

/// Decodes one JPEG image, or says what is wrong with it.
fn jpeg(data: &[u8], extents: [usize; 2], bytes: usize) -> Result<Vec<u8>, String> {
    let failed = |error: jpeg_decoder::Error| format!("JPEG pixels: {error}");
    let mut decoder = Decoder::new(data);
    decoder.read_info().map_err(failed)?;
    let image = decoder.info().ok_or("JPEG pixels: no image")?;
    let format = if bytes == 1 { PixelFormat::L8 } else { PixelFormat::L16 };
    let found = [usize::from(image.width), usize::from(image.height)];
    if found != extents || image.pixel_format != format {
        let (columns, rows) = (extents[0], extents[1]);
        return Err(format!(
            "JPEG pixels are {} x {} of {:?}, expected {columns} x {rows} of {format:?}",
            found[0], found[1], image.pixel_format
        ));
    }
    let needed = extents[0] * extents[1] * bytes;
    decoder.set_max_decoding_buffer_size(needed);
    let mut cells = decoder.decode().map_err(failed)?;
    if cells.len() != needed {
        return Err(format!("JPEG pixels: {} bytes, expected {needed}", cells.len()));
    }
    if bytes == 2 {
        // The library hands numbers over in the machine's byte order.
        let (numbers, _) = cells.as_chunks_mut::<2>();
        numbers.iter_mut().for_each(|cell| *cell = u16::from_ne_bytes(*cell).to_le_bytes());
    }
    Ok(cells)
}
