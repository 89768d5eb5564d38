//! ZIP archives as `torch.save` writes them: every file as it is, without compression (APPNOTE.TXT of PKWARE, 4.3).
//!
//! A crate for ZIP files would bring its decompressors' interfaces for the one method that needs none.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes at the end of a file in which the end of the directory is looked for: it has a comment of up to 65535.
const LONGEST_END: u64 = 22 + 65_535 + 20;

/// Bytes of the directory, at most.
const LONGEST_DIRECTORY: u64 = 1 << 28;

/// The files of an archive by name.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    /// Start of the local header, and bytes of the content.
    entries: BTreeMap<String, (u64, u64)>,
    length: u64,
}

/// The number of so many bytes at a place; nothing where the bytes end before.
fn number(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(count)?)?;
    Some(bytes.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte)))
}

impl Archive {
    /// Opens a file; the inner error says why it is no such archive.
    pub fn open(path: &Path) -> io::Result<Result<Self, String>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let start = length.saturating_sub(LONGEST_END);
        let end = part(&mut file, start, length - start)?;
        let Some((directory, bytes)) = directory(&mut file, &end)? else {
            return Ok(Err("it is cut off: the directory at its end is missing".to_owned()));
        };
        if bytes > LONGEST_DIRECTORY || directory.checked_add(bytes).is_none_or(|end| end > length) {
            return Ok(Err("its directory is not within it".to_owned()));
        }
        let directory = part(&mut file, directory, bytes)?;
        Ok(entries(&directory).map(|entries| Self { file, entries, length }))
    }

    /// The names of the files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The content of a file of at most `most` bytes.
    pub fn read(&mut self, name: &str, most: u64) -> Result<Vec<u8>, String> {
        let &(header, bytes) = self.entries.get(name).ok_or_else(|| format!("{name} is missing"))?;
        let outside = || format!("{name} is not within the file, or larger than {most} bytes");
        let local = part(&mut self.file, header, 30).map_err(|error| error.to_string())?;
        // The lengths of name and extra field differ from those of the directory.
        let lengths = number(&local, 26, 2).zip(number(&local, 28, 2)).filter(|_| local.starts_with(b"PK\x03\x04"));
        let start = lengths.and_then(|(name, extra)| header.checked_add(30 + name + extra)).ok_or_else(outside)?;
        if bytes > most || start.checked_add(bytes).is_none_or(|end| end > self.length) {
            return Err(outside());
        }
        part(&mut self.file, start, bytes).map_err(|error| error.to_string())
    }
}

/// Bytes of a file; fewer where it ends.
fn part(file: &mut File, start: u64, bytes: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut found = Vec::new();
    file.take(bytes).read_to_end(&mut found)?;
    Ok(found)
}

/// Start and bytes of the directory, from the last bytes of a file.
fn directory(file: &mut File, end: &[u8]) -> io::Result<Option<(u64, u64)>> {
    let Some(at) = end.windows(4).rposition(|bytes| bytes == b"PK\x05\x06") else { return Ok(None) };
    let short = number(end, at + 16, 4).zip(number(end, at + 12, 4));
    // Files of more than 4 GiB: a locator before the end says where the longer record is.
    let locator = at.checked_sub(20).filter(|&locator| end[locator..].starts_with(b"PK\x06\x07"));
    let Some(record) = locator.and_then(|locator| number(end, locator + 8, 8)) else { return Ok(short) };
    let record = part(file, record, 56)?;
    let long = number(&record, 48, 8).zip(number(&record, 40, 8));
    Ok(long.filter(|_| record.starts_with(b"PK\x06\x06")))
}

/// The files of a directory.
fn entries(directory: &[u8]) -> Result<BTreeMap<String, (u64, u64)>, String> {
    let mut entries = BTreeMap::new();
    let mut at = 0;
    while directory.get(at..).is_some_and(|rest| rest.starts_with(b"PK\x01\x02")) {
        let field = |offset: usize, count: usize| {
            number(directory, at + offset, count).ok_or_else(|| "its directory is cut off".to_owned())
        };
        let [name, extra, comment] = [field(28, 2)? as usize, field(30, 2)? as usize, field(32, 2)? as usize];
        let (mut bytes, mut header, method) = (field(24, 4)?, field(42, 4)?, field(10, 2)?);
        let text = directory.get(at + 46..at + 46 + name).ok_or_else(|| "its directory is cut off".to_owned())?;
        let text = String::from_utf8_lossy(text).into_owned();
        if method != 0 {
            return Err(format!("{text} is compressed, which torch.save does not do"));
        }
        let extra_field = directory.get(at + 46 + name..at + 46 + name + extra).unwrap_or_default();
        for value in [&mut bytes, &mut header] {
            if *value == u64::from(u32::MAX) {
                // In the order of the fields that do not fit; the compressed size is equal to the other, and before the header.
                *value = u64::MAX;
            }
        }
        long_fields(extra_field, field(20, 4)? == u64::from(u32::MAX), &mut bytes, &mut header);
        entries.insert(text, (header, bytes));
        at += 46 + name + extra + comment;
    }
    Ok(entries)
}

/// Fills in the fields that are `u64::MAX` from the extra field of long files: size, compressed size, start of the header.
fn long_fields(mut extra: &[u8], has_compressed: bool, bytes: &mut u64, header: &mut u64) {
    while let Some((id, length)) = number(extra, 0, 2).zip(number(extra, 2, 2)) {
        if id == 1 {
            let mut at = 4;
            let mut next = || {
                let value = number(extra, at, 8);
                at += 8;
                value.unwrap_or(u64::MAX)
            };
            if *bytes == u64::MAX {
                *bytes = next();
            }
            if has_compressed {
                next();
            }
            if *header == u64::MAX {
                *header = next();
            }
            return;
        }
        extra = extra.get(4 + length as usize..).unwrap_or_default();
    }
}
