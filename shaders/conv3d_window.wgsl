// Convolutions whose windows do not overlap (2x2x2 with stride 2, 1x1x1) as gemms with an index map:
//   gather   output[v, o] = bias[o] + sum over taps k and i of input[window(v, k), i] * weight[k, i, o]
//   scatter  output[window(v, k), o] = bias[o] + sum over i of input[v, i] * weight[k, i, o], one gemm per tap
// v runs over windows. Gather is the convolution forward and the transposed one's input gradient; scatter the
// transposed convolution forward and the convolution's input gradient.
//
// Layout     channels innermost; weight: taps of `tap_step` elements, with a step per channel axis
// Grid       one workgroup per 8 * INVOCATIONS voxels, eight output channels and (scatter) tap, folded
// Workgroup  INVOCATIONS invocations, each 8 voxels (INVOCATIONS apart) x 8 channels in registers
// Shared     the weights of CHUNK input channels: 1024 bytes
// Traffic    8 loads from memory and 2 vec4 from workgroup memory per 64 fused multiply-adds
// Bounds     any number of voxels and channels
// Oracle     conv3d_naive, conv3d_grad_input_naive
#import grid
#import row_tile
#import tile_output
#import window

override INVOCATIONS: u32;

const CHUNK = 32u;
const STAGED = CHUNK * 2u;

struct Params {
    window: Window,
    in_channels: u32,
    out_channels: u32,
    tap_step: u32,
    in_step: u32,
    out_step: u32,
    scatter: u32,
    with_bias: u32,
    first_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

// [channel of the chunk][half of the output channels]
var<workgroup> staged: array<vec4<f32>, STAGED>;

fn stage(tap: u32, first: u32, out_channel: u32, local: u32) {
    for (var i = local; i < STAGED; i += INVOCATIONS) {
        let channel = first + i / 2u;
        var value = vec4(0.0);
        if channel < params.in_channels {
            let base = tap * params.tap_step + channel * params.in_step;
            value = weights_at(base, out_channel + i % 2u * 4u);
        }
        staged[i] = value;
    }
}

// First input element of a voxel; of the last voxel for those after it, which are not stored.
fn input_at(voxel: u32, tap: u32) -> u32 {
    let v = min(voxel, params.window.voxels - 1u);
    return select(window_voxel(params.window, v, tap), v, params.scatter != 0u) * params.in_channels;
}

fn add_scaled(tile: ptr<function, Tile>, a: vec4<f32>, b: vec4<f32>, w: vec4<f32>) {
    (*tile).a0 = fma(vec4(a.x), w, (*tile).a0);
    (*tile).a1 = fma(vec4(a.y), w, (*tile).a1);
    (*tile).a2 = fma(vec4(a.z), w, (*tile).a2);
    (*tile).a3 = fma(vec4(a.w), w, (*tile).a3);
    (*tile).a4 = fma(vec4(b.x), w, (*tile).a4);
    (*tile).a5 = fma(vec4(b.y), w, (*tile).a5);
    (*tile).a6 = fma(vec4(b.z), w, (*tile).a6);
    (*tile).a7 = fma(vec4(b.w), w, (*tile).a7);
}

fn store(voxel: u32, tap: u32, channel: u32, low: vec4<f32>, high: vec4<f32>) {
    if voxel < params.window.voxels {
        let at = select(voxel, window_voxel(params.window, voxel, tap), params.scatter != 0u);
        store_channels(at, channel, low);
        store_channels(at, channel + 4u, high);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn conv3d_window(invocation: Invocation) {
    let taps = params.window.taps;
    let blocks = (params.out_channels + 7u) / 8u;
    let gemms = select(1u, taps, params.scatter != 0u);
    var number = params.first_workgroup + workgroup_number(invocation);
    let out_channel = number % blocks * 8u;
    number /= blocks;
    let first_tap = number % gemms;
    let voxel = number / gemms * 8u * INVOCATIONS + invocation.local;

    var low = filled(biases_at(out_channel));
    var high = filled(biases_at(out_channel + 4u));
    for (var t = 0u; t < taps; t += gemms) {
        let tap = first_tap + t;
        let from_a = vec4(
            input_at(voxel, tap),
            input_at(voxel + INVOCATIONS, tap),
            input_at(voxel + 2u * INVOCATIONS, tap),
            input_at(voxel + 3u * INVOCATIONS, tap),
        );
        let from_b = vec4(
            input_at(voxel + 4u * INVOCATIONS, tap),
            input_at(voxel + 5u * INVOCATIONS, tap),
            input_at(voxel + 6u * INVOCATIONS, tap),
            input_at(voxel + 7u * INVOCATIONS, tap),
        );
        for (var first = 0u; first < params.in_channels; first += CHUNK) {
            workgroupBarrier();
            stage(tap, first, out_channel, invocation.local);
            workgroupBarrier();
            let count = min(CHUNK, params.in_channels - first);
            for (var i = 0u; i < count; i += 1u) {
                let at = from_a + (first + i);
                let bt = from_b + (first + i);
                let a = vec4(input[at.x], input[at.y], input[at.z], input[at.w]);
                let b = vec4(input[bt.x], input[bt.y], input[bt.z], input[bt.w]);
                add_scaled(&low, a, b, staged[2u * i]);
                add_scaled(&high, a, b, staged[2u * i + 1u]);
            }
        }
    }
    store(voxel, first_tap, out_channel, low.a0, high.a0);
    store(voxel + INVOCATIONS, first_tap, out_channel, low.a1, high.a1);
    store(voxel + 2u * INVOCATIONS, first_tap, out_channel, low.a2, high.a2);
    store(voxel + 3u * INVOCATIONS, first_tap, out_channel, low.a3, high.a3);
    store(voxel + 4u * INVOCATIONS, first_tap, out_channel, low.a4, high.a4);
    store(voxel + 5u * INVOCATIONS, first_tap, out_channel, low.a5, high.a5);
    store(voxel + 6u * INVOCATIONS, first_tap, out_channel, low.a6, high.a6);
    store(voxel + 7u * INVOCATIONS, first_tap, out_channel, low.a7, high.a7);
}
