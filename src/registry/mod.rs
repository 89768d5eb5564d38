//! What a configuration chooses by name, each choice with hyperparameters: optimisers, schedules, architectures and losses.
//!
//! A table in a configuration is flat: one key (`kind`, or the registry's own) names an entry of a [`Registry`], and the
//! hyperparameters of all entries are keys of the same table, so that a file stays valid when only that name changes.

mod choice;
mod hyperparameters;
mod value;

pub use choice::Choice;
pub use hyperparameters::Hyperparameters;
pub use value::{Hyperparameter, Value};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::str::FromStr;

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
    /// The key that holds the name of an entry.
    const KEY: &'static str = "kind";
    /// The entry that is meant where this key is missing. A [`Choice`] of it is written without the key, so that files read
    /// the same as before there was a choice.
    const IMPLIED: Option<&'static str> = None;
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

/// The keys of other entries that the entry of this name does not read; none of an unknown name.
pub fn unread<R: Registry>(name: &str) -> Vec<&'static str> {
    let Some(chosen) = R::ENTRIES.iter().find(|entry| entry.name == name) else { return Vec::new() };
    let read = |key: &Hyperparameter| chosen.hyperparameters.iter().any(|known| known.name == key.name);
    keys::<R>().into_iter().filter(|key| !read(key)).map(|key| key.name).collect()
}

/// All choices, each with its defaults and with the values of its variants, by name.
pub fn cases<R: Registry>() -> Vec<(&'static str, R::Item)> {
    let mut cases = Vec::new();
    for entry in R::ENTRIES {
        for (name, values) in [(entry.name, &[][..])].iter().chain(entry.variants) {
            let mut all = Hyperparameters::default();
            values.iter().for_each(|(key, value)| all.set(key, value.clone()));
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

    pub(crate) fn entry(&self) -> &'static Entry<R> {
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

/// What every table must keep to.
#[cfg(test)]
pub(crate) fn is_consistent<R: Registry>() {
    let all = keys::<R>();
    for key in R::ENTRIES.iter().flat_map(|entry| entry.hyperparameters) {
        let first = all.iter().find(|known| known.name == key.name).expect("every key is among all");
        assert_eq!(first.default, key.default, "entries that share {} share its default", key.name);
        assert!(key.is_in_range(&key.default), "{}", key.name);
    }
    assert!(R::IMPLIED.is_none_or(|name| name.parse::<Kind<R>>().is_ok()), "the implied entry is in the table");
    let names: std::collections::BTreeSet<&str> = R::ENTRIES.iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), R::ENTRIES.len(), "names differ");
    // Every entry reads only its own keys, and its variants set only these.
    for entry in R::ENTRIES {
        assert!(entry.hyperparameters.iter().all(|key| key.name != R::KEY), "{} names an entry", R::KEY);
        for (key, value) in entry.variants.iter().flat_map(|(_, values)| *values) {
            let own = entry.hyperparameters.iter().find(|own| own.name == *key).expect("a key of the entry");
            assert!(own.typed(value.clone()).is_some_and(|value| own.is_in_range(&value)), "{} {key}", entry.name);
        }
    }
    assert!(cases::<R>().len() >= R::ENTRIES.len());
}
