//! What a folder holds: volumes by case, and what is passed over, with the reason.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::dataset::case_name;
use super::io::content::{Content, is_description};
use super::io::format::{case_of, formats_read, is_series, stem_of_pair, without_series};
use super::io::{entries, missing_link, name_of};
use super::{DataError, Notice, Warning, Warnings};

static FORMAT: LazyLock<String> =
    LazyLock::new(|| format!("passed over, not in a format that is read ({})", formats_read()));
const POINTER: &str = "passed over, a git-lfs pointer in place of a file";
const SLICE: &str = "passed over, DICOM files are read from a folder of their own";
const VOXELS: &str = "passed over, voxels without a header of the same name";
const NAMED: &str = "passed over, a folder with the name of a volume";
const NESTED: &str = "passed over, the DICOM series lies deeper";
const LINK: &str = "passed over, a link to nothing";
const OTHER: &str = "passed over, a folder without a DICOM series";

/// A listed folder.
#[derive(Debug, Default)]
pub struct Folder {
    /// The folder.
    pub dir: PathBuf,
    /// Volume files, and folders with DICOM series, by case.
    pub volumes: BTreeMap<String, PathBuf>,
    /// What is passed over, by reason.
    pub warnings: Warnings,
    /// What is wrong with the names.
    pub(super) problems: Vec<DataError>,
}

impl Folder {
    /// Lists a folder and reads no volume. Hidden files and descriptions (`.json`, `.txt`, README, …) are passed over without a
    /// warning. Of several files of one case the first counts.
    ///
    /// # Errors
    /// [`DataError::Io`] where the folder cannot be listed.
    pub fn list(dir: &Path) -> Result<Folder, DataError> {
        let paths = entries(dir)?;
        let headers = Headers::of(&paths);
        let mut folder = Folder { dir: dir.to_path_buf(), ..Folder::default() };
        for path in paths {
            match kind_of(&path, &name_of(&path), &headers) {
                Kind::Volume(case) => folder.add(case, path),
                Kind::PassedOver(warning) => folder.warnings.add(&path, warning),
                Kind::Description => {}
            }
        }
        Ok(folder)
    }

    /// These volumes of a folder, or of a table.
    pub(crate) fn of(dir: &Path, volumes: BTreeMap<String, PathBuf>) -> Folder {
        Folder { dir: dir.to_path_buf(), volumes, ..Folder::default() }
    }

    /// As [`Folder::list`], of a folder that must hold volumes.
    ///
    /// # Errors
    /// [`DataError::NoVolumes`] with what is passed over, or what is wrong with the names.
    pub fn with_volumes(dir: &Path) -> Result<Folder, DataError> {
        let mut folder = Folder::list(dir)?;
        DataError::one_or_many(dir, std::mem::take(&mut folder.problems))?;
        if folder.volumes.is_empty() { Err(folder.without_volumes()) } else { Ok(folder) }
    }

    /// The error of a folder without volumes.
    pub(super) fn without_volumes(&mut self) -> DataError {
        DataError::NoVolumes { dir: self.dir.clone(), passed_over: self.take_passed_over() }
    }

    fn add(&mut self, case: String, path: PathBuf) {
        if path.file_name().is_some_and(|name| name.to_str().is_none()) {
            self.problems.push(DataError::unusable(&path, "the file name is not UTF-8, expected one that is"));
            return;
        }
        match self.volumes.entry(case) {
            Entry::Vacant(free) => {
                free.insert(path);
            }
            Entry::Occupied(taken) => {
                let (first, second) = (name_of(taken.get()), name_of(&path));
                let problem = format!("{first} and {second} are both volumes of case {}, expected one", taken.key());
                self.problems.push(DataError::unusable(&self.dir, problem));
            }
        }
    }

    /// Takes what is passed over out of the warnings, for an error; files by their names in the folder.
    pub(crate) fn take_passed_over(&mut self) -> Vec<Notice> {
        let warnings = std::mem::take(&mut self.warnings);
        let short = |path: &PathBuf| path.strip_prefix(&self.dir).unwrap_or(path).to_path_buf();
        let relative = |notice: &Notice| Notice { files: notice.files.iter().map(short).collect(), ..notice.clone() };
        warnings.notices().iter().map(relative).collect()
    }
}

/// What an entry of a folder is.
enum Kind {
    /// A volume of this case.
    Volume(String),
    /// Nothing that is meant to be a volume.
    Description,
    PassedOver(Warning),
}

fn kind_of(path: &Path, name: &str, headers: &Headers) -> Kind {
    if name.starts_with('.') {
        return Kind::Description;
    }
    if path.is_dir() {
        let volume = is_series(path).then(|| Kind::Volume(case_name(name)));
        return volume.unwrap_or_else(|| Kind::PassedOver(folder_warning(path, name)));
    }
    if let Some(case) = case_of(name) {
        return Kind::Volume(case_name(case));
    }
    if headers.own(name) {
        return Kind::Description;
    }
    let content = Content::of_file(path);
    if is_description(name, || content.clone()) {
        return Kind::Description;
    }
    Kind::PassedOver(Warning::new(match content {
        Content::Pointer(_) => POINTER,
        Content::Slice => SLICE,
        Content::Other if missing_link(path).is_some() => LINK,
        _ if stem_of_pair(name, false).is_some() => VOXELS,
        _ => &FORMAT,
    }))
}

/// Why a folder is no volume.
fn folder_warning(path: &Path, name: &str) -> Warning {
    match without_series(path) {
        Ok(series) => Warning::with(NESTED, format!("in {}", series.display())),
        Err(_) if case_of(name).is_some() => {
            let mut names = entries(path).unwrap_or_default().into_iter().map(|path| name_of(&path));
            let first = names.find(|name| case_of(name).is_some());
            Warning::with(NAMED, first.map(|file| format!("it holds {file}")).unwrap_or_default())
        }
        Err(held) => Warning::with(OTHER, held),
    }
}

/// The headers of a folder whose voxels lie in other files.
struct Headers {
    stems: Vec<String>,
    /// Some header has no voxel file with the same name, so it refers to another one.
    elsewhere: bool,
}

impl Headers {
    fn of(paths: &[PathBuf]) -> Headers {
        let stems_of = |header: bool| -> Vec<String> {
            let mut stems: Vec<_> = paths.iter().filter_map(|path| stem_of_pair(&name_of(path), header)).collect();
            stems.sort();
            stems
        };
        let (stems, voxels) = (stems_of(true), stems_of(false));
        let elsewhere = stems.iter().any(|stem| voxels.binary_search(stem).is_err());
        Headers { stems, elsewhere }
    }

    /// True if the file holds the voxels of one of them.
    fn own(&self, name: &str) -> bool {
        stem_of_pair(name, false).is_some_and(|stem| self.elsewhere || self.stems.binary_search(&stem).is_ok())
    }
}
