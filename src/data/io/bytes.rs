//! Bytes from and to files: byte order, gzip, bounds on what is read, and writes that are whole or
//! absent.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::Compression;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::data::DataError;

/// Deflate cannot expand by more than 1032 (RFC 1951: 258 bytes from two bits); the rest is for
/// headers.
const DEFLATE_LARGEST_RATIO: u64 = 1040;
/// Level of written files: on label maps and int16 images a third of the time of level 6 for a few
/// per cent more bytes.
const DEFLATE_LEVEL: u32 = 3;

/// The first bytes of a gzip stream.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant first.
    Little,
    /// Most significant first.
    Big,
}

/// Whether a file is decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// If it begins as gzip does, whatever its name: for files whose first bytes are known to be others.
    Detect,
    /// Never: bare voxels may begin as gzip does.
    Plain,
}

/// A file to read from its start.
struct Source<'a> {
    path: &'a Path,
    file: BufReader<File>,
    length: u64,
    gzip: bool,
}

impl<'a> Source<'a> {
    fn open(path: &'a Path, packing: Packing) -> Result<Source<'a>, DataError> {
        let mut file = File::open(path).map_err(DataError::io(path, "open"))?;
        let metadata = file.metadata().map_err(DataError::io(path, "open"))?;
        if metadata.is_dir() {
            let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
            return Err(DataError::Io { path: path.to_path_buf(), action: "read", source });
        }
        let mut magic = Vec::new();
        (&mut file).take(2).read_to_end(&mut magic).map_err(DataError::io(path, "read"))?;
        file.seek(SeekFrom::Start(0)).map_err(DataError::io(path, "read"))?;
        let gzip = packing == Packing::Detect && magic == GZIP_MAGIC;
        Ok(Source { path, file: BufReader::new(file), length: metadata.len(), gzip })
    }

    /// Bytes `offset .. offset + count`. Nothing is allocated that the file's length cannot
    /// provide, and no more is decompressed than asked for (and one byte, so that the checksum of a
    /// whole stream is verified).
    fn read(self, offset: u64, count: u64) -> Result<Vec<u8>, DataError> {
        let needed = offset.saturating_add(count);
        let most = if self.gzip { self.length.saturating_mul(DEFLATE_LARGEST_RATIO) } else { self.length };
        if needed > most {
            return Err(DataError::Truncated { path: self.path.to_path_buf(), needed, found: most });
        }
        if self.gzip { self.read_gzip(offset, count) } else { self.read_plain(offset, count) }
    }

    fn read_plain(mut self, offset: u64, count: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(count).unwrap_or(usize::MAX)).map_err(|_| {
            DataError::io(self.path, "find memory for the voxels")(std::io::ErrorKind::OutOfMemory.into())
        })?;
        self.file.seek(SeekFrom::Start(offset)).map_err(DataError::io(self.path, "read"))?;
        self.file.take(count).read_to_end(&mut bytes).map_err(DataError::io(self.path, "read"))?;
        if (bytes.len() as u64) < count {
            let found = offset + bytes.len() as u64;
            return Err(DataError::Truncated { path: self.path.to_path_buf(), needed: offset + count, found });
        }
        Ok(bytes)
    }

    fn read_gzip(self, offset: u64, count: u64) -> Result<Vec<u8>, DataError> {
        let needed = offset + count;
        let damaged = |found, source| DataError::Compressed { path: self.path.to_path_buf(), needed, found, source };
        let short = |found| DataError::Truncated { path: self.path.to_path_buf(), needed, found };
        let mut decoder = MultiGzDecoder::new(self.file);
        let skipped = std::io::copy(&mut (&mut decoder).take(offset), &mut std::io::sink());
        match skipped {
            Ok(skipped) if skipped < offset => return Err(short(skipped)),
            Ok(_) => {}
            Err(source) => return Err(damaged(0, source)),
        }
        let mut bytes = Vec::new();
        let outcome = (&mut decoder).take(count.saturating_add(1)).read_to_end(&mut bytes);
        let found = offset + (bytes.len() as u64).min(count);
        outcome.map_err(|source| damaged(found, source))?;
        if found < needed {
            return Err(short(found));
        }
        bytes.truncate(usize::try_from(count).expect("as many bytes are in memory"));
        Ok(bytes)
    }
}

