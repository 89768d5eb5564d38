// What the lanes of a subgroup of eight share.

// Eight neighbours in a row, or along the inner index of a gemm.
struct Slice {
    a: vec4<f32>,
    b: vec4<f32>,
}

// The first eight of sixteen elements, of which each lane loaded a pair.
fn spread_lower(x: vec2<f32>) -> Slice {
    return Slice(
        vec4(subgroupBroadcast(x, 0u), subgroupBroadcast(x, 1u)),
        vec4(subgroupBroadcast(x, 2u), subgroupBroadcast(x, 3u)),
    );
}

// The last eight.
fn spread_upper(x: vec2<f32>) -> Slice {
    return Slice(
        vec4(subgroupBroadcast(x, 4u), subgroupBroadcast(x, 5u)),
        vec4(subgroupBroadcast(x, 6u), subgroupBroadcast(x, 7u)),
    );
}
