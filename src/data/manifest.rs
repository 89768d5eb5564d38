//! A table of cases in place of folders: a CSV file with a row for each case.
//!
//! ```csv
//! image,label,split
//! scans/a.nii.gz,masks/a.nii.gz,train
//! scans/b.nii.gz,masks/b.nii.gz,test
//! ```
//!
//! Columns, in any order: `image`, or `image_0`, `image_1`, … with a file for each channel; `label`; `split`; `name`. Paths are
//! relative to the folder of the table, or absolute. A column for each channel, and not a list in one cell: no character of a file
//! name needs an escape, and a channel that is missing is an empty cell with a line and a column. An unknown column is an error,
//! because a split that is not read would train on the test cases.

mod columns;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use self::columns::{Column, columns_of};
use super::dataset::{Case, case_name};
use super::io::format::{case_of, endings_of_cases};
use super::io::input::read_text;
use super::io::{missing_link, name_of};
use super::parts::{Part, Parts};
use super::{DataError, ImageFiles};

/// Bytes of a table, at most: half a million rows of a hundred letters.
const LONGEST_TEXT: u64 = 1 << 26;
/// Bytes of a name: with an ending it must be a file name, which has 255 at most.
const LONGEST_NAME: usize = 200;
/// Problems of one table that are told.
const MOST_PROBLEMS: usize = 20;

/// A table of cases that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The table.
    pub path: PathBuf,
    /// Its rows, by name.
    pub rows: Vec<Row>,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the case, as [`case_name`]: column `name`, else the file name of the image without its ending.
    pub name: String,
    /// The files of the image.
    pub image: ImageFiles,
    /// The label map, where the row names one.
    pub label: Option<PathBuf>,
    /// What the case is for, where the row says so.
    pub part: Option<Part>,
    /// Where it is in the table, from 1.
    line: u64,
}

impl Manifest {
    /// Whether a path is meant to be a table: its name ends in `.csv`, and it is no folder.
    pub fn is_named(path: &Path) -> bool {
        name_of(path).to_ascii_lowercase().ends_with(".csv") && !path.is_dir()
    }

    /// Reads a table and looks whether its files are there. They are not opened.
    ///
    /// # Errors
    /// [`DataError`] with line and column: the problem, or [`DataError::Many`] with the first twenty.
    pub fn read(path: &Path) -> Result<Manifest, DataError> {
        let text = read_text(path, LONGEST_TEXT).map_err(DataError::io(path, "read"))?;
        let manifest = Manifest::from_text(path, &text)?;
        let missing: Vec<DataError> = manifest.rows.par_iter().flat_map_iter(|row| manifest.missing(row)).collect();
        few_of(path, missing)?;
        Ok(manifest)
    }

