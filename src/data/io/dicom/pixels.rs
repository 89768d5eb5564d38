//! From the pixel data of a file to cells of one or two bytes. Sizes are compared before anything is decoded.

use std::path::Path;

use jpeg_decoder::{Decoder, PixelFormat};

use super::elements::DataSet;
use super::rle;
use crate::data::DataError;

/// Uncompressed: implicit, explicit, deflated, big endian.
const NATIVE: [&str; 4] = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"];
/// JPEG: baseline, extended, lossless with any predictor and with the first.
const JPEG: [&str; 4] =
    ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"];
/// Run lengths.
const RLE_LOSSLESS: &str = "1.2.840.10008.1.2.5";

/// Cells of a frame of `extents` (columns, rows), `bytes` each, little endian.
pub(super) fn decode(path: &Path, file: &DataSet<'_>, extents: [usize; 2], bytes: usize) -> Result<Vec<u8>, DataError> {
    let wrong = |reason: String| DataError::unusable(path, reason);
    let syntax = file.syntax.as_str();
    let count = extents[0] * extents[1];
    if NATIVE.contains(&syntax) {
        return native(path, file, count * bytes, bytes);
    }
    let data = file.fragments().unwrap_or_default();
    if syntax == RLE_LOSSLESS {
        let damaged = || wrong(format!("run lengths are damaged or cut short, expected {count} pixels"));
        return rle::decode(&data, count, bytes).ok_or_else(damaged);
    }
    if JPEG.contains(&syntax) {
        return jpeg(&data, extents, bytes).map_err(wrong);
    }
    Err(wrong(format!("transfer syntax {syntax:?} is not read, expected uncompressed, deflated, RLE or JPEG pixels")))
}

fn native(path: &Path, file: &DataSet<'_>, needed: usize, bytes: usize) -> Result<Vec<u8>, DataError> {
    let pixels = file.native_pixels(bytes).unwrap_or_default();
    let short = || DataError::truncated(path, needed as u64, pixels.len() as u64);
    pixels.get(..needed).map(<[u8]>::to_vec).ok_or_else(short)
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
