//! A folder with several models that are averaged, and how their predictions are made best: `ensemble.json`.
//!
//! ```json
//! {"format": 1, "members": ["fold_0.safetensors", "fold_1.safetensors"], "mirroring": false,
//!  "largest_foreground": false,
//!  "repairs": [{"of": "prostate", "largest_component": true, "smallest": null, "fill_holes": false}]}
//! ```
//!
//! The order of the members is that of their sums, so an ensemble has the same bits everywhere.

use super::{PostProcessing, Preprocessing, Repair, Size};
use crate::files::{json, read_text, replace_file};
use crate::nn::{Model, ModelError};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Name of the file that makes a folder an ensemble.
pub const ENSEMBLE_FILE: &str = "ensemble.json";

/// Version of the format.
const FORMAT: u32 = 1;
/// Bytes of the file, at most.
const LONGEST_TEXT: u64 = 1 << 24;

/// Models with one preparation of volumes, and how their predictions are made.
#[derive(Debug)]
pub struct Ensemble {
    /// The members, in the order of their sums.
    pub models: Vec<Model>,
    /// How volumes are prepared for all of them.
    pub preprocessing: Preprocessing,
    /// Whether windows are averaged over their eight mirror images.
    pub mirroring: bool,
    /// Repairs of the label maps.
    pub post_processing: PostProcessing,
}

/// An ensemble cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum EnsembleError {
    /// `ensemble.json` cannot be read or written.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `write`.
        action: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// `ensemble.json` or a member does not say what is expected.
    #[error("{}: {problem}", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was expected.
        problem: String,
    },
    /// A member.
    #[error(transparent)]
    Model(#[from] ModelError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    members: Vec<String>,
    mirroring: bool,
    largest_foreground: bool,
    repairs: Vec<StoredRepair>,
}

/// [`Repair`] with the name of its class or region.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRepair {
    of: String,
    largest_component: bool,
    smallest: Option<Size>,
    fill_holes: bool,
}

/// Why a model cannot be averaged with the first one, which is named `with`.
pub fn other_network(first: &Model, model: &Model, with: &str) -> Option<String> {
    let needed = "averaged models need the same";
    let counted = |what: &str, of: fn(&Model) -> usize| {
        let [expected, found] = [first, model].map(of);
        (found != expected).then(|| format!("{found} {what}, but {with} has {expected}; {needed}"))
    };
    let [expected, found] = [first, model].map(|model| model.network.activation.name());
    let activation =
        (found != expected).then(|| format!("its outputs are {found}, those of {with} {expected}; {needed}"));
    let classes = counted("classes", |model| model.network.classes);
    classes.or(activation).or_else(|| counted("input channels", |model| model.network.in_channels))
}

impl Ensemble {
    /// Whether a path is the folder of an ensemble.
    pub fn is_at(path: &Path) -> bool {
        path.join(ENSEMBLE_FILE).is_file()
    }

    /// The files of the members of an ensemble, in their order.
    ///
    /// # Errors
    /// [`EnsembleError`] that names the file and the key.
    pub fn members(folder: &Path) -> Result<Vec<PathBuf>, EnsembleError> {
        Ok(Stored::read(folder)?.members.iter().map(|name| folder.join(name)).collect())
    }

    /// Reads the models of an ensemble and how their predictions are made.
    ///
    /// # Errors
    /// [`EnsembleError`] that names the file and what is wrong.
    pub fn read(folder: &Path) -> Result<Self, EnsembleError> {
        let stored = Stored::read(folder)?;
        let wrong = |path: PathBuf, problem: String| EnsembleError::Wrong { path, problem };
        let mut models: Vec<Model> = Vec::new();
        let mut common: Option<Preprocessing> = None;
        for name in &stored.members {
            let path = folder.join(name);
            let model = Model::read(&path)?;
            let own = Preprocessing::of(&model)
                .map_err(|error| wrong(path.clone(), format!("metadata key preprocessing: {error}")))?;
            let first = &stored.members[0];
            if let Some(difference) = common.get_or_insert_with(|| own.clone()).difference(&own) {
                return Err(wrong(path, format!("preprocessing differs from {first}: {difference}")));
            }
            if let Some(problem) = models.first().and_then(|one| other_network(one, &model, first)) {
                return Err(wrong(path, problem));
            }
            models.push(model);
        }
        let preprocessing = common.expect("there is a member");
        let names = preprocessing.foreground_names(models[0].network.classes);
        let of: Vec<&String> = stored.repairs.iter().map(|repair| &repair.of).collect();
        if !of.is_empty() && of.iter().copied().ne(&names) {
            let problem = format!("key repairs: expected one entry for each of {names:?}, found {of:?}");
            return Err(wrong(folder.join(ENSEMBLE_FILE), problem));
        }
        let repairs = stored.repairs.iter().map(|&StoredRepair { largest_component, smallest, fill_holes, .. }| {
            Repair { largest_component, smallest, fill_holes }
        });
        let post_processing =
            PostProcessing { largest_foreground: stored.largest_foreground, repairs: repairs.collect() };
        Ok(Self { models, preprocessing, mirroring: stored.mirroring, post_processing })
    }
}

impl Stored {
    fn read(folder: &Path) -> Result<Self, EnsembleError> {
        let path = folder.join(ENSEMBLE_FILE);
        let text = read_text(&path, LONGEST_TEXT).map_err(|source| EnsembleError::Io {
            path: path.clone(),
            action: "read",
            source,
        })?;
        let wrong = |problem: String| EnsembleError::Wrong { path: path.clone(), problem };
        let stored: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if stored.format != FORMAT {
            return Err(wrong(format!("key format: expected {FORMAT}, found {}", stored.format)));
        }
        if stored.members.is_empty() {
            return Err(wrong("key members: expected the names of at least one model file".to_owned()));
        }
        // Names of files in the folder: an ensemble that was moved is whole, and reaches no other folder.
        let is_name = |name: &&String| Path::new(name).file_name().is_none_or(|file| file != name.as_str());
        if let Some(name) = stored.members.iter().find(is_name) {
            return Err(wrong(format!("key members: expected names of files in this folder, found {name:?}")));
        }
        let is_size = |repair: &StoredRepair| match repair.smallest {
            Some(Size::Mm3(size)) => size.is_finite() && size >= 0.0,
            _ => true,
        };
        match stored.repairs.iter().find(|repair| !is_size(repair)) {
            Some(repair) => Err(wrong(format!("key repairs, {:?}: smallest: expected 0 mm3 or more", repair.of))),
            None => Ok(stored),
        }
    }
}

/// Writes `ensemble.json` into a folder that has the members already: names of their files in the order of their sums, and one
/// name for each of the repairs.
///
/// # Errors
/// [`EnsembleError::Io`].
pub fn write_ensemble(
    folder: &Path,
    members: Vec<String>,
    mirroring: bool,
    post_processing: &PostProcessing,
    names: &[String],
) -> Result<(), EnsembleError> {
    let repair = |(number, of): (usize, &String)| {
        let Repair { largest_component, smallest, fill_holes } = post_processing.repair(number);
        StoredRepair { of: of.clone(), largest_component, smallest, fill_holes }
    };
    let repairs = names.iter().enumerate().map(repair).collect();
    let largest_foreground = post_processing.largest_foreground;
    let stored = Stored { format: FORMAT, members, mirroring, largest_foreground, repairs };
    let path = folder.join(ENSEMBLE_FILE);
    replace_file(&path, &json(&stored)).map_err(|source| EnsembleError::Io { path, action: "write", source })
}
