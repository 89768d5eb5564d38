/// Bytes of a plan by what they are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct MemoryReport {
    /// Inputs of the graph.
    pub inputs: u64,
    /// Slots shared by activations, their gradients and temporaries.
    pub slots: u64,
    /// The most bytes of values that are live at once: a lower bound for `slots`.
    pub slots_lower_bound: u64,
    /// What one buffer per value would take.
    pub values_unshared: u64,
    /// Parameters, gradients and moments.
    pub arenas: u64,
    /// Temporaries of stages, step scalars and uniforms.
    pub other: u64,
}

impl MemoryReport {
    /// All device memory of the plan in bytes.
    pub fn total(&self) -> u64 {
        self.inputs + self.slots + self.arenas + self.other
    }
}

/// A size in bytes with a binary unit, e.g. `128.0 MiB`.
pub fn human_bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..units.len() - 1).find(|&u| bytes < 1024u64 << (10 * u)).unwrap_or(units.len() - 1);
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{:.1} {}", bytes as f64 / (1u64 << (10 * unit)) as f64, units[unit]),
    }
}
