//! Suggestions for names that do not exist.

use std::cmp::Reverse;

/// Letters of a name that are compared: the time grows with the product of the lengths.
const LONGEST: usize = 80;

/// The most similar name, by insertions, deletions, substitutions and swaps of neighbours (Damerau-Levenshtein), if at most a
/// third of the letters differ, as in rustc, and not all of them. In keys with dots the part after the last dot counts. Of
/// equally near keys that of the nearest table is taken, and of those the one with the most equal last letters.
pub fn nearest_name<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: String = name.chars().take(LONGEST).collect();
    let (table, last) = parts(&name);
    let near = |name: &str, candidate: &str| {
        let distance = strsim::damerau_levenshtein(name, candidate);
        let letters = name.chars().count();
        (distance <= letters.max(3) / 3 && distance < letters).then_some(distance)
    };
    let distance = |candidate: &str| {
        let (table_there, last_there) = parts(candidate);
        let of_parts = near(last, last_there).map(|far| (far, strsim::damerau_levenshtein(table, table_there)));
        of_parts.or_else(|| near(&name, candidate).filter(|_| table.is_empty()).map(|far| (far, 0)))
    };
    // Of case_000 and case_001, which differ from case_0001 by a letter, the one that ends like it.
    let ending = |candidate: &str| name.chars().rev().zip(candidate.chars().rev()).take_while(|(a, b)| a == b).count();
    let ranked = candidates.filter_map(|candidate| Some((distance(candidate)?, Reverse(ending(candidate)), candidate)));
    ranked.min().map(|(.., candidate)| candidate)
}

/// The table of a key and its name in there.
fn parts(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// `; did you mean training.steps?`, or nothing.
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::config::{Preset, load::leaves};
    use toml::Table;

    #[test]
    fn only_near_names_are_suggested() {
        let table = Table::try_from(Preset::Tiny.config()).expect("a table");
        let keys = leaves(&table);
        for (key, expected) in [
            ("training.stpes", Some("training.steps")),
            ("optimiser.lerning_rate", Some("optimiser.learning_rate")),
            ("steps", Some("training.steps")),
            ("optimiser.steps", Some("training.steps")),
            ("seeed", Some("seed")),
            ("trainingsteps", Some("training.steps")),
            ("nonsense_key", None),
            ("training.nonsense_key", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest_name(key, keys.keys().map(String::as_str)), expected, "{key}");
        }
    }
}
