//! `methods.md`: a paragraph and a table for a paper, in which every number can be traced.
//!
//! `methods.json` beside it lists all numbers and names of the text in their order: where they stand (line and column from 1,
//! in characters), what is shown, and the file and the key (RFC 6901) that they come from, with factor and decimals of numbers.
//! Files are relative to the folder; keys of a TOML file are written alike. What stands in no other file is a fact of
//! `methods.json` itself, with the words that say where it is from.

mod comparison;
mod configuration;
mod scores;

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::files::{self, replace_file};

/// Names of scores that have digits. No other digit is in a text without a source.
const NAMES: [&str; 2] = ["HD95", "F1"];

/// The file of the facts.
const FACTS: &str = "methods.json";

/// A number or name of the text, and where it is from.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Traced {
    line: usize,
    column: usize,
    shown: String,
    file: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decimals: Option<usize>,
}

/// A text that is being written, with its sources.
#[derive(Debug, Clone, Default)]
pub struct Methods {
    text: String,
    traced: Vec<Traced>,
    facts: Map<String, Value>,
}

/// Where a number or a name stands: file and key.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// File, relative to the folder of the text.
    pub file: &'a str,
    /// Key: a JSON pointer.
    pub key: String,
}

impl<'a> Source<'a> {
    /// A key of a file.
    pub fn new(file: &'a str, key: impl Into<String>) -> Self {
        Self { file, key: key.into() }
    }
}

impl Methods {
    /// A text with one heading.
    pub fn new() -> Self {
        let mut methods = Self::default();
        methods.say("# Methods\n\n");
        methods
    }

    /// Adds words without numbers.
    ///
    /// # Panics
    /// In a debug build, if a digit is among them that is part of no name of a score.
    pub fn say(&mut self, words: &str) {
        let plain = NAMES.iter().fold(words.to_owned(), |text, name| text.replace(name, ""));
        debug_assert!(!plain.contains(|c: char| c.is_ascii_digit()), "a number without source: {words}");
        self.text += words;
    }

    /// Adds a number, multiplied by a factor, with some decimals.
    pub fn number(&mut self, value: f64, (factor, decimals): (f64, usize), source: &Source<'_>) {
        self.trace(format!("{:.decimals$}", value * factor), source, Some((factor, decimals)));
    }

    /// Adds a number with its sign.
    pub fn signed(&mut self, value: f64, (factor, decimals): (f64, usize), source: &Source<'_>) {
        self.trace(format!("{:+.decimals$}", value * factor), source, Some((factor, decimals)));
    }

    /// Adds a value as its file has it: text without quotes, anything else as JSON.
    pub fn value(&mut self, value: &Value, source: &Source<'_>) {
        self.trace(shown(value), source, None);
    }

    /// Adds a value that no other file has, under a name, with the words that say where it is from.
    pub fn fact(&mut self, name: &str, value: impl Into<Value>, from: &str) {
        let value = value.into();
        let text = shown(&value);
        self.facts.insert(name.to_owned(), json!({ "value": value, "from": from }));
        self.trace(text, &Source::new(FACTS, format!("/facts/{name}/value")), None);
    }

    /// As [`Methods::fact`], of a number that is shown with some decimals.
    pub fn fact_number(&mut self, name: &str, value: f64, decimals: usize, from: &str) {
        self.facts.insert(name.to_owned(), json!({ "value": value, "from": from }));
        self.number(value, (1.0, decimals), &Source::new(FACTS, format!("/facts/{name}/value")));
    }

    /// Adds the keys of a table of a file with their values, without those named: `key value, key value`.
    pub fn settings(&mut self, table: &Value, without: &[&str], source: &Source<'_>) {
        let entries = table.as_object().into_iter().flatten().filter(|(key, _)| !without.contains(&key.as_str()));
        for (position, (key, value)) in entries.enumerate() {
            if position > 0 {
                self.say(", ");
            }
            let key_of = format!("{}/{}", source.key, key.replace('~', "~0").replace('/', "~1"));
            // A key may have digits: it is a name that its file has.
            let source = Source::new(source.file, key_of);
            match key.contains(|c: char| c.is_ascii_digit()) {
                true => self.trace(key.clone(), &source, None),
                false => self.say(&key.replace('_', " ")),
            }
            self.say(" ");
            match value {
                Value::Object(_) => {
                    self.say("(");
                    self.settings(value, &[], &source);
                    self.say(")");
                }
                value => self.value(value, &source),
            }
        }
    }

    /// Adds a sentence about the program.
    pub fn program(&mut self) {
        self.say("The program was ");
        let version = format!("vnet-engine {}", env!("CARGO_PKG_VERSION"));
        self.fact("program", version, "the program that wrote this");
        self.say(" (commit ");
        self.fact("commit", env!("VNET_ENGINE_COMMIT"), "the program that wrote this");
        self.say(").");
    }

    fn trace(&mut self, text: String, source: &Source<'_>, number: Option<(f64, usize)>) {
        let text = text.replace('|', "\\|").replace('\n', " ");
        let line = 1 + self.text.matches('\n').count();
        let column = 1 + self.text.rsplit('\n').next().unwrap_or_default().chars().count();
        let (factor, decimals) = number.unzip();
        let (file, key) = (source.file.to_owned(), source.key.clone());
        self.text += &text;
        self.traced.push(Traced { line, column, shown: text, file, key, factor, decimals });
    }

    /// Writes `methods.md` and `methods.json` into a folder, each replaced in one step.
    ///
    /// # Errors
    /// The system's, with the file.
    pub fn write(&self, folder: &Path) -> Result<(), (std::path::PathBuf, std::io::Error)> {
        let json = files::json(&json!({ "text": "methods.md", "facts": self.facts, "numbers": self.traced }));
        for (name, contents) in [(FACTS, &json[..]), ("methods.md", self.text.as_bytes())] {
            let path = folder.join(name);
            replace_file(&path, contents).map_err(|error| (path, error))?;
        }
        Ok(())
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("[{}]", values.iter().map(shown).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
