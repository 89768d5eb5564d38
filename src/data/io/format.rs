//! What a file format is to the rest of the program, and what is asked of the table of all formats.

use std::path::{Path, PathBuf};

use super::content::Content;
use super::input::Input;
use super::{FORMATS, Header, Output, name_of};
use crate::data::DataError;

/// A file format. The ending of a file's name decides its format; the files of a series are recognised by their content.
pub(crate) trait Format: Sync {
    /// Its name in messages.
    fn name(&self) -> &'static str;

    /// Endings of its file names.
    fn endings(&self) -> &'static [Ending] {
        &[]
    }

    /// True if headers are text, so that text is not a sign of a wrong file.
    fn has_text_header(&self) -> bool {
        false
    }

    /// True if a header may name the segments of a label map ([`Header::segments`]).
    fn names_segments(&self) -> bool {
        false
    }

    /// For a format whose volumes are folders.
    fn series(&self) -> Option<&dyn SeriesFormat> {
        None
    }

    /// Reads and checks the header. Reads no voxels.
    fn read_header(&self, input: Input<'_>) -> Result<Header, DataError>;

    /// All files of the volume that `path` names, in the order in which they are written: the header last.
    fn files(&self, path: &Path) -> Vec<PathBuf> {
        vec![path.to_path_buf()]
    }

    /// Writes a volume; none where the format is only read.
    fn writer(&self) -> Option<Writer> {
        None
    }
}

/// Writes a volume, whole or not at all.
pub(crate) type Writer = fn(&Output<'_>) -> Result<(), DataError>;

/// A format whose volumes are folders (series of slices). Its files are recognised by their first bytes.
pub(crate) trait SeriesFormat {
    /// True if a file that begins with these bytes is part of such a volume ([`super::content::START`] bytes or all).
    fn is_part(&self, start: &[u8]) -> bool;

    /// True if the folder is a volume.
    fn is_series(&self, dir: &Path) -> bool;

    /// Folders of volumes that lie deeper in this one: the first few.
    fn series_within(&self, dir: &Path) -> Vec<PathBuf>;

    /// What a folder without a series holds instead.
    fn beside_series(&self, dir: &Path) -> String;
}

/// An ending of file names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// In lower case, with its dot.
    pub(super) text: &'static str,
    pub(super) part: Part,
    /// True if messages name it.
    listed: bool,
}

/// What a file is of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// A header whose voxels are in another file.
    Header,
    /// The voxels of a header with the same name. It names the volume, but is not counted as a second case.
    Half,
    /// Bare voxels, which cannot be read without the header that refers to them.
    Bare,
}

impl Ending {
    pub(super) const fn new(text: &'static str, part: Part) -> Ending {
        Ending { text, part, listed: !matches!(part, Part::Bare) }
    }

    /// Messages do not name it.
    pub(super) const fn unlisted(self) -> Ending {
        Ending { listed: false, ..self }
    }

    /// True if files with this ending are cases.
    fn is_case(&self) -> bool {
        matches!(self.part, Part::Whole | Part::Header)
    }
}

/// The longest known ending of a file name, and its format; none for bare voxels.
fn known(name: &str) -> Option<(Ending, &'static dyn Format)> {
    let lower = name.to_ascii_lowercase();
    let all = FORMATS.iter().flat_map(|&format| format.endings().iter().map(move |&ending| (ending, format)));
    all.filter(|(ending, _)| ending.part != Part::Bare && lower.len() > ending.text.len())
        .filter(|(ending, _)| lower.ends_with(ending.text))
        .max_by_key(|(ending, _)| ending.text.len())
}

/// A file name before its ending, and the ending, where it names a volume.
pub(super) fn split_ending(name: &str) -> Option<(&str, &str)> {
    known(name).map(|(ending, _)| name.split_at(name.len() - ending.text.len()))
}

/// The format of a file name.
pub(super) fn format_of_name(path: &Path) -> Option<&'static dyn Format> {
    known(&name_of(path)).map(|(_, format)| format)
}

/// True if a file of this name may name the segments of a label map.
pub(crate) fn names_segments(path: &Path) -> bool {
    format_of_name(path).is_some_and(Format::names_segments)
}

/// The format of a folder.
fn format_of_folders() -> Option<&'static dyn Format> {
    FORMATS.into_iter().find(|format| format.series().is_some())
}

