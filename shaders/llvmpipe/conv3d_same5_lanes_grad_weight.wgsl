// partial[s, k, i, o] = sum over the voxels v of split s of input[v + k - 2, i] * grad_output[v, o], for a 5x5x5 convolution that
// keeps the extents, for subgroups of eight (llvmpipe).
//
// Layout     input [N, D, H, W, I], grad_output [N, D, H, W, O], partial [splits, 125, I, O]
// Grid       (COLUMNS output channels, 5 planes of taps by I, splits of blocks of 8 voxels along x)
// Workgroup  one subgroup: the 25 taps of a plane in registers
// Traffic    per block and COLUMNS 16: 26 loads per 400 multiply-adds of 8
// Bounds     any extents and channels; voxels outside are zero
// Oracle     conv3d_grad_weight_naive
#import same5_lanes

struct Params {
    rows: u32,
    depth: u32,
    height: u32,
    width: u32,
    in_channels: u32,
    out_channels: u32,
    // Of the 5 planes of taps by I.
    first_plane: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

// This lane's channels of the eight voxels of a block.
struct Pairs {
    v0: vec2<f32>,
    v1: vec2<f32>,
    v2: vec2<f32>,
    v3: vec2<f32>,
    v4: vec2<f32>,
    v5: vec2<f32>,
    v6: vec2<f32>,
    v7: vec2<f32>,
}

fn grad_at(row: u32, x: u32, columns: vec2<u32>) -> vec2<f32> {
    let at = (row * params.width + min(x, params.width - 1u)) * params.out_channels;
    var value = vec2(grad_output[at + columns.x], 0.0);
    if COLUMNS == 16u {
        value.y = grad_output[at + columns.y];
    }
    return select(vec2(0.0), value, x < params.width);
}

fn tap_0(s: Span, y: Pairs) -> vec2<f32> {
    let first = (s.low.k0 * y.v0 + s.low.k1 * y.v1) + (s.low.k2 * y.v2 + s.low.k3 * y.v3);
    let second = (s.low.k4 * y.v4 + s.low.k5 * y.v5) + (s.low.k6 * y.v6 + s.low.k7 * y.v7);
    return first + second;
}

fn tap_1(s: Span, y: Pairs) -> vec2<f32> {
    let first = (s.low.k1 * y.v0 + s.low.k2 * y.v1) + (s.low.k3 * y.v2 + s.low.k4 * y.v3);
    let second = (s.low.k5 * y.v4 + s.low.k6 * y.v5) + (s.low.k7 * y.v6 + s.high.k0 * y.v7);
    return first + second;
}

fn tap_2(s: Span, y: Pairs) -> vec2<f32> {
    let first = (s.low.k2 * y.v0 + s.low.k3 * y.v1) + (s.low.k4 * y.v2 + s.low.k5 * y.v3);
    let second = (s.low.k6 * y.v4 + s.low.k7 * y.v5) + (s.high.k0 * y.v6 + s.high.k1 * y.v7);
    return first + second;
}

fn tap_3(s: Span, y: Pairs) -> vec2<f32> {
    let first = (s.low.k3 * y.v0 + s.low.k4 * y.v1) + (s.low.k5 * y.v2 + s.low.k6 * y.v3);
    let second = (s.low.k7 * y.v4 + s.high.k0 * y.v5) + (s.high.k1 * y.v6 + s.high.k2 * y.v7);
    return first + second;
}

fn tap_4(s: Span, y: Pairs) -> vec2<f32> {
    let first = (s.low.k4 * y.v0 + s.low.k5 * y.v1) + (s.low.k6 * y.v2 + s.low.k7 * y.v3);
    let second = (s.high.k0 * y.v4 + s.high.k1 * y.v5) + (s.high.k2 * y.v6 + s.high.k3 * y.v7);
    return first + second;
}

fn store(at: u32, column: u32, value: vec2<f32>) {
    if column < params.out_channels {
        partial[at] = value.x;
    }
    if COLUMNS == 16u {
        if column + 8u < params.out_channels {
            partial[at + 8u] = value.y;
        }
    }
}

@compute @workgroup_size(8)
fn conv3d_same5_lanes_grad_weight(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let column = workgroup.x * COLUMNS + lane;
    let columns = below(column, params.out_channels);
    let plane = params.first_plane + workgroup.y;
    let dz = plane / params.in_channels;
    let i = plane % params.in_channels;
    let per_row = (params.width + 7u) / 8u;
    let blocks = params.rows * per_row;
    let length = (blocks + grid.z - 1u) / grid.z;
    let end = min((workgroup.z + 1u) * length, blocks);
    var g0 = vec2<f32>();
    var g1 = vec2<f32>();
    var g2 = vec2<f32>();
    var g3 = vec2<f32>();
    var g4 = vec2<f32>();
    var g5 = vec2<f32>();
    var g6 = vec2<f32>();
    var g7 = vec2<f32>();
    var g8 = vec2<f32>();
    var g9 = vec2<f32>();
    var g10 = vec2<f32>();
    var g11 = vec2<f32>();
    var g12 = vec2<f32>();
    var g13 = vec2<f32>();
    var g14 = vec2<f32>();
    var g15 = vec2<f32>();
    var g16 = vec2<f32>();
    var g17 = vec2<f32>();
    var g18 = vec2<f32>();
    var g19 = vec2<f32>();
    var g20 = vec2<f32>();
    var g21 = vec2<f32>();
    var g22 = vec2<f32>();
    var g23 = vec2<f32>();
    var g24 = vec2<f32>();
    for (var block = workgroup.z * length; block < end; block += 1u) {
        let row = block / per_row;
        let x = block % per_row * 8u;
        let y = Pairs(
            grad_at(row, x, columns),
            grad_at(row, x + 1u, columns),
            grad_at(row, x + 2u, columns),
            grad_at(row, x + 3u, columns),
            grad_at(row, x + 4u, columns),
            grad_at(row, x + 5u, columns),
            grad_at(row, x + 6u, columns),
            grad_at(row, x + 7u, columns),
        );
        let s0 = span_at(row, dz, 0u, i, x, lane);
        g0 += tap_0(s0, y);
        g1 += tap_1(s0, y);
        g2 += tap_2(s0, y);
        g3 += tap_3(s0, y);
        g4 += tap_4(s0, y);
        let s1 = span_at(row, dz, 1u, i, x, lane);
        g5 += tap_0(s1, y);
        g6 += tap_1(s1, y);
        g7 += tap_2(s1, y);
        g8 += tap_3(s1, y);
        g9 += tap_4(s1, y);
        let s2 = span_at(row, dz, 2u, i, x, lane);
        g10 += tap_0(s2, y);
        g11 += tap_1(s2, y);
        g12 += tap_2(s2, y);
        g13 += tap_3(s2, y);
        g14 += tap_4(s2, y);
        let s3 = span_at(row, dz, 3u, i, x, lane);
        g15 += tap_0(s3, y);
        g16 += tap_1(s3, y);
        g17 += tap_2(s3, y);
        g18 += tap_3(s3, y);
        g19 += tap_4(s3, y);
        let s4 = span_at(row, dz, 4u, i, x, lane);
        g20 += tap_0(s4, y);
        g21 += tap_1(s4, y);
        g22 += tap_2(s4, y);
        g23 += tap_3(s4, y);
        g24 += tap_4(s4, y);
    }
    let step = params.in_channels * params.out_channels;
    let to = (workgroup.z * 125u + dz * 25u) * step + i * params.out_channels + column;
    store(to + 0u * step, column, g0);
    store(to + 1u * step, column, g1);
    store(to + 2u * step, column, g2);
    store(to + 3u * step, column, g3);
    store(to + 4u * step, column, g4);
    store(to + 5u * step, column, g5);
    store(to + 6u * step, column, g6);
    store(to + 7u * step, column, g7);
    store(to + 8u * step, column, g8);
    store(to + 9u * step, column, g9);
    store(to + 10u * step, column, g10);
    store(to + 11u * step, column, g11);
    store(to + 12u * step, column, g12);
    store(to + 13u * step, column, g13);
    store(to + 14u * step, column, g14);
    store(to + 15u * step, column, g15);
    store(to + 16u * step, column, g16);
    store(to + 17u * step, column, g17);
    store(to + 18u * step, column, g18);
    store(to + 19u * step, column, g19);
    store(to + 20u * step, column, g20);
    store(to + 21u * step, column, g21);
    store(to + 22u * step, column, g22);
    store(to + 23u * step, column, g23);
    store(to + 24u * step, column, g24);
}
