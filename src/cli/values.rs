//! Parsers of options' values, with errors that say what is expected.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::ops::RangeInclusive;
use std::str::FromStr;
use vnet_engine::kernel::ConvolutionLayer;
use vnet_engine::train::config::ByteSize;
use vnet_engine::train::{MemoryMode, Preset};

/// Parts of `--part`, at most: more than any scheduler lets a job array have.
const MOST_PARTS: usize = 100_000;

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

/// The value, or an error that says what is expected.
fn expect<T>(value: Option<T>, what: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("expected {what}"))
}

fn in_range<T: FromStr + PartialOrd>(text: &str, range: &RangeInclusive<T>) -> Option<T> {
    text.trim().parse().ok().filter(|value| range.contains(value))
}

/// `A,B,C`.
fn triple<T: FromStr + PartialOrd>(text: &str, range: &RangeInclusive<T>) -> Option<[T; 3]> {
    let parts: Option<Vec<T>> = text.split(',').map(|part| in_range(part, range)).collect();
    parts?.try_into().ok()
}

/// `--memory-budget`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let bytes = text.parse().ok().map(|ByteSize(bytes)| bytes).filter(|bytes| (1..=1 << 50).contains(bytes));
    expect(bytes, "a size such as 4GiB or 512MiB")
}

/// `--batch`, `--steps` of `bench`.
pub fn count(text: &str) -> Result<usize, String> {
    expect(in_range(text, &(1..=10_000)), "a whole number from 1 to 10000")
}

/// `--minutes`.
pub fn minutes(text: &str) -> Result<f64, String> {
    expect(in_range(text, &(0.1..=1e6)), "a number of minutes from 0.1 to 1000000")
}

/// `--samples`.
pub fn samples(text: &str) -> Result<usize, String> {
    expect(in_range(text, &(1..=99)), "a whole number from 1 to 99")
}

/// `--patch`, `--extents`, `--shape`.
pub fn extents(text: &str) -> Result<[usize; 3], String> {
    expect(triple(text, &(1..=4096)), "three extents from 1 to 4096, e.g. 128,128,64")
}

/// `--spacing`.
pub fn spacing(text: &str) -> Result<[f64; 3], String> {
    expect(triple(text, &(f64::MIN_POSITIVE..=f64::MAX)), "three positive numbers, e.g. 1,1,1.5")
}

/// `--conv`.
pub fn convolution(text: &str) -> Result<ConvolutionLayer, String> {
    let parse = || {
        let parts: Vec<&str> = text.split(',').collect();
        let (&[in_channels, out_channels, extents], rest) = parts.split_first_chunk::<3>()?;
        let per_axis = |text: &str, range| triple(&text.replace('x', ","), &range);
        let extents = per_axis(extents, 1..=4096)?;
        let (kernel, stride) = match *rest {
            [] => ([5; 3], [1; 3]),
            [kernel] => (per_axis(kernel, 1..=15)?, [1; 3]),
            [kernel, stride] => (per_axis(kernel, 1..=15)?, per_axis(stride, 1..=15)?),
            _ => return None,
        };
        if kernel.iter().any(|k| k % 2 == 0) {
            return None;
        }
        let [in_channels, out_channels] = [in_channels, out_channels].map(|channels| in_range(channels, &(1..=4096)));
        let (in_channels, out_channels) = (in_channels?, out_channels?);
        Some(ConvolutionLayer { in_channels, out_channels, extents, batch: 1, kernel, stride })
    };
    expect(
        parse(),
        "channels in and out, extents, and an odd kernel and a stride if not 5x5x5 and 1x1x1, e.g. 32,32,32x64x64,3x3x3",
    )
}

/// `--names`.
pub fn names(text: &str) -> Result<[String; 2], String> {
    let names = text.split_once(',').map(|(a, b)| [a.trim().to_owned(), b.trim().to_owned()]);
    expect(names.filter(|[a, b]| !a.is_empty() && !b.is_empty() && a != b), "two names, e.g. Dice,logistic")
}

/// I/N with I below N.
fn share(text: &str) -> Option<(usize, usize)> {
    let (i, n) = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)))?;
    (i < n).then_some((i, n))
}

/// `--part`.
pub fn part(text: &str) -> Result<(usize, usize), String> {
    expect(share(text).filter(|(_, n)| *n <= MOST_PARTS), "i/n with i from 0 to n-1 and n at most 100000, e.g. 0/8")
}

/// `--fold`.
pub fn fold(text: &str) -> Result<(usize, usize), String> {
    expect(share(text), "i/k with i from 0 to k-1, e.g. 0/5")
}
