// Weight gradients whose sum over voxels is split among workgroups (ops/conv3d/kernels/split_k.rs): what is staged, sums of
// products of four input by four output channels, and their way into `partial`. The shader declares `Params` with in_channels
// and out_channels.
#import grid

override SPLITS: u32;
override IN_BLOCKS: u32;
override OUT_BLOCKS: u32;
override INVOCATIONS: u32;
// Staged blocks of four channels of the input and of the output's gradient.
override INPUTS: u32;
override GRADS: u32;

// Voxels of grad_output that are staged at a time.
const SEGMENT = 8u;

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

fn inputs_at(at: u32, channel: u32) -> vec4<f32> {
    return vec4(input_at(at, channel), input_at(at, channel + 1u), input_at(at, channel + 2u), input_at(at, channel + 3u));
}

fn grads_at(at: u32, channel: u32) -> vec4<f32> {
    return vec4(grad_at(at, channel), grad_at(at, channel + 1u), grad_at(at, channel + 2u), grad_at(at, channel + 3u));
}

// First channels of a workgroup, and what is left of its number.
struct Channels {
    in_channel: u32,
    out_channel: u32,
    rest: u32,
}

fn channels_of(number: u32) -> Channels {
    let in_tiles = (params.in_channels + 4u * IN_BLOCKS - 1u) / (4u * IN_BLOCKS);
    let out_tiles = (params.out_channels + 4u * OUT_BLOCKS - 1u) / (4u * OUT_BLOCKS);
    let rest = number / out_tiles;
    return Channels(rest % in_tiles * 4u * IN_BLOCKS, number % out_tiles * 4u * OUT_BLOCKS, rest / in_tiles);
}

// sum + x * transpose(g): columns are input channels.
fn outer(sum: mat4x4<f32>, x: vec4<f32>, g: vec4<f32>) -> mat4x4<f32> {
    return mat4x4(
        fma(vec4(x.x), g, sum[0]),
        fma(vec4(x.y), g, sum[1]),
        fma(vec4(x.z), g, sum[2]),
        fma(vec4(x.w), g, sum[3]),
    );
}

fn store_channels(at: u32, step: u32, out_channel: u32, values: vec4<f32>) {
    let count = params.out_channels - min(out_channel, params.out_channels);
    if count > 0u {
        partial[at] = values.x;
    }
    if count > 1u {
        partial[at + step] = values.y;
    }
    if count > 2u {
        partial[at + 2u * step] = values.z;
    }
    if count > 3u {
        partial[at + 3u * step] = values.w;
    }
}

// Writes to `first` + i * in_step + o * out_step.
fn store_products(first: u32, steps: vec2<u32>, channels: vec2<u32>, sum: mat4x4<f32>) {
    let at = first + channels.x * steps.x + channels.y * steps.y;
    let count = params.in_channels - min(channels.x, params.in_channels);
    if count > 0u {
        store_channels(at, steps.y, channels.y, sum[0]);
    }
    if count > 1u {
        store_channels(at + steps.x, steps.y, channels.y, sum[1]);
    }
    if count > 2u {
        store_channels(at + 2u * steps.x, steps.y, channels.y, sum[2]);
    }
    if count > 3u {
        store_channels(at + 3u * steps.x, steps.y, channels.y, sum[3]);
    }
}
