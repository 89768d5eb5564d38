// Weights, or their gradient, with the channels exchanged: transposed[t, b, a] = weight[t, a, b].
//
// Layout     weight [taps, A, B], transposed [taps, B, A]
// Grid       (8 b, 8 a, parts of the taps)
// Workgroup  a block of 8 x 8, of which neighbours share lines of cache on both sides
// Traffic    one load and one store per element
// Oracle     conv3d_grad_input_naive and conv3d_grad_weight_naive, through the gradients
#import grid

struct Params {
    a: u32,
    b: u32,
    taps: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> transposed: array<f32>;

@compute @workgroup_size(64)
fn weight_transpose(invocation: Invocation) {
    let workgroup = invocation.workgroup;
    let b = workgroup.x * 8u + invocation.local % 8u;
    let a = workgroup.y * 8u + invocation.local / 8u;
    if a >= params.a || b >= params.b {
        return;
    }
    let pairs = params.a * params.b;
    for (var tap = workgroup.z; tap < params.taps; tap += invocation.grid.z) {
        transposed[tap * pairs + b * params.a + a] = weight[tap * pairs + a * params.b + b];
    }
}
