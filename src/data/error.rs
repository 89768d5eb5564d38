//! What can be wrong with a user's files.

use std::path::{Path, PathBuf};

use super::Notice;
use super::io::format::{endings_of_cases, endings_read};

/// Everything that can be wrong with volumes, data sets and splits.
///
/// Every message is one line that names the file (or key) and what was expected; only
/// [`DataError::Many`] has one line per problem.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried, as a verb phrase: "open", "write".
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file name says nothing about the format.
    #[error("{}: no known volume format; expected a file name that ends in {}, or the folder of a DICOM series", .path.display(), endings_read())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A file or folder that cannot be used, for a reason that no caller has to tell from others.
    #[error("{}: {problem}", .path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, with the values, and what was expected.
        problem: String,
    },
    /// A split file that does not fit the data set.
    #[error("{}: {problem}", .path.display())]
    Split {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what was expected.
        problem: String,
    },
    /// A header field has a value that cannot be right.
    #[error("{}: {field} is {found}, expected {expected}", .path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The field, named as in the format's definition.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The file ends before its last voxel.
    #[error("{}: the file is cut short: {needed} bytes are expected, {found} are there", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes up to the last voxel.
        needed: u64,
        /// Bytes that are there; an upper bound where they are compressed.
        found: u64,
    },
    /// The compressed stream ends early or its checksum is wrong.
    #[error("{}: the compressed stream is damaged or cut short: {found} of {needed} bytes could be read ({source})", .path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// Decompressed bytes up to the last voxel.
        needed: u64,
        /// Decompressed bytes before the damage.
        found: u64,
        /// The decoder's reason.
        source: std::io::Error,
    },
    /// A label that is not a whole number from 0 to 65535.
    #[error("{}: voxel x, y, z = {at:?} is {value}, expected a label: a whole number from 0 to 65535", .path.display())]
    LabelValue {
        /// The file.
        path: PathBuf,
        /// The value.
        value: f64,
        /// Where, x, y, z.
        at: [usize; 3],
    },
    /// A number of voxels that is not that of the grid.
    #[error("{}: {voxels} voxels, expected {expected} ({})", .path.display(), shape_text(.shape))]
    VoxelCount {
        /// The file.
        path: PathBuf,
        /// How many voxels there are.
        voxels: usize,
        /// How many the shape asks for.
        expected: usize,
        /// The shape, x first.
        shape: Vec<usize>,
    },
    /// Image and label do not lie on one grid.
    #[error("{}: {difference}; expected the grid of {}", .label.display(), .image.display())]
    GridMismatch {
        /// Label file.
        label: PathBuf,
        /// Image file.
        image: PathBuf,
        /// What differs, with both values.
        difference: String,
    },
    /// A folder without a known layout.
    #[error("{}: no data set; expected the folders images/ and labels/, or imagesTr/ and labelsTr/, or volumes NAME with their labels NAME_segmentation{}", .dir.display(), also(.passed_over))]
    NoDataset {
        /// The folder.
        dir: PathBuf,
        /// What else it holds.
        passed_over: Vec<Notice>,
    },
    /// A folder without volumes.
    #[error("{}: no volumes; expected files that end in {}{}", .dir.display(), endings_of_cases(), also(.passed_over))]
    NoVolumes {
        /// The folder.
        dir: PathBuf,
        /// What else it holds.
        passed_over: Vec<Notice>,
    },
    /// A JSON file that does not hold what it should.
    #[error("{}: {source}; expected {expected}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's reason, with line and column.
        source: serde_json::Error,
        /// What would be right.
        expected: &'static str,
    },
    /// Fractions that do not add up to 1 or are out of range.
    #[error("split fractions are {found:?} (train, validation, test), expected numbers >= 0 with train > 0 and sum 1")]
    Fractions {
        /// The fractions.
        found: [f64; 3],
    },
    /// A fold that does not exist.
    #[error("fold is {index}/{folds}, expected index < folds and 2 <= folds <= {cases} (the number of cases)")]
    Fold {
        /// Index, from 0.
        index: usize,
        /// Number of folds.
        folds: usize,
        /// Number of cases.
        cases: usize,
    },
    /// A setting out of range.
    #[error("{key} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The loader has returned an error before and makes no more batches.
    #[error("the loader has stopped after an earlier error, expected no further request")]
    LoaderStopped,
    /// Several problems of one data set, found in one pass.
    #[error("{}: {} problems{}", .dir.display(), .problems.len(), lines_of(.problems))]
    Many {
        /// The data set.
        dir: PathBuf,
        /// All problems, in the order of the cases.
        problems: Vec<DataError>,
    },
}

impl DataError {
    /// [`DataError::Unusable`].
    pub(crate) fn unusable(path: &Path, problem: impl Into<String>) -> DataError {
        DataError::Unusable { path: path.to_path_buf(), problem: problem.into() }
    }

    /// [`DataError::Unusable`] of a symbolic link to nothing.
    pub(crate) fn dangling(path: &Path, target: &Path) -> DataError {
        let problem = format!("is a link to {}, where there is nothing; expected a file there", target.display());
        DataError::unusable(path, problem)
    }

    /// [`DataError::Truncated`].
    pub(crate) fn truncated(path: &Path, needed: u64, found: u64) -> DataError {
        DataError::Truncated { path: path.to_path_buf(), needed, found }
    }

    /// Maps an I/O error of `action` on `path`.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> DataError {
        let path = path.to_path_buf();
        move |source| DataError::Io { path, action, source }
    }

    /// All problems of a folder as one error, where there are any.
    pub(crate) fn one_or_many(dir: &Path, mut problems: Vec<DataError>) -> Result<(), DataError> {
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.remove(0)),
            _ => Err(DataError::Many { dir: dir.to_path_buf(), problems }),
        }
    }
}

pub(crate) fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}

/// Up to five names and how many there are beyond.
pub(crate) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let (count, text) = (names.len(), names[..names.len().min(SHOWN)].join(", "));
    if count > SHOWN { format!("{text} and {} more ({count} in all)", count - SHOWN) } else { text }
}

/// What is passed over, after the rest of a message.
pub(crate) fn also(passed_over: &[Notice]) -> String {
    passed_over.iter().map(|notice| format!("; {notice}")).collect()
}

fn lines_of(problems: &[DataError]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}
