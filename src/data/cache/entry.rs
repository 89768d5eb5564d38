//! A file of the cache: arrays, and a header with their places and checksums.
//!
//! | bytes | what |
//! |---|---|
//! | 0 – 15 | [`MAGIC`], which also says the byte order |
//! | 16 – 19 | bytes of the header, u32 |
//! | 20 – 51 | BLAKE3 of the header |
//! | 52 – … | the header, JSON ([`Header`]); then zeros up to a multiple of 64 |
//! | … | the arrays, each at a multiple of 64 |
//!
//! Nothing is allocated that the length of the file does not provide.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytemuck::Pod;
use serde::{Deserialize, Serialize};

use super::key::Key;
use crate::data::volume::Grid;
use crate::data::voxels::{Mapped, Voxels};

/// The beginning of a file. Arrays have the byte order of the machine, so a file of another kind of machine is foreign.
const MAGIC: &[u8; 16] = if cfg!(target_endian = "little") { b"VNET-PREPARED-LE" } else { b"VNET-PREPARED-BE" };
/// Bytes before the header.
const PREFIX: usize = 52;
/// Bytes of a header, at most.
const LONGEST_HEADER: usize = 1 << 16;
/// Arrays begin at multiples of this. Maps begin at pages, so voxels are aligned.
const ALIGNMENT: u64 = 64;
/// Bytes that are checked at a time.
const PIECE: usize = 1 << 18;

/// What an entry says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// What the arrays were made from.
    key: String,
    /// Grid of the file of the image.
    grid: Grid,
    arrays: Vec<Array>,
}

/// An array of an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Array {
    name: String,
    /// First byte after the header and its zeros.
    start: u64,
    bytes: u64,
    /// BLAKE3 of the bytes.
    blake3: String,
}

/// Writes an entry.
///
/// # Errors
/// The system's.
pub(super) fn write(mut file: impl Write, key: &Key, grid: &Grid, arrays: &[(&str, &[u8])]) -> io::Result<()> {
    let mut end = 0;
    let described = arrays.iter().map(|(name, bytes)| {
        let start = aligned(end);
        end = start + bytes.len() as u64;
        let blake3 = blake3::hash(bytes).to_hex().to_string();
        Array { name: (*name).to_owned(), start, bytes: bytes.len() as u64, blake3 }
    });
    let header = Header { key: key.text().to_owned(), grid: grid.clone(), arrays: described.collect() };
    let text = serde_json::to_vec(&header)?;
    if text.len() > LONGEST_HEADER {
        return Err(io::Error::other("the header is too long"));
    }
    file.write_all(MAGIC)?;
    file.write_all(&(text.len() as u32).to_le_bytes())?;
    file.write_all(blake3::hash(&text).as_bytes())?;
    file.write_all(&text)?;
    let mut at = (PREFIX + text.len()) as u64;
    for (_, bytes) in arrays {
        file.write_all(&[0; ALIGNMENT as usize][..(aligned(at) - at) as usize])?;
        file.write_all(bytes)?;
        at = aligned(at) + bytes.len() as u64;
    }
    Ok(())
}

fn aligned(at: u64) -> u64 {
    at.next_multiple_of(ALIGNMENT)
}

/// The header of an entry, and where its arrays begin.
#[derive(Debug)]
pub(super) struct Layout {
    header: Header,
    /// First byte of the arrays.
    start: u64,
}

impl Layout {
    /// Reads the header of a file of `length` bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(mut file: impl Read, length: u64) -> Result<Layout, String> {
        let mut prefix = [0; PREFIX];
        file.read_exact(&mut prefix).map_err(|error| error.to_string())?;
        if prefix[..16] != *MAGIC {
            return Err("no entry of this program's cache".into());
        }
        let count = u32::from_le_bytes(prefix[16..20].try_into().expect("four bytes")) as usize;
        if count > LONGEST_HEADER {
            return Err(format!("a header of {count} bytes, expected at most {LONGEST_HEADER}"));
        }
        let mut text = vec![0; count];
        file.read_exact(&mut text).map_err(|error| error.to_string())?;
        if blake3::hash(&text).as_bytes()[..] != prefix[20..] {
            return Err("the checksum of the header is wrong".into());
        }
        let header: Header = serde_json::from_slice(&text).map_err(|error| format!("the header: {error}"))?;
        let layout = Layout { header, start: aligned((PREFIX + count) as u64) };
        let mut ends = layout.header.arrays.iter().map(|array| array.start.checked_add(array.bytes));
        let end = ends.try_fold(0, |end, next| Some(next?.max(end))).and_then(|end| end.checked_add(layout.start));
        match end {
            Some(end) if end == length => Ok(layout),
            Some(end) => Err(format!("{length} bytes, expected {end}")),
            None => Err("an array of more than 2^64 bytes".into()),
        }
    }

    /// Bytes of all arrays.
    pub(super) fn bytes(&self) -> u64 {
        self.header.arrays.iter().fold(0, |sum, array| sum.saturating_add(array.bytes))
    }

    /// The grid of the image's file.
    pub(super) fn grid(&self) -> &Grid {
        &self.header.grid
    }

    fn array(&self, name: &str) -> Result<&Array, String> {
        self.header.arrays.iter().find(|array| array.name == name).ok_or_else(|| format!("{name} is missing"))
    }

    /// Where in the file an array lies.
    fn place(&self, array: &Array) -> Range<u64> {
        let start = self.start + array.start;
        start..start + array.bytes
    }
}

