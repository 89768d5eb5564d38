//! JPEG-LS (ISO/IEC 14495-1) in one component, as DICOM has it (PS3.5, A.4.3): decoded by `pure_jpegls`.
//!
//! The decoder allocates the image and two rows, after it has compared their size with what is expected. Its sums overflow on damaged
//! data: they wrap, and the pixels are worth nothing, or, where overflow is checked, as in a debug build, it panics, which
//! ends here.

use std::panic::catch_unwind;

/// Decodes one image to little-endian cells of `bytes` bytes, or says what is wrong with it.
pub(super) fn decode(data: &[u8], extents: [usize; 2], bytes: usize) -> Result<Vec<u8>, String> {
    let [columns, rows] = extents.map(|extent| extent as u32);
    let decoded = catch_unwind(|| jpegls::decode(data, columns, rows));
    let decoded = decoded.map_err(|_| "numbers that no encoder writes".to_owned())?;
    let (pixels, _, _) = decoded.map_err(|error| error.to_string())?;
    if bytes == 2 {
        return Ok(pixels.into_iter().flat_map(u16::to_le_bytes).collect());
    }
    let narrow = |pixel: u16| u8::try_from(pixel).map_err(|_| format!("a pixel of {pixel}, expected at most 255"));
    pixels.into_iter().map(narrow).collect()
}
