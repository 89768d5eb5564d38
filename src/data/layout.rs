//! Which files are the channels of which case: patterns of file names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::dataset::case_name;
use super::error::some_of;
use super::folder::Folder;
use super::io::{MOST_CHANNELS, case_of, entries, name_of};
use super::{DataError, ImageFiles, Warnings};

/// Stands for the name of the case.
const CASE: &str = "{case}";

/// A pattern of file names relative to a folder, such as `{case}/{case}_t1.nii.gz`. A known ending may be left out; it is of no
/// account. The name of a case has no `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The parts around the name of the case.
    literals: Vec<String>,
    text: String,
}

impl Pattern {
    /// Of a text that holds `{case}` and stays within the folder.
    pub(crate) fn parse(text: &str) -> Option<Pattern> {
        let stem = match text.rsplit_once('/') {
            Some((folder, name)) => format!("{folder}/{}", case_of(name).unwrap_or(name)),
            None => case_of(text).unwrap_or(text).to_owned(),
        };
        let stem = case_name(&stem);
        let inside = stem.split('/').all(|part| !["", ".", ".."].contains(&part));
        let literals: Vec<String> = stem.split(CASE).map(str::to_owned).collect();
        (inside && literals.len() > 1).then(|| Pattern { literals, text: text.to_owned() })
    }

    /// The pattern of nnU-Net's channel of this number, `{case}_0000`.
    pub(crate) fn of_channel(number: usize) -> Pattern {
        let suffix = format!("_{number:04}");
        Pattern { text: format!("{CASE}{suffix}"), literals: vec![String::new(), suffix] }
    }

    /// The name of the case of a file, given relative to the folder and without its ending.
    fn case<'n>(&self, name: &'n str) -> Option<&'n str> {
        let known: usize = self.literals.iter().map(String::len).sum();
        let length = name.len().checked_sub(known)? / (self.literals.len() - 1);
        let mut rest = name.strip_prefix(self.literals[0].as_str())?;
        let case = rest.get(..length).filter(|case| !case.is_empty() && !case.contains('/'))?;
        for literal in &self.literals[1..] {
            rest = rest.strip_prefix(case)?.strip_prefix(literal.as_str())?;
        }
        rest.is_empty().then_some(case)
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Folders between the folder and the file.
    pub(crate) fn depth(&self) -> usize {
        self.text.matches('/').count()
    }
}

/// The pattern of each channel, as a configuration or a model file has them; none where a text is no pattern.
pub(crate) fn patterns(texts: &[String]) -> Option<Vec<Pattern>> {
    texts.iter().map(|text| Pattern::parse(text)).collect()
}

/// Whether texts can be the patterns of channels.
pub(crate) fn are_patterns(texts: &[String]) -> bool {
    texts.len() <= MOST_CHANNELS && patterns(texts).is_some()
}

/// The number of nnU-Net's channel suffix, and the name before it: `case_0002` gives `case` and 2.
pub(crate) fn channel_suffix(name: &str) -> Option<(&str, usize)> {
    let (case, channel) = name.rsplit_once('_')?;
    let is_number = channel.len() == 4 && channel.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !case.is_empty()).then(|| (case, channel.parse().unwrap_or(usize::MAX)))
}

/// Volumes of a folder, by their names without ending relative to it; `depth` levels of folders below it are listed too.
pub(crate) fn volumes_below(dir: &Path, depth: usize) -> Result<Folder, DataError> {
    let mut found = Folder { dir: dir.to_path_buf(), ..Folder::default() };
    collect(dir, "", depth, &mut found)?;
    Ok(found)
}

fn collect(dir: &Path, prefix: &str, depth: usize, found: &mut Folder) -> Result<(), DataError> {
    let mut listed = Folder::list(dir)?;
    found.problems.append(&mut listed.problems);
    found.volumes.extend(listed.volumes.into_iter().map(|(name, path)| (format!("{prefix}{name}"), path)));
    if depth == 0 {
        found.warnings.append(listed.warnings);
        return Ok(());
    }
    for entry in entries(dir)?.into_iter().filter(|entry| entry.is_dir()) {
        let name = name_of(&entry);
        if !name.starts_with('.') {
            collect(&entry, &format!("{prefix}{}/", case_name(&name)), depth - 1, found)?;
        }
    }
    Ok(())
}

/// Files of cases by channel.
#[derive(Debug, Default)]
pub(crate) struct Grouped {
    /// Cases that have every channel.
    pub(crate) cases: BTreeMap<String, ImageFiles>,
    /// Cases that lack a channel.
    pub(crate) incomplete: BTreeSet<String>,
    /// What they lack.
    pub(crate) problems: Vec<DataError>,
    /// Names of volumes that no pattern fits.
    pub(crate) others: Vec<String>,
}

