//! Types of values that TOML does not have.

use crate::data::classes::NamedValues;
use crate::data::{Classes, IntensityStatistics};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// A value, or `"auto"`: chosen from the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AutoOr<T> {
    /// Given, or stored by the run.
    Fixed(T),
    /// Chosen from the data.
    Auto(Auto),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auto {
    /// Chosen from the data.
    Auto,
}

/// Extents `[x, y, z]` of the network's input, or `"auto"`.
pub type Patch = AutoOr<[usize; 3]>;

/// `[lower, upper, mean, standard deviation]`, or `"auto"`.
pub type CtWindow = AutoOr<IntensityStatistics>;

impl<T> AutoOr<T> {
    /// The word.
    pub const AUTO: Self = Self::Auto(Auto::Auto);
}

impl<T: Copy> AutoOr<T> {
    /// The value, where there is one.
    pub fn fixed(&self) -> Option<T> {
        match self {
            Self::Fixed(value) => Some(*value),
            Self::Auto(_) => None,
        }
    }
}

/// The table `[data.labels]`; none where it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NamedValues", into = "NamedValues")]
pub struct Labels(pub Option<Classes>);

impl TryFrom<NamedValues> for Labels {
    type Error = String;

    fn try_from(table: NamedValues) -> Result<Self, Self::Error> {
        if table.is_empty() { Ok(Self(None)) } else { table.try_into().map(|classes| Self(Some(classes))) }
    }
}

impl From<Labels> for NamedValues {
    fn from(Labels(classes): Labels) -> NamedValues {
        classes.as_ref().map(Classes::table).unwrap_or_default()
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

impl Display for ByteSize {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let exact = |(_, unit): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*unit);
        let (name, unit) = UNITS.iter().find(exact).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
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
        size.to_string()
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
            assert_eq!(size(&ByteSize(bytes).to_string()), Some(bytes));
        }
    }
}
