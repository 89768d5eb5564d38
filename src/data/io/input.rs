//! Bytes from files: gzip and zlib, and bounds on what is read.
//!
//! Nothing is allocated that the length of a file cannot provide, no more is decompressed than was asked for, and
//! voxels come in pieces, so that a file costs the memory of what is made of it and no more.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::ZlibDecoder;

use super::Pieces;
use super::gzip::{GZIP_MAGIC, Members};
use super::scalar::Encoding;
use super::series::SeriesChoice;
use crate::data::DataError;

/// Deflate cannot expand by more than 1032 (RFC 1951: 258 bytes from two bits); the rest is for
/// headers.
pub(super) const DEFLATE_LARGEST_RATIO: u64 = 1040;

/// Bytes of a file that are decoded at a time: whole voxels of every real type.
const PIECE: usize = 1 << 18;

/// Whether bytes are decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// If the file begins as gzip does: for files that begin otherwise when they are not compressed.
    Detect,
    /// Never: bare voxels may begin as gzip does.
    Plain,
    /// One zlib or gzip stream of so many bytes (none: up to the file's end).
    Deflated(Option<u64>),
}

/// A file, or bytes in place of one (for fuzzing).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) path: &'a Path,
    /// Which series of a folder is meant.
    pub(crate) series: &'a SeriesChoice,
    memory: Option<&'a [u8]>,
}

trait Seekable: BufRead + Seek {}
impl<T: BufRead + Seek> Seekable for T {}

/// An open file.
struct Source<'a> {
    path: &'a Path,
    bytes: Box<dyn Seekable + 'a>,
    length: u64,
}

impl<'a> Input<'a> {
    pub(crate) fn file(path: &'a Path) -> Input<'a> {
        Input { path, series: &SeriesChoice::Only, memory: None }
    }

    /// The same file, of which this series is meant.
    pub(crate) fn of_series(self, series: &'a SeriesChoice) -> Input<'a> {
        Input { series, ..self }
    }

    /// Every file of the volume has these bytes.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn memory(path: &'a Path, bytes: &'a [u8]) -> Input<'a> {
        Input { path, series: &SeriesChoice::Only, memory: Some(bytes) }
    }

    /// True for bytes in place of files.
    pub(crate) fn is_memory(self) -> bool {
        self.memory.is_some()
    }

    /// Another file of the same volume.
    pub(crate) fn beside<'b>(self, path: &'b Path) -> Input<'b>
    where
        'a: 'b,
    {
        Input { path, ..self }
    }

    fn open(self) -> Result<Source<'a>, DataError> {
        let path = self.path;
        if let Some(bytes) = self.memory {
            return Ok(Source { path, bytes: Box::new(Cursor::new(bytes)), length: bytes.len() as u64 });
        }
        let (file, length) = open_regular(path).map_err(|error| match super::missing_link(path) {
            Some(target) => DataError::dangling(path, &target),
            None => DataError::io(path, "open")(error),
        })?;
        Ok(Source { path, bytes: Box::new(BufReader::new(file)), length })
    }

    /// The first `count` bytes, or all where there are fewer; decompresses no more than that.
    pub(crate) fn start(self, count: u64, packing: Packing) -> Result<Vec<u8>, DataError> {
        let mut source = self.open()?;
        let gzip = packing != Packing::Plain && source.is_gzip()?;
        let mut bytes = Vec::new();
        if gzip {
            let path = source.path.to_path_buf();
            let outcome = Members::new(source.bytes).take(count).read_to_end(&mut bytes);
            let found = bytes.len() as u64;
            outcome.map_err(|source| DataError::Compressed { path, needed: count, found, source })?;
        } else {
            source.bytes.take(count).read_to_end(&mut bytes).map_err(DataError::io(source.path, "read"))?;
        }
        Ok(bytes)
    }

    /// The bytes from `start` on, and how many they are.
    pub(crate) fn bytes_from(self, start: u64) -> Result<(Box<dyn BufRead + 'a>, u64), DataError> {
        let mut source = self.open()?;
        source.bytes.seek(SeekFrom::Start(start)).map_err(DataError::io(self.path, "read"))?;
        Ok((source.bytes, source.length.saturating_sub(start)))
    }

    /// Where the bytes begin that follow `lines` lines from `start` on; the end of a file that has fewer.
    pub(crate) fn after_lines(self, start: u64, lines: u64) -> Result<u64, DataError> {
        let (mut bytes, mut at, mut left) = (self.bytes_from(start)?.0, start, lines);
        while left > 0 {
            let buffer = bytes.fill_buf().map_err(DataError::io(self.path, "read"))?;
            let end = buffer.iter().position(|&byte| byte == b'\n').map(|end| end + 1);
            let count = end.unwrap_or(buffer.len());
            if count == 0 {
                break;
            }
            bytes.consume(count);
            at += count as u64;
            left -= u64::from(end.is_some());
        }
        Ok(at)
    }

    /// All bytes of a file that is not longer than `limit`.
    pub(crate) fn whole(self, limit: u64) -> Result<Cow<'a, [u8]>, DataError> {
        match self.memory {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => read_limited(self.path, limit).map(Cow::Owned).map_err(DataError::io(self.path, "read")),
        }
    }
}

