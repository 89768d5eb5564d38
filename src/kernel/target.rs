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
    /// Winograd's algorithm for every 5x5x5 convolution that it can be used for.
    Winograd,
    /// The fastest by the cost model.
    #[default]
    Auto,
    /// What [`Target::measured`] says; the cost model for what it does not name.
    Measured,
}

impl std::fmt::Display for Algorithms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Naive => "naive",
            Self::Direct => "direct",
            Self::Winograd => "winograd",
            Self::Auto => "auto",
            Self::Measured => "measured",
        })
    }
}

/// What lowering must know of a device: WebGPU limits and the kind of processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Largest storage binding in bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Most workgroups in one dimension of a dispatch.
    pub max_workgroups: u32,
    /// Most invocations of one workgroup.
    pub max_invocations: u32,
    /// Workgroup memory in bytes.
    pub max_workgroup_bytes: u32,
    /// Most storage buffers of one shader.
    pub max_storage_buffers: u32,
    /// The subgroup size, where subgroup operations may be used and it is the same for every workgroup.
    pub subgroup: Option<u32>,
    /// Whether shaders may use 64-bit integers.
    pub int64: bool,
    /// A processor that runs shaders in software (llvmpipe): loads are dear and one workgroup runs on one core.
    pub software: bool,
    /// Which implementations to choose.
    pub algorithms: Algorithms,
    /// The table of [`Algorithms::Measured`].
    pub measured: Option<Arc<KernelTable>>,
}

impl Target {
    /// The default limits of WebGPU, without subgroups: what every adapter offers.
    pub fn webgpu() -> Self {
        Self {
            max_binding_bytes: 128 << 20,
            max_buffer_bytes: 256 << 20,
            max_workgroups: 65_535,
            max_invocations: 256,
            max_workgroup_bytes: 16_384,
            max_storage_buffers: 8,
            subgroup: None,
            int64: false,
            software: false,
            algorithms: Algorithms::Auto,
            measured: None,
        }
    }

    /// Whether loads and stores of 64 bits pay: on llvmpipe they cost what those of 32 do.
    pub fn pairs(&self) -> bool {
        self.software && self.int64
    }

    /// A grid of at least `workgroups` workgroups within the limit per dimension.
    ///
    /// # Panics
    /// When more than three full dimensions would be needed, which no tensor of 2^32 elements reaches.
    pub fn fold(&self, workgroups: usize) -> [u32; 3] {
        let limit = self.max_workgroups as usize;
        let x = workgroups.clamp(1, limit);
        let y = workgroups.div_ceil(x).clamp(1, limit);
        let z = workgroups.div_ceil(x * y).max(1);
        assert!(z <= limit, "{workgroups} workgroups exceed the device's grid");
        [x as u32, y as u32, z as u32]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_grids_cover_and_stay_within_limits() {
        let target = Target { max_workgroups: 7, ..Target::webgpu() };
        for workgroups in 0..343 {
            let grid = target.fold(workgroups);
            assert!(grid.iter().all(|&g| (1..=7).contains(&g)));
            assert!(grid.iter().product::<u32>() as usize >= workgroups);
        }
        assert_eq!(Target::webgpu().fold(65_536), [65_535, 2, 1]);
    }
}
