//! What a prepared case depends on, as a name.

use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::data::dataset::Case;
use crate::data::io::files_of;
use crate::data::prepare::{Fit, Preparation};

/// Raised when an entry has another form, or when equal settings give other voxels than before.
const VERSION: u32 = 1;

/// A hash of everything that a prepared case depends on: the version, the files of the case (path, size, time of the last
/// change), the series that is chosen and the preparation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// That of a case.
    ///
    /// # Errors
    /// The system's, where a file cannot be looked at.
    pub(super) fn of(case: &Case, preparation: &Preparation, fit: Fit) -> io::Result<Key> {
        let mut hasher = blake3::Hasher::new();
        let settings = serde_json::to_string(preparation).expect("a preparation is JSON");
        let fit = match fit {
            Fit::Patch => "patch",
            Fit::Whole => "whole",
        };
        let series = String::from(case.image.series().clone());
        for text in [&VERSION.to_string(), &settings, &series, fit] {
            add(&mut hasher, text.as_bytes());
        }
        for path in case.image.files().iter().chain([&case.label]) {
            let files = files_of(path).map_err(|error| io::Error::other(error.to_string()))?;
            hasher.update(&files.len().to_le_bytes());
            files.iter().try_for_each(|file| add_file(&mut hasher, file))?;
        }
        Ok(Key(hasher.finalize().to_hex().to_string()))
    }

    /// As hexadecimal digits.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn of_text(text: &str) -> Key {
        Key(text.to_owned())
    }
}

/// Bytes with their number, so that two sequences of them never look the same.
fn add(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&bytes.len().to_le_bytes()).update(bytes);
}

fn add_file(hasher: &mut blake3::Hasher, file: &Path) -> io::Result<()> {
    let (path, metadata) = (file.canonicalize()?, std::fs::metadata(file)?);
    add(hasher, path.as_os_str().as_encoded_bytes());
    hasher.update(&metadata.len().to_le_bytes()).update(&nanoseconds(metadata.modified()?).to_le_bytes());
    Ok(())
}

/// Since 1970; negative before.
fn nanoseconds(time: SystemTime) -> i128 {
    let signed = |duration: std::time::Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|error| -signed(error.duration()), signed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::io::SeriesChoice;
    use crate::data::{Crop, Normalisation, TargetSpacing};
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    /// An image of two files and a label; the voxels are never read.
    fn case(folder: &Path) -> (Case, [PathBuf; 3]) {
        let files = ["a.hdr", "a.img", "a_label.nii"].map(|name| folder.join(name));
        files.iter().for_each(|file| fs::write(file, "voxels").expect("written"));
        let [image, voxels, label] = files;
        (Case { name: "a".into(), image: image.clone().into(), label: label.clone() }, [image, voxels, label])
    }

    #[test]
    fn whatever_changes_the_voxels_changes_the_key() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (case, files) = case(folder.path());
        let native = Preparation::native(Normalisation::ZScoreAll);
        let key = |preparation: &Preparation, fit| Key::of(&case, preparation, fit).expect("a key");
        let first = key(&native, Fit::Whole);
        assert_eq!(key(&native, Fit::Whole), first);
        let others = [
            Preparation { spacing: TargetSpacing::Millimetres([1.0, 1.0, 1.5]), ..native.clone() },
            Preparation { spacing: TargetSpacing::Millimetres([1.0, 1.0, 1.500_000_000_000_000_2]), ..native.clone() },
            Preparation { patch: [1, 1, 2], ..native.clone() },
            Preparation { channels: 2, ..native.clone() },
            Preparation { canonical: true, ..native.clone() },
            Preparation { crop: Crop::Nonzero, ..native.clone() },
            Preparation::native(Normalisation::ZScoreNonZero),
        ];
        let mut keys: Vec<String> = others.iter().map(|other| key(other, Fit::Whole).0).collect();
        keys.extend([first.0.clone(), key(&native, Fit::Patch).0]);
        let image = case.image.clone().of_series(SeriesChoice::Largest);
        let chosen = Case { image, ..case.clone() };
        keys.push(Key::of(&chosen, &native, Fit::Whole).expect("a key").0);
        for file in &files {
            let before = fs::metadata(file).and_then(|metadata| metadata.modified()).expect("a time");
            let opened = fs::OpenOptions::new().append(true).open(file).expect("opened");
            opened.set_modified(before + Duration::from_nanos(100)).expect("changed");
            keys.push(key(&native, Fit::Whole).0);
            opened.set_modified(before).expect("changed");
            assert_eq!(key(&native, Fit::Whole), first);
            opened.set_len(7).and_then(|()| opened.set_modified(before)).expect("changed");
            keys.push(key(&native, Fit::Whole).0);
            opened.set_len(6).and_then(|()| opened.set_modified(before)).expect("changed");
        }
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
        fs::remove_file(&files[1]).expect("removed");
        assert!(Key::of(&case, &native, Fit::Whole).is_err(), "a file that is not there");
    }
}
