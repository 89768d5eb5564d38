//! From a preset, a file and settings to a configuration in which every value is of its type and within its range. All
//! mistakes are found, and each is named by its origin (file, option) and key.

use super::nearest::{did_you_mean, nearest_name};
use super::ranges::out_of_range;
use super::{Config, ConfigError, Preset, Setting};
use crate::files::read_text;
use crate::nn::{Activation, Architectures, Losses, NetworkError};
use crate::registry::{Choice, Hyperparameters, Registry};
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

/// Bytes of a configuration file, at most.
const LONGEST_TEXT: u64 = 1 << 20;

/// The keys of `[optimiser]` that name parameters, and what they take.
const OF_PARAMETERS: [(&str, &str); 2] = [
    ("freeze", "a list of patterns of names of parameters, such as [\"encoder.*\"]"),
    ("groups", "a list of tables such as {parameters = \"encoder.*\", learning_rate_factor = 0.1}"),
];

/// Letters of a key or a wrong value that a message repeats.
const MOST_SHOWN: usize = 80;

/// The tables whose keys are the user's own.
const NAMED: [&str; 2] = ["data.labels", "data.regions"];

/// What the key of ignored values takes.
const LABEL_VALUES: &str = "a label value from 0 to 65535, or a list of them";

/// The key that takes a label value or a list of them.
const IGNORE: &str = "data.ignore";

/// Keys that take an array or a number, or a word: the word, and what is expected.
const WORDS: [(&str, &str, &str); 4] = [
    (THREADS, "auto", "\"auto\" or a whole number from 1 to 64"),
    ("data.patch", "auto", "\"auto\" or [x, y, z]"),
    ("data.spacing", "native", "\"native\" or [x, y, z] in mm"),
    ("data.ct_window", "auto", "\"auto\" or [lower, upper, mean, standard deviation], or a list of these"),
];

/// Keys that take a word, or a list of words for the channels.
const WORDS_OF_CHANNELS: [&str; 1] = ["data.normalisation"];
/// The key of [`WORDS`] that takes a number.
const THREADS: &str = "training.loader_threads";

/// Which file or setting a key was last given by, and what is wrong.
#[derive(Default)]
struct Findings {
    origins: BTreeMap<String, String>,
    problems: Vec<ConfigError>,
}

impl Config {
    /// A preset, overlaid by a file and then by settings.
    ///
    /// ```
    /// use vnet_engine::train::{Config, Preset, Setting};
    ///
    /// let settings = Setting::parse_all(["training.steps=500", "network.base=8"]);
    /// assert_eq!(Config::load(Preset::Tiny, None, &settings)?.training.steps, 500);
    ///
    /// let error = Config::load(Preset::Tiny, None, &Setting::parse_all(["training.stpes=500"])).unwrap_err();
    /// let message = "--set training.stpes=500: unknown key training.stpes; did you mean training.steps?";
    /// assert_eq!(error.to_string(), message);
    /// # Ok::<(), vnet_engine::train::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConfigError`] that names the origin and the key; [`ConfigError::Many`] where there are several.
    pub fn load(preset: Preset, file: Option<&Path>, settings: &[Setting]) -> Result<Self, ConfigError> {
        let read = |path: &Path| {
            read_text(path, LONGEST_TEXT).map_err(|source| ConfigError::Io { path: path.to_owned(), source })
        };
        let text = file.map(read).transpose()?;
        let origin = file.map(|path| path.display().to_string()).unwrap_or_default();
        Self::from_text(preset, text.as_deref().map(|text| (origin.as_str(), text)), settings)
    }

    /// As [`Config::load`], of the name and the text of a file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_text(preset: Preset, file: Option<(&str, &str)>, settings: &[Setting]) -> Result<Self, ConfigError> {
        let mut table = table_of(&preset.config());
        let mut findings = Findings::default();
        if let Some((origin, text)) = file {
            findings.overlay(&mut table, parse(origin, text), origin);
        }
        for setting in settings {
            findings.overlay(&mut table, setting.table(), &setting.origin);
        }
        let config = findings.deserialise(preset, &table);
        if let Some(config) = &config {
            findings.check(config, &mut table);
        }
        match (config, findings.problems.len()) {
            (Some(config), 0) => Ok(config),
            (_, 1) => Err(findings.problems.remove(0)),
            _ => Err(ConfigError::Many(findings.problems)),
        }
    }

    /// Reads the effective configuration of a run.
    ///
    /// # Errors
    /// [`ConfigError`] that names the file and key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::load(Preset::Tiny, Some(path), &[])
    }
}

