//! Writing a result so that a reader sees the old file or the new one, never half of one.

use std::io::{self, Write};
use std::path::Path;

/// Replaces `path` by `contents`: written to a temporary file in the same folder, flushed to disk, then renamed.
pub(crate) fn replace_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // Temporary files are private (0600) by default; a result is an ordinary file under the user's umask.
    #[cfg(unix)]
    let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(".").suffix(".part").tempfile_in(folder)?;
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
