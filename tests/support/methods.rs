//! `methods.md` held to `methods.json`.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A file of a folder as JSON, also TOML.
fn document(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    match path.extension().is_some_and(|extension| extension == "toml") {
        true => serde_json::to_value(text.parse::<toml::Table>().expect("TOML")).expect("a table"),
        false => serde_json::from_str(&text).expect("JSON"),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace('|', "\\|"),
        Value::Array(values) => format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Holds `methods.md` to `methods.json`: what is listed stands where it should and is what its key says, and no digit stands
/// elsewhere. The number of entries.
pub fn check_methods(folder: &Path) -> usize {
    let text = std::fs::read_to_string(folder.join("methods.md")).expect("a text");
    let numbers = document(&folder.join("methods.json"))["numbers"].as_array().expect("a list").clone();
    let mut lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    for number in &numbers {
        let word = |key: &str| number[key].as_str().expect("a text").to_owned();
        let place = |key: &str| number[key].as_u64().expect("a place") as usize - 1;
        let (file, key, expected) = (word("file"), word("key"), word("shown"));
        let source = known.entry(file.clone()).or_insert_with(|| document(&folder.join(&file)));
        let value = source.pointer(&key).unwrap_or_else(|| panic!("{file} has no key {key}"));
        match (number["factor"].as_f64(), number["decimals"].as_u64()) {
            (Some(factor), Some(decimals)) => {
                let decimals = decimals as usize;
                let value = value.as_f64().unwrap_or_else(|| panic!("{file} {key}: {value}")) * factor;
                let texts = [format!("{value:.decimals$}"), format!("{value:+.decimals$}")];
                assert!(texts.contains(&expected), "{file} {key}: {value} is shown as {expected}");
            }
            // The name of a key is its own source.
            _ => {
                assert!(
                    shown(value) == expected || key.replace('|', "\\|").ends_with(&format!("/{expected}")),
                    "{file} {key}: {expected}"
                )
            }
        }
        let line = &mut lines[place("line")];
        let at = place("column")..place("column") + expected.chars().count();
        assert_eq!(line[at.clone()].iter().collect::<String>(), expected, "{file} {key}");
        line[at].fill('_');
    }
    for line in lines {
        let rest = line.into_iter().collect::<String>().replace("HD95", "").replace("F1", "");
        assert!(!rest.contains(|c: char| c.is_ascii_digit()), "a number without a source: {rest}");
    }
    numbers.len()
}