impl Findings {
    fn overlay(&mut self, table: &mut Table, other: Result<Table, ConfigError>, origin: &str) {
        match other {
            Ok(other) => self.overlay_table(table, other, origin, ""),
            Err(error) => self.problems.push(error),
        }
    }

    /// Replaces values of `table` by those of `other`, whose keys must exist.
    fn overlay_table(&mut self, table: &mut Table, other: Table, origin: &str, prefix: &str) {
        for (key, value) in other {
            let path = format!("{prefix}{key}");
            let Some(present) = table.get_mut(&key) else {
                self.problems.push(unknown(origin, &path));
                continue;
            };
            match (present, value) {
                (Value::Table(present), Value::Table(classes)) if NAMED.contains(&path.as_str()) => {
                    present.extend(classes);
                    self.origins.insert(path, origin.to_owned());
                }
                (Value::Table(present), Value::Table(value)) => {
                    self.overlay_table(present, value, origin, &format!("{path}."));
                }
                (present, value) => match convert(present, value, origin, &path) {
                    Ok(value) => {
                        *present = value;
                        self.origins.insert(path, origin.to_owned());
                    }
                    Err(error) => self.problems.push(error),
                },
            }
        }
    }

    /// The configuration of a table; where it is none, every key that does not fit by itself is a problem.
    fn deserialise(&mut self, preset: Preset, table: &Table) -> Option<Config> {
        if let Ok(config) = table.clone().try_into() {
            return Some(config);
        }
        let mut given = table.clone();
        for (key, origin) in &self.origins {
            let mut alone = table_of(&preset.config());
            let value = at(&mut given, key).expect("it was put there");
            if let Some(place) = at(&mut alone, key) {
                *place = value.clone();
            }
            if let Err(error) = alone.try_into::<Config>() {
                let message = error.message().to_owned();
                let words = message.split_once("expected ").map_or(message.as_str(), |(_, words)| words);
                let words = words.split_once(", found ").map_or(words, |(words, _)| words);
                let expected = word_or_other(key).map_or(words, |(_, expected)| expected);
                let expected = if key == IGNORE { LABEL_VALUES } else { expected };
                let expected = of_parameters(key).unwrap_or(expected);
                self.problems.push(mismatch(origin, key, expected, shown(value)));
            }
        }
        None
    }

    /// Values out of range.
    fn check(&mut self, config: &Config, table: &mut Table) {
        let origin = |key: &str| self.origins.get(key).map_or("configuration", String::as_str);
        let mut named = Vec::new();
        for (key, expected) in out_of_range(config) {
            let value = at(table, &key).expect("every key is in the table");
            let found = shown(value) + &did_you_mean(nearest_word(&key, value));
            self.problems.push(mismatch(origin(&key), &key, expected, found));
            named.push(key);
        }
        if let Err((key, problem)) = config.data.declared() {
            let found = shown(at(table, key).expect("every key is in the table"));
            self.problems.push(mismatch(origin(key), key, problem.trim_start_matches("expected "), found));
        } else if let (false, Err(expected)) = (config.data.regions.is_empty(), config.check_loss(Activation::Sigmoid))
        {
            let key = "training.loss";
            let found = shown(at(table, key).expect("every key is in the table"));
            self.problems.push(mismatch(origin(key), key, &expected, found));
        }
        match config.network(1, 2).validate() {
            Ok(()) => {}
            Err(NetworkError::Setting { key, .. }) if named.contains(&format!("network.{key}").into()) => {}
            Err(error) => self.problems.push(error.into()),
        }
    }
}

