// x_k = x_k * factor + offset, 8 * iterations times, for twelve independent x_k; output[i] = x_0 + ... + x_11: what the
// arithmetic units of the device give to a shader at best.
//
// Layout   output: elements; x_k starts at (i mod 64) + k
// Grid     one invocation per element, workgroups of 64, folded
// Traffic  4 bytes per element; 192 * iterations flops each
// Oracle   profile::FmaLoop::reference
#import grid

struct Params {
    elements: u32,
    iterations: u32,
    factor: f32,
    offset: f32,
}

// Three vectors are twelve chains: enough to hide the latency of an fma, few enough for sixteen vector registers.
struct Chains {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

fn advance(x: Chains, factor: vec4<f32>, offset: vec4<f32>) -> Chains {
    return Chains(fma(x.a, factor, offset), fma(x.b, factor, offset), fma(x.c, factor, offset));
}

@compute @workgroup_size(64)
fn bench_fma(invocation: Invocation) {
    let factor = vec4(params.factor);
    let offset = vec4(params.offset);
    let first = vec4(f32(invocation.local)) + vec4(0.0, 1.0, 2.0, 3.0);
    var x = Chains(first, first + vec4(4.0), first + vec4(8.0));
    for (var i = 0u; i < params.iterations; i++) {
        x = advance(x, factor, offset);
        x = advance(x, factor, offset);
        x = advance(x, factor, offset);
        x = advance(x, factor, offset);
        x = advance(x, factor, offset);
        x = advance(x, factor, offset);
        x = advance(x, factor, offset);
        x = advance(x, factor, offset);
    }
    let i = workgroup_number(invocation) * 64u + invocation.local;
    if i < params.elements {
        output[i] = dot(x.a + x.b + x.c, vec4(1.0));
    }
}