    /// As [`Manifest::read`], of the text of the table `path`, and without a look at the files that it names.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn from_text(path: &Path, text: &str) -> Result<Manifest, DataError> {
        let mut table = Table::of(text);
        let Some((line, head)) = table.next_row() else {
            return Err(DataError::unusable(path, "is empty, expected a line with the names of the columns"));
        };
        let columns = columns_of(&head).map_err(|problem| at_line(path, line, &problem))?;
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        let mut problems = Vec::new();
        while let Some((line, cells)) = table.next_row() {
            match row_of(path, line, &cells, &columns) {
                Err(problem) => problems.push(at_line(path, line, &problem)),
                Ok(row) => match rows.entry(row.name.clone()) {
                    Entry::Vacant(free) => drop(free.insert(row)),
                    Entry::Occupied(first) => {
                        let problem = format!(
                            "case {:?} is in line {} too; expected another name, which a column name can give",
                            row.name,
                            first.get().line
                        );
                        problems.push(at_line(path, line, &problem));
                    }
                },
            }
        }
        few_of(path, problems)?;
        if rows.is_empty() {
            return Err(DataError::unusable(path, "has no cases, expected a row for each"));
        }
        Ok(Manifest { path: path.to_path_buf(), rows: rows.into_values().collect() })
    }

    /// The cases, and the problem of rows without a label.
    pub(super) fn cases(self) -> (Vec<Case>, Option<DataError>) {
        let (path, mut problems, mut cases) = (self.path, Vec::new(), Vec::new());
        for Row { name, image, label, line, .. } in self.rows {
            match label {
                Some(label) => cases.push(Case { name, image, label }),
                None => problems.push(at_line(&path, line, &format!("case {name:?} has no label, expected one"))),
            }
        }
        (cases, few_of(&path, problems).err())
    }

    /// The label maps by case, of the rows that name one.
    pub fn labels(self) -> BTreeMap<String, PathBuf> {
        self.rows.into_iter().filter_map(|row| Some((row.name, row.label?))).collect()
    }

    /// The folder of the table.
    pub fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    /// What the rows say of what the cases are for; none where no row says anything.
    pub(super) fn parts(&self) -> Option<Parts> {
        let given: BTreeMap<String, Part> =
            self.rows.iter().filter_map(|row| Some((row.name.clone(), row.part?))).collect();
        (!given.is_empty()).then(|| Parts { path: self.path.clone(), given })
    }

    /// A problem for each file of a row that is not there.
    fn missing(&self, row: &Row) -> Vec<DataError> {
        let several = row.image.files().len() > 1;
        let column = |channel: usize| if several { format!("image_{channel}") } else { "image".to_owned() };
        let images = row.image.files().iter().enumerate().map(|(channel, file)| (column(channel), file));
        let label = row.label.iter().map(|file| ("label".to_owned(), file));
        let absent = |(column, file): (String, &PathBuf)| {
            let error = std::fs::metadata(file).err()?;
            let reason = match missing_link(file) {
                Some(target) => format!("is a link to {}, where there is nothing", target.display()),
                None if error.kind() == std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                None => format!("cannot open: {error}"),
            };
            Some(at_line(&self.path, row.line, &format!("column {column}: {}: {reason}", file.display())))
        };
        images.chain(label).filter_map(absent).collect()
    }
}

/// The folder of a table, from which its paths start.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn at_line(path: &Path, line: u64, problem: &str) -> DataError {
    DataError::unusable(path, format!("line {line}: {problem}"))
}

/// The first problems, and how many there are beyond, as one error where there are any.
fn few_of(path: &Path, mut problems: Vec<DataError>) -> Result<(), DataError> {
    if let Some(more) = problems.len().checked_sub(MOST_PROBLEMS + 1).map(|beyond| beyond + 1) {
        problems.truncate(MOST_PROBLEMS);
        problems.push(DataError::unusable(path, format!("and {more} more problems")));
    }
    DataError::one_or_many(path, problems)
}

/// The rows of a text, with their lines.
struct Table<'a> {
    reader: csv::Reader<&'a [u8]>,
    text: &'a [u8],
    /// A byte of the text and the line in which it is: what is before has been counted.
    counted: (usize, u64),
}

impl<'a> Table<'a> {
    fn of(text: &'a str) -> Table<'a> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes();
        let mut builder = csv::ReaderBuilder::new();
        let reader = builder.has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text);
        Table { reader, text, counted: (0, 1) }
    }

    /// The next row that is not empty, and its line.
    fn next_row(&mut self) -> Option<(u64, Vec<String>)> {
        let mut record = csv::StringRecord::new();
        // The text is UTF-8, and rows of any length are taken: no other error is left.
        while self.reader.read_record(&mut record).unwrap_or(false) {
            let start = record.position().map_or(0, csv::Position::byte) as usize;
            let line = self.line_of(start);
            // Spreadsheets write lines of commas below a table.
            if record.iter().any(|cell| !cell.is_empty()) {
                return Some((line, record.iter().map(str::to_owned).collect()));
            }
        }
        None
    }

    /// The line of a row that starts at this byte or after the empty lines there. Lines end in LF, CR LF or CR.
    fn line_of(&mut self, start: usize) -> u64 {
        let (mut at, mut line) = self.counted;
        while let Some(byte) = self.text.get(at).filter(|byte| at < start || matches!(byte, b'\n' | b'\r')) {
            let ends = *byte == b'\n' || (*byte == b'\r' && self.text.get(at + 1) != Some(&b'\n'));
            (at, line) = (at + 1, line + u64::from(ends));
        }
        self.counted = (at, line);
        line
    }
}

