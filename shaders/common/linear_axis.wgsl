// Linear up-sampling by whole factors.
#import rows

struct Upsampling {
    rows: Rows,
    // Extents before.
    depth: u32,
    height: u32,
    width: u32,
    factor_depth: u32,
    factor_height: u32,
    factor_width: u32,
    unit_depth: f32, // 1 / (2 factor)
    unit_height: f32,
    unit_width: f32,
}

// Where a voxel of an axis that is up-sampled lies among the voxels before: (to + 1/2) / factor - 1/2, not
// below 0, as PyTorch has it with align_corners = false.
struct Place {
    low: u32,
    high: u32,
    weight: f32, // of high
}

// `unit` is 1 / (2 factor).
fn place(to: u32, factor: u32, extent: u32, unit: f32) -> Place {
    let halves = max(2u * to + 1u, factor) - factor;
    let low = halves / (2u * factor);
    return Place(low, min(low + 1u, extent - 1u), f32(halves - low * 2u * factor) * unit);
}

// With what weight voxel `at` of an axis enters voxel `to` of the axis that is up-sampled.
fn weight_at(at: u32, to: u32, factor: u32, extent: u32, unit: f32) -> f32 {
    let from_axis = place(to, factor, extent, unit);
    return select(0.0, 1.0 - from_axis.weight, from_axis.low == at) + select(0.0, from_axis.weight, from_axis.high == at);
}

// Voxels that voxel `at` of an axis can enter: from the first up to, not including, the second.
fn reached(at: u32, factor: u32, extent: u32) -> vec2<u32> {
    let first = select(factor * (2u * max(at, 1u) - 1u) / 2u, 0u, at == 0u);
    return vec2<u32>(first, min(factor * (2u * at + 3u) / 2u + 1u, factor * extent));
}