/// The configuration with every key that it may have: also those of architectures and losses that it does not choose, and those of
/// label values that are empty.
fn table_of(config: &Config) -> Table {
    let mut table = Table::try_from(config).expect("a configuration is a table");
    complete(&mut table, "network", &config.network.architecture);
    complete(&mut table, "training", &config.training.loss);
    let empty = || Value::Array(Vec::new());
    if let Some(Value::Table(training)) = table.get_mut("training") {
        for key in ["class_weights", "deep_supervision_weights"] {
            training.entry(key).or_insert_with(empty);
        }
    }
    if let Some(Value::Table(optimiser)) = table.get_mut("optimiser") {
        for (key, _) in OF_PARAMETERS {
            optimiser.entry(key).or_insert_with(empty);
        }
    }
    if let Some(Value::Table(data)) = table.get_mut("data") {
        for (key, value) in [
            ("ignore", empty()),
            ("regions_order", empty()),
            ("regions", Value::Table(Table::new())),
            ("crop", "none".into()),
            ("foreground_by", "class".into()),
        ] {
            data.entry(key).or_insert(value);
        }
    }
    table
}

/// Adds the keys that a choice is written without.
fn complete<R: Registry>(table: &mut Table, name: &str, choice: &Choice<R>) {
    let Some(Value::Table(inner)) = table.get_mut(name) else { return };
    inner.entry(R::KEY).or_insert_with(|| choice.kind.name().into());
    for (key, value) in choice.values.iter() {
        inner.entry(key).or_insert_with(|| Value::try_from(value).expect("TOML has such values"));
    }
}

/// The name that a key takes which is most similar to the one that it was given, where one is near.
fn nearest_word(key: &str, given: &Value) -> Option<&'static str> {
    let (table, name) = key.split_once('.')?;
    let key = match table {
        "network" => Hyperparameters::<Architectures>::key(name),
        "training" => Hyperparameters::<Losses>::key(name),
        _ => None,
    };
    nearest_name(given.as_str()?, key?.words().iter().copied())
}

/// The value of a key with dots.
fn at<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Value> {
    match key.split_once('.') {
        Some((first, rest)) => at(table.get_mut(first)?.as_table_mut()?, rest),
        None => table.get_mut(key),
    }
}

fn parse(origin: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|e| {
        let line =
            e.span().map_or(1, |span| text.as_bytes()[..span.start.min(text.len())].split(|&b| b == b'\n').count());
        ConfigError::Syntax { origin: format!("{origin}:{line}"), reason: e.message().to_owned() }
    })
}

/// For a key of [`WORDS`]: the word, and what is expected.
fn word_or_other(key: &str) -> Option<(&'static str, &'static str)> {
    WORDS.iter().find(|(known, ..)| *known == key).map(|(_, word, expected)| (*word, *expected))
}

/// The value, if its type is that of the one it replaces; whole numbers may stand for fractional ones.
fn convert(present: &Value, value: Value, origin: &str, key: &str) -> Result<Value, ConfigError> {
    let expected = match (word_or_other(key), present, &value) {
        (Some(_), _, Value::Array(_)) if key != THREADS => return Ok(value),
        (Some(_), _, Value::Integer(i)) if key == THREADS && *i >= 0 => return Ok(value),
        (Some((word, _)), _, Value::String(given)) if word == given => return Ok(value),
        (Some((_, expected)), ..) => expected.to_owned(),
        (_, _, Value::Array(_) | Value::String(_)) if WORDS_OF_CHANNELS.contains(&key) => return Ok(value),
        (_, Value::Array(_), Value::Integer(_)) if key == IGNORE => return Ok(value),
        _ if key == IGNORE && !value.is_array() => LABEL_VALUES.to_owned(),
        (_, Value::Array(_), value) if !value.is_array() && of_parameters(key).is_some() => {
            of_parameters(key).unwrap_or_default().to_owned()
        }
        (_, Value::Float(_), Value::Integer(i)) => return Ok(Value::Float(*i as f64)),
        (_, Value::Integer(_), Value::Integer(i)) if *i >= 0 => return Ok(value),
        (_, Value::Integer(_), _) => "a whole number, 0 or more".to_owned(),
        _ if present.same_type(&value) => return Ok(value),
        (_, Value::Table(_), _) => "a table".to_owned(),
        _ => format!("a value like {present}"),
    };
    Err(mismatch(origin, key, &expected, shown(&value)))
}

