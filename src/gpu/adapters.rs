use super::GpuError;

/// Which adapter to use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The most capable one: discrete, then integrated, then virtual, then software.
    #[default]
    Auto,
    /// By position in [`adapters`].
    Index(usize),
    /// The first whose name contains this, whatever the case.
    Name(String),
}

impl std::str::FromStr for DeviceChoice {
    type Err = std::convert::Infallible;

    /// `auto`, a number, or part of a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match (text, text.parse()) {
            ("auto" | "", _) => Self::Auto,
            (_, Ok(index)) => Self::Index(index),
            _ => Self::Name(text.to_owned()),
        })
    }
}

/// A description of an adapter for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AdapterDescription {
    /// Name, e.g. `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Driver and its version.
    pub driver: String,
    /// `Vulkan`, `Metal` or `Dx12`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub kind: &'static str,
    /// Smallest and largest subgroup.
    pub subgroup: [u32; 2],
    /// Largest storage binding in bytes.
    pub max_binding_bytes: u64,
    /// Largest buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Workgroup memory in bytes.
    pub max_workgroup_bytes: u32,
    /// Most invocations of a workgroup.
    pub max_invocations: u32,
    /// Features that this program makes use of.
    pub features: Vec<&'static str>,
}

impl AdapterDescription {
    pub(super) fn new(adapter: &wgpu::Adapter) -> Self {
        let facts = adapter.get_info();
        let limits = adapter.limits();
        let features = [
            ("subgroups", wgpu::Features::SUBGROUP),
            ("timestamps", wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES),
            ("f16", wgpu::Features::SHADER_F16),
        ];
        let offered = adapter.features();
        Self {
            name: facts.name,
            driver: format!("{} {}", facts.driver, facts.driver_info).trim().to_owned(),
            backend: format!("{:?}", facts.backend),
            kind: class(facts.device_type).1,
            subgroup: [facts.subgroup_min_size, facts.subgroup_max_size],
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            features: features.into_iter().filter(|(_, f)| offered.contains(*f)).map(|(name, _)| name).collect(),
        }
    }
}

/// Rank among the adapters, best first, and name of a class of devices.
fn class(device: wgpu::DeviceType) -> (u8, &'static str) {
    match device {
        wgpu::DeviceType::DiscreteGpu => (0, "discrete"),
        wgpu::DeviceType::IntegratedGpu => (1, "integrated"),
        wgpu::DeviceType::VirtualGpu => (2, "virtual"),
        wgpu::DeviceType::Other => (3, "other"),
        wgpu::DeviceType::Cpu => (4, "cpu"),
    }
}

/// The adapters of this machine, best first.
fn enumerate() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let mut found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    found.retain(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    found.sort_by_key(|a| class(a.get_info().device_type).0);
    found
}

/// Descriptions of the adapters of this machine, in the order that [`DeviceChoice::Index`] counts and
/// [`DeviceChoice::Auto`] prefers.
pub fn adapters() -> Vec<AdapterDescription> {
    enumerate().iter().map(AdapterDescription::new).collect()
}

pub(super) fn choose(choice: &DeviceChoice) -> Result<wgpu::Adapter, GpuError> {
    let mut found = enumerate();
    let names: Vec<String> = found.iter().map(|a| a.get_info().name).collect();
    if found.is_empty() {
        return Err(GpuError::NoAdapter);
    }
    let (position, wanted) = match choice {
        DeviceChoice::Auto => (Some(0), String::new()),
        DeviceChoice::Index(i) => (Some(*i).filter(|&i| i < found.len()), i.to_string()),
        DeviceChoice::Name(part) => {
            let part = part.to_lowercase();
            (names.iter().position(|n| n.to_lowercase().contains(&part)), part)
        }
    };
    match position {
        Some(i) => Ok(found.swap_remove(i)),
        None => Err(GpuError::NoSuchAdapter { wanted, present: names }),
    }
}
