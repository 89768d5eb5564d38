//! Where the voxels of an NRRD file are, and how they are written there.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::segments::{Merged, Segments};
use super::text::{Text, shown};
use crate::data::DataError;
use crate::data::io::bytes::ByteOrder;
use crate::data::io::input::{Input, Packing, Place};
use crate::data::io::scalar::{Encoding, Scalar, for_real_type};
use crate::data::io::{Header, Native, Pieces, Segment, is_of_map};

/// Files of one volume, at most.
const MOST_FILES: usize = 1 << 16;
/// Characters of a number in a text, at most.
const LONGEST_NUMBER: usize = 400;
/// Numbers of a text that are handed over at a time.
const NUMBERS: usize = 1 << 15;

/// How voxels are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Raw,
    Gzip,
    Text,
}

/// Where the voxels are.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    /// Each holds the same number of voxels.
    files: Vec<PathBuf>,
    coding: Coding,
    /// Bytes of the header in the file of the voxels.
    header: u64,
    /// Lines before the voxels.
    lines: u64,
    /// Bytes before the voxels; none: they are the end of the file.
    bytes: Option<u64>,
    /// All numbers of the files.
    count: u64,
    /// How a number is stored.
    encoding: Encoding,
    segments: Segments,
    /// The header says that the voxels are the probabilities of a class.
    probability: bool,
}

impl Storage {
    pub(super) fn of(
        text: &Text,
        path: &Path,
        encoding: Encoding,
        sizes: &[usize],
        segments: Segments,
    ) -> Result<Storage, DataError> {
        let expected = "raw, gzip or ascii";
        let coding = text.field("encoding").ok_or_else(|| text.absent("encoding", expected))?;
        let coding = match coding.to_ascii_lowercase().as_str() {
            "raw" => Coding::Raw,
            "gzip" | "gz" => Coding::Gzip,
            "ascii" | "text" | "txt" => Coding::Text,
            _ => return Err(text.wrong_value("encoding", coding, expected)),
        };
        let files = files_of(text, path)?;
        let header = if text.field("data file").is_some() { 0 } else { text.length };
        let lines = text.number("line skip", "a number of lines")?.unwrap_or(0);
        let expected = "a number of bytes, or -1 with encoding raw (the voxels are the end of the file)";
        let skip: i64 = text.number("byte skip", expected)?.unwrap_or(0);
        let bytes = match u64::try_from(skip) {
            Ok(bytes) => Some(bytes),
            Err(_) if skip == -1 && coding == Coding::Raw => None,
            Err(_) => return Err(text.wrong("byte skip", skip.to_string(), expected)),
        };
        let product = |product: u64, &extent: &usize| product.checked_mul(extent as u64);
        let count = sizes.iter().try_fold(1, product).filter(|count| count.checked_mul(8).is_some());
        let expected = "a volume of less than 2^61 voxels";
        let count = count.ok_or_else(|| text.wrong("sizes", format!("{sizes:?}"), expected))?;
        if count % files.len() as u64 != 0 {
            let found = format!("{} files for {count} voxels", files.len());
            return Err(text.wrong("data file", found, "files of the same number of voxels"));
        }
        let probability = text.field("content").is_some_and(is_of_map);
        Ok(Storage { files, coding, header, lines, bytes, count, encoding, segments, probability })
    }

    /// Numbers of each file.
    fn numbers(&self) -> u64 {
        self.count / self.files.len() as u64
    }

    /// Where what follows the lines begins in a file.
    fn start(&self, input: Input<'_>) -> Result<u64, DataError> {
        if self.lines == 0 { Ok(self.header) } else { input.after_lines(self.header, self.lines) }
    }

