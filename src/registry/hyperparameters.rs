use super::{Hyperparameter, Registry, Value, keys};
use serde::de::{Error, IgnoredAny};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// A value for every key of a table, whichever entry reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyperparameters<R> {
    /// In the order of [`keys`].
    values: Vec<Value>,
    registry: PhantomData<R>,
}

impl<R: Registry> Default for Hyperparameters<R> {
    fn default() -> Self {
        Self { values: keys::<R>().iter().map(|key| key.default.clone()).collect(), registry: PhantomData }
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
    /// When no entry has the key, or it is of another type.
    pub fn number(&self, name: &str) -> f64 {
        match self.get(name) {
            Value::Number(value) => *value,
            other => panic!("hyperparameter {name} is {other}, not a number"),
        }
    }

    /// The value of a count.
    ///
    /// # Panics
    /// When no entry has the key, or it is of another type.
    pub fn whole(&self, name: &str) -> u64 {
        match self.get(name) {
            Value::Whole(value) => *value,
            other => panic!("hyperparameter {name} is {other}, not a count"),
        }
    }

    /// As [`Hyperparameters::whole`], the most that the machine can address where it is more.
    ///
    /// # Panics
    /// When no entry has the key, or it is of another type.
    pub fn count(&self, name: &str) -> usize {
        saturated(self.whole(name))
    }

    /// The value of a list of counts.
    ///
    /// # Panics
    /// When no entry has the key, or it is of another type.
    pub fn counts(&self, name: &str) -> Vec<usize> {
        match self.get(name) {
            Value::Counts(values) => values.iter().copied().map(saturated).collect(),
            other => panic!("hyperparameter {name} is {other}, not a list of counts"),
        }
    }

    /// The value of a list of triples.
    ///
    /// # Panics
    /// When no entry has the key, or it is of another type.
    pub fn triples(&self, name: &str) -> Vec<[usize; 3]> {
        match self.get(name) {
            Value::Triples(values) => values.iter().map(|triple| triple.map(saturated)).collect(),
            other => panic!("hyperparameter {name} is {other}, not a list of triples"),
        }
    }

    /// The value that is one of some names.
    ///
    /// # Panics
    /// When no entry has the key, or it is of another type.
    pub fn word(&self, name: &str) -> &str {
        match self.get(name) {
            Value::Word(value) => value,
            other => panic!("hyperparameter {name} is {other}, not a name"),
        }
    }

    /// The value of a switch.
    ///
    /// # Panics
    /// When no entry has the key, or it is of another type.
    pub fn switch(&self, name: &str) -> bool {
        match self.get(name) {
            Value::Switch(value) => *value,
            other => panic!("hyperparameter {name} is {other}, not a switch"),
        }
    }

    /// A value, whatever its type.
    ///
    /// # Panics
    /// When no entry has the key.
    pub fn get(&self, name: &str) -> &Value {
        &self.values[Self::index(name)]
    }

    /// Every key with its value, whichever entry reads it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        keys::<R>().into_iter().map(|key| key.name).zip(&self.values)
    }

    /// The keys whose values are out of range: name, what it takes, and what it has.
    pub fn mistakes(&self) -> Vec<(&'static str, &'static str, Value)> {
        let refused = |(key, value): (&Hyperparameter, &Value)| Some((key.name, key.refuses(value)?, value.clone()));
        keys::<R>().into_iter().zip(&self.values).filter_map(refused).collect()
    }

    /// The key of this name, where an entry reads it.
    pub(crate) fn key(name: &str) -> Option<&'static Hyperparameter> {
        keys::<R>().into_iter().find(|key| key.name == name)
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
        for (name, given) in BTreeMap::<String, Given>::deserialize(deserializer)? {
            found.give(&name, given).map_err(D::Error::custom)?;
        }
        Ok(found)
    }
}

/// The value of a key in a file.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Given {
    Value(Value),
    Other(IgnoredAny),
}

impl<R: Registry> Hyperparameters<R> {
    /// Takes the value of a key from a file.
    pub(super) fn give(&mut self, name: &str, given: Given) -> Result<(), String> {
        let key = keys::<R>().into_iter().enumerate().find(|(_, key)| key.name == name);
        let (index, key) = key.ok_or_else(|| format!("unknown key {name}"))?;
        let (typed, found) = match given {
            Given::Value(value) => (key.typed(value.clone()), value.to_string()),
            Given::Other(_) => (None, "another type".to_owned()),
        };
        self.values[index] = typed.ok_or_else(|| format!("key {name}: expected {}, found {found}", key.expected))?;
        Ok(())
    }
}

fn saturated(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
