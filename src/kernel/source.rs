//! The tables of shaders, and the expansion of what they import and repeat.

use super::{Kernel, Transform};

/// A shader that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No shader of this name.
    #[error("no shader is named {0}")]
    UnknownShader(String),
    /// An `#import` of a file that is not there.
    #[error("shader {shader} imports {import}, which does not exist")]
    UnknownImport {
        /// The importing file.
        shader: String,
        /// The name after `#import`.
        import: String,
    },
    /// An `#each` over a number that the kernel does not give, or without its `#end`.
    #[error("shader {shader}: {line}, which the kernel gives no number for, or which does not end")]
    Repetition {
        /// The file.
        shader: String,
        /// The line.
        line: String,
    },
}

// `SHADERS` and `COMMON`: build.rs lists the files of `shaders/`.
include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// Import that says what an invocation works on, and what stands for it where that is two channels.
const ELEMENT: [&str; 2] = ["element", "element_pair"];

/// Import of the transforms of Winograd's convolution along the axes that the kernel gives numbers for.
const TRANSFORMS: &str = "winograd_transforms";

/// Axes, outermost first.
const AXES: [&str; 3] = ["Z", "Y", "X"];

impl Kernel {
    /// WGSL of the kernel's shader. Each line `#import name` is replaced by `name.wgsl` of a folder `common`, once per name;
    /// `#import winograd_transforms` by what [`Kernel::counts`] say. The lines from `#each i in NAME` to `#end` are repeated
    /// for every `i` below that number, with `{i}` replaced; elsewhere `{NAME}` is the number.
    ///
    /// # Errors
    /// [`SourceError`] when the shader or an import does not exist, or a number is not given.
    pub fn source(&self) -> Result<String, SourceError> {
        let of_table = || find(SHADERS, self.shader).ok_or_else(|| SourceError::UnknownShader(self.shader.to_owned()));
        let text = self.text.map_or_else(of_table, Ok)?;
        let mut expansion = Expansion { kernel: self, counts: self.all_counts(), seen: Vec::new(), out: String::new() };
        expansion.expand(self.shader, text)?;
        Ok(expansion.out)
    }

    /// The transforms along the axes for which there are `OUTPUTS` and `TAPS`.
    fn transforms(&self) -> impl Iterator<Item = (&'static str, Transform)> {
        let count = |name: String| self.counts.iter().find(|(n, _)| **n == name).map(|(_, count)| *count);
        AXES.into_iter().filter_map(move |axis| {
            let (outputs, taps) = (count(format!("OUTPUTS_{axis}"))?, count(format!("TAPS_{axis}"))?);
            Some((axis, Transform { outputs, taps }))
        })
    }

    fn all_counts(&self) -> Vec<(String, usize)> {
        let given = self.counts.iter().map(|(name, count)| ((*name).to_owned(), *count));
        let of_transform = |(axis, transform): (&str, Transform)| {
            [("FREQUENCIES", transform.frequencies()), ("POINT_ONE", transform.point_one())]
                .map(|(name, count)| (format!("{name}_{axis}"), count))
        };
        given.chain(self.transforms().flat_map(of_transform)).collect()
    }
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

struct Expansion<'a> {
    kernel: &'a Kernel,
    counts: Vec<(String, usize)>,
    seen: Vec<String>,
    out: String,
}

impl Expansion<'_> {
    fn expand(&mut self, shader: &str, text: &str) -> Result<(), SourceError> {
        let text = self.repeated(shader, &text.lines().collect::<Vec<_>>())?;
        for line in text.lines() {
            let Some(import) = line.strip_prefix("#import ").map(str::trim) else {
                self.out.push_str(line);
                self.out.push('\n');
                continue;
            };
            if self.seen.iter().any(|s| s == import) {
                continue;
            }
            self.seen.push(import.to_owned());
            if import == TRANSFORMS {
                let kernel = self.kernel;
                kernel.transforms().for_each(|(axis, transform)| self.out.push_str(&transform.wgsl(axis)));
                continue;
            }
            let file = if import == ELEMENT[0] { ELEMENT[usize::from(self.kernel.pairs)] } else { import };
            let body = find(COMMON, file)
                .ok_or_else(|| SourceError::UnknownImport { shader: shader.to_owned(), import: import.to_owned() })?;
            self.expand(import, body)?;
        }
        Ok(())
    }

    /// The lines with repetitions and numbers written out.
    fn repeated(&self, shader: &str, lines: &[&str]) -> Result<String, SourceError> {
        let mut text = String::new();
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            at += 1;
            let Some(head) = line.trim_start().strip_prefix("#each ") else {
                text += &self.numbered(line);
                text.push('\n');
                continue;
            };
            let wrong = || SourceError::Repetition { shader: shader.to_owned(), line: line.trim().to_owned() };
            let (variable, name) = head.split_once(" in ").ok_or_else(wrong)?;
            let count = self.counts.iter().find(|(n, _)| n == name.trim()).ok_or_else(wrong)?.1;
            let length = block_length(&lines[at..]).ok_or_else(wrong)?;
            let body = lines[at..at + length].join("\n");
            at += length + 1;
            for number in 0..count {
                let body = body.replace(&format!("{{{variable}}}"), &number.to_string());
                text += &self.repeated(shader, &body.lines().collect::<Vec<_>>())?;
            }
        }
        Ok(text)
    }

    fn numbered(&self, line: &str) -> String {
        if !line.contains('{') {
            return line.to_owned();
        }
        self.counts.iter().fold(line.to_owned(), |line, (name, n)| line.replace(&format!("{{{name}}}"), &n.to_string()))
    }
}

/// Lines up to the `#end` of a block that has begun.
fn block_length(lines: &[&str]) -> Option<usize> {
    let mut depth = 1;
    lines.iter().position(|line| {
        depth += usize::from(line.trim_start().starts_with("#each "));
        depth -= usize::from(line.trim() == "#end");
        depth == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &'static str, counts: &[(&'static str, usize)]) -> Result<String, SourceError> {
        Kernel { shader: "test", text: Some(text), constants: Vec::new(), counts: counts.to_vec(), pairs: false }
            .source()
    }

    #[test]
    fn blocks_are_repeated_within_blocks() {
        let text = "#each a in A\n#each b in B\nx{a}{b}{A}\n#end\n#end\ny";
        assert_eq!(source(text, &[("A", 2), ("B", 1)]).expect("it ends"), "x002\nx102\ny\n");
        for (text, counts) in [(text, &[("A", 2)][..]), ("#each a in A\nx", &[("A", 2)])] {
            assert!(matches!(source(text, counts), Err(SourceError::Repetition { .. })), "{text}");
        }
    }

    #[test]
    fn transforms_are_those_of_the_numbers() {
        let counts = [("OUTPUTS_X", 4), ("TAPS_X", 5), ("OUTPUTS_Z", 1), ("TAPS_Z", 1)];
        let text = source("#import winograd_transforms\n{FREQUENCIES_X} {POINT_ONE_Z}", &counts).expect("complete");
        for line in [
            "const FREQUENCIES_X = 8u;",
            "const FREQUENCIES_Z = 1u;",
            "    let even_1 = x.f2 - 17.0 / 4.0 * x.f4 + x.f6;",
            "        21.0 / 4.0 * (x.f2 - x.f4) + (x.f6 - x.f0),",
            "    let even_1 = -2.0 / 9.0 * (w.f0 + w.f2 + w.f4);",
            "        m.f0 + sum_1 + sum_3 + sum_5,",
            "        sum_1 + sum_3 + sum_5 - m.f0,",
            "8 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
    }
}
