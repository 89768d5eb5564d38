//! A checksum inside a safetensors file, so that no byte of it can change unnoticed.
//!
//! The header holds `"blake3":"<64 hexadecimal digits>"`: BLAKE3 of the whole file with these digits set to `0`.

/// Digits before a file is sealed.
pub(super) const UNSEALED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The key as it stands in the header: JSON within a JSON string.
const MARKER: &[u8] = br#"\"blake3\":\""#;

/// Puts the checksum of `file` in its place.
///
/// # Panics
/// When the header has no place for one.
pub(super) fn seal(file: &mut [u8]) {
    let at = place(file).expect("a checkpoint's header has a place for its checksum");
    let digits = checksum(file, at);
    file[at..at + UNSEALED.len()].copy_from_slice(digits.as_bytes());
}

/// Whether a file is as it was sealed.
pub(super) fn is_intact(file: &[u8]) -> bool {
    place(file).is_some_and(|at| file[at..at + UNSEALED.len()] == *checksum(file, at).as_bytes())
}

/// Whether there is a place for a checksum.
#[cfg(feature = "fuzzing")]
pub(super) fn has_place(file: &[u8]) -> bool {
    place(file).is_some()
}

/// Where the digits start.
fn place(file: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(file.get(..8)?.try_into().ok()?);
    let header = file.get(8..usize::try_from(length).ok()?.checked_add(8)?)?;
    let marker = header.windows(MARKER.len()).position(|w| w == MARKER)?;
    let at = 8 + marker + MARKER.len();
    (at + UNSEALED.len() <= 8 + header.len()).then_some(at)
}

fn checksum(file: &[u8], at: usize) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&file[..at]).update(UNSEALED.as_bytes()).update(&file[at + UNSEALED.len()..]);
    hasher.finalize().to_hex().to_string()
}
