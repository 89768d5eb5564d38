//! What a configuration chooses by name, each choice with hyperparameters: optimisers and schedules.
//!
//! A table in a configuration is flat: its `kind` names one entry of a [`Registry`], and the hyperparameters of all entries
//! stand beside it, so that a file stays valid when only its `kind` changes.

use serde::de::Error;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::marker::PhantomData;
use std::str::FromStr;

/// The value of a hyperparameter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// On or off.
    Switch(bool),
    /// A count.
    Whole(u64),
    /// A real number.
    Number(f64),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Switch(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(value) => value.fmt(f),
            Self::Whole(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
        }
    }
}

/// A key of a configuration's table that an entry reads. Entries may share one, as Adam and AdamW share `beta1`.
#[derive(Debug)]
pub struct Hyperparameter {
    name: &'static str,
    default: Value,
    /// What the key takes, in words.
    expected: &'static str,
    range: Range,
}

#[derive(Debug)]
enum Range {
    Any,
    Whole(fn(u64) -> bool),
    Number(fn(f64) -> bool),
}

impl Hyperparameter {
    /// A real number for which `fits` holds; `expected` says so in words. `fits` must be false for NaN.
    pub const fn number(name: &'static str, default: f64, expected: &'static str, fits: fn(f64) -> bool) -> Self {
        Self { name, default: Value::Number(default), expected, range: Range::Number(fits) }
    }

    /// A count for which `fits` holds; `expected` says so in words.
    pub const fn whole(name: &'static str, default: u64, expected: &'static str, fits: fn(u64) -> bool) -> Self {
        Self { name, default: Value::Whole(default), expected, range: Range::Whole(fits) }
    }

    /// On or off.
    pub const fn switch(name: &'static str, default: bool) -> Self {
        Self { name, default: Value::Switch(default), expected: "true or false", range: Range::Any }
    }

    /// The value as one of this key's type: a whole number may stand for a real one.
    fn typed(&self, value: Value) -> Option<Value> {
        match (self.default, value) {
            (Value::Number(_), Value::Whole(whole)) => Some(Value::Number(whole as f64)),
            (Value::Switch(_), Value::Switch(_)) => Some(value),
            (Value::Whole(_), Value::Whole(_)) => Some(value),
            (Value::Number(_), Value::Number(_)) => Some(value),
            _ => None,
        }
    }

    fn is_in_range(&self, value: Value) -> bool {
        match (&self.range, value) {
            (Range::Any, _) => true,
            (Range::Whole(fits), Value::Whole(value)) => fits(value),
            (Range::Number(fits), Value::Number(value)) => fits(value),
            _ => false,
        }
    }
}

/// A choice by name.
#[derive(Debug)]
pub struct Entry<R: Registry> {
    /// Its name in configurations.
    pub name: &'static str,
    /// The keys that it reads.
    pub hyperparameters: &'static [&'static Hyperparameter],
    /// Makes what was chosen.
    pub build: fn(&Hyperparameters<R>) -> R::Item,
    /// What tests try besides the defaults: names and the values that differ.
    pub variants: &'static [(&'static str, &'static [(&'static str, Value)])],
}

/// A table of choices.
pub trait Registry: Sized + 'static {
    /// What is chosen.
    type Item;
    /// The choices.
    const ENTRIES: &'static [Entry<Self>];
}

/// The keys of all entries, each once, in the order of the entries.
fn keys<R: Registry>() -> Vec<&'static Hyperparameter> {
    let mut found: Vec<&Hyperparameter> = Vec::new();
    for key in R::ENTRIES.iter().flat_map(|entry| entry.hyperparameters) {
        if found.iter().all(|known| known.name != key.name) {
            found.push(key);
        }
    }
    found
}

/// All choices, each with its defaults and with the values of its variants, by name.
pub fn cases<R: Registry>() -> Vec<(&'static str, R::Item)> {
    let mut cases = Vec::new();
    for entry in R::ENTRIES {
        for (name, values) in [(entry.name, &[][..])].iter().chain(entry.variants) {
            let mut all = Hyperparameters::default();
            values.iter().for_each(|(key, value)| all.set(key, *value));
            cases.push((*name, (entry.build)(&all)));
        }
    }
    cases
}

/// The name of an entry: what `kind` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind<R> {
    index: usize,
    registry: PhantomData<R>,
}

impl<R: Registry> Kind<R> {
    /// The name.
    pub fn name(&self) -> &'static str {
        self.entry().name
    }

    /// Makes what was chosen.
    pub fn build(&self, hyperparameters: &Hyperparameters<R>) -> R::Item {
        (self.entry().build)(hyperparameters)
    }

    fn entry(&self) -> &'static Entry<R> {
        &R::ENTRIES[self.index]
    }
}

impl<R: Registry> FromStr for Kind<R> {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let index = R::ENTRIES.iter().position(|entry| entry.name == name);
        let known = || R::ENTRIES.iter().map(|entry| format!("`{}`", entry.name)).collect::<Vec<_>>().join(", ");
        let index = index.ok_or_else(|| format!("unknown kind {name:?}, expected one of {}", known()))?;
        Ok(Self { index, registry: PhantomData })
    }
}

impl<R: Registry> Serialize for Kind<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.entry().name)
    }
}

impl<'de, R: Registry> Deserialize<'de> for Kind<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A value for every key of a table, whichever entry reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyperparameters<R> {
    /// In the order of [`keys`].
    values: Vec<Value>,
    registry: PhantomData<R>,
}

impl<R: Registry> Default for Hyperparameters<R> {
    fn default() -> Self {
        Self { values: keys::<R>().iter().map(|key| key.default).collect(), registry: PhantomData }
    }
}

