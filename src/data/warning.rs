//! Oddities of files that can be read in spite of them.
//!
//! Readers put a [`Warning`] into the header. Every command collects them as [`Warnings`] and reports each kind once, with its
//! files. What only describes a file ([`Severity::Information`]) is for `inspect` and is not collected.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Who needs to know of a [`Warning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It describes the file and changes no result. Only `inspect` shows it.
    Information,
    /// It may change results. Every command that reads the file reports it.
    Fault,
}

/// An oddity of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Who needs to know; the same for all warnings of a kind.
    pub severity: Severity,
    /// What is odd, without the values of the file: warnings of one kind are reported once.
    pub kind: &'static str,
    /// The values of this file; empty where the kind says everything.
    pub detail: String,
}

/// Warnings of many files, by kind, in the order in which the kinds were first seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    notices: Vec<Notice>,
    /// Which files each kind was added for: folders of a hundred thousand files are not searched for every one of them.
    known: BTreeSet<(&'static str, PathBuf)>,
}

/// One kind of warning and all files that it concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// What is odd.
    pub kind: &'static str,
    /// The values of the first file; empty where the kind says everything.
    pub detail: String,
    /// The files, in the order in which they were found.
    pub files: Vec<PathBuf>,
}

/// Number of files that a message names.
const NAMED: usize = 3;

impl Warning {
    /// A fault whose kind says everything.
    pub fn new(kind: &'static str) -> Warning {
        Warning::with(kind, "")
    }

    /// A fault with the values of the file.
    pub fn with(kind: &'static str, detail: impl Into<String>) -> Warning {
        Warning { severity: Severity::Fault, kind, detail: detail.into() }
    }

    /// What only describes the file, with its values.
    pub fn information(kind: &'static str, detail: impl Into<String>) -> Warning {
        Warning { severity: Severity::Information, kind, detail: detail.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl Warnings {
    /// Adds a warning of a file, unless it is mere information or known already.
    pub fn add(&mut self, file: &Path, warning: Warning) {
        if warning.severity == Severity::Fault {
            self.put(file, warning.kind, warning.detail);
        }
    }

    fn put(&mut self, file: &Path, kind: &'static str, detail: String) {
        if !self.known.insert((kind, file.to_path_buf())) {
            return;
        }
        match self.notices.iter_mut().find(|notice| notice.kind == kind) {
            Some(notice) => notice.files.push(file.to_path_buf()),
            None => self.notices.push(Notice { kind, detail, files: vec![file.to_path_buf()] }),
        }
    }

    /// Adds all warnings of a file.
    pub fn extend(&mut self, file: &Path, warnings: impl IntoIterator<Item = Warning>) {
        warnings.into_iter().for_each(|warning| self.add(file, warning));
    }

    /// Adds what others have collected, after what is here.
    pub fn append(&mut self, others: Warnings) {
        for Notice { kind, detail, files } in others.notices {
            for file in files {
                self.put(&file, kind, detail.clone());
            }
        }
    }

    /// Each kind once.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// True if there are no warnings.
    pub fn is_empty(&self) -> bool {
        self.notices.is_empty()
    }
}

impl fmt::Display for Notice {
    /// One line: `a.nii.gz: KIND: DETAIL`, or `KIND: DETAIL, in the first of 3 files: a.nii.gz, b.nii.gz, c.nii.gz`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = if self.detail.is_empty() { String::new() } else { format!(": {}", self.detail) };
        if let [file] = self.files.as_slice() {
            return write!(f, "{}: {}{detail}", file.display(), self.kind);
        }
        let first = if self.detail.is_empty() { "in" } else { "in the first of" };
        write!(f, "{}{detail}, {first} {} files: ", self.kind, self.files.len())?;
        f.write_str(&first_of(self.files.iter().map(|file| file.display())))
    }
}

/// The first few names, and the number of the others.
pub(super) fn first_of<T: fmt::Display>(names: impl ExactSizeIterator<Item = T>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = names.take(NAMED).map(|name| name.to_string()).collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_once_with_its_files() {
        let mut warnings = Warnings::default();
        for (file, detail) in [("b", "2 mm"), ("a", "3 mm"), ("b", "2 mm"), ("d", "5 mm"), ("c", "4 mm")] {
            warnings.add(Path::new(file), Warning::with("spacing is odd", detail));
        }
        warnings.add(Path::new("a"), Warning::new("no orientation"));
        warnings.add(Path::new("a"), Warning::information("anisotropic", "1 to 9 mm"));
        let told: Vec<String> = warnings.notices().iter().map(Notice::to_string).collect();
        assert_eq!(told, ["spacing is odd: 2 mm, in the first of 4 files: b, a, d and 1 more", "a: no orientation"]);
        let mut all = Warnings::default();
        all.add(Path::new("z"), Warning::new("no orientation"));
        all.append(warnings);
        assert_eq!(all.notices()[0].to_string(), "no orientation, in 2 files: z, a");
    }
}