/// Opens a file to read and tells its length. Pipes and devices are refused before they are opened, which may wait for
/// ever.
fn open_regular(path: &Path) -> std::io::Result<(File, u64)> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is a pipe or a device, expected a file"));
    }
    Ok((File::open(path)?, metadata.len()))
}

/// All bytes of a regular file that is not longer than `limit`.
pub(crate) fn read_limited(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let (file, length) = open_regular(path)?;
    let mut bytes = Vec::new();
    if length <= limit {
        file.take(limit + 1).read_to_end(&mut bytes)?;
    }
    match length.max(bytes.len() as u64) {
        length if length > limit => {
            let reason = format!("{length} bytes, expected at most {limit}");
            Err(std::io::Error::new(ErrorKind::FileTooLarge, reason))
        }
        _ => Ok(bytes),
    }
}

/// The text of a regular file that is not longer than `limit`.
pub(crate) fn read_text(path: &Path, limit: u64) -> std::io::Result<String> {
    String::from_utf8(read_limited(path, limit)?)
        .map_err(|_| std::io::Error::new(ErrorKind::InvalidData, "not UTF-8 text"))
}

/// Where the voxels of a volume are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    /// First byte, of what comes out where [`Packing::Detect`] decompresses; none: the voxels are the end of the file.
    pub(crate) start: Option<u64>,
    /// Bytes of a deflated stream that come before the voxels.
    pub(crate) skip: u64,
    /// Bytes of all voxels.
    pub(crate) count: u64,
    pub(crate) packing: Packing,
}

/// The bytes of the voxels, one after the other.
struct Stream<'a> {
    path: &'a Path,
    reader: Reader<'a>,
    /// One after the last byte.
    end: u64,
    at: u64,
}

impl Place {
    /// Hands over all voxels, a piece at a time, after a check that the file is long enough.
    pub(crate) fn visit(&self, input: Input<'_>, encoding: Encoding, each: Pieces<'_>) -> Result<(), DataError> {
        let mut stream = self.open(input)?;
        let mut piece = vec![0; usize::try_from(self.count).unwrap_or(PIECE).min(PIECE)];
        loop {
            match stream.next(&mut piece)? {
                [] => return Ok(()),
                bytes => each(bytes, encoding)?,
            }
        }
    }

    /// Checks that the length of the file can provide all voxels.
    pub(crate) fn check(&self, input: Input<'_>) -> Result<(), DataError> {
        self.open(input).map(|_| ())
    }

    /// Opens the file and checks that its length can provide all voxels.
    fn open<'a>(&'a self, input: Input<'a>) -> Result<Stream<'a>, DataError> {
        let mut source = input.beside(&self.file).open()?;
        let Some(start) = self.start else {
            let start = source.length.checked_sub(self.count);
            let start = start.ok_or_else(|| DataError::truncated(&self.file, self.count, source.length))?;
            return source.plain(start, self.count);
        };
        match self.packing {
            Packing::Deflated(packed) => {
                let mut stream = source.deflated(start, packed, self.skip.saturating_add(self.count))?;
                stream.pass_over(self.skip)?;
                Ok(stream)
            }
            Packing::Detect if source.is_gzip()? => source.gzip(start, self.count),
            Packing::Detect | Packing::Plain => source.plain(start, self.count),
        }
    }
}

impl<'a> Source<'a> {
    fn is_gzip(&mut self) -> Result<bool, DataError> {
        let start = self.bytes.fill_buf().map_err(DataError::io(self.path, "read"))?;
        Ok(start.starts_with(&GZIP_MAGIC))
    }

