//! The framing of event files.

/// What TensorFlow adds to a rotated CRC, so that a CRC of data that hold CRCs is a good one.
const MASK: u32 = 0xa282_ead8;

/// CRC-32C of some bytes, rotated and shifted as TensorFlow stores it.
pub fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(MASK)
}

/// Appends a record.
pub fn write_record(buffer: &mut Vec<u8>, message: &[u8]) {
    let length = (message.len() as u64).to_le_bytes();
    buffer.extend(length);
    buffer.extend(masked_crc(&length).to_le_bytes());
    buffer.extend(message);
    buffer.extend(masked_crc(message).to_le_bytes());
}

/// The messages of whole records with right checksums, up to the first that is not.
pub fn read_records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let Some((message, rest)) = read_record(bytes) {
        messages.push(message);
        bytes = rest;
    }
    messages
}

fn read_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (message, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let (message_crc, rest) = rest.split_first_chunk::<4>()?;
    let right =
        u32::from_le_bytes(*crc) == masked_crc(length) && u32::from_le_bytes(*message_crc) == masked_crc(message);
    right.then_some((message, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4: 32 bytes of zeros, of ones, and 0 to 31.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c::crc32c(&rising), 0x46dd_794e);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // ((crc >> 15) | (crc << 17)) + 0xa282ead8, by hand: 0x2507c60d + 0xa282ead8.
        assert_eq!(masked_crc(b"123456789"), 0xc78a_b0e5);
    }

    #[test]
    fn records_come_back_up_to_the_first_that_is_cut_or_changed() {
        let messages: [&[u8]; 3] = [b"one", b"", b"three times as long"];
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| write_record(&mut bytes, message));
        assert_eq!(read_records(&bytes), messages);
        let ends: Vec<usize> = messages
            .iter()
            .scan(0, |end, m| {
                *end += m.len() + 16;
                Some(*end)
            })
            .collect();
        for cut in 0..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(read_records(&bytes[..cut]), messages[..whole], "cut at {cut}");
            let mut changed = bytes.clone();
            changed[cut] ^= 0x10;
            let before = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(read_records(&changed), messages[..before], "changed at {cut}");
        }
    }
}