/// The format of a file or folder that is there.
pub(super) fn format_of(input: Input<'_>) -> Result<&'static dyn Format, DataError> {
    let path = input.path;
    let by_name = format_of_name(path);
    let is_series = if input.is_memory() { by_name.is_none() } else { path.is_dir() };
    match by_name.filter(|_| !is_series).or_else(|| format_of_folders().filter(|_| is_series)) {
        Some(format) => Ok(format),
        None if !path.exists() => Err(DataError::io(path, "open")(std::io::Error::from(std::io::ErrorKind::NotFound))),
        // A file with all frames of a volume has any name.
        None => (Content::of_file(path) == Content::Slice)
            .then(format_of_folders)
            .flatten()
            .ok_or_else(|| DataError::UnknownFormat { path: path.to_path_buf() }),
    }
}

fn series_formats() -> impl Iterator<Item = &'static dyn SeriesFormat> {
    FORMATS.iter().filter_map(|format| format.series())
}

/// True if a file that begins with these bytes is part of a volume that is a folder.
pub(super) fn is_part_of_series(start: &[u8]) -> bool {
    series_formats().any(|format| format.is_part(start))
}

/// True for a folder that holds DICOM files: a volume by itself.
pub fn is_series(path: &Path) -> bool {
    path.is_dir() && series_formats().any(|format| format.is_series(path))
}

/// What is known of a folder that is no series: a folder with one that lies deeper, or what it holds instead.
pub(crate) fn without_series(path: &Path) -> Result<PathBuf, String> {
    let mut deeper = series_formats().flat_map(|format| format.series_within(path));
    deeper.next().ok_or_else(|| series_formats().map(|format| format.beside_series(path)).collect())
}

/// The file name under which a result for the volume `input` is written: its own where its format is written, else that
/// of a compressed NIfTI file.
pub fn output_name(input: &Path) -> String {
    let name = name_of(input);
    match known(&name) {
        Some((_, format)) if format.writer().is_some() => name,
        Some((ending, _)) => format!("{}.nii.gz", &name[..name.len() - ending.text.len()]),
        None => {
            let dicom = name.len().checked_sub(4).filter(|&at| name.as_bytes()[at..].eq_ignore_ascii_case(b".dcm"));
            format!("{}.nii.gz", &name[..dicom.filter(|&at| at > 0).unwrap_or(name.len())])
        }
    }
}

/// As [`output_name`], for a case that is not named like its file.
pub fn output_name_of(case: &str, input: &Path) -> String {
    let name = output_name(input);
    let ending = split_ending(&name).map_or("", |(_, ending)| ending);
    format!("{case}{ending}")
}

/// The name of a volume's file with another ending, such as `.seg.nrrd`.
pub fn with_ending(name: &str, ending: &str) -> String {
    let stem = split_ending(name).map_or(name, |(stem, _)| stem);
    format!("{stem}.{}", ending.trim_start_matches('.'))
}

/// Whether a file of this name can be written. Ask before the work whose result is to be written.
///
/// # Errors
/// [`DataError::UnknownFormat`], or [`DataError::Unusable`] for a format that is only read.
pub fn check_output(path: &Path) -> Result<(), DataError> {
    writer_of(path).map(|_| ())
}

/// What writes a file of this name.
pub(super) fn writer_of(path: &Path) -> Result<Writer, DataError> {
    let format = format_of_name(path).or_else(|| format_of_folders().filter(|_| path.is_dir()));
    let format = format.ok_or_else(|| DataError::UnknownFormat { path: path.to_path_buf() })?;
    format.writer().ok_or_else(|| {
        let written = listed(|format, _| format.writer().is_some());
        DataError::unusable(
            path,
            format!("{} is not written; expected a file name that ends in {written}", format.name()),
        )
    })
}

/// All files that are written for the output `path`: two for a pair of header and voxels.
pub fn files_written(path: &Path) -> Vec<PathBuf> {
    format_of_name(path).map_or_else(|| vec![path.to_path_buf()], |format| format.files(path))
}

/// The case of a file name, if it is a volume's: `a.nii.gz` gives `a`. Hidden files (`._a.nii`, which macOS leaves) and the
/// `.img` half of a pair are not cases.
pub fn case_of(file_name: &str) -> Option<&str> {
    let (ending, _) = known(file_name)?;
    let is_case = ending.is_case() && !file_name.starts_with('.');
    is_case.then(|| &file_name[..file_name.len() - ending.text.len()])
}

