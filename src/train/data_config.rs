//! `[data]`: how volumes become inputs.

use super::config_check::Mistake;
use crate::data::patch::LONGEST_PATCH;
use crate::data::{
    Case, Classes, DataError, IntensityStatistics, Interpolation, Normalisation, Sampling, Split, TargetSpacing,
};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataConfig {
    /// Extents x, y, z of the network's input, or `"auto"`: the training volumes' median, rounded up to the network's
    /// divisor and, where it exceeds `max_patch_voxels`, reduced along its longest axes.
    pub patch: Patch,
    /// Limit for an automatic patch.
    pub max_patch_voxels: usize,
    /// Intensities: `z_score_all`, `z_score_non_zero`, `percentile_clip`, `ct_window` or `none`.
    pub normalisation: Normalisation,
    /// For `ct_window`: `[lower, upper, mean, standard deviation]`, or `"auto"`: percentiles 0.5 and 99.5, mean and
    /// standard deviation of the training cases' foreground.
    pub ct_window: CtWindow,
    /// Bring volumes to the orientation nearest to RAS.
    pub canonical: bool,
    /// `"native"`, or the spacing x, y, z in mm to which volumes are resampled.
    pub spacing: TargetSpacing,
    /// `linear` or `cubic`, for images; labels are linear per class.
    pub interpolation: Interpolation,
    /// Shares of training, validation and test when there is no `split.json`.
    pub split: [f64; 3],
    /// `whole`: each sample is a volume, centred in the patch, as in the paper; `patch`: a patch at a random place.
    pub sampling: Sampling,
    /// For `patch`: share of the patches that are centred on a foreground voxel, of each class as often.
    pub foreground: f64,
    /// Prepared volumes of training and validation of at most this size together, e.g. `"2GiB"`, are kept in memory; the others
    /// are read for each sample and each validation.
    pub cache: ByteSize,
    /// `[data.labels]`: the classes by name, with the value or the list of values that label maps have for each, e.g.
    /// `prostate = 255`, `tumour = [2, 3]`. Empty: those of `dataset.json`, else 0 to the largest value.
    pub labels: Labels,
}

/// The table `[data.labels]`; none where it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "toml::Table", into = "toml::Table")]
pub struct Labels(pub Option<Classes>);

impl TryFrom<toml::Table> for Labels {
    type Error = toml::de::Error;

    fn try_from(table: toml::Table) -> Result<Self, Self::Error> {
        if table.is_empty() { Ok(Self(None)) } else { table.try_into().map(|classes| Self(Some(classes))) }
    }
}

impl From<Labels> for toml::Table {
    fn from(Labels(classes): Labels) -> toml::Table {
        let table = |classes| toml::Table::try_from(classes).expect("classes are a table");
        classes.map(table).unwrap_or_default()
    }
}

/// A number of bytes: `512MiB`, `1.5 GiB`, `3e9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let with_unit = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
        let (number, unit) = with_unit.unwrap_or((text, 1));
        let whole = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        let rounded = || {
            let bytes = number.trim().parse::<f64>().ok()? * unit as f64;
            (0.0..2f64.powi(64)).contains(&bytes).then_some(bytes as u64)
        };
        let expected = || format!("expected a size in B, KiB, MiB, GiB or TiB such as \"2GiB\", found {text:?}");
        whole.or_else(rounded).map(Self).ok_or_else(expected)
    }
}

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> String {
        let exact = |(_, unit): &&(&str, u64)| size.0 > 0 && size.0.is_multiple_of(*unit);
        let (name, unit) = UNITS.iter().find(exact).unwrap_or(&("B", 1));
        format!("{}{name}", size.0 / unit)
    }
}

/// `[x, y, z]` or `"auto"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Patch {
    /// Fixed extents x, y, z.
    Fixed([usize; 3]),
    /// Chosen from the data.
    Auto(Auto),
}

/// `[lower, upper, mean, standard deviation]` or `"auto"`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CtWindow {
    /// Given, or stored by the run.
    Fixed(IntensityStatistics),
    /// Of the training cases.
    Auto(Auto),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auto {
    /// Chosen from the data.
    Auto,
}

/// The table whose keys are the user's own.
pub(super) const LABELS: &str = "data.labels";

impl DataConfig {
    /// For the keys that take a word or an array: the word, and what is expected.
    pub(super) fn words(key: &str) -> Option<(&'static str, &'static str)> {
        match key {
            "data.patch" => Some(("auto", "\"auto\" or [x, y, z]")),
            "data.spacing" => Some(("native", "\"native\" or [x, y, z] in mm")),
            "data.ct_window" => Some(("auto", "\"auto\" or [lower, upper, mean, standard deviation]")),
            _ => None,
        }
    }

    /// The keys with values out of range.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if let Patch::Fixed(patch) = self.patch
            && !patch.iter().all(|e| (1..=LONGEST_PATCH).contains(e))
        {
            mistakes.push(("data.patch", "three extents from 1 to 4096", format!("{patch:?}")));
        }
        let most = self.max_patch_voxels;
        if !(1..=1 << 31).contains(&most) {
            mistakes.push(("data.max_patch_voxels", "1 to 2147483648", most.to_string()));
        }
        if !self.spacing.is_sensible() {
            mistakes.push(("data.spacing", "three numbers of mm from 0.01 to 100", format!("{:?}", self.spacing)));
        }
        if !(0.0..=1.0).contains(&self.foreground) {
            mistakes.push(("data.foreground", "a share from 0 to 1", self.foreground.to_string()));
        }
        if let CtWindow::Fixed(window) = self.ct_window
            && !window.is_sensible()
        {
            let expected = "finite numbers with lower < upper and a standard deviation above 0";
            mistakes.push(("data.ct_window", expected, format!("{:?}", <[f64; 4]>::from(window))));
        }
        if Split::check_fractions(self.split).is_err() {
            let expected = "three numbers from 0 to 1 (training, validation, test), the first above 0, with sum 1";
            mistakes.push(("data.split", expected, format!("{:?}", self.split)));
        }
        mistakes
    }

    /// Finds an automatic CT window from the training cases, if one is needed.
    ///
    /// # Errors
    /// [`DataError`] that names the file.
    pub fn resolve(&mut self, training: &[Case]) -> Result<(), DataError> {
        if self.normalisation == Normalisation::CtWindow && matches!(self.ct_window, CtWindow::Auto(_)) {
            self.ct_window = CtWindow::Fixed(IntensityStatistics::of_foreground(training, self.labels.0.as_ref())?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_grammar_and_whole_numbers_are_exact() {
        let size = |text: &str| text.parse::<ByteSize>().ok().map(|size| size.0);
        for (text, bytes) in [
            ("2GiB", 2 << 30),
            ("512 MiB", 512 << 20),
            ("1.5 KiB", 1536),
            ("3e9", 3_000_000_000),
            ("0B", 0),
            ("7", 7),
            ("18446744073709551615B", u64::MAX),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "B", "2 GB", "2gib", "-1B", "NaN", "inf", "1e300TiB", "16777216TiB", "many"] {
            assert_eq!(size(text), None, "{text}");
        }
        for bytes in [0, 1, 1536, 2 << 30, u64::MAX] {
            assert_eq!(size(&String::from(ByteSize(bytes))), Some(bytes));
        }
    }
}