/// An entry that is there, whole as far as its header says.
#[derive(Debug)]
pub(super) struct Entry {
    file: File,
    layout: Layout,
    /// Present where arrays are mapped.
    map: Option<Arc<Mapped>>,
}

impl Entry {
    /// Opens the entry of a key; none where there is no file.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn open(path: &Path, key: &Key) -> Result<Option<Entry>, String> {
        let file = match File::open(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            opened => opened.map_err(|error| error.to_string())?,
        };
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("no file".into());
        }
        let layout = Layout::read(io::BufReader::new(&file), metadata.len())?;
        match layout.header.key == key.text() {
            true => Ok(Some(Entry { file, layout, map: None })),
            false => Err("made from other files or with other settings".into()),
        }
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Reads all arrays to check them.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn verify(&self) -> Result<(), String> {
        let mut piece = vec![0; PIECE];
        for array in &self.layout.header.arrays {
            self.seek(array)?;
            let (mut hasher, mut left) = (blake3::Hasher::new(), array.bytes);
            while left > 0 {
                let count = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                (&self.file).read_exact(&mut piece[..count]).map_err(|error| error.to_string())?;
                hasher.update(&piece[..count]);
                left -= count as u64;
            }
            check(array, hasher.finalize())?;
        }
        Ok(())
    }

    /// From here on arrays are mapped, not read.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn map(&mut self) -> Result<(), String> {
        self.map = Some(Mapped::of(&self.file).map_err(|error| format!("it cannot be mapped: {error}"))?);
        Ok(())
    }

    /// An array: mapped, or read and checked.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn array<T: Pod>(&self, name: &str) -> Result<Voxels<T>, String> {
        let array = self.layout.array(name)?;
        let uneven = || format!("{name} has {} bytes", array.bytes);
        if let Some(map) = &self.map {
            let Range { start, end } = self.layout.place(array);
            let bytes = usize::try_from(start).ok().zip(usize::try_from(end).ok());
            return bytes.and_then(|(start, end)| Voxels::of_file(map, start..end)).ok_or_else(uneven);
        }
        let bytes = usize::try_from(array.bytes).map_err(|_| uneven())?;
        if !bytes.is_multiple_of(size_of::<T>()) {
            return Err(uneven());
        }
        let mut voxels = vec![T::zeroed(); bytes / size_of::<T>()];
        self.seek(array)?;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut voxels);
        (&self.file).read_exact(bytes).map_err(|error| error.to_string())?;
        check(array, blake3::hash(bytes))?;
        Ok(voxels.into())
    }

    fn seek(&self, array: &Array) -> Result<(), String> {
        let start = self.layout.place(array).start;
        (&self.file).seek(SeekFrom::Start(start)).map(|_| ()).map_err(|error| error.to_string())
    }
}

/// An entry of bytes, by way of a file, with the checksum that belongs to its header. Arrays are not checked.
#[cfg(feature = "fuzzing")]
pub(super) fn of_bytes(bytes: &[u8]) -> Option<Entry> {
    let mut bytes = bytes.to_vec();
    let _ = Layout::read(&bytes[..], bytes.len() as u64);
    let count = u32::from_le_bytes(bytes.get(16..20)?.try_into().ok()?) as usize;
    let seal = blake3::hash(bytes.get(PREFIX..PREFIX.checked_add(count)?)?);
    bytes[20..PREFIX].copy_from_slice(seal.as_bytes());
    let layout = Layout::read(&bytes[..], bytes.len() as u64).ok()?;
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&bytes).expect("written");
    let mut entry = Entry { file, layout, map: None };
    let _ = entry.verify();
    entry.map().ok().map(|()| entry)
}