/// The first `count` bytes of a file, or all of a shorter one; decompresses no more than that.
pub(crate) fn read_start(path: &Path, count: u64, packing: Packing) -> Result<Vec<u8>, DataError> {
    let source = Source::open(path, packing)?;
    let mut bytes = Vec::new();
    if source.gzip {
        let outcome = MultiGzDecoder::new(source.file).take(count).read_to_end(&mut bytes);
        let found = bytes.len() as u64;
        outcome.map_err(|source| DataError::Compressed { path: path.to_path_buf(), needed: count, found, source })?;
    } else {
        source.file.take(count).read_to_end(&mut bytes).map_err(DataError::io(path, "read"))?;
    }
    Ok(bytes)
}

/// Bytes `offset .. offset + count` of a file, where it is decompressed of what comes out.
pub(crate) fn read_range(path: &Path, offset: u64, count: u64, packing: Packing) -> Result<Vec<u8>, DataError> {
    Source::open(path, packing)?.read(offset, count)
}

/// The last `count` bytes of a file.
pub(crate) fn read_end(path: &Path, count: u64) -> Result<Vec<u8>, DataError> {
    let source = Source::open(path, Packing::Plain)?;
    let (length, path) = (source.length, path.to_path_buf());
    let offset = length.checked_sub(count).ok_or(DataError::Truncated { path, needed: count, found: length })?;
    source.read(offset, count)
}

/// The first `count` bytes that come out of a zlib or gzip stream, which begins at `offset` of a file and is at most
/// `packed` bytes long (none: up to the file's end). Nothing is allocated that the stream cannot provide.
pub(crate) fn read_deflated(path: &Path, offset: u64, packed: Option<u64>, count: u64) -> Result<Vec<u8>, DataError> {
    let mut source = Source::open(path, Packing::Plain)?;
    let there = source.length.saturating_sub(offset);
    if let Some(needed) = packed.filter(|&packed| packed > there) {
        let (needed, found) = (offset.saturating_add(needed), source.length);
        return Err(DataError::Truncated { path: path.to_path_buf(), needed, found });
    }
    let packed = packed.unwrap_or(there);
    let most = packed.saturating_mul(DEFLATE_LARGEST_RATIO);
    if count > most {
        return Err(DataError::Truncated { path: path.to_path_buf(), needed: count, found: most });
    }
    source.file.seek(SeekFrom::Start(offset)).map_err(DataError::io(path, "read"))?;
    let gzip = source.file.fill_buf().map_err(DataError::io(path, "read"))?.starts_with(&GZIP_MAGIC);
    let stream = source.file.take(packed);
    let mut bytes = Vec::new();
    // One byte more, so that the checksum of a whole stream is verified.
    let wanted = count.saturating_add(1);
    let outcome = match gzip {
        true => MultiGzDecoder::new(stream).take(wanted).read_to_end(&mut bytes),
        false => ZlibDecoder::new(stream).take(wanted).read_to_end(&mut bytes),
    };
    let found = (bytes.len() as u64).min(count);
    let needed = count;
    outcome.map_err(|source| DataError::Compressed { path: path.to_path_buf(), needed, found, source })?;
    if found < needed {
        return Err(DataError::Truncated { path: path.to_path_buf(), needed, found });
    }
    bytes.truncate(usize::try_from(count).expect("as many bytes are in memory"));
    Ok(bytes)
}

/// A zlib stream of `bytes`.
pub(crate) fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(DEFLATE_LEVEL));
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes every byte")
}

/// Writes a file whole or not at all: into a temporary file of the same folder, then renamed over
/// `path`. `gzip` compresses (without name and time, so equal content gives equal files).
pub(crate) fn write_whole(path: &Path, parts: &[&[u8]], gzip: bool) -> Result<(), DataError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".vnet-engine-").suffix(".part");
    #[cfg(unix)]
    {
        // A temporary file is private by default; an output follows the user's umask like any
        // other.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(DataError::io(path, "create"))?;
    write_parts(file.as_file_mut(), parts, gzip).map_err(DataError::io(path, "write"))?;
    file.as_file().sync_all().map_err(DataError::io(path, "write"))?;
    file.persist(path).map_err(|error| DataError::io(path, "write")(error.error))?;
    Ok(())
}

fn write_parts(file: &mut File, parts: &[&[u8]], gzip: bool) -> std::io::Result<()> {
    let mut out = BufWriter::new(file);
    if gzip {
        let mut encoder = GzEncoder::new(&mut out, Compression::new(DEFLATE_LEVEL));
        for part in parts {
            encoder.write_all(part)?;
        }
        encoder.finish()?;
    } else {
        for part in parts {
            out.write_all(part)?;
        }
    }
    out.flush()
}
