//! Checkpoints in a run folder: `checkpoint/step_0000250.safetensors`, the newest few.

use super::{Checkpoint, without_path};
use crate::files::{replace_file, sync_folder};
use crate::nn::ModelError;
use crate::nn::model::read_file;
use crate::train::TrainError;
use std::path::{Path, PathBuf};

const PREFIX: &str = "step_";
const SUFFIX: &str = ".safetensors";
/// Appended to the name of a file that turned out to be damaged.
const DAMAGED: &str = ".damaged";

/// What the folder held.
#[derive(Debug)]
pub(in crate::train) struct Found {
    /// The newest intact checkpoint.
    pub(in crate::train) checkpoint: Checkpoint,
    /// Newer ones that are damaged or cannot be read.
    pub(in crate::train) rejected: Vec<Rejected>,
}

/// A checkpoint that cannot be used.
#[derive(Debug)]
pub(in crate::train) struct Rejected {
    pub(in crate::train) path: PathBuf,
    pub(in crate::train) reason: String,
    /// False where the file could not be read and may be intact.
    pub(super) damaged: bool,
}

/// The folder of a run's checkpoints.
fn folder(run: &Path) -> PathBuf {
    run.join("checkpoint")
}

/// Path of the checkpoint after a step.
pub(super) fn path(run: &Path, step: u64) -> PathBuf {
    folder(run).join(format!("{PREFIX}{step:07}{SUFFIX}"))
}

/// Steps of the checkpoints in a run folder, newest first; empty without a folder.
pub(in crate::train) fn steps(run: &Path) -> Result<Vec<u64>, TrainError> {
    let folder = folder(run);
    let io = TrainError::io("list", &folder);
    let mut steps = Vec::new();
    match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
        Ok(entries) => {
            for entry in entries {
                steps.extend(step_of(&entry.map_err(io)?.file_name().to_string_lossy()));
            }
        }
    }
    steps.sort_unstable_by(|a, b| b.cmp(a));
    Ok(steps)
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

/// Writes a checkpoint, then removes all but the newest `keep`. An error removes none.
pub(in crate::train) fn write(run: &Path, checkpoint: &Checkpoint, keep: usize) -> Result<(), TrainError> {
    let path = path(run, checkpoint.state.step);
    replace_file(&path, &checkpoint.encode(&path)?).map_err(TrainError::io("write the checkpoint", &path))?;
    let older = steps(run)?.into_iter().filter(|s| *s <= checkpoint.state.step).skip(keep);
    for step in older {
        let path = self::path(run, step);
        std::fs::remove_file(&path).map_err(TrainError::io("remove the old checkpoint", &path))?;
    }
    let folder = folder(run);
    sync_folder(&folder).map_err(TrainError::io("flush", &folder))
}

/// Removes the checkpoints of later steps.
pub(in crate::train) fn remove_after(run: &Path, step: u64) -> Result<(), TrainError> {
    for later in steps(run)?.into_iter().filter(|s| *s > step) {
        let path = path(run, later);
        std::fs::remove_file(&path).map_err(TrainError::io("remove the later checkpoint", &path))?;
    }
    Ok(())
}

/// Reads the newest intact checkpoint.
pub(in crate::train) fn newest(run: &Path) -> Result<Found, TrainError> {
    newest_until(run, None)
}

/// Reads the newest intact checkpoint of at most this step; where there is none, the oldest intact one.
pub(in crate::train) fn newest_until(run: &Path, step: Option<u64>) -> Result<Found, TrainError> {
    let mut rejected = Vec::new();
    let (late, mut candidates): (Vec<u64>, Vec<u64>) =
        steps(run)?.into_iter().partition(|s| step.is_some_and(|limit| *s > limit));
    candidates.extend(late.into_iter().rev());
    for step in candidates {
        let path = path(run, step);
        match read(&path) {
            Ok(checkpoint) => return Ok(Found { checkpoint, rejected }),
            Err(error) => rejected.push(error),
        }
    }
    let reasons: Vec<String> = rejected.iter().map(|r| format!("{}: {}", r.path.display(), r.reason)).collect();
    let reason = match reasons.is_empty() {
        true => "holds no checkpoint to resume from".to_owned(),
        false => format!("no checkpoint can be used: {}", reasons.join("; ")),
    };
    Err(TrainError::run_folder(&folder(run), reason))
}

/// Allocates memory only for a file that is as long as its header says.
fn read(path: &Path) -> Result<Checkpoint, Rejected> {
    let rejected = |damaged, reason| Rejected { path: path.to_owned(), reason, damaged };
    let bytes = read_file(path).map_err(|error| match error {
        ModelError::Io { source, .. } => rejected(false, format!("cannot be read: {source}")),
        error => rejected(true, format!("is damaged ({})", without_path(path, &error))),
    })?;
    Checkpoint::decode(path, &bytes).map_err(|reason| rejected(true, reason))
}

/// Renames damaged checkpoints, so that they do not count among those that are kept.
pub(in crate::train) fn set_aside(rejected: &[Rejected]) -> Result<(), TrainError> {
    for Rejected { path, .. } in rejected.iter().filter(|r| r.damaged) {
        let mut name = path.clone().into_os_string();
        name.push(DAMAGED);
        std::fs::rename(path, name).map_err(TrainError::io("set the damaged checkpoint aside", path))?;
    }
    Ok(())
}
