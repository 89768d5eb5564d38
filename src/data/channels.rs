//! Channels of an image: its files, and settings for each.

use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::io::{MOST_CHANNELS, SeriesChoice};

/// The files of an image: one that holds all of its channels, or one for each channel, in their order.
///
/// ```
/// use std::path::{Path, PathBuf};
/// use vnet_engine::data::ImageFiles;
///
/// let sequences = ImageFiles::of_channels(vec!["a_t1.nii.gz".into(), "a_t2.nii.gz".into()]);
/// assert_eq!(sequences.first(), Path::new("a_t1.nii.gz"));
/// assert_eq!(ImageFiles::from(PathBuf::from("a.nii.gz")).files().len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFiles {
    files: Vec<PathBuf>,
    /// Which series of a folder, for all files.
    series: SeriesChoice,
}

impl ImageFiles {
    /// One file for each channel, or one of all channels.
    ///
    /// # Panics
    /// When there is no file.
    pub fn of_channels(files: Vec<PathBuf>) -> ImageFiles {
        assert!(!files.is_empty(), "an image has a file");
        ImageFiles { files, series: SeriesChoice::Only }
    }

    /// The same files, of which this series is meant where they are folders with several.
    pub fn of_series(self, series: SeriesChoice) -> ImageFiles {
        ImageFiles { series, ..self }
    }

    /// Which series of a folder is meant.
    pub fn series(&self) -> &SeriesChoice {
        &self.series
    }

    /// The file of the first channel. Its grid is that of the image.
    pub fn first(&self) -> &Path {
        &self.files[0]
    }

    /// All files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

impl From<PathBuf> for ImageFiles {
    fn from(file: PathBuf) -> ImageFiles {
        ImageFiles::of_channels(vec![file])
    }
}

impl From<&Path> for ImageFiles {
    fn from(file: &Path) -> ImageFiles {
        file.to_path_buf().into()
    }
}

/// A setting that holds for all channels, or one for each. In files it is a plain value, or a list.
///
/// ```
/// use vnet_engine::data::{Normalisation, PerChannel};
///
/// let all = PerChannel::from(Normalisation::ZScoreAll);
/// assert_eq!(all.of(3), &Normalisation::ZScoreAll);
/// let each: PerChannel<Normalisation> = serde_json::from_str(r#"["ct_window", "z_score_all"]"#)?;
/// assert_eq!((each.given(), each.of(1)), (Some(2), &Normalisation::ZScoreAll));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerChannel<T> {
    /// One, or as many as there are channels.
    values: Vec<T>,
    /// Whether it is a list, of one value too.
    each: bool,
}

impl<T> PerChannel<T> {
    /// One for each channel.
    ///
    /// # Panics
    /// When there is none.
    pub fn each(values: Vec<T>) -> PerChannel<T> {
        assert!(!values.is_empty(), "a setting of channels has a value");
        PerChannel { values, each: true }
    }

    /// That of a channel.
    ///
    /// # Panics
    /// When there is one for each channel, but none for this one: check [`PerChannel::given`] before.
    pub fn of(&self, channel: usize) -> &T {
        &self.values[if self.each { channel } else { 0 }]
    }

    /// The number of channels for which there are values; none where one holds for all.
    pub fn given(&self) -> Option<usize> {
        self.each.then_some(self.values.len())
    }

    /// What a function makes of each value.
    pub fn map<U>(&self, of: impl FnMut(&T) -> U) -> PerChannel<U> {
        PerChannel { values: self.values.iter().map(of).collect(), each: self.each }
    }

    /// The values: one, or one for each channel.
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

impl<T: Clone + PartialEq> PerChannel<T> {
    /// Of a value for each channel; a plain value where all are equal.
    ///
    /// # Panics
    /// When there is none.
    pub fn collected(values: Vec<T>) -> PerChannel<T> {
        match values.iter().all(|value| *value == values[0]) {
            true => PerChannel::from(values[0].clone()),
            false => PerChannel::each(values),
        }
    }
}

impl<T> From<T> for PerChannel<T> {
    fn from(value: T) -> PerChannel<T> {
        PerChannel { values: vec![value], each: false }
    }
}

impl<T: Serialize> Serialize for PerChannel<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.each { self.values.serialize(serializer) } else { self.values[0].serialize(serializer) }
    }
}

/// A list is one value for each channel, unless it is one of numbers, which is a value by itself.
impl<'de, T: DeserializeOwned> Deserialize<'de> for PerChannel<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let each = value.as_array().is_some_and(|list| !list.first().is_some_and(Value::is_number));
        if !each {
            return Ok(T::deserialize(value).map_err(D::Error::custom)?.into());
        }
        let values: Vec<T> = Vec::deserialize(value).map_err(D::Error::custom)?;
        match values.len() {
            1..=MOST_CHANNELS => Ok(PerChannel::each(values)),
            given => {
                let expected = format!("expected a value, or one for each of 1 to {MOST_CHANNELS} channels");
                Err(D::Error::custom(format!("{expected} ({given} given)")))
            }
        }
    }
}
