//! `kernels.toml`: the table of a run.

use crate::files::{read_text, replace_file};
use crate::kernel::{ConvolutionKernels, ConvolutionLayer, KernelTable, MeasuredChoice};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Bytes of a table, at most: some 6,000 convolutions.
const LONGEST_TEXT: u64 = 1 << 20;
/// Letters of a wrong line that a message repeats.
const MOST_SHOWN: usize = 80;

/// A table of kernels cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct KernelTableError {
    /// The file, with the line where one is wrong.
    place: String,
    /// What is wrong, and what was expected.
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    adapter: String,
    driver: String,
    #[serde(default)]
    convolution: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    in_channels: usize,
    out_channels: usize,
    batch: usize,
    /// z, y, x.
    extents: [usize; 3],
    /// z, y, x; 5 each where there is none.
    #[serde(default = "five", skip_serializing_if = "is_five")]
    kernel: [usize; 3],
    kernels: ConvolutionKernels,
    direct_ms: f64,
    winograd_ms: f64,
}

fn five() -> [usize; 3] {
    [5; 3]
}

fn is_five(kernel: &[usize; 3]) -> bool {
    *kernel == five()
}

/// Reads a table.
///
/// # Errors
/// [`KernelTableError`] that names the file, the line and the key.
pub fn read_table(path: &Path) -> Result<KernelTable, KernelTableError> {
    let shown = path.display().to_string();
    let text = read_text(path, LONGEST_TEXT).map_err(|error| {
        let reason = format!("cannot read the measured kernels of a run: {error}");
        KernelTableError { place: shown.clone(), reason }
    })?;
    parse(&text).map_err(|(line, reason)| {
        let place = line.map_or_else(|| shown.clone(), |line| format!("{shown}:{line}"));
        KernelTableError { place, reason }
    })
}

/// Replaces the table of a run in one step.
///
/// # Errors
/// The system's.
pub fn write_table(path: &Path, table: &KernelTable) -> io::Result<()> {
    let milliseconds = |time: Duration| time.as_nanos() as f64 / 1e6;
    let entry = |(layer, choice): (&ConvolutionLayer, &MeasuredChoice)| Entry {
        in_channels: layer.in_channels,
        out_channels: layer.out_channels,
        batch: layer.batch,
        extents: layer.extents,
        kernel: layer.kernel,
        kernels: choice.kernels,
        direct_ms: milliseconds(choice.direct),
        winograd_ms: milliseconds(choice.winograd),
    };
    let (adapter, driver) = (table.adapter.clone(), table.driver.clone());
    let document = Document { adapter, driver, convolution: table.convolutions.iter().map(entry).collect() };
    let text = toml::to_string(&document).expect("a table of kernels is a TOML document");
    replace_file(path, text.as_bytes())
}

/// The line and the reason of a mistake.
type Mistake = (Option<usize>, String);

fn parse(text: &str) -> Result<KernelTable, Mistake> {
    let document: Document = toml::from_str(text).map_err(|error| mistake(text, &error))?;
    let mut convolutions = BTreeMap::new();
    for (number, entry) in (1..).zip(document.convolution) {
        let wrong = |reason: String| (None, format!("convolution {number}: {reason}"));
        let (layer, choice) = entry.check().map_err(wrong)?;
        if convolutions.insert(layer, choice).is_some() {
            return Err(wrong(format!(
                "in_channels, out_channels, extents, kernel and batch ({layer}) are those of an earlier one"
            )));
        }
    }
    Ok(KernelTable { adapter: document.adapter, driver: document.driver, convolutions })
}

/// The wrong line, which has the key, and the parser's words.
fn mistake(text: &str, error: &toml::de::Error) -> Mistake {
    let Some(span) = error.span() else { return (None, error.message().to_owned()) };
    let line = text.as_bytes()[..span.start.min(text.len())].iter().filter(|&&byte| byte == b'\n').count();
    let shown: String = text.lines().nth(line).unwrap_or_default().chars().take(MOST_SHOWN).collect();
    (Some(line + 1), format!("{}: {}", shown.trim(), error.message()))
}

