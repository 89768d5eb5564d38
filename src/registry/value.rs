use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

/// The value of a hyperparameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// On or off.
    Switch(bool),
    /// A count.
    Whole(u64),
    /// A real number.
    Number(f64),
    /// Counts, e.g. one per level of a network.
    Counts(Cow<'static, [u64]>),
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

impl From<&[usize]> for Value {
    fn from(values: &[usize]) -> Self {
        Self::Counts(values.iter().map(|&value| value as u64).collect())
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
            Self::Counts(values) => write!(f, "{values:?}"),
        }
    }
}

/// A key of a configuration's table that an entry reads. Entries may share one, as Adam and AdamW share `beta1`.
#[derive(Debug)]
pub struct Hyperparameter {
    pub(super) name: &'static str,
    pub(super) default: Value,
    /// What the key takes, in words.
    pub(super) expected: &'static str,
    range: Range,
}

#[derive(Debug)]
enum Range {
    Any,
    Whole(fn(u64) -> bool),
    Number(fn(f64) -> bool),
    Counts(fn(&[u64]) -> bool),
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

    /// Counts for which `fits` holds; `expected` says so in words.
    pub const fn counts(
        name: &'static str,
        default: &'static [u64],
        expected: &'static str,
        fits: fn(&[u64]) -> bool,
    ) -> Self {
        Self { name, default: Value::Counts(Cow::Borrowed(default)), expected, range: Range::Counts(fits) }
    }

    /// On or off.
    pub const fn switch(name: &'static str, default: bool) -> Self {
        Self { name, default: Value::Switch(default), expected: "true or false", range: Range::Any }
    }

    /// The value as one of this key's type: a whole number may stand for a real one.
    pub(super) fn typed(&self, value: Value) -> Option<Value> {
        match (&self.default, value) {
            (Value::Number(_), Value::Whole(whole)) => Some(Value::Number(whole as f64)),
            (default, value) => (std::mem::discriminant(default) == std::mem::discriminant(&value)).then_some(value),
        }
    }

    pub(super) fn is_in_range(&self, value: &Value) -> bool {
        match (&self.range, value) {
            (Range::Any, _) => true,
            (Range::Whole(fits), Value::Whole(value)) => fits(*value),
            (Range::Number(fits), Value::Number(value)) => fits(*value),
            (Range::Counts(fits), Value::Counts(values)) => fits(values),
            _ => false,
        }
    }

    /// What the key takes, where `value` is not that.
    pub(crate) fn refuses(&self, value: &Value) -> Option<&'static str> {
        (!self.is_in_range(value)).then_some(self.expected)
    }

    /// Its name in configurations.
    pub fn name(&self) -> &'static str {
        self.name
    }
}
