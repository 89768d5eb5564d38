//! The folder of a cache on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::entry::Entry;
use super::key::Key;
use crate::files::{place_with, remove_leftovers};

/// Bytes that stay free on the disk: for checkpoints, models and whatever else is written there.
const LEFT_FREE: u64 = 1 << 30;
/// Temporary files of a folder that several runs share belong to a killed process when they are as old as this.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);
/// Entries that cannot be used, of which each has a note of its own.
const NAMED: usize = 3;
/// How the names of entries end: image, label and index of the foreground on the network's grid; the label on the file's; the
/// intensities of the channels.
pub(super) const PREPARED: &str = ".prepared";
pub(super) const REFERENCE: &str = ".reference";
pub(super) const INTENSITIES: &str = ".intensities";

/// Where prepared volumes are kept that memory has no room for: a folder, or nowhere. Clones are one cache.
///
/// Nothing that goes wrong with it stops a training: volumes are then prepared again whenever they are needed, and a note says
/// why.
#[derive(Clone, Debug, Default)]
pub struct DiskCache(Option<Arc<Disk>>);

#[derive(Debug)]
struct Disk {
    folder: PathBuf,
    /// True for the folder of one run, which only holds what memory has no room for.
    own: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    notes: Vec<String>,
    /// Whether the folder has been made ready; false after a failure, when nothing is written any more.
    writes: Option<bool>,
    /// The entries in use, with their bytes.
    entries: BTreeMap<String, u64>,
    made: u64,
    unusable: usize,
}

/// What a run has in a [`DiskCache`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Files that it has read or made.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them it made.
    pub made: u64,
}

impl DiskCache {
    /// No cache on disk.
    pub fn none() -> DiskCache {
        DiskCache::default()
    }

    /// A folder of one run, for the volumes that memory has no room for. It is created when there is the first.
    pub fn of_run(folder: impl Into<PathBuf>) -> DiskCache {
        DiskCache::at(folder.into(), true)
    }

    /// A folder that runs share, one after the other or at the same time. It holds all their volumes.
    pub fn shared(folder: impl Into<PathBuf>) -> DiskCache {
        DiskCache::at(folder.into(), false)
    }

    fn at(folder: PathBuf, own: bool) -> DiskCache {
        DiskCache(Some(Arc::new(Disk { folder, own, state: Mutex::default() })))
    }

    /// The folder.
    pub fn folder(&self) -> Option<&Path> {
        self.0.as_deref().map(|disk| disk.folder.as_path())
    }

    /// Notes for the user since the last call.
    pub fn take_notes(&self) -> Vec<String> {
        self.0.as_deref().map(|disk| std::mem::take(&mut disk.state().notes)).unwrap_or_default()
    }

    /// What this run has in it.
    pub fn in_use(&self) -> DiskUse {
        let Some(disk) = &self.0 else { return DiskUse::default() };
        let state = disk.state();
        DiskUse { entries: state.entries.len() as u64, bytes: state.entries.values().sum(), made: state.made }
    }

    /// Removes the folder of one run with what is in it; one that runs share stays. Files that are not the cache's stay too.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self) -> io::Result<()> {
        let Some(disk) = self.0.as_deref().filter(|disk| disk.own && disk.folder.is_dir()) else { return Ok(()) };
        remove_leftovers(&disk.folder, Duration::ZERO)?;
        for entry in std::fs::read_dir(&disk.folder)? {
            let entry = entry?;
            if is_entry(&entry.file_name().to_string_lossy()) && entry.file_type()?.is_file() {
                std::fs::remove_file(entry.path())?;
            }
        }
        match std::fs::remove_dir(&disk.folder) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether there is a folder.
    pub(super) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a folder has been named that keeps everything, also what is in memory.
    pub(super) fn keeps_all(&self) -> bool {
        self.0.as_deref().is_some_and(|disk| !disk.own)
    }

    /// The entry of a key; none where there is none that can be used, of which a note tells.
    pub(super) fn open(&self, key: &Key, ending: &str) -> Option<Entry> {
        let disk = self.0.as_deref()?;
        let name = format!("{}{ending}", key.text());
        match Entry::open(&disk.folder.join(&name), key) {
            Ok(entry) => {
                let entry = entry?;
                disk.state().entries.entry(name).or_insert(entry.layout().bytes());
                Some(entry)
            }
            Err(reason) => {
                self.reject(key, ending, &reason);
                None
            }
        }
    }

    /// Notes that an entry cannot be used. It will be replaced.
    pub(super) fn reject(&self, key: &Key, ending: &str, reason: &str) {
        let Some(disk) = self.0.as_deref() else { return };
        let path = disk.folder.join(format!("{}{ending}", key.text()));
        let mut state = disk.state();
        state.unusable += 1;
        match state.unusable.cmp(&(NAMED + 1)) {
            std::cmp::Ordering::Less => state.notes.push(format!("{}: {reason}; it is made anew", path.display())),
            std::cmp::Ordering::Equal => {
                let text =
                    format!("{}: more entries of the cache cannot be used and are made anew", disk.folder.display());
                state.notes.push(text);
            }
            std::cmp::Ordering::Greater => {}
        }
    }

