// partial[s, k, i, o] = sum over the windows v of split s of input[window(v, k), i] * grad_output[v, o]: the weight gradient
// of convolutions whose windows do not overlap, and of the transposed ones; conv3d_split_k_sum adds the splits.
//
// Layout     input [.., I], grad_output [.., O], partial [splits, taps, *, *] with a step per channel axis
// Grid       one workgroup per tap, IN_BLOCKS * 4 input channels, OUT_BLOCKS * 4 output channels and group of SPLITS splits,
//            folded
// Workgroup  SPLITS * IN_BLOCKS * OUT_BLOCKS invocations: each owns 4 x 4 channels of one split in registers
// Shared     SEGMENT voxels of both sides for each of SPLITS splits
// Traffic    2 vec4 from workgroup memory per 16 fused multiply-adds
// Bounds     any number of voxels and channels. Voxels are added in ascending order: no atomics
// Oracle     conv3d_grad_weight_naive
#import grid
#import outer_product
#import window

override SPLITS: u32;
override IN_BLOCKS: u32;
override OUT_BLOCKS: u32;
override INVOCATIONS: u32;
// SPLITS * IN_BLOCKS * SEGMENT and SPLITS * OUT_BLOCKS * SEGMENT
override INPUTS: u32;
override GRADS: u32;

const SEGMENT = 8u;

struct Params {
    window: Window,
    in_channels: u32,
    out_channels: u32,
    in_step: u32,
    out_step: u32,
    // Groups of SPLITS splits.
    groups: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

// [split][voxel][block of four channels]
var<workgroup> inputs: array<vec4<f32>, INPUTS>;
var<workgroup> grads: array<vec4<f32>, GRADS>;

fn input_at(at: u32, channel: u32) -> f32 {
    if channel < params.in_channels {
        return input[at + channel];
    }
    return 0.0;
}

fn grad_at(at: u32, channel: u32) -> f32 {
    if channel < params.out_channels {
        return grad_output[at + channel];
    }
    return 0.0;
}

fn stage(first: u32, tap: u32, in_channel: u32, out_channel: u32, local: u32) {
    for (var i = local; i < INPUTS; i += INVOCATIONS) {
        let c = in_channel + i % IN_BLOCKS * 4u;
        let voxel = first + i / IN_BLOCKS;
        var value = vec4(0.0);
        if voxel < params.window.voxels {
            let at = window_voxel(params.window, voxel, tap) * params.in_channels;
            value = vec4(input_at(at, c), input_at(at, c + 1u), input_at(at, c + 2u), input_at(at, c + 3u));
        }
        inputs[i] = value;
    }
    for (var i = local; i < GRADS; i += INVOCATIONS) {
        let c = out_channel + i % OUT_BLOCKS * 4u;
        let voxel = first + i / OUT_BLOCKS;
        var value = vec4(0.0);
        if voxel < params.window.voxels {
            let at = voxel * params.out_channels;
            value = vec4(grad_at(at, c), grad_at(at, c + 1u), grad_at(at, c + 2u), grad_at(at, c + 3u));
        }
        grads[i] = value;
    }
}

@compute @workgroup_size(INVOCATIONS)
fn conv3d_window_grad_weight(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
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

    let out_block = local % OUT_BLOCKS;
    let in_block = local / OUT_BLOCKS % IN_BLOCKS;
    let r = local / (OUT_BLOCKS * IN_BLOCKS);
    let from_input = r * SEGMENT * IN_BLOCKS + in_block;
    let from_grad = r * SEGMENT * OUT_BLOCKS + out_block;
    var sum = mat4x4<f32>();
    for (var first = group * SPLITS * SEGMENT; first < params.window.voxels; first += params.groups * SPLITS * SEGMENT) {
        workgroupBarrier();
        stage(first, tap, in_channel, out_channel, local);
        workgroupBarrier();
        for (var i = 0u; i < SEGMENT; i += 1u) {
            sum = outer(sum, inputs[from_input + i * IN_BLOCKS], grads[from_grad + i * OUT_BLOCKS]);
        }
    }
    // The workgroups of a folded grid's surplus have a group that does not exist.
    if group < params.groups {
        let split = (group * SPLITS + r) * taps + tap;
        let channels = vec2(in_channel + in_block * 4u, out_channel + out_block * 4u);
        let steps = vec2(params.in_step, params.out_step);
        store_products(split * params.in_channels * params.out_channels, steps, channels, sum);
    }
}
