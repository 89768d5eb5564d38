//! The values of a class as a file has them: one, or a list of values and ranges.

use serde::{Deserialize, Serialize};

/// So many values in a row become a range where they are written.
const LEAST_RANGE: usize = 16;

/// Label values, as a file has them for a class, a region, or for what is ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Values(Vec<u16>);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected for each class a label value from 0 to 65535, a range like \"1000-1999\", or a list of them"
)]
enum Written {
    One(Item),
    Several(Vec<Item>),
}

/// A value, or a range of them, `1000-1999`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a label value from 0 to 65535, or a range like \"1000-1999\"")]
enum Item {
    Value(u16),
    Range(String),
}

impl Item {
    fn append(&self, values: &mut Vec<u16>) -> Result<(), String> {
        match self {
            Item::Value(value) => values.push(*value),
            Item::Range(text) => {
                let ends = text.split_once('-').and_then(|(first, last)| {
                    Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?))
                });
                match ends {
                    Some((first, last)) if first <= last => values.extend(first..=last),
                    _ => return Err(format!("expected a range of label values like \"1000-1999\" ({text:?} is none)")),
                }
            }
        }
        Ok(())
    }
}

impl Values {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values in their order.
    pub fn list(&self) -> &[u16] {
        &self.0
    }
}

impl From<Vec<u16>> for Values {
    fn from(values: Vec<u16>) -> Values {
        Values(values)
    }
}

impl TryFrom<Written> for Values {
    type Error = String;

    fn try_from(written: Written) -> Result<Values, String> {
        let items = match &written {
            Written::One(item) => std::slice::from_ref(item),
            Written::Several(items) => items,
        };
        let mut values = Vec::new();
        items.iter().try_for_each(|item| item.append(&mut values))?;
        Ok(Values(values))
    }
}

/// The shortest form: long rows of ascending values are ranges.
impl From<Values> for Written {
    fn from(Values(values): Values) -> Written {
        let rows = values.chunk_by(|a, b| a.checked_add(1) == Some(*b));
        let mut items: Vec<Item> = rows
            .flat_map(|row| match row {
                [first, .., last] if row.len() >= LEAST_RANGE => vec![Item::Range(format!("{first}-{last}"))],
                _ => row.iter().copied().map(Item::Value).collect(),
            })
            .collect();
        if items.len() == 1 { Written::One(items.remove(0)) } else { Written::Several(items) }
    }
}
