use super::ConfigError;
use super::load::{shortened, unknown};
use serde::Serialize;
use std::fmt::Display;
use toml::{Table, Value};

/// Dots in the key of a setting, at most: one more than keys have.
const MOST_DOTS: usize = 3;

/// The value of one key, from the command line or a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// What a mistake names, such as `--steps 0`.
    pub(super) origin: String,
    /// Key and value; `None`: the text has no `=`.
    assignment: Option<(String, Value)>,
}

impl Setting {
    /// `a.b=value`, as `--set` takes it. A value that is not TOML is a string.
    pub fn parse(text: &str) -> Self {
        let assignment = text.split_once('=').map(|(key, value)| {
            let alone = format!("v = {value}").parse::<Table>().ok().filter(|table| table.len() == 1);
            let parsed = alone.and_then(|mut table| table.remove("v"));
            (key.trim().to_owned(), parsed.unwrap_or_else(|| Value::String(value.to_owned())))
        });
        Self { origin: format!("--set {}", shortened(text)), assignment }
    }

    /// Settings as [`Setting::parse`] takes them.
    pub fn parse_all<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Vec<Self> {
        texts.into_iter().map(|text| Self::parse(text.as_ref())).collect()
    }

    /// The value of an option such as `--steps`, for the key of this path.
    pub fn option(option: &str, key: &str, value: impl Serialize + Display) -> Self {
        let shown = value.to_string();
        let origin = format!("{option} {shown}");
        // TOML has no such large number: as text the key refuses it.
        let value = Value::try_from(value).unwrap_or(Value::String(shown));
        Self { origin, assignment: Some((key.to_owned(), value)) }
    }

    /// The values of an option such as `--freeze` that may be repeated, for the key of this path.
    pub fn list(option: &str, key: &str, values: &[String]) -> Self {
        let origin = format!("{option} {}", values.join(&format!(" {option} ")));
        let list = values.iter().cloned().map(Value::String).collect();
        Self { origin, assignment: Some((key.to_owned(), Value::Array(list))) }
    }

    /// The key's path, where the text has one.
    pub fn key(&self) -> Option<&str> {
        self.assignment.as_ref().map(|(key, _)| key.as_str())
    }

    /// The table that has only this key.
    pub(super) fn table(&self) -> Result<Table, ConfigError> {
        let (key, value) = self.assignment.as_ref().ok_or_else(|| ConfigError::Syntax {
            origin: self.origin.clone(),
            reason: "expected key=value, e.g. training.steps=500".to_owned(),
        })?;
        if key.matches('.').count() > MOST_DOTS {
            return Err(unknown(&self.origin, key));
        }
        let mut table = Table::new();
        let mut parts = key.rsplit('.');
        table.insert(parts.next().unwrap_or_default().to_owned(), value.clone());
        for part in parts {
            table = Table::from_iter([(part.to_owned(), Value::Table(table))]);
        }
        Ok(table)
    }
}
