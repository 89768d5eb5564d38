use super::AdapterDescription;

/// Device memory in bytes that a process may count on; `None` where the backend does not tell.
///
/// Vulkan: the device-local heaps. A CPU takes the machine's memory, whatever its driver
/// reports.
pub(super) fn detect(adapter: &wgpu::Adapter, description: &AdapterDescription) -> Option<u64> {
    if description.kind == "cpu" {
        return crate::host_memory::available_memory();
    }
    // SAFETY: the adapter is only asked for its properties, and nothing of it is kept or destroyed.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = adapter.shared_instance().raw_instance();
    // SAFETY: the physical device belongs to this instance, and both live as long as the adapter.
    let memory = unsafe { instance.get_physical_device_memory_properties(adapter.raw_physical_device()) };
    let heaps = memory.memory_heaps_as_slice().iter();
    // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    let local: u64 = heaps.filter(|h| h.flags.as_raw() & 1 != 0).map(|h| h.size).sum();
    (local > 0).then_some(local)
}
