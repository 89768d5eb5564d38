//! The text of an NRRD header: the magic, lines `field: value` and `key:=value`, and an empty line before the voxels.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::data::DataError;
use crate::data::io::input::{Input, Packing};

/// Bytes of a header that are read at first: most are shorter, and a folder may hold many files.
const FIRST: u64 = 1 << 16;
/// Bytes of a header, at most: gradients of a diffusion series, terms of a hundred segments.
const LONGEST: u64 = 1 << 22;
/// Characters of a value that a message shows.
const SHOWN: usize = 60;

/// Fields and keys of a header, in the order of the file.
#[derive(Debug)]
pub(super) struct Text {
    path: PathBuf,
    /// Names in lower case and without blanks: `line skip` and `lineskip` are one field.
    fields: Vec<(String, String)>,
    /// Keys and values, unescaped.
    pub(super) pairs: Vec<(String, String)>,
    /// The lines after `data file: LIST`.
    pub(super) listed: Vec<String>,
    /// Bytes up to and with the empty line.
    pub(super) length: u64,
}

impl Text {
    /// Reads up to the empty line, or to the end of a file without one.
    pub(super) fn read(input: Input<'_>) -> Result<Text, DataError> {
        for limit in [FIRST, LONGEST] {
            let start = input.start(limit, Packing::Plain)?;
            let is_whole = (start.len() as u64) < limit;
            if let Some(text) = Text::parse(input.path, &start, is_whole)? {
                return Ok(text);
            }
        }
        let expected = "an empty line that ends the header within 4 MiB";
        Err(DataError::Header { path: input.path.into(), field: "header", found: "longer".into(), expected })
    }

    /// The header that begins so; none where it goes on beyond these bytes.
    fn parse(path: &Path, start: &[u8], is_whole: bool) -> Result<Option<Text>, DataError> {
        let (fields, pairs, listed) = (Vec::new(), Vec::new(), Vec::new());
        let mut text = Text { path: path.to_path_buf(), fields, pairs, listed, length: 0 };
        let mut lines = start.split_inclusive(|&byte| byte == b'\n');
        let magic = lines.next().unwrap_or_default();
        text.check_magic(magic)?;
        text.length = magic.len() as u64;
        let mut is_list = false;
        for line in lines {
            if !is_whole && !line.ends_with(b"\n") {
                return Ok(None);
            }
            text.length += line.len() as u64;
            let line = String::from_utf8_lossy(line);
            let line = line.trim_end();
            if is_list {
                text.listed.extend(Some(line.trim()).filter(|line| !line.is_empty()).map(str::to_owned));
            } else if line.is_empty() {
                return Ok(Some(text));
            } else if !line.starts_with('#') {
                is_list = text.take(line)?;
            }
        }
        Ok(is_whole.then_some(text))
    }

    fn check_magic(&self, line: &[u8]) -> Result<(), DataError> {
        let line = line.trim_ascii_end();
        let version = line.strip_prefix(b"NRRD");
        if version.is_some_and(|version| matches!(version, b"0001" | b"0002" | b"0003" | b"0004" | b"0005" | b"00.01"))
        {
            return Ok(());
        }
        let found = shown(&String::from_utf8_lossy(&line[..line.len().min(4 * SHOWN)]));
        Err(self.wrong("the first line", found, "NRRD0001 to NRRD0005"))
    }

    /// A line `field: value` or `key:=value`; true if a list of files follows. A colon in the value is the value's.
    fn take(&mut self, line: &str) -> Result<bool, DataError> {
        let Some((key, value)) = line.split_once(':') else {
            return Err(self.wrong("line", shown(line.trim()), "field: value (an NRRD header)"));
        };
        if let Some(value) = value.strip_prefix('=') {
            self.pairs.push((unescaped(key.trim()), unescaped(value.trim())));
            return Ok(false);
        }
        let (name, value) = (name_of_field(key), value.trim().to_owned());
        let is_list = name == name_of_field("data file") && value.split_whitespace().next() == Some("LIST");
        self.fields.push((name, value));
        Ok(is_list)
    }

    /// The error of a field that cannot be right.
    pub(super) fn wrong(&self, field: &'static str, found: String, expected: &'static str) -> DataError {
        DataError::Header { path: self.path.clone(), field, found, expected }
    }

