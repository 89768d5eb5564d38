// The 5x5x5 convolution that keeps the extents for a subgroup of eight, in blocks of eight voxels of a row: a lane has channels
// `column` and, where COLUMNS is 16, `column + 8` of the output's side; the other side's voxels are broadcast.

override COLUMNS: u32;

// This lane's channels of five neighbouring taps along x: of weights, or sums of their gradients.
struct Taps {
    t0: vec2<f32>,
    t1: vec2<f32>,
    t2: vec2<f32>,
    t3: vec2<f32>,
    t4: vec2<f32>,
}

// This lane's channels of the eight voxels of a block.
struct Block {
    v0: vec2<f32>,
    v1: vec2<f32>,
    v2: vec2<f32>,
    v3: vec2<f32>,
    v4: vec2<f32>,
    v5: vec2<f32>,
    v6: vec2<f32>,
    v7: vec2<f32>,
}

// Twelve voxels of a row, from two before a block on.
struct Span {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
}

// One voxel by this lane; zero outside the row.
fn voxel_at(row: u32, channel: u32, x: u32, shift: u32, lane: u32, inside: bool) -> f32 {
    // From 2 on, so that nothing is below zero.
    let at = x + shift + lane;
    let value = input[(row * params.width + clamp(at, 2u, params.width + 1u) - 2u) * params.in_channels + channel];
    return select(0.0, value, inside && at >= 2u && at < params.width + 2u);
}

fn lanes_0_to_3(x: f32) -> vec4<f32> {
    return vec4(subgroupBroadcast(x, 0u), subgroupBroadcast(x, 1u), subgroupBroadcast(x, 2u), subgroupBroadcast(x, 3u));
}

fn lanes_4_to_7(x: f32) -> vec4<f32> {
    return vec4(subgroupBroadcast(x, 4u), subgroupBroadcast(x, 5u), subgroupBroadcast(x, 6u), subgroupBroadcast(x, 7u));
}

// Around the block at x, `dz` and `dy` from two rows before on; `row` is that of the block.
fn span_at(row: u32, dz: u32, dy: u32, channel: u32, x: u32, lane: u32) -> Span {
    let y = row % params.height + dy;
    let z = row / params.height % params.depth + dz;
    let inside = y >= 2u && y < params.height + 2u && z >= 2u && z < params.depth + 2u;
    let there = select(row, row + dz * params.height + dy - 2u * params.height - 2u, inside);
    let low = voxel_at(there, channel, x, 0u, lane, inside);
    let high = voxel_at(there, channel, x, 8u, lane, inside);
    return Span(lanes_0_to_3(low), lanes_4_to_7(low), lanes_0_to_3(high));
}

// This lane's two channels, kept below `count` so that they can be loaded.
fn below(column: u32, count: u32) -> vec2<u32> {
    return vec2(min(column, count - 1u), min(column + 8u, count - 1u));
}
