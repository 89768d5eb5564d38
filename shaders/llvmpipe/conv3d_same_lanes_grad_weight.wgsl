// partial[s, k, i, o] = sum over the voxels v of split s of input[v + k - taps / 2, i] * grad_output[v, o], for a convolution of TAPS_Z x
// TAPS_Y x TAPS_X taps that keeps the extents, for subgroups of eight (llvmpipe).
//
// Layout     input [N, D, H, W, I], grad_output [N, D, H, W, O], partial [splits, taps, I, O]
// Grid       (COLUMNS output channels, planes of taps by I, splits of blocks of 8 voxels along x)
// Workgroup  one subgroup: the taps of a plane in registers
// Traffic    per block and COLUMNS 16: 16 + 2 TAPS_Y loads per 16 TAPS_Y TAPS_X multiply-adds of 8
// Bounds     any extents and channels; voxels outside are zero
// Oracle     conv3d_grad_weight_naive
#import same_lanes

struct Params {
    rows: u32,
    depth: u32,
    height: u32,
    width: u32,
    in_channels: u32,
    out_channels: u32,
    // Of the planes of taps by I.
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

// The sum over a block for the tap whose voxels are these.
fn tap(x: array<f32, 8>, y: Block) -> vec2<f32> {
    let first = (x[0] * y.v0 + x[1] * y.v1) + (x[2] * y.v2 + x[3] * y.v3);
    let second = (x[4] * y.v4 + x[5] * y.v5) + (x[6] * y.v6 + x[7] * y.v7);
    return first + second;
}

fn multiply_add(g: Taps, s: Span, y: Block) -> Taps {
    return Taps(
#each k in TAPS_X
        g[{k}u] + tap(array(
#each i in VOXELS
            s[{k}u + {i}u],
#end
        ), y),
#end
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
#each k in TAPS_X
    store(at + {k}u * step, column, g[{k}u]);
#end
}

@compute @workgroup_size(8)
fn conv3d_same_lanes_grad_weight(
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
#each y in TAPS_Y
    var g{y} = Taps();
#end
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
#each y in TAPS_Y
        g{y} = multiply_add(g{y}, span_at(row, dz, {y}u, i, x, lane), y);
#end
    }
    let step = params.in_channels * params.out_channels;
    let plane_taps = {TAPS_Y}u * {TAPS_X}u;
    let to = (workgroup.z * {TAPS_Z}u + dz) * plane_taps * step + i * params.out_channels + column;
#each y in TAPS_Y
    store_taps(to + {y}u * {TAPS_X}u * step, step, column, g{y});
#end
}
