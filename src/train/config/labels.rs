//! What `data.labels`, `data.ignore`, `data.regions` and `data.regions_order` say together.

use super::{ConfigError, DataConfig, Labels};
use crate::data::Classes;
use crate::data::classes::Values;
use crate::data::regions::{ordered, written};

/// A key, and what is expected of its value in words that begin with "expected".
type Mistake = (&'static str, String);

impl DataConfig {
    /// The classes that the configuration declares, with the values that are ignored and the regions; none where it leaves all
    /// of it to the data set. Classes that [are unknown](Classes::are_unknown) where it says only which values are ignored.
    ///
    /// # Errors
    /// [`ConfigError`] that names the key.
    pub fn classes(&self) -> Result<Option<Classes>, ConfigError> {
        self.declared().map_err(|(key, problem)| {
            let (expected, found) = split(&problem);
            let (origin, key) = ("configuration".to_owned(), key.to_owned());
            ConfigError::Value { origin, key, expected, found }
        })
    }

    /// As [`DataConfig::classes`], or which key is wrong.
    pub(crate) fn declared(&self) -> Result<Option<Classes>, Mistake> {
        let ignore = self.ignore.list();
        let classes = match (&self.labels.0, self.regions.is_empty()) {
            (labels, true) => {
                if !self.regions_order.is_empty() {
                    return Err(("data.regions_order", "expected an order only with data.regions".to_owned()));
                }
                if labels.is_none() && ignore.is_empty() {
                    return Ok(None);
                }
                labels.clone().unwrap_or_else(Classes::unknown)
            }
            (labels, false) => {
                let key = if self.regions_order.is_empty() { "data.regions" } else { "data.regions_order" };
                let regions = ordered(&self.regions, &self.regions_order).map_err(|problem| (key, problem))?;
                let with = |regions| match labels {
                    Some(classes) => classes.clone().with_regions(regions),
                    None => Classes::of_regions(0, regions),
                };
                with(regions).map_err(|problem| {
                    // In another order they may be sound.
                    let sound = ordered(&self.regions, &[]).is_ok_and(|regions| with(regions).is_ok());
                    (if sound { "data.regions_order" } else { "data.regions" }, problem)
                })?
            }
        };
        classes.ignoring(ignore).map(Some).map_err(|problem| ("data.ignore", problem))
    }

    /// Takes these classes, with the values that are ignored and the regions.
    pub(crate) fn declare(&mut self, classes: Option<&Classes>) {
        (self.regions, self.regions_order) = written(classes.map(Classes::regions).unwrap_or_default());
        self.ignore = Values::from(classes.map(Classes::ignored).unwrap_or_default().to_vec());
        let plain = |classes: &Classes| Classes::try_from(classes.table()).expect("classes have a table");
        self.labels = Labels(classes.map(plain));
    }
}

/// "expected A (B)" as what is expected and what was found.
pub(super) fn split(problem: &str) -> (String, String) {
    let problem = problem.strip_prefix("expected ").unwrap_or(problem);
    match problem.split_once(" (") {
        Some((expected, found)) => (expected.to_owned(), found.trim_end_matches(')').to_owned()),
        None => (problem.to_owned(), "something else".to_owned()),
    }
}
