//! The tables of shaders, and the expansion of their imports.

use super::Kernel;

/// A shader name or import that is not in the table.
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
}

// `SHADERS` and `COMMON`: build.rs lists the files of `shaders/`.
include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// Import that says what an invocation works on, and what stands for it where that is two channels.
const ELEMENT: [&str; 2] = ["element", "element_pair"];

impl Kernel {
    /// WGSL of the kernel's shader, with each `#import name` line replaced by `name.wgsl` of a folder `common`, once per name.
    ///
    /// # Errors
    /// [`SourceError`] when the shader or an import does not exist.
    pub fn source(&self) -> Result<String, SourceError> {
        let of_table = || find(SHADERS, self.shader).ok_or_else(|| SourceError::UnknownShader(self.shader.to_owned()));
        let text = self.text.map_or_else(of_table, Ok)?;
        let mut expanded = String::new();
        expand(self.shader, text, self.pairs, &mut Vec::new(), &mut expanded)?;
        Ok(expanded)
    }
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}

fn expand(shader: &str, text: &str, pairs: bool, seen: &mut Vec<String>, out: &mut String) -> Result<(), SourceError> {
    for line in text.lines() {
        let Some(import) = line.strip_prefix("#import ").map(str::trim) else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        if seen.iter().any(|s| s == import) {
            continue;
        }
        let file = if import == ELEMENT[0] { ELEMENT[usize::from(pairs)] } else { import };
        let body = find(COMMON, file)
            .ok_or_else(|| SourceError::UnknownImport { shader: shader.to_owned(), import: import.to_owned() })?;
        seen.push(import.to_owned());
        expand(import, body, pairs, seen, out)?;
    }
    Ok(())
}
