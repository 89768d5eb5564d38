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
mod table;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use self::columns::{Column, columns_of};
use self::table::Table;
use super::dataset::{Case, case_name};
use super::io::format::{case_of, endings_of_cases};
use super::io::input::read_text;
use super::io::{missing_link, name_of};
use super::parts::{Part, Parts};
use super::{DataError, ImageFiles};
use crate::files::folder_of;

/// Bytes of a table, at most: half a million rows of a hundred letters.
const LONGEST_TEXT: u64 = 1 << 26;
/// Bytes of a name: with an ending it must be a file name, which has 255 at most.
const LONGEST_NAME: usize = 200;
/// Rows of a table, at most.
const MOST_ROWS: usize = 1_000_000;
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
        Manifest::read_with(path, [true, true])
    }

    /// As [`Manifest::read`], where only images are needed: whether labels are there does not matter.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn read_images(path: &Path) -> Result<Manifest, DataError> {
        Manifest::read_with(path, [true, false])
    }

    /// As [`Manifest::read`], where only labels are needed: whether images are there does not matter.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn read_labels(path: &Path) -> Result<Manifest, DataError> {
        Manifest::read_with(path, [false, true])
    }

    /// Reads a table, of which images, labels or both must be there.
    fn read_with(path: &Path, needed: [bool; 2]) -> Result<Manifest, DataError> {
        let text = read_text(path, LONGEST_TEXT).map_err(DataError::io(path, "read"))?;
        let (manifest, problems) = Manifest::parse(path, &text)?;
        let with_missing = |problems: Problems, row: &Row| problems.and(manifest.missing(row, needed));
        // Of many cases on a file server most of the time is waiting.
        let missing = manifest.rows.par_iter().fold(Problems::default, with_missing);
        let missing = missing.reduce(Problems::default, Problems::append);
        manifest.without(problems.append(missing))
    }

    /// As [`Manifest::read`], of the text of the table `path`, and whether its files are there does not matter.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn from_text(path: &Path, text: &str) -> Result<Manifest, DataError> {
        let (manifest, problems) = Manifest::parse(path, text)?;
        manifest.without(problems)
    }

    /// The rows that are sound, and what is wrong with the others.
    fn parse(path: &Path, text: &str) -> Result<(Manifest, Problems), DataError> {
        let mut table = Table::of(text);
        let Some((line, head)) = table.next_row() else {
            return Err(DataError::unusable(path, "is empty, expected a line with the names of the columns"));
        };
        let columns = columns_of(&head).map_err(|text| at_line(path, &Problem { line, text }))?;
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        let (mut problems, mut count) = (Problems::default(), 0);
        while let Some((line, cells)) = table.next_row() {
            count += 1;
            if count > MOST_ROWS {
                return Err(DataError::unusable(path, format!("more than {MOST_ROWS} rows, expected at most as many")));
            }
            match row_of(path, line, &cells, &columns) {
                Err(text) => problems.add(Problem { line, text }),
                Ok(row) => match rows.entry(row.name.clone()) {
                    Entry::Vacant(free) => drop(free.insert(row)),
                    Entry::Occupied(first) => {
                        let text = format!(
                            "case {:?} is in line {} too; expected another name, which a column name can give",
                            row.name,
                            first.get().line
                        );
                        problems.add(Problem { line, text });
                    }
                },
            }
        }
        if rows.is_empty() && problems.count == 0 {
            return Err(DataError::unusable(path, "has no cases, expected a row for each"));
        }
        Ok((Manifest { path: path.to_path_buf(), rows: rows.into_values().collect() }, problems))
    }

    /// The table, if it has no problems.
    fn without(self, problems: Problems) -> Result<Manifest, DataError> {
        DataError::one_or_many(&self.path, problems.told(&self.path))?;
        Ok(self)
    }

    /// The cases, and the problems of rows without a label.
    pub(super) fn cases(self) -> (Vec<Case>, Vec<DataError>) {
        let (mut cases, mut without) = (Vec::new(), Problems::default());
        for Row { name, image, label, line, .. } in self.rows {
            match label {
                Some(label) => cases.push(Case { name, image, label }),
                None => without.add(Problem { line, text: format!("case {name:?} has no label, expected one") }),
            }
        }
        (cases, without.told(&self.path))
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

    /// A problem for each needed file of a row (images, label) that is not there.
    fn missing(&self, row: &Row, [images_needed, label_needed]: [bool; 2]) -> Vec<Problem> {
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
            Some(Problem { line: row.line, text: format!("column {column}: {}: {reason}", file.display()) })
        };
        let needed = images.filter(|_| images_needed).chain(label.filter(|_| label_needed));
        needed.filter_map(absent).collect()
    }
}

/// What is wrong with a row.
struct Problem {
    line: u64,
    text: String,
}

fn at_line(path: &Path, Problem { line, text }: &Problem) -> DataError {
    DataError::unusable(path, format!("line {line}: {text}"))
}

/// Problems of many rows.
#[derive(Default)]
struct Problems {
    /// The first by line, [`MOST_PROBLEMS`] at most.
    first: Vec<Problem>,
    count: usize,
}

impl Problems {
    fn add(&mut self, problem: Problem) {
        self.count += 1;
        let at = self.first.partition_point(|other| other.line <= problem.line);
        if at < MOST_PROBLEMS {
            self.first.insert(at, problem);
            self.first.truncate(MOST_PROBLEMS);
        }
    }

    fn and(mut self, problems: Vec<Problem>) -> Problems {
        problems.into_iter().for_each(|problem| self.add(problem));
        self
    }

    fn append(self, others: Problems) -> Problems {
        let count = self.count + others.count;
        Problems { count, ..self.and(others.first) }
    }

    /// The first problems, and how many there are beyond.
    fn told(&self, path: &Path) -> Vec<DataError> {
        let mut told: Vec<DataError> = self.first.iter().map(|problem| at_line(path, problem)).collect();
        let beyond = self.count - told.len();
        if beyond > 0 {
            told.push(DataError::unusable(path, format!("and {beyond} more problems")));
        }
        told
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
        let file = || Some(path.parent().unwrap_or(Path::new("")).join(cell)).filter(|_| !cell.is_empty());
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
