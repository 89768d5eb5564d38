//! Files that a reader sees whole or not at all, also when power fails: written to a temporary file in the same folder,
//! flushed to disk, renamed, and the folder flushed. Files that can be made again are not flushed.

use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the names of temporary files start and end; between is a word of the file that is to be replaced, and a random one.
const TEMPORARY: (&str, &str) = (".vnet-engine-", ".part");

/// Replaces `path` by `contents` in one step.
///
/// # Errors
/// The system's, after which `path` is what it was before.
pub(crate) fn replace_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(contents))
}

/// Replaces `path` in one step by what `write` puts into a file.
///
/// # Errors
/// Those of `write` and the system's, after which `path` is what it was before.
pub(crate) fn replace_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let write = |file: &mut File| {
        write(file)?;
        file.sync_all()
    };
    place_with(path, write)?;
    sync_folder(folder_of(path))
}

/// As [`replace_with`] without flushing anything: for a file that carries checksums and can be made again. When power fails it
/// may be there and damaged.
///
/// # Errors
/// Those of `write` and the system's, after which `path` is what it was before.
pub(crate) fn place_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    // Temporary files are private (0600) by default; a result is an ordinary file under the user's umask.
    #[cfg(unix)]
    let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let prefix = temporary_prefix(path);
    let mut file = builder.prefix(&prefix).suffix(TEMPORARY.1).tempfile_in(folder_of(path))?;
    let begun = Begun::new(file.path());
    write(file.as_file_mut())?;
    let _held = begun.renamed_under();
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The folder of a file: `.` of a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// How the names of temporary files of a file start, the same for every process.
fn temporary_prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    format!("{}{}-", TEMPORARY.0, &blake3::hash(name).to_hex()[..16])
}

/// Temporary files that are being written.
static BEGUN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn begun() -> MutexGuard<'static, Vec<PathBuf>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary file in [`BEGUN`].
struct Begun(PathBuf);

impl Begun {
    fn new(path: &Path) -> Self {
        begun().push(path.to_path_buf());
        Self(path.to_path_buf())
    }

    /// Ends the entry; no process ends by [`abandon_files`] while the result lives.
    fn renamed_under(self) -> MutexGuard<'static, Vec<PathBuf>> {
        let mut files = begun();
        files.retain(|file| *file != self.0);
        std::mem::forget(self);
        files
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        begun().retain(|file| *file != self.0);
    }
}

/// For a process that is about to end at once, as after a signal: removes the temporary files of results that are being
/// written, and lets no result appear any more. Threads that write go on until the process ends, but come to nothing.
/// What this program writes is whole or not there, and nothing else is left.
pub fn abandon_files() {
    let files = begun();
    for file in files.iter() {
        // Nobody is left to hear of a file that cannot be removed; the next training removes it.
        let _ = std::fs::remove_file(file);
    }
    std::mem::forget(files);
}

/// The text of a file of at most `most` bytes; a pipe will do.
///
/// # Errors
/// The system's, or that the text is longer.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes")));
    }
    Ok(text)
}

/// Flushes a folder, so that a file renamed or removed in it stays so when power fails.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Other systems do not open folders as files, and order renames themselves.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Removes temporary files that a killed process left in `folder`: those that were last written at least `age` ago. Nobody else
/// may be writing to such a file.
///
/// # Errors
/// The system's.
pub(crate) fn remove_leftovers(folder: &Path, age: Duration) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1) {
            // Another process may have renamed its file by now.
            match remove_if_old(&entry, age) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Removes temporary files that a killed process left in `folder` when it wrote some of these files of the folder, which nobody
/// may be writing now. Other files may be written there at the same time.
///
/// # Errors
/// The system's.
pub fn remove_leftovers_of<'a>(folder: &Path, files: impl IntoIterator<Item = &'a PathBuf>) -> io::Result<()> {
    let prefixes: BTreeSet<String> = files.into_iter().map(|file| temporary_prefix(file)).collect();
    let length = prefixes.first().map_or(0, String::len);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| {
            name.ends_with(TEMPORARY.1) && name.get(..length).is_some_and(|start| prefixes.contains(start))
        });
        if ours && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_old(entry: &std::fs::DirEntry, age: Duration) -> io::Result<()> {
    let metadata = entry.metadata()?;
    // A file of the future has no age.
    let is_old = age.is_zero() || metadata.modified()?.elapsed().is_ok_and(|elapsed| elapsed >= age);
    if metadata.is_file() && is_old { std::fs::remove_file(entry.path()) } else { Ok(()) }
}

/// A file that grows by whole lines or records. What cannot be written, as on a full disk, waits in memory for the next.
#[derive(Debug)]
pub(crate) struct Appender {
    file: File,
    /// Bytes of whole records in the file.
    length: u64,
    waiting: Vec<u8>,
    /// Whether a part of a record may follow the whole ones.
    torn: bool,
}

impl Appender {
    /// Appends behind the `length` bytes of a file that was opened to append.
    pub(crate) fn new(file: File, length: u64) -> Self {
        Self { file, length, waiting: Vec::new(), torn: false }
    }

    /// Where to put a whole record, for [`Appender::append`].
    pub(crate) fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }

    /// Writes what waits, all of it or nothing.
    ///
    /// # Errors
    /// The system's, after which it still waits.
    pub(crate) fn append(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.torn {
            self.file.set_len(self.length)?;
            self.torn = false;
        }
        if let Err(error) = self.file.write_all(&self.waiting) {
            self.torn = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Writes what waits, and flushes the file to disk.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.append()?;
        self.file.sync_data()
    }
}

/// A value as a JSON file: indented, with a newline at the end.
///
/// # Panics
/// When a key of a map is no text, which no result has.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("keys are texts");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_replaced_stays_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        replace_file(&path, b"one").expect("written");
        replace_file(&path, b"two").expect("replaced");
        assert_eq!(std::fs::read(&path).expect("read"), b"two");
        let occupied = folder.path().join("b");
        std::fs::create_dir_all(occupied.join("c")).expect("created");
        assert!(replace_file(&occupied, b"three").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 2);
    }

    #[test]
    fn leftovers_of_some_files_go_and_those_of_others_stay() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let left = |path: &Path| folder.path().join(format!("{}x1{}", temporary_prefix(path), TEMPORARY.1));
        let [ours, other] = ["a.nii.gz", "b.nii.gz"].map(at);
        for path in [left(&ours), left(&other), ours.clone(), at(".vnet-engine-x1y2.part")] {
            std::fs::write(path, "x").expect("written");
        }
        remove_leftovers_of(folder.path(), [&ours]).expect("removed");
        assert!(!left(&ours).exists() && left(&other).exists() && ours.exists());
        remove_leftovers_of(folder.path(), []).expect("removed");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 3);
    }

    #[test]
    fn leftovers_go_and_other_files_stay() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in [".vnet-engine-x1y2.part", "volume.part", ".hidden"] {
            std::fs::write(folder.path().join(name), "x").expect("written");
        }
        std::fs::create_dir(folder.path().join(".vnet-engine-folder.part")).expect("created");
        remove_leftovers(folder.path(), Duration::from_secs(3600)).expect("nothing is that old");
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 4);
        remove_leftovers(folder.path(), Duration::ZERO).expect("removed");
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).expect("listed").map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        assert_eq!(names, [".hidden", ".vnet-engine-folder.part", "volume.part"]);
    }
}
