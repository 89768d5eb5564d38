// grad_input[i] = g[i] * p[i] * (1 - p[i]), with p the output of the sigmoid and g the gradient with respect to it.
//
// Layout   p, g, grad_input: elements
// Grid     `share` elements per workgroup of 64, folded
// Traffic  12 bytes per element
// Oracle   ops::SigmoidGrad::reference
#import grid

struct Params {
    elements: u32,
    share: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(64)
fn sigmoid_grad(invocation: Invocation) {
    let first = workgroup_number(invocation) * params.share;
    for (var i = first + invocation.local; i < min(first + params.share, params.elements); i += 64u) {
        grad_input[i] = g[i] * (p[i] * (1.0 - p[i]));
    }
}
