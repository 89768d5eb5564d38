// partial[s, k, i, o] = sum over the coarse voxels v of share s of fine[fine(v, k), i] * coarse[v, o]: the weight gradient
// of convolutions whose windows do not overlap, and of the transposed ones; conv3d_sum_shares adds the shares.
//
// Layout     fine [.., I], coarse [.., O], partial [shares, taps, *, *] with a step per channel axis
// Grid       one workgroup per tap, IN_BLOCKS * 4 fine channels, OUT_BLOCKS * 4 coarse channels and group of ROWS shares,
//            folded
// Workgroup  ROWS * IN_BLOCKS * OUT_BLOCKS invocations: each owns 4 x 4 channels of one share in registers
// Shared     SEGMENT voxels of both sides for each of ROWS shares
// Traffic    2 vec4 from workgroup memory per 16 fused multiply-adds
// Bounds     any number of voxels and channels. Voxels are added in ascending order: no atomics
// Oracle     conv3d_grad_weight_naive
#import grid
#import outer_product
#import window

override ROWS: u32;
override IN_BLOCKS: u32;
override OUT_BLOCKS: u32;
override LANES: u32;
// ROWS * IN_BLOCKS * SEGMENT and ROWS * OUT_BLOCKS * SEGMENT
override INPUTS: u32;
override GRADS: u32;

const SEGMENT = 8u;

struct Params {
    window: Window,
    in_channels: u32,
    out_channels: u32,
    in_step: u32,
    out_step: u32,
    // Groups of ROWS shares.
    groups: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> fine: array<f32>;
@group(0) @binding(2) var<storage, read> coarse: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

// [share][voxel][block of four channels]
var<workgroup> inputs: array<vec4<f32>, INPUTS>;
var<workgroup> grads: array<vec4<f32>, GRADS>;

fn fine_at(at: u32, channel: u32) -> f32 {
    if channel < params.in_channels {
        return fine[at + channel];
    }
    return 0.0;
}

fn coarse_at(at: u32, channel: u32) -> f32 {
    if channel < params.out_channels {
        return coarse[at + channel];
    }
    return 0.0;
}

fn stage(first: u32, tap: u32, in_channel: u32, out_channel: u32, lane: u32) {
    for (var i = lane; i < INPUTS; i += LANES) {
        let c = in_channel + i % IN_BLOCKS * 4u;
        let voxel = first + i / IN_BLOCKS;
        var value = vec4(0.0);
        if voxel < params.window.voxels {
            let at = fine_voxel(params.window, voxel, tap) * params.in_channels;
            value = vec4(fine_at(at, c), fine_at(at, c + 1u), fine_at(at, c + 2u), fine_at(at, c + 3u));
        }
        inputs[i] = value;
    }
    for (var i = lane; i < GRADS; i += LANES) {
        let c = out_channel + i % OUT_BLOCKS * 4u;
        let voxel = first + i / OUT_BLOCKS;
        var value = vec4(0.0);
        if voxel < params.window.voxels {
            let at = voxel * params.out_channels;
            value = vec4(coarse_at(at, c), coarse_at(at, c + 1u), coarse_at(at, c + 2u), coarse_at(at, c + 3u));
        }
        grads[i] = value;
    }
}

@compute @workgroup_size(LANES)
fn conv3d_window_grad_weight(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let taps = params.window.taps;
    let in_tiles = (params.in_channels + 4u * IN_BLOCKS - 1u) / (4u * IN_BLOCKS);
    let out_tiles = (params.out_channels + 4u * OUT_BLOCKS - 1u) / (4u * OUT_BLOCKS);
    var number = params.first_workgroup + linear_workgroup(workgroup, grid);
    let out_channel = number % out_tiles * 4u * OUT_BLOCKS;
    number /= out_tiles;
    let in_channel = number % in_tiles * 4u * IN_BLOCKS;
    number /= in_tiles;
    let tap = number % taps;
    let group = number / taps;

    let out_block = lane % OUT_BLOCKS;
    let in_block = lane / OUT_BLOCKS % IN_BLOCKS;
    let r = lane / (OUT_BLOCKS * IN_BLOCKS);
    let from_input = r * SEGMENT * IN_BLOCKS + in_block;
    let from_grad = r * SEGMENT * OUT_BLOCKS + out_block;
    var sum = mat4x4<f32>();
    for (var first = group * ROWS * SEGMENT; first < params.window.voxels; first += params.groups * ROWS * SEGMENT) {
        workgroupBarrier();
        stage(first, tap, in_channel, out_channel, lane);
        workgroupBarrier();
        for (var i = 0u; i < SEGMENT; i += 1u) {
            sum = outer(sum, inputs[from_input + i * IN_BLOCKS], grads[from_grad + i * OUT_BLOCKS]);
        }
    }
    // The workgroups of a folded grid's surplus have a group that does not exist.
    if group < params.groups {
        let share = (group * ROWS + r) * taps + tap;
        let channels = vec2(in_channel + in_block * 4u, out_channel + out_block * 4u);
        let steps = vec2(params.in_step, params.out_step);
        store_products(share * params.in_channels * params.out_channels, steps, channels, sum);
    }
}