    /// The place of the voxels in a file that is no text.
    fn place(&self, input: Input<'_>) -> Result<Place, DataError> {
        let (start, skip) = (self.start(input)?, self.bytes.unwrap_or(0));
        let count = self.numbers() * self.encoding.scalar.bytes() as u64;
        let (start, skip, packing) = match self.coding {
            Coding::Gzip => (Some(start), skip, Packing::Deflated(None)),
            _ => (self.bytes.map(|_| start.saturating_add(skip)), 0, Packing::Plain),
        };
        Ok(Place { file: input.path.to_path_buf(), start, skip, count, packing })
    }

    /// Hands over the voxels of all files, as they are stored. The lengths of all are checked before the first piece.
    fn visit_stored(&self, input: Input<'_>, each: Pieces<'_>) -> Result<(), DataError> {
        let inputs = self.files.iter().map(|file| input.beside(file));
        for input in inputs.clone() {
            match self.coding {
                Coding::Text => self.check_text(input)?,
                Coding::Raw | Coding::Gzip => self.place(input)?.check(input)?,
            }
        }
        for input in inputs {
            match self.coding {
                Coding::Text => self.visit_text(input, each)?,
                Coding::Raw | Coding::Gzip => self.place(input)?.visit(input, self.encoding, each)?,
            }
        }
        Ok(())
    }

    /// A number has at least a digit, and a blank before the next.
    fn check_text(&self, input: Input<'_>) -> Result<(), DataError> {
        let start = self.start(input)?.saturating_add(self.bytes.unwrap_or(0));
        let (needed, found) = (2 * self.numbers() - 1, input.bytes_from(start)?.1);
        if found < needed {
            return Err(DataError::truncated(input.path, start.saturating_add(needed), start.saturating_add(found)));
        }
        Ok(())
    }

    /// The numbers of a text, as float64, which holds what is made of the numbers of any type.
    fn visit_text(&self, input: Input<'_>, each: Pieces<'_>) -> Result<(), DataError> {
        let start = self.start(input)?.saturating_add(self.bytes.unwrap_or(0));
        let (bytes, _) = input.bytes_from(start)?;
        let encoding = Encoding { scalar: Scalar::Float64, order: ByteOrder::Little, scaling: None };
        let (mut piece, mut word, mut seen) = (Vec::new(), Vec::new(), 0);
        // One more separator ends the last number.
        for byte in bytes.chain([b' '].as_slice()).bytes() {
            let byte = byte.map_err(DataError::io(input.path, "read"))?;
            if !byte.is_ascii_whitespace() && byte != b',' {
                word.push(byte);
                if word.len() > LONGEST_NUMBER {
                    return Err(self.no_number(input.path, &word, seen));
                }
                continue;
            }
            if word.is_empty() {
                continue;
            }
            piece.extend_from_slice(&self.number_of(input.path, &word, seen)?.to_le_bytes());
            word.clear();
            seen += 1;
            if piece.len() == 8 * NUMBERS {
                each(&piece, encoding)?;
                piece.clear();
            }
            if seen == self.numbers() {
                break;
            }
        }
        if seen < self.numbers() {
            let problem = format!("the text ends after {seen} numbers, expected {}", self.numbers());
            return Err(DataError::unusable(input.path, problem));
        }
        if piece.is_empty() { Ok(()) } else { each(&piece, encoding) }
    }

    /// A number of the type that the header says.
    fn number_of(&self, path: &Path, word: &[u8], at: u64) -> Result<f64, DataError> {
        let scalar = self.encoding.scalar;
        let text = String::from_utf8_lossy(word);
        macro_rules! parse {
            ($type:ty) => {
                text.parse::<$type>().ok().map(|number| number as f64)
            };
        }
        for_real_type!(scalar, parse, None).ok_or_else(|| self.no_number(path, word, at))
    }

    fn no_number(&self, path: &Path, word: &[u8], at: u64) -> DataError {
        let (found, expected) = (shown(&String::from_utf8_lossy(word)), self.encoding.scalar.name());
        DataError::unusable(path, format!("number {at} of the text is {found}, expected {expected}"))
    }
}

