use super::KernelTable;
use std::sync::Arc;

/// Which implementation of an operation is chosen where there is more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithms {
    /// The plain kernels that follow the definition: the oracle of the others.
    Naive,
    /// The fastest direct kernels: every product of the definition.
    Direct,
    /// Winograd's algorithm for every convolution that it can be used for.
    Winograd,
    /// The fastest by the cost model.
    #[default]
    Auto,
    /// What [`KernelPolicy::measured`] says; the cost model for what it does not name.
    Measured,
}

impl std::fmt::Display for Algorithms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// Which kernels a user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KernelPolicy {
    /// The word of `--kernels`.
    pub algorithms: Algorithms,
    /// The table of [`Algorithms::Measured`]; other algorithms do not read it.
    pub measured: Option<Arc<KernelTable>>,
}

impl KernelPolicy {
    /// [`Algorithms::Measured`] with its table.
    pub fn of_table(table: Arc<KernelTable>) -> Self {
        Self { algorithms: Algorithms::Measured, measured: Some(table) }
    }

    /// The table, where it is to be followed.
    pub fn table(&self) -> Option<&Arc<KernelTable>> {
        self.measured.as_ref().filter(|_| self.algorithms == Algorithms::Measured)
    }
}

impl From<Algorithms> for KernelPolicy {
    fn from(algorithms: Algorithms) -> Self {
        Self { algorithms, measured: None }
    }
}
