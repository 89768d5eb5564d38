//! What a file is by its first bytes, where its name says something else or nothing.

use std::path::Path;

use super::format::{Format, format_of_name, is_part_of_series};
use super::input::{Input, Packing};
use crate::data::DataError;

/// How a git-lfs pointer begins (git-lfs, docs/spec.md).
const POINTER: &str = "version https://git-lfs.github.com/spec/v1";
/// Bytes of a file from which it is recognised.
pub(crate) const START: usize = 1024;
/// Characters of a text that a message shows.
const SHOWN: usize = 40;

/// The endings of files that describe data and hold none.
const DOCUMENTS: [&str; 18] = [
    ".json", ".jsonl", ".toml", ".yaml", ".yml", ".xml", ".txt", ".md", ".rst", ".csv", ".tsv", ".html", ".pdf",
    ".log", ".bval", ".bvec", ".sh", ".py",
];

/// What the first bytes of a file say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The file is empty.
    Empty,
    /// A git-lfs pointer to a file of so many bytes.
    Pointer(Option<u64>),
    /// A slice of a series: a file of a volume that is a folder.
    Slice,
    /// Text that begins so.
    Text(String),
    /// Something else.
    Other,
}

impl Content {
    /// The content of a file; [`Content::Other`] where it cannot be read.
    pub(crate) fn of_file(path: &Path) -> Content {
        Content::of(Input::file(path))
    }

    fn of(input: Input<'_>) -> Content {
        input.start(START as u64, Packing::Plain).map_or(Content::Other, |start| Content::of_bytes(&start))
    }

    fn of_bytes(start: &[u8]) -> Content {
        if start.is_empty() {
            return Content::Empty;
        }
        if is_part_of_series(start) {
            return Content::Slice;
        }
        let text = match std::str::from_utf8(start) {
            Ok(text) => text,
            // The last character may have been cut in two.
            Err(error) if error.error_len().is_none() => {
                std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return Content::Other,
        };
        if text.is_empty() || text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0C')) {
            return Content::Other;
        }
        if text.starts_with(POINTER) {
            let size = text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse().ok());
            return Content::Pointer(size);
        }
        Content::Text(text.trim().lines().next().unwrap_or_default().chars().take(SHOWN).collect())
    }
}

/// True for files that are not meant to be volumes: hidden ones, descriptions, text without an ending (README).
pub(crate) fn is_description(name: &str, content: impl FnOnce() -> Content) -> bool {
    let lower = name.to_ascii_lowercase();
    name.starts_with('.')
        || DOCUMENTS.iter().any(|ending| lower.ends_with(ending))
        || !name.contains('.') && matches!(content(), Content::Text(_))
}

/// The reason why a file could not be read, where its content shows it: it is text, a git-lfs pointer, or a slice of a series.
/// Otherwise `error`.
pub(super) fn explain(input: Input<'_>, error: DataError) -> DataError {
    let wrong = |path: &Path, found: String, expected: &str| {
        DataError::unusable(path, format!("is {found}, expected {expected}"))
    };
    let has_text_header = |path| format_of_name(path).is_some_and(Format::has_text_header);
    let named = !input.is_memory() && format_of_name(input.path).is_some();
    if named && !has_text_header(input.path) && Content::of(input) == Content::Slice {
        return wrong(input.path, "a slice of a DICOM series".into(), "the folder of the series");
    }
    let path = match &error {
        DataError::Header { path, .. } | DataError::Truncated { path, .. } | DataError::Compressed { path, .. } => path,
        _ => return error,
    };
    match Content::of(input.beside(path)) {
        Content::Pointer(size) => {
            let of = size.map(|size| format!(" to a file of {size} bytes")).unwrap_or_default();
            wrong(path, format!("a git-lfs pointer{of}"), "the file itself, which `git lfs pull` fetches")
        }
        Content::Text(start) if !has_text_header(path) => {
            wrong(path, format!("text that begins {start:?}"), "a volume")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        let of = |bytes: &[u8]| Content::of_bytes(bytes);
        assert_eq!(of(b""), Content::Empty);
        let pointer = format!("{POINTER}\noid sha256:0123\nsize 8675309\n");
        assert_eq!(of(pointer.as_bytes()), Content::Pointer(Some(8_675_309)));
        assert_eq!(of(POINTER.as_bytes()), Content::Pointer(None));
        assert_eq!(of("<html>\r\n<p>Größe".as_bytes()), Content::Text("<html>".into()));
        assert_eq!(of(b"caf\xC3"), Content::Text("caf".into()), "cut within a character");
        for other in [&b"\xC3"[..], b"a\0b", b"\x1F\x8B\x08", b"caf\xE9 au lait", b"\x5C\x01\0\0"] {
            assert_eq!(of(other), Content::Other, "{other:?}");
        }
    }

    #[test]
    fn descriptions_are_no_volumes() {
        for name in ["dataset.json", "Notes.TXT", ".DS_Store", "README"] {
            assert!(is_description(name, || Content::Text("A".into())), "{name}");
        }
        for name in ["a.nrrd", "a.json.gz", "IM001"] {
            assert!(!is_description(name, || Content::Other), "{name}");
        }
    }
}
