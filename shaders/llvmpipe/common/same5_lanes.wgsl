// The 5x5x5 convolution that keeps the extents for a subgroup of eight, in blocks of eight voxels of a row: a lane has channels
// `column` and, where COLUMNS is 16, `column + 8` of the output's side; the other side's voxels are broadcast.
#import lanes

override COLUMNS: u32;

// Twelve voxels of a row, from two before a block on.
struct Span {
    low: Slice,
    high: Slice, // of which the first four count
}

// One voxel by this lane; zero outside the row.
fn voxel_at(row: u32, channel: u32, x: u32, shift: u32, lane: u32, inside: bool) -> f32 {
    // From 2 on, so that nothing is below zero.
    let at = x + shift + lane;
    let value = input[(row * params.width + clamp(at, 2u, params.width + 1u) - 2u) * params.in_channels + channel];
    return select(0.0, value, inside && at >= 2u && at < params.width + 2u);
}

// Around the block at x, `dz` and `dy` from two rows before on; `row` is that of the block.
fn span_at(row: u32, dz: u32, dy: u32, channel: u32, x: u32, lane: u32) -> Span {
    let y = row % params.height + dy;
    let z = row / params.height % params.depth + dz;
    let inside = y >= 2u && y < params.height + 2u && z >= 2u && z < params.depth + 2u;
    let there = select(row, row + dz * params.height + dy - 2u * params.height - 2u, inside);
    return Span(
        spread(voxel_at(there, channel, x, 0u, lane, inside)),
        spread(voxel_at(there, channel, x, 8u, lane, inside)),
    );
}

// This lane's two channels, kept below `count` so that they can be loaded.
fn below(column: u32, count: u32) -> vec2<u32> {
    return vec2(min(column, count - 1u), min(column + 8u, count - 1u));
}
