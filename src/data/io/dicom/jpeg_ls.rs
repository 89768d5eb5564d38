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

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers of an image of 4 x 3 pixels of so many bits.
    fn headers(bits: u8) -> Vec<u8> {
        [b"\xFF\xD8\xFF\xF7\0\x0B", &[bits][..], b"\0\x03\0\x04\x01\x01\x11\0\xFF\xDA\0\x08\x01\x01\0\0\0\0"].concat()
    }

    #[test]
    fn images_are_as_large_as_they_are_said_to_be() {
        // Runs of zeros to the end of each line.
        let zeros = [headers(12), vec![0xFF, 0x7F, 0xFF, 0xD9]].concat();
        assert_eq!(decode(&zeros, [4, 3], 2), Ok(vec![0; 24]));
        assert_eq!(decode(&zeros, [4, 3], 1), Ok(vec![0; 12]));
        assert!(decode(&zeros, [3, 4], 2).is_err());
        assert!(decode(&zeros[..25], [4, 3], 2).is_err());
    }

    #[test]
    fn overflowing_sums_end_in_an_error() {
        // Ones alone are the longest codes of ever larger numbers.
        for byte in [0x00, 0x01, 0x10, 0x55] {
            let wild = [headers(16), vec![byte; 200]].concat();
            assert!(decode(&wild, [4, 3], 2).is_err(), "{byte}");
        }
    }
}
