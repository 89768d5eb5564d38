// What the lanes of a subgroup of eight share.

// Eight neighbours in a row, or along the inner index of a gemm.
struct Slice {
    k0: f32,
    k1: f32,
    k2: f32,
    k3: f32,
    k4: f32,
    k5: f32,
    k6: f32,
    k7: f32,
}

// The eight elements that eight lanes loaded.
fn spread(x: f32) -> Slice {
    return Slice(
        subgroupBroadcast(x, 0u),
        subgroupBroadcast(x, 1u),
        subgroupBroadcast(x, 2u),
        subgroupBroadcast(x, 3u),
        subgroupBroadcast(x, 4u),
        subgroupBroadcast(x, 5u),
        subgroupBroadcast(x, 6u),
        subgroupBroadcast(x, 7u),
    );
}

// The first eight of sixteen elements, of which each lane loaded a pair.
fn spread_lower(x: vec2<f32>) -> Slice {
    return Slice(
        subgroupBroadcast(x.x, 0u),
        subgroupBroadcast(x.y, 0u),
        subgroupBroadcast(x.x, 1u),
        subgroupBroadcast(x.y, 1u),
        subgroupBroadcast(x.x, 2u),
        subgroupBroadcast(x.y, 2u),
        subgroupBroadcast(x.x, 3u),
        subgroupBroadcast(x.y, 3u),
    );
}

// The last eight.
fn spread_upper(x: vec2<f32>) -> Slice {
    return Slice(
        subgroupBroadcast(x.x, 4u),
        subgroupBroadcast(x.y, 4u),
        subgroupBroadcast(x.x, 5u),
        subgroupBroadcast(x.y, 5u),
        subgroupBroadcast(x.x, 6u),
        subgroupBroadcast(x.y, 6u),
        subgroupBroadcast(x.x, 7u),
        subgroupBroadcast(x.y, 7u),
    );
}
