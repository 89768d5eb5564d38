use super::hyperparameters::Given;
use super::{Hyperparameters, Kind, Registry, Value};
use serde::de::Error;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// An entry, with values for its keys and those of the other entries.
///
/// It is written as the key that names the entry ([`Registry::KEY`]) and the entry's own keys, so a new entry of the table
/// changes no file that chooses another one; [later](super::Hyperparameter::later) keys only where they differ from their
/// defaults. Keys that are missing have their defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice<R> {
    /// The entry.
    pub kind: Kind<R>,
    /// The values.
    pub values: Hyperparameters<R>,
}

impl<R: Registry> Choice<R> {
    /// The entry of this name, with its defaults.
    ///
    /// # Panics
    /// When the table has no such entry.
    pub fn named(name: &str) -> Self {
        Self { kind: name.parse().expect("the table has it"), values: Hyperparameters::default() }
    }

    /// The same with another value.
    ///
    /// # Panics
    /// When no entry has the key, or it is of another type.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.values.set(key, value);
        self
    }

    /// Makes what was chosen.
    pub fn build(&self) -> R::Item {
        self.kind.build(&self.values)
    }

    /// The keys that the entry reads, with their values.
    pub fn own(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.kind.entry().hyperparameters.iter().map(|key| (key.name, self.values.get(key.name)))
    }

    /// The keys that it is written with.
    pub fn written(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        let keys = self.kind.entry().hyperparameters.iter().map(|key| (*key, self.values.get(key.name)));
        keys.filter(|(key, value)| !key.later || key.default != **value).map(|(key, value)| (key.name, value))
    }
}

impl<R: Registry> Serialize for Choice<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if R::IMPLIED != Some(self.kind.name()) {
            map.serialize_entry(R::KEY, &self.kind)?;
        }
        for (key, value) in self.written() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, R: Registry> Deserialize<'de> for Choice<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut given = BTreeMap::<String, Given>::deserialize(deserializer)?;
        let kind = match (given.remove(R::KEY), R::IMPLIED) {
            (Some(Given::Value(Value::Word(name))), _) => name.parse().map_err(D::Error::custom)?,
            (None, Some(implied)) => implied.parse().map_err(D::Error::custom)?,
            (Some(_), _) => return Err(D::Error::custom(format!("key {}: expected a name", R::KEY))),
            (None, None) => return Err(D::Error::custom(format!("missing key {}", R::KEY))),
        };
        let mut values = Hyperparameters::default();
        for (key, given) in given {
            values.give(&key, given).map_err(D::Error::custom)?;
        }
        Ok(Self { kind, values })
    }
}