/// Takes the files of `patterns`, one for each channel, out of the volumes of a folder.
pub(crate) fn group(dir: &Path, volumes: &mut BTreeMap<String, PathBuf>, patterns: &[Pattern]) -> Grouped {
    let mut found: BTreeMap<String, Vec<Option<PathBuf>>> = BTreeMap::new();
    volumes.retain(|name, path| {
        let of = patterns.iter().enumerate().find_map(|(channel, pattern)| Some((channel, pattern.case(name)?)));
        if let Some((channel, case)) = of {
            let files = found.entry(case.to_owned()).or_insert_with(|| vec![None; patterns.len()]);
            files[channel] = Some(path.clone());
        }
        of.is_none()
    });
    let mut grouped = Grouped::default();
    let mut missing: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (case, files) in found {
        match files.iter().position(Option::is_none) {
            Some(channel) => {
                missing.entry(channel).or_default().push(case.clone());
                grouped.incomplete.insert(case);
            }
            None => {
                grouped.cases.insert(case, ImageFiles::of_channels(files.into_iter().flatten().collect()));
            }
        }
    }
    for (channel, cases) in missing {
        let problem = format!("no volume {} for {}", patterns[channel].text, some_of(&cases));
        grouped.problems.push(DataError::unusable(dir, problem));
    }
    grouped
}

/// The files of a folder by case that the patterns name, and what is passed over.
///
/// # Errors
/// [`DataError`] where the folder cannot be listed.
pub(crate) fn find_images(dir: &Path, patterns: &[Pattern]) -> Result<(Grouped, Warnings), DataError> {
    let depth = patterns.iter().map(Pattern::depth).max().unwrap_or(0);
    let mut folder = volumes_below(dir, depth)?;
    DataError::one_or_many(dir, std::mem::take(&mut folder.problems))?;
    let mut grouped = group(dir, &mut folder.volumes, patterns);
    grouped.others = folder.volumes.into_keys().collect();
    Ok((grouped, folder.warnings))
}

/// As [`find_images`], of a folder that must hold cases, all whole.
///
/// # Errors
/// [`DataError`] where the folder cannot be listed, or a file of a case is missing.
pub(crate) fn images_by(
    dir: &Path,
    patterns: &[Pattern],
) -> Result<(BTreeMap<String, ImageFiles>, Warnings), DataError> {
    let (Grouped { cases, problems, others, .. }, warnings) = find_images(dir, patterns)?;
    DataError::one_or_many(dir, problems)?;
    if cases.is_empty() {
        let texts: Vec<&str> = patterns.iter().map(|pattern| pattern.text.as_str()).collect();
        let there = if others.is_empty() { "no volumes".to_owned() } else { some_of(&others) };
        let problem = format!("there is {there}, expected for each case {}", texts.join(", "));
        return Err(DataError::unusable(dir, problem));
    }
    Ok((cases, warnings))
}

/// The number of channels of the cases in nnU-Net's layout: one more than the largest suffix.
pub(crate) fn suffixed_channels<'n>(names: impl IntoIterator<Item = &'n String>) -> usize {
    let numbers = names.into_iter().filter_map(|name| channel_suffix(name)).map(|(_, n)| n);
    numbers.max().map_or(0, |largest| largest.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_case_is_what_the_pattern_leaves() {
        let case =
            |pattern: &str, name: &str| Pattern::parse(pattern).expect("a pattern").case(name).map(str::to_owned);
        assert_eq!(case("{case}/{case}_t1.nii.gz", "BraTS_001/BraTS_001_t1"), Some("BraTS_001".into()));
        assert_eq!(case("{case}/{case}_t1", "BraTS_001/BraTS_002_t1"), None);
        assert_eq!(case("{case}/{case}_t1", "BraTS_001/BraTS_001_t1ce"), None);
        assert_eq!(case("MR/{case}/T2", "MR/7/T2"), Some("7".into()));
        assert_eq!(case("{case}_0000", "a_0000"), Some("a".into()));
        assert_eq!(case("{case}_0000", "_0000"), None);
        assert_eq!(case("{case}", "a/b"), None);
        assert_eq!(case("{case}", "ä"), Some("ä".into()));
        // A cut within a letter is no case.
        assert_eq!(case("{case}{case}", "äb"), None);
        for text in ["", "t1.nii", "/{case}", "../{case}", "{case}//t1", "./{case}"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn suffixes_of_channels_have_four_digits() {
        assert_eq!(channel_suffix("liver_12_0003"), Some(("liver_12", 3)));
        for name in ["case", "case_003", "case_00003", "_0000", "case_000a"] {
            assert_eq!(channel_suffix(name), None, "{name}");
        }
        let names = ["a_0000", "a_0001", "b"].map(str::to_owned);
        assert_eq!((suffixed_channels(&names), suffixed_channels([])), (2, 0));
    }

    #[test]
    fn cases_are_grouped_and_missing_channels_named() {
        let names = ["a_0000", "a_0001", "b_0001", "c"];
        let mut volumes = names.map(|name| (name.to_owned(), PathBuf::from(format!("{name}.nii")))).into();
        let patterns = [Pattern::of_channel(0), Pattern::of_channel(1)];
        let Grouped { cases, incomplete, problems, .. } = group(Path::new("imagesTr"), &mut volumes, &patterns);
        assert!(incomplete.contains("b"));
        assert_eq!(cases.into_keys().collect::<Vec<_>>(), ["a"]);
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!(problem.to_string(), "imagesTr: no volume {case}_0000 for b");
        assert_eq!(volumes.into_keys().collect::<Vec<_>>(), ["c"]);
    }
}