fn check(array: &Array, found: blake3::Hash) -> Result<(), String> {
    match found.to_hex().as_str() == array.blake3 {
        true => Ok(()),
        false => Err(format!("the checksum of {} is wrong", array.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const IMAGE: [f32; 5] = [1.5, -2.0, 3.25, f32::MAX, 0.0];
    const LABEL: [u16; 3] = [7, 0, u16::MAX];

    fn written(folder: &Path) -> (PathBuf, Key) {
        let (path, key) = (folder.join("entry"), Key::of_text("0123"));
        let grid = Grid::axis_aligned([5, 1, 1], [0.1, 1.0 / 3.0, 3.0]);
        let arrays = [("image", bytemuck::cast_slice(&IMAGE)), ("label", bytemuck::cast_slice(&LABEL))];
        write(File::create(&path).expect("created"), &key, &grid, &arrays).expect("written");
        (path, key)
    }

    fn read(path: &Path, key: &Key, mapped: bool) -> Result<(Vec<f32>, Vec<u16>), String> {
        let mut entry = Entry::open(path, key)?.ok_or("not there")?;
        if mapped {
            entry.verify()?;
            entry.map()?;
        }
        Ok((entry.array("image")?.into_vec(), entry.array("label")?.into_vec()))
    }

    #[test]
    fn what_is_written_is_read_and_mapped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, key) = written(folder.path());
        for mapped in [false, true] {
            assert_eq!(read(&path, &key, mapped), Ok((IMAGE.to_vec(), LABEL.to_vec())));
        }
        let entry = Entry::open(&path, &key).expect("whole").expect("there");
        assert_eq!(entry.layout().grid().spacing, [0.1, 1.0 / 3.0, 3.0], "bit by bit");
        assert_eq!(entry.layout().bytes(), 26);
        assert!(entry.array::<f32>("label").is_err() && entry.array::<f32>("other").is_err());
        assert!(Entry::open(&folder.path().join("none"), &key).expect("no error").is_none());
        assert!(Entry::open(folder.path(), &key).is_err(), "a folder");
        let other = read(&path, &Key::of_text("4567"), false).expect_err("another key");
        assert_eq!(other, "made from other files or with other settings");
    }

    /// Every byte that is changed is noticed, but for the zeros between the arrays; so is every length.
    #[test]
    fn whatever_is_damaged_is_noticed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, key) = written(folder.path());
        let whole = std::fs::read(&path).expect("read");
        let mut unnoticed = 0;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).expect("written");
            let found = [false, true].map(|mapped| read(&path, &key, mapped));
            assert_eq!(found[0].is_ok(), found[1].is_ok(), "byte {at}");
            if let Ok(found) = &found[0] {
                assert_eq!(*found, (IMAGE.to_vec(), LABEL.to_vec()));
                assert_eq!(whole[at], 0);
                unnoticed += 1;
            }
        }
        assert!(unnoticed < 2 * ALIGNMENT, "{unnoticed}");
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).expect("written");
            assert!(read(&path, &key, true).is_err(), "{length} bytes");
        }
        std::fs::write(&path, [&whole[..], &[0]].concat()).expect("written");
        assert!(read(&path, &key, true).is_err(), "a byte too many");
    }

    /// Headers with right checksums that promise more than there is.
    #[test]
    fn promises_cost_nothing() {
        let promise = |header: &str| {
            let mut bytes = MAGIC.to_vec();
            bytes.extend((header.len() as u32).to_le_bytes());
            bytes.extend(blake3::hash(header.as_bytes()).as_bytes());
            bytes.extend(header.as_bytes());
            let length = aligned(bytes.len() as u64);
            Layout::read(&bytes[..], length).expect_err("refused")
        };
        let grid = r#""grid":{"extents":[1,1,1],"spacing":[1,1,1],"affine":[[1,0,0,0],[0,1,0,0],[0,0,1,0]]}"#;
        let array = |start: u64, bytes: u64| {
            let array = format!(r#"{{"name":"image","start":{start},"bytes":{bytes},"blake3":""}}"#);
            promise(&format!(r#"{{"key":"","arrays":[{array}],{grid}}}"#))
        };
        assert!(array(0, 1 << 60).contains("expected 1152921504606847"), "{}", array(0, 1 << 60));
        assert!(array(u64::MAX, 1).contains("2^64") && array(u64::MAX - 9, 9).contains("2^64"));
        assert!(promise("{}").contains("missing field"));
        assert!(promise(r#"{"key":1}"#).contains("invalid type"));
        let mut long = MAGIC.to_vec();
        long.extend([255; 36]);
        assert!(Layout::read(&long[..], 52).expect_err("too long").contains("at most 65536"));
    }
}