    fn plain(mut self, start: u64, count: u64) -> Result<Stream<'a>, DataError> {
        let end = start.saturating_add(count);
        if end > self.length {
            return Err(DataError::truncated(self.path, end, self.length));
        }
        self.bytes.seek(SeekFrom::Start(start)).map_err(DataError::io(self.path, "read"))?;
        Ok(Stream { path: self.path, reader: Reader::Plain(self.bytes), end, at: start })
    }

    fn gzip(self, start: u64, count: u64) -> Result<Stream<'a>, DataError> {
        let (end, most) = (start.saturating_add(count), self.length.saturating_mul(DEFLATE_LARGEST_RATIO));
        if end > most {
            return Err(DataError::truncated(self.path, end, most));
        }
        let mut decoder = Members::new(Box::new(self.bytes) as Box<dyn BufRead>);
        let path = self.path;
        match std::io::copy(&mut (&mut decoder).take(start), &mut std::io::sink()) {
            Ok(found) if found < start => Err(DataError::truncated(path, end, found)),
            Ok(_) => Ok(Stream { path, reader: Reader::Gzip(decoder), end, at: start }),
            Err(source) => Err(DataError::Compressed { path: path.to_path_buf(), needed: end, found: 0, source }),
        }
    }

    fn deflated(mut self, start: u64, packed: Option<u64>, count: u64) -> Result<Stream<'a>, DataError> {
        let there = self.length.saturating_sub(start);
        if let Some(packed) = packed.filter(|&packed| packed > there) {
            return Err(DataError::truncated(self.path, start.saturating_add(packed), self.length));
        }
        let packed = packed.unwrap_or(there);
        let most = packed.saturating_mul(DEFLATE_LARGEST_RATIO);
        if count > most {
            return Err(DataError::truncated(self.path, count, most));
        }
        self.bytes.seek(SeekFrom::Start(start)).map_err(DataError::io(self.path, "read"))?;
        let gzip = self.is_gzip()?;
        let stream: Box<dyn BufRead + 'a> = Box::new(self.bytes.take(packed));
        let reader = if gzip { Reader::Gzip(Members::new(stream)) } else { Reader::Zlib(ZlibDecoder::new(stream)) };
        Ok(Stream { path: self.path, reader, end: count, at: 0 })
    }
}

/// Where the bytes of the voxels come from.
enum Reader<'a> {
    Plain(Box<dyn Seekable + 'a>),
    Gzip(Members<Box<dyn BufRead + 'a>>),
    Zlib(ZlibDecoder<Box<dyn BufRead + 'a>>),
}

impl Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Reader::Plain(bytes) => bytes.read(buffer),
            Reader::Gzip(members) => members.read(buffer),
            Reader::Zlib(stream) => stream.read(buffer),
        }
    }

    /// Checks the checksum of a compressed stream that ends where it was read to.
    fn verify(&mut self) -> std::io::Result<()> {
        match self {
            Reader::Plain(_) => Ok(()),
            Reader::Gzip(members) => members.verify(),
            Reader::Zlib(stream) => stream.read(&mut [0]).map(|_| ()),
        }
    }
}

impl<'a> Stream<'a> {
    /// The next bytes of the voxels, as many as are left and fit; none after the last. The checksum of a compressed
    /// stream that ends with the voxels is verified.
    fn next<'b>(&mut self, buffer: &'b mut [u8]) -> Result<&'b [u8], DataError> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let mut filled = 0;
        while filled < left {
            match self.persist(|reader| reader.read(&mut buffer[filled..left]))? {
                0 => return Err(DataError::truncated(self.path, self.end, self.at)),
                count => {
                    filled += count;
                    self.at += count as u64;
                }
            }
        }
        if filled > 0 && self.at == self.end {
            self.persist(Reader::verify)?;
        }
        Ok(&buffer[..filled])
    }

    /// Reads bytes that are not wanted.
    fn pass_over(&mut self, count: u64) -> Result<(), DataError> {
        let mut scratch = [0; 1 << 12];
        while self.at < count {
            let some = scratch.len().min(usize::try_from(count - self.at).unwrap_or(usize::MAX));
            if self.next(&mut scratch[..some])?.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Reads, again after a signal.
    fn persist<T>(&mut self, mut read: impl FnMut(&mut Reader<'a>) -> std::io::Result<T>) -> Result<T, DataError> {
        loop {
            match read(&mut self.reader) {
                Ok(found) => return Ok(found),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) if !matches!(self.reader, Reader::Plain(_)) => {
                    let (needed, found) = (self.end, self.at);
                    return Err(DataError::Compressed { path: self.path.to_path_buf(), needed, found, source });
                }
                Err(source) => return Err(DataError::io(self.path, "read")(source)),
            }
        }
    }
}

/// An empty vector with room for `count` elements, whose number the length of a file allows.
pub(crate) fn room_for<T>(path: &Path, count: usize) -> Result<Vec<T>, DataError> {
    let mut room = Vec::new();
    room.try_reserve_exact(count)
        .map_err(|_| DataError::io(path, "find memory for the voxels")(ErrorKind::OutOfMemory.into()))?;
    Ok(room)
}