impl<R: Registry> Hyperparameters<R> {
    /// Sets a value.
    ///
    /// # Panics
    /// When no entry has the key, or it is of another type.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let index = Self::index(name);
        let typed = keys::<R>()[index].typed(value.into());
        self.values[index] = typed.unwrap_or_else(|| panic!("hyperparameter {name} is of another type"));
    }

    /// The value of a number.
    ///
    /// # Panics
    /// When no entry has the key, or it is none.
    pub fn number(&self, name: &str) -> f64 {
        match self.values[Self::index(name)] {
            Value::Number(value) => value,
            other => panic!("hyperparameter {name} is {other}, no number"),
        }
    }

    /// The value of a count.
    ///
    /// # Panics
    /// When no entry has the key, or it is none.
    pub fn whole(&self, name: &str) -> u64 {
        match self.values[Self::index(name)] {
            Value::Whole(value) => value,
            other => panic!("hyperparameter {name} is {other}, no count"),
        }
    }

    /// The value of a switch.
    ///
    /// # Panics
    /// When no entry has the key, or it is none.
    pub fn switch(&self, name: &str) -> bool {
        match self.values[Self::index(name)] {
            Value::Switch(value) => value,
            other => panic!("hyperparameter {name} is {other}, no switch"),
        }
    }

    /// The keys whose values are out of range: name, what it takes, and what it has.
    pub fn mistakes(&self) -> Vec<(&'static str, &'static str, Value)> {
        let wrong = |(key, value): &(&Hyperparameter, Value)| !key.is_in_range(*value);
        let values = keys::<R>().into_iter().zip(self.values.iter().copied());
        values.filter(wrong).map(|(key, value)| (key.name, key.expected, value)).collect()
    }

    fn index(name: &str) -> usize {
        let found = keys::<R>().iter().position(|key| key.name == name);
        found.unwrap_or_else(|| panic!("no hyperparameter is named {name}"))
    }
}

impl<R: Registry> Serialize for Hyperparameters<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (key, value) in keys::<R>().iter().zip(&self.values) {
            map.serialize_entry(key.name, value)?;
        }
        map.end()
    }
}

/// Keys that are missing have their defaults.
impl<'de, R: Registry> Deserialize<'de> for Hyperparameters<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut found = Self::default();
        for (name, value) in BTreeMap::<String, Value>::deserialize(deserializer)? {
            let key = keys::<R>().into_iter().enumerate().find(|(_, key)| key.name == name);
            let (index, key) = key.ok_or_else(|| D::Error::custom(format!("unknown key {name}")))?;
            let other = || D::Error::custom(format!("key {name}: expected {}, found {value}", key.expected));
            found.values[index] = key.typed(value).ok_or_else(other)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{Optimisers, Schedules};

    fn is_consistent<R: Registry>() {
        let all = keys::<R>();
        for key in R::ENTRIES.iter().flat_map(|entry| entry.hyperparameters) {
            let first = all.iter().find(|known| known.name == key.name).expect("every key is among all");
            assert_eq!(first.default, key.default, "entries that share {} share its default", key.name);
            assert!(key.is_in_range(key.default), "{}", key.name);
        }
        let names: std::collections::BTreeSet<&str> = R::ENTRIES.iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), R::ENTRIES.len(), "names differ");
        // Every entry reads only its own keys, and its variants set only these.
        for entry in R::ENTRIES {
            for (key, value) in entry.variants.iter().flat_map(|(_, values)| *values) {
                let own = entry.hyperparameters.iter().find(|own| own.name == *key).expect("a key of the entry");
                assert!(own.typed(*value).is_some_and(|value| own.is_in_range(value)), "{} {key}", entry.name);
            }
        }
        assert!(cases::<R>().len() >= R::ENTRIES.len());
    }

    #[test]
    fn the_tables_are_consistent() {
        is_consistent::<Optimisers>();
        is_consistent::<Schedules>();
    }

    #[test]
    fn values_are_read_checked_and_written_in_order() {
        let text = "momentum = 1\nbeta2 = 0.5\n";
        let read: Hyperparameters<Optimisers> = toml::from_str(text).expect("valid");
        assert_eq!((read.number("momentum"), read.number("beta2"), read.switch("nesterov")), (1.0, 0.5, false));
        assert_eq!(read.mistakes(), [("momentum", "0 up to, not including, 1", Value::Number(1.0))]);
        let written = "momentum = 1.0\nnesterov = false\nbeta1 = 0.9\nbeta2 = 0.5\nepsilon = 0.00000001\n";
        // Later entries append theirs.
        assert!(toml::to_string(&read).expect("a table").starts_with(written));
        for (text, message) in [
            ("momentun = 0.9", "unknown key momentun"),
            ("nesterov = 0.9", "key nesterov: expected true or false, found 0.9"),
            ("momentum = true", "key momentum: expected 0 up to, not including, 1, found true"),
        ] {
            let error = toml::from_str::<Hyperparameters<Optimisers>>(text).expect_err(text);
            assert!(error.message().contains(message), "{}", error.message());
        }
        let mut of_schedules = Hyperparameters::<Schedules>::default();
        of_schedules.set("every", 0);
        of_schedules.set("power", f64::NAN);
        let keys: Vec<&str> = of_schedules.mistakes().iter().map(|(key, ..)| *key).collect();
        assert_eq!(keys, ["every", "power"]);
    }

    #[test]
    fn an_unknown_kind_is_told_the_known_ones() {
        assert_eq!("adamw".parse::<Kind<Optimisers>>().expect("known").name(), "adamw");
        let error = "sdg".parse::<Kind<Optimisers>>().expect_err("unknown");
        assert!(error.starts_with("unknown kind \"sdg\", expected one of `sgd`, `adam`, `adamw`"), "{error}");
    }
}
