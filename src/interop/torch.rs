//! Export to PyTorch: one readable module with no dependency but torch, and the weights beside it.

use super::InteropError;
use crate::files::replace_file;
use crate::nn::Model;
use crate::nn::model::Description;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Lines of [`crate::nn::Architecture::torch_module`] that a model replaces: its network, how images are prepared, and the name of its weights.
const PLACEHOLDERS: [&str; 3] = ["NETWORK = {}\n", "PREPROCESSING = {}\n", "WEIGHTS = \"\"\n"];

/// The weights beside a module: `vnet.py`, `vnet.safetensors`.
pub fn weights_path(module: &Path) -> PathBuf {
    module.with_extension("safetensors")
}

/// Writes a model as a PyTorch module `path`, which ends in `.py`, and its weights at [`weights_path`].
///
/// # Errors
/// [`InteropError`] when a file cannot be written.
pub fn export_torch(model: &Model, path: &Path) -> Result<(), InteropError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let (true, Some(stem)) = (path.extension().is_some_and(|e| e == "py"), stem) else {
        return Err(InteropError::Name { path: path.to_owned(), expected: ".py" });
    };
    let kind = model.network.kind();
    let template =
        model.network.architecture().torch_module().ok_or(InteropError::Kind { kind, to: "a PyTorch module" })?;
    model.write(&weights_path(path))?;
    let failed = |source| InteropError::Io { path: path.to_owned(), action: "write", source };
    replace_file(path, module(template, model, stem).as_bytes()).map_err(failed)
}

/// The text of the module for the weights `stem.safetensors`.
fn module(template: &str, model: &Model, stem: &str) -> String {
    let description = Description::of(model);
    let network = serde_json::to_value(&description.network).expect("a network is always JSON");
    let preprocessing = description.preprocessing.unwrap_or_else(|| serde_json::json!({}));
    let lines = [
        format!("NETWORK = {}\n", python(&network)),
        format!("PREPROCESSING = {}\n", python(&preprocessing)),
        format!("WEIGHTS = {}\n", python(&format!("{stem}.safetensors").into())),
    ];
    PLACEHOLDERS.iter().zip(lines).fold(template.to_owned(), |text, (from, to)| text.replacen(from, &to, 1))
}

/// A value as Python writes it; its strings take JSON's escapes.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(keys) => {
            let entry =
                |(key, value): (&String, &Value)| format!("{}: {}", python(&key.as_str().into()), python(value));
            format!("{{{}}}", keys.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_stands_once_in_every_module() {
        for (kind, architecture) in crate::registry::cases::<crate::nn::Architectures>() {
            let module = architecture.torch_module().into_iter();
            for (module, line) in module.flat_map(|module| PLACEHOLDERS.map(|line| (module, line))) {
                assert_eq!(module.matches(line).count(), 1, "{kind}: {line}");
            }
        }
    }
}
