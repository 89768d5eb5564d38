//! The run folder before the first step: who may use it, what is in it, what is stored there.

use super::checkpoint;
use super::lock::RunLock;
use super::{Config, RunSettings, TrainError};
use crate::data::{Dataset, Split};
use crate::files::{remove_leftovers, replace_file};
use std::path::Path;

/// Name of a plan, beside its data and in a run folder.
pub const PLAN_FILE: &str = "plan.toml";

/// The folders of a run folder whose files are replaced in one step.
const FOLDERS: [&str; 5] = ["checkpoint", "overlays", "test", "test/predictions", "test/overlays"];

/// Creates the run folder and locks it; one that holds a run already is only taken to resume it. The second value is a
/// note for the user.
pub(super) fn prepare(settings: &RunSettings) -> Result<(RunLock, Option<String>), TrainError> {
    refuse_used(&settings.out, settings.resume)?;
    create(&settings.out.join("checkpoint"))?;
    let lock = RunLock::acquire(&settings.out)?;
    // Again, since another process may have trained here between the first look and the lock.
    refuse_used(&settings.out, settings.resume)?;
    create(&settings.out.join("overlays"))?;
    for folder in FOLDERS.iter().map(|f| settings.out.join(f)).chain([settings.out.clone()]).filter(|f| f.is_dir()) {
        remove_leftovers(&folder).map_err(|source| TrainError::Io {
            path: folder,
            action: "remove what a killed process left in",
            source,
        })?;
    }
    Ok(lock)
}

/// Refuses a run folder that holds a run already, but to resume it. A start that was killed before the configuration was
/// stored has left the checkpoint of step 0, which is no run yet.
///
/// # Errors
/// [`TrainError::RunFolder`], or [`TrainError::Io`] when the folder cannot be listed.
pub fn refuse_used(out: &Path, resume: bool) -> Result<(), TrainError> {
    let stored = ["config.toml", "log.jsonl", "model.safetensors"].iter().any(|f| out.join(f).exists());
    let used = stored || checkpoint::steps(out)?.iter().any(|step| *step > 0);
    if used && !resume {
        let reason = "holds a run already; give another --out, or --resume to go on with it".to_owned();
        return Err(TrainError::RunFolder { path: out.to_owned(), reason });
    }
    Ok(())
}

pub(super) fn create(folder: &Path) -> Result<(), TrainError> {
    std::fs::create_dir_all(folder).map_err(|source| TrainError::Io {
        path: folder.to_owned(),
        action: "create the folder",
        source,
    })
}

/// The run's split: the stored one on resuming, else the data set's, else made from the seed.
pub(super) fn choose_split(settings: &RunSettings, dataset: &Dataset) -> Result<Split, TrainError> {
    let names = dataset.names();
    let stored = settings.out.join("split.json");
    if settings.resume && stored.exists() {
        return Ok(Split::load(&stored, &names, None)?);
    }
    let given = settings.data.join("split.json");
    let seed = settings.config.seed;
    Ok(match settings.fold {
        _ if given.exists() => Split::load(&given, &names, settings.fold.map(|(i, _)| i))?,
        Some((i, k)) => Split::fold(&names, seed, i, k)?,
        None => Split::from_seed(&names, seed, settings.config.data.split)?,
    })
}

/// Stores the plan that is followed, and the effective configuration, with what was chosen from the data: from here on
/// there is a run to resume.
pub(super) fn store_config(settings: &RunSettings, config: &Config) -> Result<(), TrainError> {
    let store = |name: &str, text: &str| {
        let path = settings.out.join(name);
        replace_file(&path, text.as_bytes()).map_err(|source| TrainError::Io { path, action: "write", source })
    };
    if let Some(plan) = &settings.plan {
        store(PLAN_FILE, plan)?;
    }
    store("config.toml", &config.to_toml())
}