    /// Writes an entry of about `bytes` bytes, whole or not at all. False where it cannot be: then nothing more is written.
    pub(super) fn write(
        &self,
        key: &Key,
        ending: &str,
        bytes: u64,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> bool {
        let Some(disk) = self.0.as_deref() else { return false };
        let name = format!("{}{ending}", key.text());
        let ready = disk.ready();
        let written = ready.and_then(|ready| match ready {
            true => disk.check_space(bytes).and_then(|()| place_with(&disk.folder.join(&name), write)).map(|()| true),
            false => Ok(false),
        });
        match written {
            Ok(true) => {
                let mut state = disk.state();
                state.entries.insert(name, bytes);
                state.made += 1;
                true
            }
            Ok(false) => false,
            Err(error) => {
                disk.give_up(&error);
                false
            }
        }
    }
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, so a poisoned one is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the folder before the first entry. False after a failure.
    fn ready(&self) -> io::Result<bool> {
        let mut state = self.state();
        if let Some(writes) = state.writes {
            return Ok(writes);
        }
        std::fs::create_dir_all(&self.folder)?;
        remove_leftovers(&self.folder, if self.own { Duration::ZERO } else { OLD })?;
        state.writes = Some(true);
        if self.own {
            let folder = self.folder.display();
            state
                .notes
                .push(format!("prepared volumes beyond data.cache are kept in {folder} until the run is finished"));
        }
        Ok(true)
    }

    fn check_space(&self, bytes: u64) -> io::Result<()> {
        let free = fs4::available_space(&self.folder)?;
        match free.checked_sub(bytes) {
            Some(left) if left >= LEFT_FREE => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{} MiB are free, of which {} stay so", free >> 20, LEFT_FREE >> 20),
            )),
        }
    }

    /// Writes nothing from here on.
    fn give_up(&self, error: &io::Error) {
        let mut state = self.state();
        if state.writes != Some(false) {
            state.writes = Some(false);
            let folder = self.folder.display();
            state.notes.push(format!(
                "{folder}: cannot keep prepared volumes ({error}); the training goes on, and prepares those that are not in \
                 memory or there whenever it needs them"
            ));
        }
    }
}

/// Whether a file name is that of an entry.
fn is_entry(name: &str) -> bool {
    let is_key = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    [PREPARED, REFERENCE, INTENSITIES].iter().any(|ending| name.strip_suffix(ending).is_some_and(is_key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Grid;

    fn key(digit: char) -> Key {
        Key::of_text(&digit.to_string().repeat(64))
    }

    fn put(cache: &DiskCache, key: &Key) -> bool {
        let grid = Grid::axis_aligned([1; 3], [1.0; 3]);
        cache.write(key, PREPARED, 3, |file| super::super::entry::write(file, key, &grid, &[("label", &[1, 2, 3])]))
    }

    #[test]
    fn a_folder_is_made_for_the_first_entry_and_removed_with_the_last() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run/cache");
        let cache = DiskCache::of_run(&path);
        cache.remove().expect("nothing to remove");
        assert!(cache.open(&key('a'), PREPARED).is_none() && !path.exists());
        assert!(put(&cache, &key('a')) && put(&cache, &key('b')));
        assert!(cache.open(&key('a'), PREPARED).is_some());
        assert_eq!(cache.in_use(), DiskUse { entries: 2, bytes: 6, made: 2 });
        assert_eq!(cache.take_notes().len(), 1);
        std::fs::write(path.join("mine.txt"), "text").expect("written");
        cache.remove().expect("removed");
        let left: Vec<_> =
            std::fs::read_dir(&path).expect("listed").map(|e| e.expect("an entry").file_name()).collect();
        assert_eq!(left, ["mine.txt"]);
        std::fs::remove_file(path.join("mine.txt")).expect("removed");
        cache.remove().expect("removed");
        assert!(!path.exists());
        let shared = DiskCache::shared(&path);
        assert!(put(&shared, &key('c')) && shared.take_notes().is_empty());
        shared.remove().expect("it stays");
        assert!(DiskCache::shared(&path).open(&key('c'), PREPARED).is_some());
    }

    #[test]
    fn a_folder_that_cannot_be_is_told_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "no folder").expect("written");
        let cache = DiskCache::shared(path.join("cache"));
        assert!(!put(&cache, &key('a')) && !put(&cache, &key('b')));
        let notes = cache.take_notes();
        assert!(notes.len() == 1 && notes[0].contains("cannot keep prepared volumes"), "{notes:?}");
        assert!(!put(&DiskCache::none(), &key('a')));
    }

    #[test]
    fn entries_that_cannot_be_used_are_named_up_to_a_few() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = DiskCache::shared(folder.path());
        for digit in ['a', 'b', 'c', 'd', 'e'] {
            std::fs::write(folder.path().join(format!("{}.prepared", key(digit).text())), "foreign").expect("written");
            assert!(cache.open(&key(digit), PREPARED).is_none());
            assert!(put(&cache, &key(digit)) && cache.open(&key(digit), PREPARED).is_some());
        }
        let notes = cache.take_notes();
        assert!(notes.len() == 4 && notes[0].ends_with("it is made anew") && notes[3].contains("more"), "{notes:?}");
    }
}
