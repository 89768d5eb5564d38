//! The run folder before the first step: who may use it, what is in it, what is stored there.

use super::checkpoint;
use super::lock::RunLock;
use super::{Config, RunSettings, TrainError};
use crate::data::{Dataset, Split};
use crate::files::{remove_leftovers, replace_file};
use crate::optim::{Optimisers, Schedules};
use crate::registry::{Registry, unread};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Name of a plan, beside its data and in a run folder.
pub const PLAN_FILE: &str = "plan.toml";

/// The folders of a run folder in which a killed process may leave temporary files.
const FOLDERS: [&str; 5] = ["checkpoint", "overlays", "test", "test/predictions", "test/overlays"];

/// Creates the run folder and locks it. A folder that holds a run already is only used to resume it. The second value is a
/// note for the user.
pub(super) fn prepare(settings: &RunSettings) -> Result<(RunLock, Option<String>), TrainError> {
    refuse_used(&settings.out, settings.resume)?;
    create(&settings.out.join("checkpoint"))?;
    let lock = RunLock::acquire(&settings.out)?;
    // Again, since another process may have trained here between the first look and the lock.
    refuse_used(&settings.out, settings.resume)?;
    create(&settings.out.join("overlays"))?;
    for folder in FOLDERS.iter().map(|f| settings.out.join(f)).chain([settings.out.clone()]).filter(|f| f.is_dir()) {
        remove_leftovers(&folder, Duration::ZERO)
            .map_err(TrainError::io("remove what a killed process left in", &folder))?;
    }
    Ok(lock)
}

/// Refuses a run folder that holds a run already, unless the run is resumed. The checkpoint of step 0 alone is no run yet: a
/// training that was killed before its configuration was stored leaves it.
///
/// # Errors
/// [`TrainError::RunFolder`], or [`TrainError::Io`] when the folder cannot be listed.
pub fn refuse_used(out: &Path, resume: bool) -> Result<(), TrainError> {
    let stored = ["config.toml", "log.jsonl", "model.safetensors"].iter().any(|f| out.join(f).exists());
    let used = stored || checkpoint::steps(out)?.iter().any(|step| *step > 0);
    if used && !resume {
        let reason = "holds a run already; give another --out, or --resume to go on with it";
        return Err(TrainError::run_folder(out, reason));
    }
    Ok(())
}

pub(super) fn create(folder: &Path) -> Result<(), TrainError> {
    std::fs::create_dir_all(folder).map_err(TrainError::io("create the folder", folder))
}

/// Writes a file of a run folder, replacing the old one in one step.
pub(super) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<(), TrainError> {
    replace_file(path, contents.as_ref()).map_err(TrainError::io("write", path))
}

/// The run's split: the stored one when the run is resumed, else the given one, else the data set's (of a table: what its rows say), else one drawn
/// from the seed.
pub(super) fn choose_split(settings: &RunSettings, dataset: &Dataset) -> Result<Split, TrainError> {
    let names = dataset.names();
    let stored = settings.out.join("split.json");
    if settings.resume && stored.exists() {
        return Ok(Split::load(&stored, &names, None)?);
    }
    if let Some(given) = &settings.split {
        return Ok(given.clone());
    }
    let seed = settings.config.seed;
    if let Some(parts) = &dataset.parts {
        return Ok(match settings.fold {
            Some((i, k)) => parts.fold(&names, seed, i, k)?,
            None => parts.split(&names, seed, settings.config.data.split)?,
        });
    }
    Ok(match (&dataset.split_file, settings.fold) {
        (Some(given), fold) => Split::load(given, &names, fold.map(|(i, _)| i))?,
        (None, Some((i, k))) => Split::fold(&names, seed, i, k)?,
        (None, None) => Split::from_seed(&names, seed, settings.config.data.split)?,
    })
}

/// Stores the plan, if there is one, and the effective configuration, with what was chosen from the data. From here on there
/// is a run to resume.
pub(super) fn store_config(settings: &RunSettings, config: &Config) -> Result<(), TrainError> {
    if let Some(plan) = &settings.plan {
        write(&settings.out.join(PLAN_FILE), plan)?;
    }
    write(&settings.out.join("config.toml"), config.to_toml())
}

/// The configuration that a run folder stores, as JSON has it, without what has no effect: keys that the chosen optimiser
/// or schedule does not read, and augmentation that never happens.
///
/// # Errors
/// [`TrainError`] that names the file.
pub(crate) fn stored_config(out: &Path) -> Result<Value, TrainError> {
    let path = out.join("config.toml");
    let text = std::fs::read_to_string(&path).map_err(TrainError::io("read", &path))?;
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| TrainError::run_folder(&path, e.message().to_owned()))?;
    let mut config: Value = serde_json::to_value(table).map_err(|e| TrainError::run_folder(&path, e.to_string()))?;
    drop_unread::<Optimisers>(&mut config["optimiser"]);
    drop_unread::<Schedules>(&mut config["schedule"]);
    if let Some(augmentation) = config["augmentation"].as_object_mut() {
        let enabled = augmentation.get("enabled") == Some(&Value::Bool(true));
        let never = |value: &Value| value["probability"] == 0.0;
        augmentation.retain(|key, value| key == "enabled" || enabled && !never(value));
    }
    Ok(config)
}

/// Removes the keys of other entries than the chosen one.
fn drop_unread<R: Registry>(table: &mut Value) {
    let Some(table) = table.as_object_mut() else { return };
    let chosen = table.get(R::KEY).and_then(Value::as_str);
    let keys = chosen.map(unread::<R>).unwrap_or_default();
    keys.into_iter().for_each(|key| drop(table.remove(key)));
}
