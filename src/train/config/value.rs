//! Types of values that TOML does not have.

use crate::data::{Classes, DiskCache, IntensityStatistics};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
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

/// A number of threads, or `"auto"`: as many as there are cores.
pub type Threads = AutoOr<usize>;

impl Threads {
    /// The number.
    pub fn count(&self) -> usize {
        self.fixed().unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).min(MOST_THREADS)
    }
}

/// Threads, at most.
pub(super) const MOST_THREADS: usize = 64;

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

/// Where prepared volumes are kept on disk: `"auto"`, `"none"` (or nothing), or a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum CacheDir {
    /// In the run folder, if memory has no room for all of them.
    Auto,
    /// Nowhere.
    None,
    /// In a folder that runs may share.
    At(PathBuf),
}

impl From<String> for CacheDir {
    fn from(text: String) -> Self {
        match text.as_str() {
            "auto" => Self::Auto,
            "none" | "" => Self::None,
            _ => Self::At(text.into()),
        }
    }
}

impl From<CacheDir> for String {
    fn from(dir: CacheDir) -> String {
        match dir {
            CacheDir::Auto => "auto".into(),
            CacheDir::None => "none".into(),
            // It came from a text.
            CacheDir::At(path) => path.to_string_lossy().into_owned(),
        }
    }
}

impl CacheDir {
    /// The cache of a run in the folder `run`.
    pub fn of_run(&self, run: &Path) -> DiskCache {
        match self {
            Self::Auto => DiskCache::of_run(run.join("cache")),
            Self::None => DiskCache::none(),
            Self::At(folder) => DiskCache::shared(folder),
        }
    }

    /// Whether it can be the name of a folder.
    pub(super) fn is_sensible(&self) -> bool {
        // No system takes longer paths, nor a zero in one.
        !matches!(self, Self::At(path) if path.as_os_str().len() > 4096 || path.to_string_lossy().contains('\0'))
    }
}

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
    fn cache_folders_are_words_or_paths() {
        let cache = |text: &str| CacheDir::from(text.to_owned());
        for (text, dir) in
            [("auto", CacheDir::Auto), ("none", CacheDir::None), ("./auto", CacheDir::At("./auto".into()))]
        {
            assert_eq!((cache(text), String::from(dir.clone())), (dir, text.to_owned()));
        }
        assert_eq!(cache(""), CacheDir::None);
        let run = Path::new("run");
        assert_eq!(CacheDir::Auto.of_run(run).folder(), Some(run.join("cache").as_path()));
        assert_eq!(cache("shared").of_run(run).folder(), Some(Path::new("shared")));
        assert_eq!(CacheDir::None.of_run(run).folder(), None);
        assert!(
            cache("/some/where").is_sensible()
                && !cache("a\0b").is_sensible()
                && !cache(&"x".repeat(5000)).is_sensible()
        );
    }

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
