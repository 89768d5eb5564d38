//! The files of the folder of a series: which are slices, and what else there is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::Dicom;
use super::series::Info;
use super::slice::{Object, Slice};
use super::start::is_dicom;
use crate::data::io::content::{Content, is_description};
use crate::data::io::format::SeriesFormat;
use crate::data::io::input::Input;
use crate::data::io::{entries, name_of};
use crate::data::warning::first_of;
use crate::data::{DataError, Warning};

/// Folders are searched for series to this depth (patient, study, series and one more), until there are so many of them, and up to
/// so many entries: a folder may hold all that there is.
const DEPTH: usize = 4;
const MOST_SERIES: usize = 3;
const MOST_ENTRIES: usize = 10_000;

const EMPTY: &str = "files of 0 bytes are left out, slices may be missing";
const POINTERS: &str = "git-lfs pointers are left out, slices may be missing";
const OTHERS: &str = "objects that are no images are left out";
const STRANGERS: &str = "files that are not DICOM are left out";
const FOLDERS: &str = "folders beside the slices are left out";

/// What a folder holds.
pub(super) struct Files {
    pub(super) slices: Vec<Slice>,
    /// Files that say their series and cannot be read otherwise, with the problem.
    pub(super) unread: Vec<(Arc<Info>, String, DataError)>,
    /// DICOM files.
    pub(super) count: usize,
    /// Names of what is left out, by reason.
    left_out: BTreeMap<&'static str, Vec<String>>,
}

impl Files {
    /// Reads the headers of all DICOM files of a folder.
    pub(super) fn read(dir: &Path) -> Result<Files, DataError> {
        let mut left_out: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        let mut leave_out = |reason, name| left_out.entry(reason).or_default().push(name);
        let mut paths = Vec::new();
        for path in entries(dir)? {
            let name = name_of(&path);
            match kind_of(&path, &name) {
                Kind::Dicom => paths.push(path),
                Kind::LeftOut(reason) => leave_out(reason, name),
                Kind::Description => {}
            }
        }
        let objects: Vec<_> = paths.par_iter().map(|path| Object::read(Input::file(path))).collect();
        let mut files = Files { slices: Vec::new(), unread: Vec::new(), count: paths.len(), left_out: BTreeMap::new() };
        let mut unread = Vec::new();
        for (path, object) in paths.iter().zip(objects) {
            match object {
                Ok(Object::Slices(mut slices)) => files.slices.append(&mut slices),
                Ok(Object::Other(kind)) => leave_out(OTHERS, format!("{} ({kind})", name_of(path))),
                Err((info, error)) => unread.push((info, name_of(path), error)),
            }
        }
        files.left_out = left_out;
        // A file that does not say its series may be of any.
        if unread.iter().any(|(info, ..)| info.is_none()) {
            return Err(files.problem(dir, unread.into_iter().map(|(_, name, error)| (name, error)).collect()));
        }
        files.unread = unread.into_iter().filter_map(|(info, name, error)| Some((info?, name, error))).collect();
        Ok(files)
    }

    /// The error of a folder in which files cannot be read.
    pub(super) fn problem(&self, dir: &Path, mut unread: Vec<(String, DataError)>) -> DataError {
        if unread.len() == 1 {
            return unread.remove(0).1;
        }
        let (count, all, names) = (unread.len(), self.count, first_of(unread.iter().map(|(name, _)| name)));
        let problem = format!("{count} of {all} DICOM files cannot be read ({names}): {}", unread[0].1);
        DataError::unusable(dir, format!("{problem}, expected slices that can all be read"))
    }

    /// What is left out, a warning for each reason.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        self.left_out.iter().map(|(reason, names)| Warning::with(reason, first_of(names.iter()))).collect()
    }

    /// Why there are no slices, and where there are some.
    pub(super) fn without_slices(&mut self, dir: &Path) -> String {
        let held = if self.left_out.contains_key(OTHERS) { "images" } else { "files" };
        let mut problem = format!("holds no DICOM {held}");
        let series = Dicom.series_within(dir);
        if !series.is_empty() {
            self.left_out.remove(FOLDERS);
            let paths: Vec<String> = series.iter().map(|path| path.display().to_string()).collect();
            problem += &format!("; a series lies in {}", paths.join(", "));
        }
        self.warnings().iter().for_each(|warning| problem += &format!("; {warning}"));
        problem
    }
}

/// What an entry of the folder is.
enum Kind {
    Dicom,
    /// Nothing that could be a slice.
    Description,
    LeftOut(&'static str),
}

fn kind_of(path: &Path, name: &str) -> Kind {
    if name.starts_with('.') || name.eq_ignore_ascii_case("DICOMDIR") {
        return Kind::Description;
    }
    if path.is_dir() {
        return Kind::LeftOut(FOLDERS);
    }
    match Content::of_file(path) {
        Content::Slice => Kind::Dicom,
        content if is_description(name, || content.clone()) => Kind::Description,
        Content::Empty => Kind::LeftOut(EMPTY),
        Content::Pointer(_) => Kind::LeftOut(POINTERS),
        Content::Text(_) | Content::Other => Kind::LeftOut(STRANGERS),
    }
}

impl SeriesFormat for Dicom {
    fn is_part(&self, start: &[u8]) -> bool {
        is_dicom(start)
    }

    fn is_series(&self, dir: &Path) -> bool {
        let is_slice = |path: &Path| matches!(kind_of(path, &name_of(path)), Kind::Dicom);
        std::fs::read_dir(dir)
            .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| is_slice(&entry.path()))))
    }

    fn series_within(&self, dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut seen = 0;
        let mut level = vec![dir.to_path_buf()];
        for _ in 0..DEPTH {
            let mut next = Vec::new();
            for path in level.iter().flat_map(|folder| entries(folder).unwrap_or_default()) {
                seen += 1;
                if found.len() == MOST_SERIES || seen > MOST_ENTRIES {
                    return found;
                }
                // Links may lead back to a folder that was searched.
                if path.is_dir() && !path.is_symlink() && !name_of(&path).starts_with('.') {
                    if self.is_series(&path) { found.push(path) } else { next.push(path) }
                }
            }
            level = next;
        }
        found
    }

    fn beside_series(&self, dir: &Path) -> String {
        let reasons = |files: Files| files.warnings().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Files::read(dir).map(reasons).unwrap_or_default()
    }
}
