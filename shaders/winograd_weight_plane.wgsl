// The weights' transform along y and x, behind winograd_weight_depth: 8 x 8 frequencies of each pair of channels and
// frequency along z. For the gradient with respect to the input the taps are taken from the other end and the channels
// change places.
//
// Layout   partial [8, 25, I, O], frequencies [.., 8, 8, from, to], padded, with (from, to) = (I, O) or (O, I)
// Grid     (64 elements (from, to), frequencies along z)
// Traffic  25 loads and 64 stores per 64 frequencies
// Bounds   padded channels are zero
// Oracle   as winograd_weight_depth
#import winograd_store

struct Params {
    from_channels: u32,
    to_channels: u32,
    padded_from: u32,
    padded_to: u32,
    from_step: u32,       // elements between neighbouring channels of the partial
    to_step: u32,
    first_frequency: u32, // along z
    frequency_step: u32,
    mirrored: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> frequencies: array<f32>;

fn tap_at(first: u32, step: u32, y: u32, x: u32) -> f32 {
    let tap = y * 5u + x;
    return partial[first + select(tap, 24u - tap, params.mirrored != 0u) * step];
}

fn left_at(first: u32, step: u32, y: u32) -> vec4<f32> {
    return vec4(
        tap_at(first, step, y, 0u),
        tap_at(first, step, y, 1u),
        tap_at(first, step, y, 2u),
        tap_at(first, step, y, 3u),
    );
}

fn right_at(first: u32, step: u32, y: u32) -> vec4<f32> {
    return vec4(tap_at(first, step, y, 4u), 0.0, 0.0, 0.0);
}

@compute @workgroup_size(64)
fn winograd_weight_plane(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let element = workgroup.x * 64u + local;
    let from_channel = element / params.padded_to;
    if from_channel >= params.padded_from {
        return;
    }
    let to_channel = element - from_channel * params.padded_to;
    let step = params.from_channels * params.to_channels;
    let inside = from_channel < params.from_channels && to_channel < params.to_channels;
    let pair = select(0u, from_channel * params.from_step + to_channel * params.to_step, inside);
    let first = (params.first_frequency + workgroup.y) * 25u * step + pair;
    let left = transform_weight(Five(
        left_at(first, step, 0u),
        left_at(first, step, 1u),
        left_at(first, step, 2u),
        left_at(first, step, 3u),
        left_at(first, step, 4u),
    ));
    let right = transform_weight(Five(
        right_at(first, step, 0u),
        right_at(first, step, 1u),
        right_at(first, step, 2u),
        right_at(first, step, 3u),
        right_at(first, step, 4u),
    ));
    let scale = select(0.0, 1.0, inside);
    let up = transpose(mat4x4(left.a, left.b, left.c, left.d)) * scale;
    let low = transpose(mat4x4(left.e, left.f, left.g, left.h)) * scale;
    let up_last = vec4(right.a.x, right.b.x, right.c.x, right.d.x) * scale;
    let low_last = vec4(right.e.x, right.f.x, right.g.x, right.h.x) * scale;
    store_plane(
        workgroup.y * 64u * params.frequency_step + element,
        params.frequency_step,
        transform_weight(Five(up[0], up[1], up[2], up[3], up_last)),
        transform_weight(Five(low[0], low[1], low[2], low[3], low_last)),
    );
}
