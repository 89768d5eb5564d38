//! What can be wrong with a user's files.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::Notice;
use super::io::format::{endings_of_cases, endings_read, endings_written};

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
    /// A file with the name of a volume that is none.
    #[error("{}: is {found}, expected {expected}", .path.display())]
    NoVolume {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A file name that no case can be named after.
    #[error("{}: the file name is not UTF-8, expected one that is", .path.display())]
    FileName {
        /// The file.
        path: PathBuf,
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
        /// Bytes that are there (where they are compressed: at most).
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
    /// A DICOM file that cannot be decoded.
    #[error("{}: {reason}", .path.display())]
    Dicom {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },
    /// DICOM files that do not make one volume.
    #[error("{}: {problem}, expected {expected}", .dir.display())]
    Series {
        /// The folder.
        dir: PathBuf,
        /// What is wrong, with the values.
        problem: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A format that is read but not written.
    #[error("{}: {format} is not written; expected a file name that ends in {}", .path.display(), endings_written())]
    ReadOnlyFormat {
        /// The output.
        path: PathBuf,
        /// The format.
        format: &'static str,
    },
    /// Voxels that are not one real number each.
    #[error("{}: voxels are of type {dtype}, expected one real number per voxel (integer, float32 or float64)", .path.display())]
    VoxelType {
        /// The file.
        path: PathBuf,
        /// Its type.
        dtype: &'static str,
    },
    /// Not one three-dimensional volume.
    #[error("{}: shape is {}, expected three axes (x, y, z); further axes only of extent 1", .path.display(), shape_text(.shape))]
    NotThreeAxes {
        /// The file.
        path: PathBuf,
        /// Its extents, x first.
        shape: Vec<usize>,
    },
    /// NaN or infinite voxels.
    #[error("{}: {count} of {voxels} voxels are NaN or infinite (first at x, y, z = {at:?}), expected finite numbers", .path.display())]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
        /// Out of how many.
        voxels: usize,
        /// The first one, x, y, z.
        at: [usize; 3],
    },
    /// A volume that is larger than what is trained on or segmented.
    #[error("{}: {} voxels, expected at most {limit} voxels", .path.display(), shape_text(.shape))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its extents, x first.
        shape: Vec<usize>,
        /// Most voxels.
        limit: usize,
    },
    /// A volume that would become too large at the training spacing.
    #[error("{}: {} voxels at the training spacing, expected at most {limit} voxels: data.spacing is too fine", .path.display(), shape_text(.shape))]
    Resampled {
        /// The file.
        path: PathBuf,
        /// Extents after resampling, x first.
        shape: Vec<usize>,
        /// Most voxels.
        limit: usize,
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
    /// A label value that no class has.
    #[error("{}: voxel x, y, z = {at:?} has the label value {value}, expected {expected}", .path.display())]
    UndeclaredLabel {
        /// The file.
        path: PathBuf,
        /// The value.
        value: u16,
        /// The first voxel with it, x, y, z.
        at: [usize; 3],
        /// The values of the classes.
        expected: String,
    },
    /// Label values that are not those of classes 0, 1, 2, …
    #[error("{}: the label values {found} occur ({largest} first in {}), but {missing} in no case; expected every value from 0 to the largest. \
             Say which value is which class: --set data.labels.NAME=VALUE, or NAME = VALUE (several: [VALUE, VALUE]) in the table [data.labels] of a configuration", .dir.display(), .path.display())]
    LabelGap {
        /// The data set.
        dir: PathBuf,
        /// The values that occur, as text.
        found: String,
        /// The largest of them.
        largest: u16,
        /// The first file with the largest.
        path: PathBuf,
        /// The values below the largest that occur nowhere, as text.
        missing: String,
    },
    /// More values than a network has classes.
    #[error("{}: the label values 0 to {largest} occur, expected at most {most} classes: several values may be one class, NAME = [VALUE, VALUE] in the table [data.labels] of a configuration", .dir.display())]
    TooManyClasses {
        /// The data set.
        dir: PathBuf,
        /// The largest value.
        largest: u16,
        /// Most classes.
        most: usize,
    },
    /// A data set without foreground.
    #[error("{}: no label map has a voxel of a class (label values: {found}); expected labelled voxels in some case: {expected}", .dir.display())]
    NoForeground {
        /// The data set.
        dir: PathBuf,
        /// The values that occur, as text.
        found: String,
        /// The values of the classes.
        expected: String,
    },
    /// An image without contrast.
    #[error("{}: every voxel has the value {value}: a blank image; expected at least two values, or a data set without this case", .path.display())]
    BlankImage {
        /// The file.
        path: PathBuf,
        /// The value.
        value: f32,
    },
    /// Labels of a `dataset.json` that declare no classes.
    #[error("{}: {problem}; data.labels in the configuration declares classes instead", .path.display())]
    DeclaredLabels {
        /// The file.
        path: PathBuf,
        /// The entry, and what was expected.
        problem: String,
    },
    /// A value that the file's type cannot hold.
    #[error("{}: value {value} cannot be written as {dtype}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The value.
        value: f64,
        /// The type.
        dtype: &'static str,
    },
    /// A number of voxels that does not belong to the grid.
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
    /// Volumes without a partner of the same name.
    #[error("{}: no {missing} for {}{}{}", .dir.display(), some_of(.names), channel(.suffix), also(.passed_over))]
    Unpaired {
        /// The folder where the partner is missing.
        dir: PathBuf,
        /// "image" or "label".
        missing: &'static str,
        /// All cases without a partner.
        names: Vec<String>,
        /// An image with the channel suffix of nnU-Net, and the label that it has without.
        suffix: Option<Box<[String; 2]>>,
        /// What else the folder holds.
        passed_over: Vec<Notice>,
    },
    /// Two files of one folder that stand for one case.
    #[error("{}: {first} and {second} are both volumes of case {case}, expected one", .dir.display())]
    DuplicateCase {
        /// The folder.
        dir: PathBuf,
        /// The case.
        case: String,
        /// A file name.
        first: String,
        /// The other file name.
        second: String,
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
    /// A split names a case that the data set lacks.
    #[error("{}: {part} names case {case:?}, which the data set does not have", .path.display())]
    SplitUnknown {
        /// The split file.
        path: PathBuf,
        /// "train", "validation" or "test".
        part: &'static str,
        /// The case.
        case: String,
    },
    /// A split names a case twice.
    #[error("{}: case {case:?} is in {first} and in {second}, expected once", .path.display())]
    SplitOverlap {
        /// The split file.
        path: PathBuf,
        /// The case.
        case: String,
        /// A part.
        first: &'static str,
        /// The same or another part.
        second: &'static str,
    },
    /// A split without training cases.
    #[error("{}: train is empty, expected at least one case", .path.display())]
    SplitEmpty {
        /// The split file.
        path: PathBuf,
    },
    /// Fractions that are no fractions.
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
    /// Settings that no batch can be made with.
    #[error("{key} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The loader gave an error before; there are no more batches.
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
    /// Maps an I/O error of `action` on `path`.
    pub(crate) fn io(path: &std::path::Path, action: &'static str) -> impl FnOnce(std::io::Error) -> DataError {
        let path = path.to_path_buf();
        move |source| DataError::Io { path, action, source }
    }

    /// All problems of a folder as one error, where there are any.
    pub(crate) fn one_or_many(dir: &std::path::Path, mut problems: Vec<DataError>) -> Result<(), DataError> {
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.remove(0)),
            _ => Err(DataError::Many { dir: dir.to_path_buf(), problems }),
        }
    }
}

fn shape_text(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}

/// Up to five names and how many there are beyond.
pub(crate) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        let _ = write!(text, " and {} more ({} in all)", names.len() - SHOWN, names.len());
    }
    text
}

/// What is passed over, after the rest of a message.
pub(crate) fn also(passed_over: &[Notice]) -> String {
    passed_over.iter().map(|notice| format!("; {notice}")).collect()
}

fn channel(suffix: &Option<Box<[String; 2]>>) -> String {
    match suffix.as_deref() {
        None => String::new(),
        Some([image, label]) => {
            let suffix = &image[label.len()..];
            format!("; the label {label} is there: {suffix} is nnU-Net's channel suffix, expected {image} without it")
        }
    }
}

fn lines_of(problems: &[DataError]) -> String {
    problems.iter().fold(String::new(), |mut text, problem| {
        let _ = write!(text, "\n  {problem}");
        text
    })
}
