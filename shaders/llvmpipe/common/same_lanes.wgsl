// The convolution of TAPS_Z x TAPS_Y x TAPS_X taps that keeps the extents for a subgroup of eight, in blocks of eight voxels of a row: a lane has channels
// `column` and, where COLUMNS is 16, `column + 8` of the output's side; the other side's voxels are broadcast.

override COLUMNS: u32;

const HALF_Z = {TAPS_Z}u / 2u;
const HALF_Y = {TAPS_Y}u / 2u;
const HALF_X = {TAPS_X}u / 2u;

// This lane's channels of neighbouring taps along x: of weights, or sums of their gradients.
alias Taps = array<vec2<f32>, {TAPS_X}>;

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

// The voxels of a row under a block and its taps.
alias Span = array<f32, {ROW}>;

// One voxel by this lane; zero outside the row.
fn voxel_at(row: u32, channel: u32, x: u32, shift: u32, lane: u32, inside: bool) -> f32 {
    // From HALF_X on, so that nothing is below zero.
    let at = x + shift + lane;
    let there = clamp(at, HALF_X, params.width + HALF_X - 1u) - HALF_X;
    let value = input[(row * params.width + there) * params.in_channels + channel];
    return select(0.0, value, inside && at >= HALF_X && at < params.width + HALF_X);
}

// Around the block at x, `dz` and `dy` from HALF_Z planes and HALF_Y rows before on; `row` is that of the block.
fn span_at(row: u32, dz: u32, dy: u32, channel: u32, x: u32, lane: u32) -> Span {
    let y = row % params.height + dy;
    let z = row / params.height % params.depth + dz;
    let inside = y >= HALF_Y && y < params.height + HALF_Y && z >= HALF_Z && z < params.depth + HALF_Z;
    let there = select(row, row + dz * params.height + dy - HALF_Z * params.height - HALF_Y, inside);
    let low = voxel_at(there, channel, x, 0u, lane, inside);
    var high = 0.0;
    if {TAPS_X}u > 1u {
        high = voxel_at(there, channel, x, 8u, lane, inside);
    }
    return Span(
#each i in VOXELS
        subgroupBroadcast(low, {i}u),
#end
#each i in SHARED
        subgroupBroadcast(high, {i}u),
#end
    );
}

// Sums of one, three and five products, by halves.
fn sum_of_1(a: vec2<f32>) -> vec2<f32> {
    return a;
}

fn sum_of_3(a: vec2<f32>, b: vec2<f32>, c: vec2<f32>) -> vec2<f32> {
    return (a + b) + c;
}

fn sum_of_5(a: vec2<f32>, b: vec2<f32>, c: vec2<f32>, d: vec2<f32>, e: vec2<f32>) -> vec2<f32> {
    return ((a + b) + (c + d)) + e;
}

// This lane's two channels, kept below `count` so that they can be loaded.
fn below(column: u32, count: u32) -> vec2<u32> {
    return vec2(min(column, count - 1u), min(column + 8u, count - 1u));
}
