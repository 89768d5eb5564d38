//! The text of a MetaImage header: lines `Key = Value` up to `ElementDataFile`.

use std::path::PathBuf;
use std::str::FromStr;

use crate::data::DataError;
use crate::data::io::input::{Input, Packing};

/// A header is a few hundred bytes; comments may make it longer, voxels follow in the same file.
const LONGEST_HEADER: u64 = 1 << 16;

/// Keys and values of a header, in the order of the file.
#[derive(Debug)]
pub(super) struct Text {
    path: PathBuf,
    fields: Vec<(String, String)>,
    /// Bytes up to and with the line of `ElementDataFile`.
    pub(super) length: u64,
}

impl Text {
    /// Reads up to the line of `ElementDataFile`, which is the last.
    pub(super) fn read(input: Input<'_>) -> Result<Text, DataError> {
        let start = input.start(LONGEST_HEADER, Packing::Plain)?;
        let mut text = Text { path: input.path.to_path_buf(), fields: Vec::new(), length: 0 };
        for line in start.split_inclusive(|&byte| byte == b'\n') {
            text.length += line.len() as u64;
            let line = String::from_utf8_lossy(line);
            if line.trim().is_empty() {
                continue;
            }
            // MetaIO takes both signs; a colon in the value is the value's.
            let Some((key, value)) = line.split_once(['=', ':']) else {
                let shown: String = line.trim().chars().take(40).collect();
                return Err(text.wrong("line", format!("{shown:?}"), "Key = Value (a MetaImage header)"));
            };
            text.fields.push((key.trim().to_owned(), value.trim().to_owned()));
            if key.trim() == "ElementDataFile" {
                return Ok(text);
            }
        }
        Err(text.absent("ElementDataFile", "LOCAL or the name of the file of voxels, in the last line"))
    }

    /// The error of a field that cannot be right.
    pub(super) fn wrong(&self, field: &'static str, found: String, expected: &'static str) -> DataError {
        DataError::Header { path: self.path.clone(), field, found, expected }
    }

    pub(super) fn absent(&self, field: &'static str, expected: &'static str) -> DataError {
        self.wrong(field, "absent".into(), expected)
    }

    /// The value of a key; the last one where it is repeated, as in MetaIO.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// `True` or `False` (MetaIO looks at the first letter or digit); none if the key is absent.
    pub(super) fn flag(&self, key: &'static str) -> Result<Option<bool>, DataError> {
        match self.value(key).map(|value| (value, value.chars().next())) {
            None => Ok(None),
            Some((_, Some('T' | 't' | '1'))) => Ok(Some(true)),
            Some((_, Some('F' | 'f' | '0'))) => Ok(Some(false)),
            Some((value, _)) => Err(self.wrong(key, format!("{value:?}"), "True or False")),
        }
    }

    /// Numbers separated by blanks, under the first of several names that is there; none if all are absent.
    pub(super) fn numbers<T: FromStr>(
        &self,
        keys: &[&'static str],
        count: usize,
        expected: &'static str,
    ) -> Result<Option<Vec<T>>, DataError> {
        let Some((key, value)) = keys.iter().find_map(|key| Some((key, self.value(key)?))) else { return Ok(None) };
        let numbers: Option<Vec<T>> = value.split_whitespace().map(|number| number.parse().ok()).collect();
        match numbers.filter(|numbers| numbers.len() == count) {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(self.wrong(key, format!("{value:?}"), expected)),
        }
    }
}
