use super::{Algorithms, KernelPolicy, Tuning};

/// What the adapter offers: WebGPU's limits, and optional features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimits {
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
}

impl DeviceLimits {
    /// The default limits of WebGPU, without optional features: what every adapter offers.
    pub const WEBGPU: Self = Self {
        max_binding_bytes: 128 << 20,
        max_buffer_bytes: 256 << 20,
        max_workgroups: 65_535,
        max_invocations: 256,
        max_workgroup_bytes: 16_384,
        max_storage_buffers: 8,
        subgroup: None,
        int64: false,
    };
}

/// What lowering must know: the device's limits, the numbers that it is tuned by, and the kernels that the user asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What the adapter offers.
    pub limits: DeviceLimits,
    /// What pays on this class of device.
    pub tuning: Tuning,
    /// Which kernels are asked for.
    pub policy: KernelPolicy,
}

impl Target {
    /// A GPU with [`DeviceLimits::WEBGPU`] that takes its kernels by the cost model.
    pub fn webgpu() -> Self {
        Self { limits: DeviceLimits::WEBGPU, tuning: Tuning::GPU, policy: KernelPolicy::default() }
    }

    /// The same device with these algorithms, without a measured table.
    #[must_use]
    pub fn with_algorithms(&self, algorithms: Algorithms) -> Self {
        Self { policy: algorithms.into(), ..self.clone() }
    }

    /// The same device with another [`DeviceLimits::max_binding_bytes`].
    #[must_use]
    pub fn with_max_binding_bytes(&self, max_binding_bytes: u64) -> Self {
        Self { limits: DeviceLimits { max_binding_bytes, ..self.limits }, ..self.clone() }
    }

    /// The same device with other [`Tuning`].
    #[must_use]
    pub fn with_tuning(&self, tuning: Tuning) -> Self {
        Self { tuning, ..self.clone() }
    }

    /// Whether an invocation may and should load and store two floats as one integer of 64 bits.
    pub fn pairs(&self) -> bool {
        self.tuning.pairs && self.limits.int64
    }

    /// Whether the kernels for subgroups of eight may and should be used.
    pub fn subgroup_kernels(&self) -> bool {
        self.tuning.subgroup_kernels && self.pairs() && self.limits.subgroup == Some(8)
    }

    /// A grid of at least `workgroups` workgroups within the limit per dimension.
    ///
    /// # Panics
    /// When more than three full dimensions would be needed, which no tensor of 2^32 elements reaches.
    pub fn fold(&self, workgroups: usize) -> [u32; 3] {
        let limit = self.limits.max_workgroups as usize;
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
        let limits = DeviceLimits { max_workgroups: 7, ..DeviceLimits::WEBGPU };
        let target = Target { limits, ..Target::webgpu() };
        for workgroups in 0..343 {
            let grid = target.fold(workgroups);
            assert!(grid.iter().all(|&g| (1..=7).contains(&g)));
            assert!(grid.iter().product::<u32>() as usize >= workgroups);
        }
        assert_eq!(Target::webgpu().fold(65_536), [65_535, 2, 1]);
    }

    #[test]
    fn what_pays_also_needs_what_the_adapter_offers() {
        let eight = DeviceLimits { subgroup: Some(8), int64: true, ..DeviceLimits::WEBGPU };
        let of = |limits, tuning| Target { limits, tuning, ..Target::webgpu() };
        assert!(of(eight, Tuning::CPU).subgroup_kernels());
        for limits in [
            DeviceLimits { int64: false, ..eight },
            DeviceLimits { subgroup: Some(32), ..eight },
            DeviceLimits { subgroup: None, ..eight },
        ] {
            assert!(!of(limits, Tuning::CPU).subgroup_kernels(), "{limits:?}");
        }
        assert!(!of(eight, Tuning::GPU).subgroup_kernels() && !of(eight, Tuning::GPU).pairs());
    }
}