/// What a key of [`OF_PARAMETERS`] takes.
fn of_parameters(key: &str) -> Option<&'static str> {
    let key = key.strip_prefix("optimiser.")?;
    OF_PARAMETERS.iter().find(|(known, _)| *known == key).map(|(_, expected)| *expected)
}

fn mismatch(origin: &str, key: &str, expected: &str, found: String) -> ConfigError {
    ConfigError::Value { origin: origin.to_owned(), key: key.to_owned(), expected: expected.to_owned(), found }
}

/// A value as a message repeats it.
fn shown(value: &Value) -> String {
    match value {
        Value::Float(number) => number.to_string(),
        value => shortened(&value.to_string()),
    }
}

pub(super) fn unknown(origin: &str, key: &str) -> ConfigError {
    ConfigError::UnknownKey { origin: origin.to_owned(), nearest: nearest(key), key: shortened(key) }
}

pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The values of a table that are no tables themselves, by their keys with dots.
pub(in crate::train) fn leaves(table: &Table) -> BTreeMap<String, &Value> {
    fn collect<'a>(table: &'a Table, prefix: &str, found: &mut BTreeMap<String, &'a Value>) {
        for (key, value) in table {
            match value {
                Value::Table(inner) => collect(inner, &format!("{prefix}{key}."), found),
                _ => drop(found.insert(format!("{prefix}{key}"), value)),
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(table, "", &mut found);
    found
}

/// The existing key that is most similar, where one is near.
fn nearest(key: &str) -> Option<String> {
    let table = table_of(&Preset::Tiny.config());
    let keys = leaves(&table);
    nearest_name(key, keys.keys().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::MemoryMode;

    #[test]
    fn options_are_values_and_their_mistakes_name_them() {
        let load = |settings: &[Setting]| Config::from_text(Preset::Tiny, None, settings);
        let options = [
            Setting::option("--steps", "training.steps", 5),
            Setting::option("--memory", "training.memory", MemoryMode::Low),
            Setting::parse("training.steps=7"),
        ];
        let config = load(&options).expect("valid");
        assert_eq!((config.training.steps, config.training.memory), (7, MemoryMode::Low));
        let threads = |text: &str| load(&[Setting::parse(text)]).expect("valid").training.loader_threads;
        assert_eq!(threads("training.loader_threads=2").fixed(), Some(2));
        assert_eq!(threads("training.loader_threads=auto"), config.training.loader_threads);
        let earlier = Config::from_text(Preset::Tiny, Some(("config.toml", "training.loader_threads = 3")), &[]);
        assert_eq!(earlier.expect("valid").training.loader_threads.count(), 3);
        for (setting, message) in [
            (
                Setting::option("--steps", "training.steps", 0),
                "--steps 0: key training.steps: expected at least 1, found 0",
            ),
            (
                Setting::option("--seed", "seed", u64::MAX),
                "--seed 18446744073709551615: key seed: expected a whole number, 0 or more, found \"18446744073709551615\"",
            ),
            (Setting::parse("seed"), "--set seed: expected key=value, e.g. training.steps=500"),
            (
                Setting::parse("optimiser.kind=sdg"),
                "--set optimiser.kind=sdg: key optimiser.kind: expected one of `sgd`, `adam`, `adamw`",
            ),
            (
                Setting::parse("optimiser.momentum=1"),
                "--set optimiser.momentum=1: key optimiser.momentum: expected 0 up to, not including, 1, found 1",
            ),
            (
                Setting::parse("training.loader_threads=0"),
                "--set training.loader_threads=0: key training.loader_threads: expected \"auto\" or 1 to 64, found 0",
            ),
            (
                Setting::parse("training.loader_threads=many"),
                "--set training.loader_threads=many: key training.loader_threads: expected \"auto\" or a whole number from 1 \
                 to 64, found \"many\"",
            ),
            (
                Setting::parse("data.cache_dir=7"),
                "--set data.cache_dir=7: key data.cache_dir: expected a value like \"auto\", found 7",
            ),
            (
                Setting::parse("training.deep_supervision_weights=[0,1,1]"),
                "--set training.deep_supervision_weights=[0,1,1]: key training.deep_supervision_weights: expected numbers from 0 to 1000, \
                 the first above 0, or an empty list, found [0, 1, 1]",
            ),
            (
                Setting::parse("data.crop=zero"),
                "--set data.crop=zero: key data.crop: expected `none` or `nonzero`, found \"zero\"",
            ),
            (
                Setting::parse("data.foreground_by=voxel"),
                "--set data.foreground_by=voxel: key data.foreground_by: expected `class` or `region`, found \"voxel\"",
            ),
            (
                Setting::parse("optimiser.freeze=encoder.*"),
                "--set optimiser.freeze=encoder.*: key optimiser.freeze: expected a list of patterns of names of parameters, such as \
                 [\"encoder.*\"], found \"encoder.*\"",
            ),
            (
                Setting::list("--freeze", "optimiser.groups", &["a".to_owned(), "b".to_owned()]),
                "--freeze a --freeze b: key optimiser.groups: expected a list of tables such as {parameters = \"encoder.*\", \
                 learning_rate_factor = 0.1}, found [\"a\", \"b\"]",
            ),
            (
                Setting::parse("optimiser.groups=[{parameters=\"a\", learning_rate_factor=0.0}]"),
                "--set optimiser.groups=[{parameters=\"a\", learning_rate_factor=0.0}]: key optimiser.groups: expected factors on the \
                 learning rate from 1e-6 to 1e6",
            ),
            (
                Setting::parse("network.normalisation=instnce"),
                "--set network.normalisation=instnce: key network.normalisation: expected `default`, `none`, `instance`, `group` \
                 or `batch`, found \"instnce\"; did you mean instance?",
            ),
            (
                Setting::parse("network.kernels=[[1,3,3],[3,3,2]]"),
                "--set network.kernels=[[1,3,3],[3,3,2]]: key network.kernels: expected none, or for each of at most 8 levels \
                 [z, y, x] of 1, 3 or 5, found [[1, 3, 3], [3, 3, 2]]",
            ),
            (
                Setting::parse("schedule.every=0"),
                "--set schedule.every=0: key schedule.every: expected at least 1, found 0",
            ),
        ] {
            let error = load(&[setting]).expect_err(message).to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    /// Keys that came later are written where they differ from their defaults, and read back.
    #[test]
    fn later_keys_are_written_where_they_differ() {
        let keys = ["crop", "foreground_by", "freeze", "groups"];
        let plain = Preset::Tiny.config().to_toml();
        assert!(keys.iter().all(|key| !plain.contains(key)), "{plain}");
        let settings = [
            "data.crop=nonzero",
            "data.foreground_by=region",
            "optimiser.freeze=[\"encoder.*\"]",
            "optimiser.groups=[{parameters=\"head.*\", learning_rate_factor=2}]",
        ];
        let config = Config::from_text(Preset::Tiny, None, &Setting::parse_all(settings)).expect("valid");
        let text = config.to_toml();
        assert!(keys.iter().all(|key| text.contains(key)), "{text}");
        assert_eq!(config.optimiser.groups[0].learning_rate_factor, 2.0);
        assert_eq!(Config::from_text(Preset::Tiny, Some(("config.toml", &text)), &[]).expect("valid"), config);
    }

    #[test]
    fn the_text_of_a_configuration_has_its_keys_in_order_whatever_the_kind() {
        let text = Preset::Paper.config().to_toml();
        let of = |name: &str| {
            let table = text.split(&format!("[{name}]\n")).nth(1).expect("a table");
            table.split("\n\n").next().expect("its lines").trim().to_owned()
        };
        let first = "kind = \"sgd\"\nlearning_rate = 0.0001\nmomentum = 0.99\nnesterov = false\nbeta1 = 0.9\nbeta2 = 0.999\n\
                     epsilon = 0.00000001\n";
        assert!(of("optimiser").starts_with(first), "{}", of("optimiser"));
        assert!(of("optimiser").ends_with("\nweight_decay = 0.0005\nclip_norm = 0.0"), "{}", of("optimiser"));
        assert!(of("schedule").starts_with("kind = \"step\"\nwarm_up = 0\nevery = 25000\nfactor = 0.1\npower = 0.9"));
        let again = Config::from_text(Preset::Tiny, Some(("config.toml", &text)), &[]).expect("valid");
        assert_eq!(again, Preset::Paper.config());
    }
}
