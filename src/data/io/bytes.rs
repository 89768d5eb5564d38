//! The order of bytes, and files that are written whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::data::DataError;

/// Level of written files: on label maps and int16 images a third of the time of level 6 for a few
/// per cent more bytes.
const DEFLATE_LEVEL: u32 = 3;

/// Order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant first.
    Little,
    /// Most significant first.
    Big,
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
