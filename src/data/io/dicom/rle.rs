//! Run lengths of DICOM (PS3.5, annex G): the bytes of all samples by significance, each run-length coded as PackBits.
//!
//! Decoded here because `dicom-transfer-syntax-registry` 0.10 panics on lengths and offsets that lie beyond the data.

/// Cells of `bytes` bytes, little endian, of a frame of `count`; none if the data end early or are none.
pub(super) fn decode(data: &[u8], count: usize, bytes: usize) -> Option<Vec<u8>> {
    let (header, _) = data.get(..64)?.as_chunks::<4>();
    let word = |index: usize| -> usize { u32::from_le_bytes(header[index]) as usize };
    // A run of 128 takes two bytes: fewer data than this cannot fill the cells.
    if word(0) != bytes || data.len().saturating_mul(64) < count.saturating_mul(bytes) {
        return None;
    }
    let mut cells = vec![0; count.checked_mul(bytes)?];
    for segment in 0..bytes {
        let end = if segment + 1 < bytes { word(segment + 2) } else { data.len() };
        let runs = data.get(word(segment + 1)..end)?;
        // The most significant bytes come first.
        let place = bytes - 1 - segment;
        let mut cell = cells.iter_mut().skip(place).step_by(bytes);
        unpack(runs, count, |byte| {
            if let Some(cell) = cell.next() {
                *cell = byte;
            }
        })?;
    }
    Some(cells)
}

/// Hands over `count` bytes of PackBits; none if there are fewer.
fn unpack(mut runs: &[u8], count: usize, mut each: impl FnMut(u8)) -> Option<()> {
    let mut left = count;
    while left > 0 {
        let (&control, rest) = runs.split_first()?;
        runs = match control {
            0..128 => {
                let (literal, rest) = rest.split_at_checked(usize::from(control) + 1)?;
                literal.iter().take(left).for_each(|&byte| each(byte));
                left = left.saturating_sub(literal.len());
                rest
            }
            128 => rest,
            129.. => {
                let (&byte, rest) = rest.split_first()?;
                let length = 257 - usize::from(control);
                (0..length.min(left)).for_each(|_| each(byte));
                left = left.saturating_sub(length);
                rest
            }
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_repetitions() {
        let mut bytes = Vec::new();
        // Three literals, 128 that means nothing, five times 7, and more than is asked for.
        let runs = [2, 10, 20, 30, 128, 252, 7, 1, 1, 2];
        assert_eq!(unpack(&runs, 9, |byte| bytes.push(byte)), Some(()));
        assert_eq!(bytes, [10, 20, 30, 7, 7, 7, 7, 7, 1]);
        assert_eq!(unpack(&runs, 11, |_| ()), None);
        assert_eq!(unpack(&[5, 1, 2], 2, |_| ()), None);
        assert_eq!(unpack(&[200], 2, |_| ()), None);
    }

    #[test]
    fn significant_bytes_come_first() {
        let mut data = vec![0; 64];
        (data[0], data[4], data[8]) = (2, 64, 68);
        data.extend([1, 0x12, 0x34, 0]);
        data.extend([255, 0x56]);
        assert_eq!(decode(&data, 2, 2), Some(vec![0x56, 0x12, 0x56, 0x34]));
        assert_eq!(decode(&data, 2, 1), None, "two segments for one byte");
        assert_eq!(decode(&data, 3, 2), None);
        data[8] = 200;
        assert_eq!(decode(&data, 2, 2), None);
        assert_eq!(decode(&data[..40], 2, 2), None);
    }
}
