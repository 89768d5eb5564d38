use super::TrainError;
use fs4::TryLockError;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// Keeps a second process out of a run folder while it lives. The system releases the lock however the process ends, so a
/// file that is left over blocks nobody.
#[derive(Debug)]
pub(crate) struct RunLock {
    /// Holds the lock while it is open.
    _file: File,
}

impl RunLock {
    /// Locks `run.lock` in the run folder and writes the process's number into it. The second value is a note for the user
    /// where the file system has no locks.
    ///
    /// # Errors
    /// [`TrainError::RunFolder`] when another process holds the lock, with its number.
    pub(super) fn acquire(run: &Path) -> Result<(Self, Option<String>), TrainError> {
        Self::of(run, "run.lock", "trains here")
    }

    /// As [`RunLock::acquire`], of another file of a folder; `doing` says what the process that has it does.
    ///
    /// # Errors
    /// As [`RunLock::acquire`].
    pub(crate) fn of(folder: &Path, name: &str, doing: &str) -> Result<(Self, Option<String>), TrainError> {
        let path = folder.join(name);
        let mut file = open(&path)?;
        // The standard library's method of this name is newer than the oldest Rust that builds the program.
        let missing = match fs4::FileExt::try_lock(&file) {
            Ok(()) => None,
            Err(TryLockError::WouldBlock) => {
                let owner = owner(&mut file);
                let reason = format!("another process{owner} {doing}; wait for it, or give another --out");
                return Err(TrainError::run_folder(folder, reason));
            }
            Err(TryLockError::Error(error)) => {
                Some(format!("{}: cannot lock ({error}): make sure that no second process {doing}", path.display()))
            }
        };
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(TrainError::io("write the lock", &path))?;
        Ok((Self { _file: file }, missing))
    }

    /// Waits until no other process has this lock of a folder. Where the file system has no locks it waits for nobody.
    ///
    /// # Errors
    /// [`TrainError::Io`] when its file cannot be made.
    pub(crate) fn wait(folder: &Path, name: &str) -> Result<Self, TrainError> {
        let file = open(&folder.join(name))?;
        let _ = fs4::FileExt::lock(&file);
        Ok(Self { _file: file })
    }
}

/// The file of a lock.
fn open(path: &Path) -> Result<File, TrainError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(TrainError::io("open the lock", path))
}

/// ` (process 1234)`; nothing where the file cannot be read while it is locked.
fn owner(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text).map(|_| text.trim().parse::<u32>()) {
        Ok(Ok(process)) => format!(" (process {process})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_while_the_first_lives() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("run.lock"), "99999999, left over").expect("written");
        let (first, missing) = RunLock::acquire(folder.path()).expect("a stale file does not block");
        assert_eq!(missing, None);
        let refused = RunLock::acquire(folder.path()).expect_err("locked").to_string();
        assert!(refused.contains("another process"), "{refused}");
        if cfg!(unix) {
            assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        }
        drop(first);
        RunLock::acquire(folder.path()).expect("free again");
    }
}