/// A file name in lower case without its ending, where it is that of a header whose voxels are in another file (`Header`), or of
/// such voxels (`Half` and `Bare`).
pub(crate) fn stem_of_pair(name: &str, header: bool) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let of_pair = |part: Part| if header { part == Part::Header } else { matches!(part, Part::Half | Part::Bare) };
    let mut endings = FORMATS.iter().flat_map(|format| format.endings()).filter(|ending| of_pair(ending.part));
    endings.find_map(|ending| lower.strip_suffix(ending.text)).map(str::to_owned)
}

/// The endings that `chosen` picks, as the end of a sentence: ".nii, .nii.gz or .mha".
fn listed(chosen: impl Fn(&dyn Format, &Ending) -> bool) -> String {
    let endings = FORMATS.iter().flat_map(|&format| format.endings().iter().map(move |ending| (format, ending)));
    let endings = endings.filter(|&(format, ending)| ending.listed && chosen(format, ending));
    let texts: Vec<&str> = endings.map(|(_, ending)| ending.text).collect();
    match texts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => texts.concat(),
    }
}

/// Endings of files that are read.
pub(crate) fn endings_read() -> String {
    listed(|_, _| true)
}

/// Endings of files that are cases.
pub(crate) fn endings_of_cases() -> String {
    listed(|_, ending| ending.is_case())
}

/// The names of the formats, for a person: "NIfTI, MetaImage, folders of DICOM series".
pub(crate) fn formats_read() -> String {
    let name = |format: &&dyn Format| match format.series() {
        Some(_) => format!("folders of {} series", format.name()),
        None => format.name().to_owned(),
    };
    FORMATS.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// A file name for each way in which a format is read: what fuzzing reads bytes as.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn sample_names() -> Vec<String> {
    let names = |format: &&dyn Format| match format.series() {
        Some(_) => vec!["a".to_owned()],
        None => {
            let endings = format.endings().iter().filter(|ending| ending.listed && ending.is_case());
            // Nor one that is read like the shorter ending in it.
            let is_longer = |text: &str| text[1..].contains('.');
            endings.filter(|ending| !is_longer(ending.text)).map(|ending| format!("a{}", ending.text)).collect()
        }
    };
    FORMATS.iter().flat_map(names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_table() {
        assert_eq!(endings_read(), ".nii, .nii.gz, .hdr, .img, .mha, .mhd, .nrrd, .nhdr or .seg.nrrd");
        assert_eq!(endings_of_cases(), ".nii, .nii.gz, .hdr, .mha, .mhd, .nrrd, .nhdr or .seg.nrrd");
        assert_eq!(formats_read(), "NIfTI, MetaImage, NRRD, folders of DICOM series");
        assert_eq!(sample_names(), ["a.nii", "a.hdr", "a.mha", "a.mhd", "a.nrrd", "a.nhdr", "a"]);
    }

    #[test]
    fn outputs_are_named_like_cases() {
        let of = |input| output_name_of("case 1.5", Path::new(input));
        assert_eq!([of("x/a.MHA"), of("a.nii"), of("series")], ["case 1.5.MHA", "case 1.5.nii", "case 1.5.nii.gz"]);
    }

    #[test]
    fn an_ending_is_replaced_whole() {
        assert_eq!(with_ending("a.b.nii.gz", ".seg.nrrd"), "a.b.seg.nrrd");
        assert_eq!(with_ending("a.seg.nrrd", "mha"), "a.mha");
        assert_eq!(with_ending("1.2.840", "nii"), "1.2.840.nii");
    }

    #[test]
    fn the_longest_ending_counts() {
        assert_eq!(split_ending("a.b.NII.gz"), Some(("a.b", ".NII.gz")));
        assert_eq!((split_ending(".nii"), split_ending("a.raw")), (None, None));
        assert_eq!((case_of("a.hdr"), case_of("a.img.gz"), case_of("._a.nii")), (Some("a"), None, None));
        let pair = |name| (stem_of_pair(name, true), stem_of_pair(name, false));
        assert_eq!(pair("A.hdr.gz"), (Some("a".into()), None));
        assert_eq!([pair("a.img"), pair("a.zraw")], [(None, Some("a".into())), (None, Some("a".into()))]);
        assert_eq!(pair("a.nii"), (None, None));
    }
}
