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

fn grad_at(row: u32, x: u32, columns: vec2<u32>) -> vec2<f32> {
    let at = (row * params.width + min(x, params.width - 1u)) * params.out_channels;
    var value = vec2(grad_output[at + columns.x], 0.0);
    if COLUMNS == 16u {
        value.y = grad_output[at + columns.y];
    }
    return select(vec2(0.0), value, x < params.width);
}

fn tap(a: vec4<f32>, b: vec4<f32>, y: Block) -> vec2<f32> {
    let first = (a.x * y.v0 + a.y * y.v1) + (a.z * y.v2 + a.w * y.v3);
    let second = (b.x * y.v4 + b.y * y.v5) + (b.z * y.v6 + b.w * y.v7);
    return first + second;
}

fn multiply_add(g: Taps, s: Span, y: Block) -> Taps {
    return Taps(
        g.t0 + tap(s.a, s.b, y),
        g.t1 + tap(vec4(s.a.yzw, s.b.x), vec4(s.b.yzw, s.c.x), y),
        g.t2 + tap(vec4(s.a.zw, s.b.xy), vec4(s.b.zw, s.c.xy), y),
        g.t3 + tap(vec4(s.a.w, s.b.xyz), vec4(s.b.w, s.c.xyz), y),
        g.t4 + tap(s.b, s.c, y),
    );
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

fn store_taps(at: u32, step: u32, column: u32, g: Taps) {
    store(at, column, g.t0);
    store(at + step, column, g.t1);
    store(at + 2u * step, column, g.t2);
    store(at + 3u * step, column, g.t3);
    store(at + 4u * step, column, g.t4);
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
    var g0 = Taps();
    var g1 = Taps();
    var g2 = Taps();
    var g3 = Taps();
    var g4 = Taps();
    for (var block = workgroup.z * length; block < end; block += 1u) {
        let row = block / per_row;
        let x = block % per_row * 8u;
        let y = Block(
            grad_at(row, x, columns),
            grad_at(row, x + 1u, columns),
            grad_at(row, x + 2u, columns),
            grad_at(row, x + 3u, columns),
            grad_at(row, x + 4u, columns),
            grad_at(row, x + 5u, columns),
            grad_at(row, x + 6u, columns),
            grad_at(row, x + 7u, columns),
        );
        g0 = multiply_add(g0, span_at(row, dz, 0u, i, x, lane), y);
        g1 = multiply_add(g1, span_at(row, dz, 1u, i, x, lane), y);
        g2 = multiply_add(g2, span_at(row, dz, 2u, i, x, lane), y);
        g3 = multiply_add(g3, span_at(row, dz, 3u, i, x, lane), y);
        g4 = multiply_add(g4, span_at(row, dz, 4u, i, x, lane), y);
    }
    let step = params.in_channels * params.out_channels;
    let to = (workgroup.z * 125u + dz * 25u) * step + i * params.out_channels + column;
    store_taps(to, step, column, g0);
    store_taps(to + 5u * step, step, column, g1);
    store_taps(to + 10u * step, step, column, g2);
    store_taps(to + 15u * step, step, column, g3);
    store_taps(to + 20u * step, step, column, g4);
}
