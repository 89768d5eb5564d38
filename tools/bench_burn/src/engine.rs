use crate::layer::{Layer, Seconds};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The vnet-engine binary.
pub struct Engine<'a>(pub &'a Path);

impl Engine<'_> {
    /// One round on a layer: the engine's JSON document.
    pub fn bench(&self, layer: Layer) -> Result<Value, String> {
        let shown = self.0.display();
        let mut command = Command::new(self.0);
        command.args(["bench", "--json", "--steps", "1", "--conv", &layer.to_string()]);
        let output = command.output().map_err(|e| format!("--engine {shown}: {e}"))?;
        if !output.status.success() {
            return Err(format!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| format!("{shown}: {e}"))
    }
}

/// The runs of one kind in the engine's document.
pub fn seconds(document: &Value, key: &str) -> Result<Seconds, String> {
    let runs = document[key]["all_seconds"].as_array();
    let seconds = runs.map(|runs| runs.iter().filter_map(Value::as_f64).collect::<Seconds>());
    seconds.filter(|s| !s.is_empty()).ok_or_else(|| format!("the engine's document has no {key}.all_seconds"))
}
