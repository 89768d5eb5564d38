//! From the pixel data of a file to cells of one or two bytes.
//!
//! Decoded here and with `jpeg-decoder`, because the decoders of `dicom-transfer-syntax-registry` 0.10 panic where a
//! frame is larger than `Rows` and `Columns` say. Sizes are compared before anything is decoded.

use std::borrow::Cow;
use std::path::Path;

use dicom_object::mem::InMemElement;
use jpeg_decoder::{Decoder, PixelFormat};

use super::rle;
use crate::data::DataError;

/// Uncompressed: implicit, explicit, deflated, big endian.
const NATIVE: [&str; 4] =
    ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"];
/// JPEG: baseline, extended, lossless with any predictor and with the first.
const JPEG: [&str; 4] =
    ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"];
/// Run lengths.
const RLE_LOSSLESS: &str = "1.2.840.10008.1.2.5";

/// Cells of a frame of `extents` (columns, rows), `bytes` each, in the machine's byte order.
pub(super) fn decode(
    path: &Path,
    syntax: &str,
    pixels: &InMemElement,
    extents: [usize; 2],
    bytes: usize,
) -> Result<Vec<u8>, DataError> {
    let wrong = |reason: String| DataError::Dicom { path: path.to_path_buf(), reason };
    let syntax = syntax.trim_end_matches(['\0', ' ']);
    let count = extents[0] * extents[1];
    if NATIVE.contains(&syntax) {
        return native(path, pixels, count * bytes);
    }
    let data = pixels.fragments().map(|fragments| fragments.concat()).unwrap_or_default();
    if syntax == RLE_LOSSLESS {
        let damaged = || wrong(format!("run lengths are damaged or cut short, expected {count} pixels"));
        return rle::decode(&data, count, bytes).ok_or_else(damaged);
    }
    if JPEG.contains(&syntax) {
        return jpeg(&data, extents, bytes).map_err(wrong);
    }
    Err(wrong(format!("transfer syntax {syntax:?} is not read, expected uncompressed, deflated, RLE or JPEG pixels")))
}

fn native(path: &Path, pixels: &InMemElement, needed: usize) -> Result<Vec<u8>, DataError> {
    let bytes: Cow<'_, [u8]> = match pixels.fragments() {
        Some(fragments) => Cow::Owned(fragments.concat()),
        None => pixels.to_bytes().unwrap_or_default(),
    };
    match bytes.get(..needed) {
        Some(cells) => Ok(cells.to_vec()),
        None => {
            let (needed, found) = (needed as u64, bytes.len() as u64);
            Err(DataError::Truncated { path: path.to_path_buf(), needed, found })
        }
    }
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
    let cells = decoder.decode().map_err(failed)?;
    if cells.len() == needed { Ok(cells) } else { Err(format!("JPEG pixels: {} bytes, expected {needed}", cells.len())) }
}