/// A row of cells, or what is wrong with it.
fn row_of(path: &Path, line: u64, cells: &[String], columns: &[Column]) -> Result<Row, String> {
    if let Some((column, cell)) = columns.iter().zip(cells).find(|(_, cell)| cell.contains(char::is_control)) {
        let start: String = cell.chars().take_while(|c| !c.is_control()).take(40).collect();
        return Err(format!(
            "column {column} has a control character or a line break after {start:?}, expected text in one line: is a \
             quotation mark missing?"
        ));
    }
    if cells.len() != columns.len() {
        let hint = if cells.len() > columns.len() { "; a text with a comma needs quotation marks" } else { "" };
        return Err(format!("{} cells, expected {} as in the first line{hint}", cells.len(), columns.len()));
    }
    let (mut files, mut label, mut part, mut given) = (Vec::new(), None, None, None);
    for (column, cell) in columns.iter().zip(cells) {
        let file = || Some(folder_of(path).join(cell)).filter(|_| !cell.is_empty());
        match column {
            Column::Image | Column::Channel(_) => {
                let file = file().ok_or_else(|| format!("column {column} is empty, expected a file"))?;
                files.push((column.channel(), file));
            }
            Column::Label => label = file(),
            Column::Split => part = part_of(cell)?,
            Column::Name => given = Some(cell).filter(|cell| !cell.is_empty()),
        }
    }
    files.sort();
    let image = ImageFiles::of_channels(files.into_iter().map(|(_, file)| file).collect());
    let channels = matches!(columns.iter().find(|column| column.is_image()), Some(Column::Channel(_)));
    let name = given.map_or_else(|| name_of_image(image.first(), channels), |name| Ok(case_name(name)))?;
    check_name(&name)?;
    Ok(Row { name, image, label, part, line })
}

/// The part that a word of the column `split` stands for; none for an empty cell.
fn part_of(cell: &str) -> Result<Option<Part>, String> {
    const OTHER_WORDS: [(&str, Part); 8] = [
        ("tr", Part::Train),
        ("training", Part::Train),
        ("val", Part::Validation),
        ("valid", Part::Validation),
        ("dev", Part::Validation),
        ("ts", Part::Test),
        ("testing", Part::Test),
        ("holdout", Part::Test),
    ];
    let lower = cell.to_lowercase();
    if lower.is_empty() {
        return Ok(None);
    }
    Part::ALL.into_iter().find(|part| part.name() == lower).map(Some).ok_or_else(|| {
        let meant = OTHER_WORDS.iter().find(|(word, _)| *word == lower);
        let hint = meant.map(|(_, part)| format!("; is {} meant?", part.name())).unwrap_or_default();
        format!("column split is {cell:?}, expected train, validation or test, or nothing{hint}")
    })
}

/// The name of the case of an image file, or of a folder with a DICOM series; of files of channels without nnU-Net's suffix.
fn name_of_image(image: &Path, channels: bool) -> Result<String, String> {
    let file = name_of(image);
    let known = case_of(&file).or_else(|| image.is_dir().then_some(file.as_str()));
    // A file that is not there has no kind; that it is not there is the better message.
    let written = known.or_else(|| (!image.exists()).then_some(file.as_str()));
    let Some(written) = written else {
        let endings = endings_of_cases();
        return Err(format!(
            "{}: no known volume format; expected a file name that ends in {endings}, or the folder of a DICOM series",
            image.display()
        ));
    };
    Ok(case_name(written.strip_suffix("_0000").filter(|_| channels).unwrap_or(written)))
}

/// Names of cases become names of files.
fn check_name(name: &str) -> Result<(), String> {
    let wrong = name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) || name.len() > LONGEST_NAME;
    let expected =
        format!("expected a file name without its ending: no / or \\, no dot first, at most {LONGEST_NAME} bytes");
    if wrong { Err(format!("the case is named {name:?}, {expected}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
