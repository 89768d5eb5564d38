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
    /// Triples (z, y, x), e.g. the extents of a kernel for each level of a network.
    Triples(Cow<'static, [[u64; 3]]>),
    /// One of some names.
    Word(Cow<'static, str>),
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

impl From<&[[usize; 3]]> for Value {
    fn from(values: &[[usize; 3]]) -> Self {
        Self::Triples(values.iter().map(|triple| triple.map(|value| value as u64)).collect())
    }
}

impl From<&'static str> for Value {
    fn from(value: &'static str) -> Self {
        Self::Word(Cow::Borrowed(value))
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
            Self::Triples(values) => write!(f, "{values:?}"),
            Self::Word(value) => write!(f, "{value:?}"),
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
    /// Whether a [`Choice`](super::Choice) is written without it where it has its default.
    pub(super) later: bool,
}

#[derive(Debug)]
enum Range {
    Any,
    Whole(fn(u64) -> bool),
    Number(fn(f64) -> bool),
    Counts(fn(&[u64]) -> bool),
    Triples(fn(&[[u64; 3]]) -> bool),
    Words(&'static [&'static str]),
}

impl Hyperparameter {
    /// A real number for which `fits` holds; `expected` says so in words. `fits` must be false for NaN.
    pub const fn number(name: &'static str, default: f64, expected: &'static str, fits: fn(f64) -> bool) -> Self {
        Self { name, default: Value::Number(default), expected, range: Range::Number(fits), later: false }
    }

    /// A count for which `fits` holds; `expected` says so in words.
    pub const fn whole(name: &'static str, default: u64, expected: &'static str, fits: fn(u64) -> bool) -> Self {
        Self { name, default: Value::Whole(default), expected, range: Range::Whole(fits), later: false }
    }

    /// Counts for which `fits` holds; `expected` says so in words.
    pub const fn counts(
        name: &'static str,
        default: &'static [u64],
        expected: &'static str,
        fits: fn(&[u64]) -> bool,
    ) -> Self {
        let default = Value::Counts(Cow::Borrowed(default));
        Self { name, default, expected, range: Range::Counts(fits), later: false }
    }

    /// Triples (z, y, x) for which `fits` holds; `expected` says so in words. None of them are the default.
    pub const fn triples(name: &'static str, expected: &'static str, fits: fn(&[[u64; 3]]) -> bool) -> Self {
        let default = Value::Triples(Cow::Borrowed(&[]));
        Self { name, default, expected, range: Range::Triples(fits), later: false }
    }

    /// One of `words`; `expected` names them.
    pub const fn word(
        name: &'static str,
        default: &'static str,
        words: &'static [&'static str],
        expected: &'static str,
    ) -> Self {
        let default = Value::Word(Cow::Borrowed(default));
        Self { name, default, expected, range: Range::Words(words), later: false }
    }

    /// On or off.
    pub const fn switch(name: &'static str, default: bool) -> Self {
        let expected = "true or false";
        Self { name, default: Value::Switch(default), expected, range: Range::Any, later: false }
    }

    /// The same for a key that came after files were written: a choice with its default is written without it, so that those
    /// files stay as they are.
    #[must_use]
    pub const fn later(self) -> Self {
        let mut key = self;
        key.later = true;
        key
    }

    /// The names that it takes, of a key that takes names.
    pub(crate) fn words(&self) -> &'static [&'static str] {
        match self.range {
            Range::Words(words) => words,
            _ => &[],
        }
    }

    /// The value as one of this key's type: a whole number may stand for a real one, an empty list for any.
    pub(super) fn typed(&self, value: Value) -> Option<Value> {
        match (&self.default, value) {
            (Value::Number(_), Value::Whole(whole)) => Some(Value::Number(whole as f64)),
            // An empty list does not say of what.
            (Value::Triples(_), Value::Counts(none)) if none.is_empty() => Some(Value::Triples(Cow::Borrowed(&[]))),
            (default, value) => (std::mem::discriminant(default) == std::mem::discriminant(&value)).then_some(value),
        }
    }

    pub(super) fn is_in_range(&self, value: &Value) -> bool {
        match (&self.range, value) {
            (Range::Any, _) => true,
            (Range::Whole(fits), Value::Whole(value)) => fits(*value),
            (Range::Number(fits), Value::Number(value)) => fits(*value),
            (Range::Counts(fits), Value::Counts(values)) => fits(values),
            (Range::Triples(fits), Value::Triples(values)) => fits(values),
            (Range::Words(words), Value::Word(value)) => words.contains(&&**value),
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
