//! What a configuration says of network, data and training.

use super::{Methods, Source};
use serde_json::Value;

/// Keys of `[training]` that change no result.
const TECHNICAL: [&str; 4] = ["checkpoint_every", "loader_threads", "tensorboard", "memory"];
/// Keys of `[data]`, with words before their values.
const DATA: [(&str, &str); 4] = [
    ("spacing", "Volumes were brought to the spacing (mm) "),
    ("interpolation", " with interpolation "),
    ("normalisation", ", normalised by "),
    ("sampling", ", and sampled as "),
];

impl Methods {
    /// Adds the tables of a configuration that a paper names. `file` is its TOML file, relative to the folder of the text, and
    /// `config` what it holds.
    pub fn configuration(&mut self, config: &Value, file: &str) {
        for (key, words) in DATA {
            let value = &config["data"][key];
            if !value.is_null() {
                self.say(words);
                self.value(value, &Source::new(file, format!("/data/{key}")));
            }
        }
        let tables = [
            ("network", &[][..]),
            ("training", &TECHNICAL[..]),
            ("optimiser", &[]),
            ("schedule", &[]),
            ("augmentation", &[]),
        ];
        for (position, (table, without)) in tables.into_iter().enumerate() {
            self.say(if position == 0 { ". Configuration: " } else { "; " });
            self.say(&format!("{table} ("));
            self.settings(&config[table], without, &Source::new(file, format!("/{table}")));
            self.say(")");
        }
        self.say("; seed ");
        self.value(&config["seed"], &Source::new(file, "/seed"));
        self.say(". ");
    }
}
