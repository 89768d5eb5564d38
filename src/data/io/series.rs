//! Which series of a folder is meant.

use serde::{Deserialize, Serialize};

const LARGEST: &str = "largest";
/// Characters of a name, at most: four times those of a UID or a description.
const LONGEST: usize = 256;

/// Which series of a folder with DICOM files is read, and which volume of a file with several.
///
/// ```
/// use vnet_engine::data::io::SeriesChoice;
///
/// assert_eq!(SeriesChoice::from(""), SeriesChoice::Only);
/// assert_eq!(SeriesChoice::from("largest"), SeriesChoice::Largest);
/// assert_eq!(SeriesChoice::from("T1 axial"), SeriesChoice::Named("T1 axial".into()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub enum SeriesChoice {
    /// There must be one.
    #[default]
    Only,
    /// The one with the most images; with the most voxels where several have as many.
    Largest,
    /// The one whose SeriesInstanceUID, SeriesNumber or SeriesDescription (in capitals or not) this is. Of several volumes of a
    /// series (stacks, times, echoes) `#` and a number after it mean one, as a message lists them: `1.2.3#2`.
    Named(String),
}

impl From<&str> for SeriesChoice {
    /// Nothing means the only series, `largest` the largest one, all else one of this name.
    fn from(text: &str) -> SeriesChoice {
        match text.trim() {
            "" => SeriesChoice::Only,
            LARGEST => SeriesChoice::Largest,
            name => SeriesChoice::Named(name.to_owned()),
        }
    }
}

impl From<String> for SeriesChoice {
    fn from(text: String) -> SeriesChoice {
        text.as_str().into()
    }
}

impl From<SeriesChoice> for String {
    fn from(choice: SeriesChoice) -> String {
        match choice {
            SeriesChoice::Only => String::new(),
            SeriesChoice::Largest => LARGEST.to_owned(),
            SeriesChoice::Named(name) => name,
        }
    }
}

impl SeriesChoice {
    /// True if a name is as long as names are.
    pub(crate) fn is_sensible(&self) -> bool {
        !matches!(self, SeriesChoice::Named(name) if name.chars().count() > LONGEST || name.contains(char::is_control))
    }
}
