// The weight gradient's transform along y and x: 5 x 5 taps of each pair of channels and frequency along z.
//
// Layout   frequencies [.., 8, 8] of steps `in_step` and `out_step` for I and O; partial [8, 25, I, O]
// Grid     (64 elements (i, o), frequencies along z)
// Traffic  64 loads and 25 stores per 64 frequencies
// Oracle   conv3d_grad_weight_naive, through the weight gradient
#import winograd_load

struct Params {
    in_channels: u32,
    out_channels: u32,
    in_step: u32,
    out_step: u32,
    first_frequency: u32, // along z
    frequency_step: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> frequencies: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

fn store_line(at: u32, step: u32, first: vec4<f32>, last: f32) {
    partial[at] = first.x;
    partial[at + step] = first.y;
    partial[at + 2u * step] = first.z;
    partial[at + 3u * step] = first.w;
    partial[at + 4u * step] = last;
}

@compute @workgroup_size(64)
fn winograd_grad_weight_plane(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let element = workgroup.x * 64u + local;
    let step = params.in_channels * params.out_channels;
    if element >= step {
        return;
    }
    let in_channel = element / params.out_channels;
    let out_channel = element - in_channel * params.out_channels;
    let base = workgroup.y * 64u * params.frequency_step + in_channel * params.in_step
        + out_channel * params.out_step;
    let plane = load_plane(base, params.frequency_step);
    let left = transform_grad_weight(plane.left);
    let right = transform_grad_weight(plane.right);
    let four = transform_grad_weight(turned(
        mat4x4(left.a, left.b, left.c, left.d),
        mat4x4(right.a, right.b, right.c, right.d),
    ));
    let zero = vec4(0.0);
    let fifth = transform_grad_weight(turned(mat4x4(left.e, zero, zero, zero), mat4x4(right.e, zero, zero, zero)));
    let lines = transpose(mat4x4(four.a, four.b, four.c, four.d));
    let at = (params.first_frequency + workgroup.y) * 25u * step + element;
    store_line(at, step, lines[0], four.e.x);
    store_line(at + 5u * step, step, lines[1], four.e.y);
    store_line(at + 10u * step, step, lines[2], four.e.z);
    store_line(at + 15u * step, step, lines[3], four.e.w);
    store_line(at + 20u * step, step, vec4(fifth.a.x, fifth.b.x, fifth.c.x, fifth.d.x), fifth.e.x);
}
