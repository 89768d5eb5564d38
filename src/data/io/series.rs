//! Which series of a folder is meant.

use std::convert::Infallible;
use std::str::FromStr;

/// Which series of a folder with DICOM files is read, and which volume of a file with several.
///
/// ```
/// use vnet_engine::data::io::SeriesChoice;
///
/// let parsed = |text: &str| text.parse::<SeriesChoice>();
/// assert_eq!(parsed(""), Ok(SeriesChoice::Only));
/// assert_eq!(parsed("largest"), Ok(SeriesChoice::Largest));
/// assert_eq!(parsed("T1 axial"), Ok(SeriesChoice::Named("T1 axial".into())));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

impl FromStr for SeriesChoice {
    type Err = Infallible;

    /// Nothing means the only series, `largest` the largest one, all else one of this name.
    fn from_str(text: &str) -> Result<SeriesChoice, Infallible> {
        Ok(match text.trim() {
            "" => SeriesChoice::Only,
            "largest" => SeriesChoice::Largest,
            name => SeriesChoice::Named(name.to_owned()),
        })
    }
}