    /// The error of a field with this value.
    pub(super) fn wrong_value(&self, field: &'static str, value: &str, expected: &'static str) -> DataError {
        self.wrong(field, shown(value), expected)
    }

    pub(super) fn absent(&self, field: &'static str, expected: &'static str) -> DataError {
        self.wrong(field, "absent".into(), expected)
    }

    /// The value of a field; the last one where it is repeated.
    pub(super) fn field(&self, field: &str) -> Option<&str> {
        let name = name_of_field(field);
        self.fields.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Numbers separated by blanks; none if the field is absent.
    pub(super) fn numbers<T: FromStr>(
        &self,
        field: &'static str,
        count: usize,
        expected: &'static str,
    ) -> Result<Option<Vec<T>>, DataError> {
        let Some(value) = self.field(field) else { return Ok(None) };
        let numbers: Option<Vec<T>> = value.split_whitespace().map(|number| number.parse().ok()).collect();
        match numbers.filter(|numbers| numbers.len() == count) {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(self.wrong_value(field, value, expected)),
        }
    }

    /// A number; none if the field is absent.
    pub(super) fn number<T: FromStr>(
        &self,
        field: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, DataError> {
        Ok(self.numbers(field, 1, expected)?.and_then(|mut numbers| numbers.pop()))
    }

    /// Vectors `(x,y,z)` separated by blanks, with `none` for an axis without one; none if the field is absent.
    pub(super) fn vectors(
        &self,
        field: &'static str,
        count: usize,
        expected: &'static str,
    ) -> Result<Option<Vec<Option<Vec<f64>>>>, DataError> {
        let Some(value) = self.field(field) else { return Ok(None) };
        match vectors_of(value).filter(|vectors| vectors.len() == count) {
            Some(vectors) => Ok(Some(vectors)),
            None => Err(self.wrong_value(field, value, expected)),
        }
    }
}

/// One spelling of the names of a field.
fn name_of_field(name: &str) -> String {
    name.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect()
}

/// A value for a message.
pub(super) fn shown(value: &str) -> String {
    let start: String = value.chars().take(SHOWN).collect();
    format!("{start:?}")
}

/// Keys and values write a line break as `\n` and a backslash as `\\`.
fn unescaped(text: &str) -> String {
    let mut characters = text.chars();
    let mut found = String::with_capacity(text.len());
    while let Some(c) = characters.next() {
        match (c, characters.as_str().chars().next()) {
            ('\\', Some('n')) => found.push('\n'),
            ('\\', Some('\\')) => found.push('\\'),
            _ => {
                found.push(c);
                continue;
            }
        }
        characters.next();
    }
    found
}

/// Keys and values as they are written: [`unescaped`] gives them back.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

/// Vectors as they are written; a vector of NaN is none.
fn vectors_of(value: &str) -> Option<Vec<Option<Vec<f64>>>> {
    let (mut rest, mut vectors) = (value.trim_start(), Vec::new());
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("none") {
            vectors.push(None);
            rest = after.trim_start();
            continue;
        }
        let (inside, after) = rest.strip_prefix('(')?.split_once(')')?;
        let numbers: Vec<f64> = inside.split(',').map(|number| number.trim().parse().ok()).collect::<Option<_>>()?;
        vectors.push(Some(numbers).filter(|numbers| !numbers.iter().all(|number| number.is_nan())));
        rest = after.trim_start();
    }
    Some(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_numbers_in_parentheses() {
        let of = |text| vectors_of(text);
        assert_eq!(
            of("(1,-2.5e1, 3) none (0,0,1)"),
            Some(vec![Some(vec![1.0, -25.0, 3.0]), None, Some(vec![0.0, 0.0, 1.0])])
        );
        assert_eq!(of("none(1,2)"), Some(vec![None, Some(vec![1.0, 2.0])]));
        assert_eq!(of("(nan,nan,nan)"), Some(vec![None]), "as old programs write none");
        for wrong in ["(1,2", "1,2)", "(1,,2)", "(a)", "[1]", "()"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn line_breaks_in_values_are_escaped() {
        for text in ["", "a", r"C:\new", "two\nlines\\", r"\n"] {
            assert_eq!(unescaped(&escaped(text)), text);
            assert!(!escaped(text).contains('\n'));
        }
        assert_eq!(unescaped(r"\t \"), r"\t \");
    }
}
