//! Options that take one of the library's words, with a line of help for each.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use vnet_engine::train::{MemoryMode, Preset};

/// `--preset`.
pub fn presets() -> impl TypedValueParser<Value = Preset> {
    words(Preset::ALL.map(|preset| (preset.name(), preset.summary(), preset)))
}

/// `--memory`.
pub fn memory_modes() -> impl TypedValueParser<Value = MemoryMode> {
    words(MemoryMode::ALL.map(|mode| (mode.name(), mode.summary(), mode)))
}

/// A parser of words: name, help and value of each.
fn words<T: Copy + Send + Sync + 'static, const N: usize>(
    words: [(&'static str, &'static str, T); N],
) -> impl TypedValueParser<Value = T> {
    let possible = words.map(|(name, help, _)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(possible).map(move |found| {
        let word = words.iter().find(|(name, ..)| *name == found);
        word.expect("only these words pass").2
    })
}
