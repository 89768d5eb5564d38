//! Names that a person may have meant.

/// Letters of a name that are compared: the distance takes time with the product of the lengths.
const LONGEST: usize = 80;

/// The name that a person may have meant: the nearest by insertions, deletions, substitutions and swaps of neighbours
/// (Damerau-Levenshtein), if at most a third of the letters differ, as rustc has it. Of names with dots it is enough that
/// the parts after the last one are near.
pub fn nearest_name<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: String = name.chars().take(LONGEST).collect();
    let distance = |name: &str, candidate: &str| {
        let distance = strsim::damerau_levenshtein(name, candidate);
        (distance <= name.chars().count().max(3) / 3).then_some(distance)
    };
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let near = |candidate: &str| {
        let whole = distance(&name, candidate);
        // In another table by default worse than any misspelling of the whole.
        whole.or_else(|| distance(&last(&name), &last(candidate)).map(|distance| distance + name.len()))
    };
    candidates.filter_map(|candidate| Some((near(candidate)?, candidate))).min().map(|(_, candidate)| candidate)
}

/// `; did you mean training.steps?`, or nothing.
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Preset;
    use toml::Table;

    fn keys(table: &Table, prefix: &str) -> Vec<String> {
        let of = |(key, value): (&String, &toml::Value)| match value {
            toml::Value::Table(table) => keys(table, &format!("{prefix}{key}.")),
            _ => vec![format!("{prefix}{key}")],
        };
        table.iter().flat_map(of).collect()
    }

    #[test]
    fn only_near_names_are_suggested() {
        let keys = keys(&Table::try_from(Preset::Tiny.config()).expect("a table"), "");
        for (key, expected) in [
            ("training.stpes", Some("training.steps")),
            ("optimiser.lerning_rate", Some("optimiser.learning_rate")),
            ("steps", Some("training.steps")),
            ("optimiser.steps", Some("training.steps")),
            ("seeed", Some("seed")),
            ("nonsense_key", None),
            ("training.nonsense_key", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest_name(key, keys.iter().map(String::as_str)), expected, "{key}");
        }
    }
}