/// The files of the voxels.
fn files_of(text: &Text, path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let expected = "the name of a file, a pattern such as slice%03d.raw 1 30 1, or LIST";
    let Some(value) = text.field("data file") else { return Ok(vec![path.to_path_buf()]) };
    let words: Vec<&str> = value.split_whitespace().collect();
    let names = match words[..] {
        [] => return Err(text.wrong_value("data file", value, expected)),
        ["LIST"] | ["LIST", _] => text.listed.clone(),
        [pattern, ref numbers @ ..] if pattern.contains('%') && (3..=4).contains(&numbers.len()) => {
            numbered(pattern, &numbers[..3]).ok_or_else(|| text.wrong_value("data file", value, expected))?
        }
        _ => vec![value.to_owned()],
    };
    let different: BTreeSet<&String> = names.iter().collect();
    if names.is_empty() || names.len() > MOST_FILES || different.len() < names.len() {
        let found = format!("{} files, {} of them different", names.len(), different.len());
        return Err(text.wrong("data file", found, "1 to 65536 different files"));
    }
    Ok(names.iter().map(|name| path.with_file_name(name)).collect())
}

/// The names that a pattern of C's `printf` with one `%d` makes of the numbers first, last and step.
fn numbered(pattern: &str, numbers: &[&str]) -> Option<Vec<String>> {
    let (before, rest) = pattern.split_once('%')?;
    let (width, after) = rest.split_once(['d', 'i', 'u'])?;
    let digits = width.strip_prefix('0').unwrap_or(width);
    let least: usize = if digits.is_empty() { 0 } else { digits.parse().ok().filter(|&least| least <= 20)? };
    let [first, last, step] =
        <[i64; 3]>::try_from(numbers.iter().map(|number| number.parse().ok()).collect::<Option<Vec<i64>>>()?).ok()?;
    let count = last.checked_sub(first)?.checked_div(step)?;
    if !(0..MOST_FILES as i64).contains(&count) || after.contains('%') {
        return None;
    }
    let name = |at: i64| {
        let number = first + at * step;
        let number = if width.starts_with('0') { format!("{number:0least$}") } else { format!("{number:least$}") };
        format!("{before}{number}{after}")
    };
    Some((0..=count).map(name).collect())
}

impl Native for Storage {
    fn visit(&self, input: Input<'_>, header: &Header, each: Pieces<'_>) -> Result<(), DataError> {
        if !self.segments.are_merged() {
            return self.visit_stored(input, each);
        }
        let [x, y, z] = [0, 1, 2].map(|axis| header.shape[axis]);
        let mut merged = Merged::new(&self.segments, input.path, [x, y, z], header.interleaved);
        self.visit_stored(input, &mut |bytes, encoding| merged.take(bytes, encoding))?;
        merged.finish(each)
    }

    fn voxel_files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    fn is_probability(&self) -> bool {
        self.probability
    }

    fn segments(&self) -> &[Segment] {
        &self.segments.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_make_names_as_printf() {
        let of = |pattern, numbers: [&str; 3]| numbered(pattern, &numbers);
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(of("s%03d.raw", ["9", "11", "1"]), names(&["s009.raw", "s010.raw", "s011.raw"]));
        assert_eq!(of("%d", ["6", "1", "-2"]), names(&["6", "4", "2"]));
        assert_eq!(of("a%2d", ["9", "10", "1"]), names(&["a 9", "a10"]));
        for (pattern, numbers) in [
            ("s%s", ["1", "2", "1"]),
            ("s%d%d", ["1", "2", "1"]),
            ("s%99999999999d", ["1", "2", "1"]),
            ("s%d", ["1", "2", "0"]),
            ("s%d", ["2", "1", "1"]),
            ("s%d", ["-9223372036854775808", "9223372036854775807", "1"]),
            ("s%d", ["1", "9223372036854775807", "1"]),
            ("s%d", ["a", "2", "1"]),
        ] {
            assert_eq!(of(pattern, numbers), None, "{pattern} {numbers:?}");
        }
    }
}