impl Entry {
    fn check(self) -> Result<(ConvolutionLayer, MeasuredChoice), String> {
        let Self { in_channels, out_channels, batch, extents, kernel, kernels, direct_ms, winograd_ms } = self;
        let [d, h, w] = extents;
        let numbers = [
            ("in_channels", in_channels),
            ("out_channels", out_channels),
            ("batch", batch),
            ("extents", d.min(h).min(w)),
        ];
        if let Some((key, value)) = numbers.into_iter().find(|(_, value)| *value == 0) {
            return Err(format!("key {key} is {value}, expected 1 or more"));
        }
        let time = |key: &str, milliseconds: f64| {
            Duration::try_from_secs_f64(milliseconds / 1e3)
                .map_err(|_| format!("key {key} is {milliseconds}, expected milliseconds, 0 or more"))
        };
        let (direct, winograd) = (time("direct_ms", direct_ms)?, time("winograd_ms", winograd_ms)?);
        let layer = ConvolutionLayer { in_channels, out_channels, extents, batch, kernel, stride: [1; 3] };
        if !layer.has_choice() {
            return Err(format!("key kernel is {kernel:?}, expected 1, 3 or 5 along each axis, not 1 along all"));
        }
        Ok((layer, MeasuredChoice { kernels, direct, winograd }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "adapter = \"a\"\ndriver = \"b\"\n\n[[convolution]]\nin_channels = 3\nout_channels = 4\nbatch = 2\n\
                        extents = [5, 6, 7]\nkernels = \"direct\"\ndirect_ms = 1.5\nwinograd_ms = 1.25\n";

    #[test]
    fn a_table_comes_back_as_it_was() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("kernels.toml");
        let table = parse(TEXT).expect("a table");
        let layer = ConvolutionLayer::same_5([3, 4], [5, 6, 7], 2);
        let (direct, winograd) = (Duration::from_micros(1500), Duration::from_micros(1250));
        let choice = MeasuredChoice { kernels: ConvolutionKernels::Direct, direct, winograd };
        assert_eq!(table.convolutions, BTreeMap::from([(layer, choice)]));
        write_table(&path, &table).expect("written");
        assert_eq!(read_table(&path).expect("read"), table);
        let text = std::fs::read_to_string(&path).expect("written");
        assert!(!text.contains("kernel ="), "tables of 5x5x5 convolutions are what they were: {text}");
        let flat = TEXT.replace("kernels =", "kernel = [1, 3, 5]\nkernels =");
        let table = parse(&flat).expect("a table");
        let layer = ConvolutionLayer { kernel: [1, 3, 5], ..layer };
        assert!(table.convolutions.contains_key(&layer));
        write_table(&path, &table).expect("written");
        assert_eq!(read_table(&path).expect("read"), table);
        assert!(parse("adapter = \"a\"\ndriver = \"b\"\n").expect("nothing was measured").convolutions.is_empty());
    }

    #[test]
    fn mistakes_are_named_with_file_and_key() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("kernels.toml");
        let twice = format!("{TEXT}{}", &TEXT[TEXT.find("[[").expect("an entry")..]);
        let changed = |from: &str, to: &str| TEXT.replace(from, to);
        for (text, words) in [
            (changed("\"direct\"", "\"fast\""), [":9:", "kernels", "winograd"]),
            (changed("[5, 6, 7]", "[5, -6, 7]"), [":8:", "extents", "-6"]),
            (changed("[5, 6, 7]", "[5, 0, 7]"), ["convolution 1", "extents", "1 or more"]),
            (changed("[5, 6, 7]", "[5, 7]"), [":8:", "extents", "3"]),
            (changed("kernels =", "kernel = [3, 2, 3]\nkernels ="), ["convolution 1", "kernel", "1, 3 or 5"]),
            (changed("1.5", "nan"), ["convolution 1", "direct_ms", "NaN"]),
            (changed("1.25", "-1.0"), ["convolution 1", "winograd_ms", "-1"]),
            (changed("1.25", "1e300"), ["convolution 1", "winograd_ms", "milliseconds"]),
            (changed("batch = 2\n", ""), [":4:", "missing", "batch"]),
            (changed("batch = 2", "batch = 2\nspeed = 1"), [":8:", "speed", "unknown"]),
            (changed("adapter = \"a\"", "adapter = a"), [":1:", "adapter", "quoted"]),
            (twice, ["convolution 2", "in_channels", "earlier"]),
        ] {
            std::fs::write(&path, &text).expect("written");
            let error = read_table(&path).expect_err("it is wrong").to_string();
            assert!(error.contains("kernels.toml"), "{error}");
            words.iter().for_each(|word| assert!(error.contains(word), "{word} is not in {error}"));
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn of_a_gigabyte_only_the_first_megabyte_is_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("kernels.toml");
        std::fs::File::create(&path).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
        let error = read_table(&path).expect_err("it is too long").to_string();
        assert!(error.contains("kernels.toml") && error.contains("more than 1048576 bytes"), "{error}");
        let error = read_table(&folder.path().join("none.toml")).expect_err("it is not there").to_string();
        assert!(error.contains("none.toml"), "{error}");
    }
}
