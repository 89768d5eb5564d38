// Convolutions of any kernel, stride and padding as gemms with an index map:
//   gather   output[v, o] = bias[o] + sum over taps k and i of input[window(v, k), i] * weight[k, i, o]
//   scatter  output[v, o] = bias[o] + sum over taps k that meet v, at input[u], and i of input[u, i] * weight[k, i, o]
// Gather is the convolution forward and the transposed one's input gradient; scatter the transposed convolution forward and the
// convolution's input gradient, class by class of voxels that meet the same taps. A class of windows without overlap has one tap.
//
// Layout     channels innermost; weight: taps of `tap_step` elements, with a step per channel axis
// Grid       one workgroup per 8 * INVOCATIONS voxels, eight output channels and (scatter) class, folded
// Workgroup  INVOCATIONS invocations, each 8 voxels (INVOCATIONS apart) x 8 channels in registers
// Shared     the weights of CHUNK input channels: 1024 bytes
// Traffic    8 loads from memory and 2 vec4 from workgroup memory per 64 fused multiply-adds
// Bounds     any number of voxels and channels; voxels outside are zero
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

// What the taps of a class have in common, along each axis: they are first + t * stride for t below count, and meet the voxel
// base - t further than the result's.
struct Class {
    residue: vec3<u32>,
    first: vec3<u32>,
    count: vec3<u32>,
    base: vec3<u32>,
}

fn class_of(number: u32) -> Class {
    let w = params.window;
    let kernel = vec3(w.kernel_d, w.kernel_h, w.kernel_w);
    if params.scatter == 0u {
        return Class(vec3(0u), vec3(0u), kernel, vec3(0u));
    }
    let stride = vec3(w.stride_d, w.stride_h, w.stride_w);
    let row = number / w.stride_w;
    let plane = row / w.stride_h;
    let residue = vec3(plane, row - plane * w.stride_h, number - row * w.stride_w);
    let shifted = residue + vec3(w.padding_d, w.padding_h, w.padding_w);
    let first = shifted % stride;
    let count = (kernel + stride - 1u - min(first, kernel)) / stride;
    return Class(residue, first, count, shifted / stride);
}

// Tap t of a class, counted x fastest, by its number along each axis.
fn tap_of(here: Class, number: u32) -> vec3<u32> {
    let row = number / here.count.z;
    let plane = row / here.count.y;
    return vec3(plane, row - plane * here.count.y, number - row * here.count.z);
}

// Place of a tap in the weights.
fn weight_tap(here: Class, t: vec3<u32>) -> u32 {
    let w = params.window;
    let stride = select(vec3(1u), vec3(w.stride_d, w.stride_h, w.stride_w), params.scatter != 0u);
    let k = here.first + t * stride;
    return (k.x * w.kernel_h + k.y) * w.kernel_w + k.z;
}

// What a voxel of the result meets at a tap; what the last does for those after it, which are not stored.
fn source(voxel: u32, here: Class, t: vec3<u32>) -> Place {
    let w = params.window;
    let p = position_of(w, min(voxel, w.voxels - 1u));
    if params.scatter != 0u {
        return place_of(p.sample, p.voxel + here.base - t, vec3(w.out_d, w.out_h, w.out_w));
    }
    let start = p.voxel * vec3(w.stride_d, w.stride_h, w.stride_w);
    return place_of(p.sample, start + t - vec3(w.padding_d, w.padding_h, w.padding_w), vec3(w.in_d, w.in_h, w.in_w));
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

fn store(voxel: u32, here: Class, channel: u32, low: vec4<f32>, high: vec4<f32>) {
    let w = params.window;
    if voxel >= w.voxels {
        return;
    }
    var place = Place(voxel, true);
    if params.scatter != 0u {
        let p = position_of(w, voxel);
        let at = p.voxel * vec3(w.stride_d, w.stride_h, w.stride_w) + here.residue;
        place = place_of(p.sample, at, vec3(w.in_d, w.in_h, w.in_w));
    }
    if place.exists {
        store_channels(place.at, channel, low);
        store_channels(place.at, channel + 4u, high);
    }
}

fn inputs_at(a: vec4<u32>, exists: vec4<bool>) -> vec4<f32> {
    return select(vec4(0.0), vec4(input[a.x], input[a.y], input[a.z], input[a.w]), exists);
}

@compute @workgroup_size(INVOCATIONS)
fn conv3d_window(invocation: Invocation) {
    let w = params.window;
    let blocks = (params.out_channels + 7u) / 8u;
    let classes = select(1u, w.stride_d * w.stride_h * w.stride_w, params.scatter != 0u);
    var number = params.first_workgroup + workgroup_number(invocation);
    let out_channel = number % blocks * 8u;
    number /= blocks;
    let here = class_of(number % classes);
    let voxel = number / classes * 8u * INVOCATIONS + invocation.local;
    let taps = here.count.x * here.count.y * here.count.z;

    var low = filled(biases_at(out_channel));
    var high = filled(biases_at(out_channel + 4u));
    for (var number = 0u; number < taps; number += 1u) {
        let t = tap_of(here, number);
        let tap = weight_tap(here, t);
        let p0 = source(voxel, here, t);
        let p1 = source(voxel + INVOCATIONS, here, t);
        let p2 = source(voxel + 2u * INVOCATIONS, here, t);
        let p3 = source(voxel + 3u * INVOCATIONS, here, t);
        let p4 = source(voxel + 4u * INVOCATIONS, here, t);
        let p5 = source(voxel + 5u * INVOCATIONS, here, t);
        let p6 = source(voxel + 6u * INVOCATIONS, here, t);
        let p7 = source(voxel + 7u * INVOCATIONS, here, t);
        let from_a = vec4(p0.at, p1.at, p2.at, p3.at) * params.in_channels;
        let from_b = vec4(p4.at, p5.at, p6.at, p7.at) * params.in_channels;
        let exists_a = vec4(p0.exists, p1.exists, p2.exists, p3.exists);
        let exists_b = vec4(p4.exists, p5.exists, p6.exists, p7.exists);
        for (var first = 0u; first < params.in_channels; first += CHUNK) {
            workgroupBarrier();
            stage(tap, first, out_channel, invocation.local);
            workgroupBarrier();
            let count = min(CHUNK, params.in_channels - first);
            for (var i = 0u; i < count; i += 1u) {
                let a = inputs_at(from_a + (first + i), exists_a);
                let b = inputs_at(from_b + (first + i), exists_b);
                add_scaled(&low, a, b, staged[2u * i]);
                add_scaled(&high, a, b, staged[2u * i + 1u]);
            }
        }
    }
    store(voxel, here, out_channel, low.a0, high.a0);
    store(voxel + INVOCATIONS, here, out_channel, low.a1, high.a1);
    store(voxel + 2u * INVOCATIONS, here, out_channel, low.a2, high.a2);
    store(voxel + 3u * INVOCATIONS, here, out_channel, low.a3, high.a3);
    store(voxel + 4u * INVOCATIONS, here, out_channel, low.a4, high.a4);
    store(voxel + 5u * INVOCATIONS, here, out_channel, low.a5, high.a5);
    store(voxel + 6u * INVOCATIONS, here, out_channel, low.a6, high.a6);
    store(voxel + 7u * INVOCATIONS, here, out_channel, low.a7, high.a7);
}
