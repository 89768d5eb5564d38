// output[i] = 1 / (1 + exp(-input[i])), from exp(-|input[i]|), which cannot overflow.
//
// Layout   input, output: elements
// Grid     `share` elements per workgroup of 64, folded
// Traffic  8 bytes per element
// Oracle   ops::Sigmoid::reference
#import grid
#import logistic

struct Params {
    elements: u32,
    share: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn sigmoid(invocation: Invocation) {
    let first = workgroup_number(invocation) * params.share;
    for (var i = first + invocation.local; i < min(first + params.share, params.elements); i += 64u) {
        output[i] = logistic(input[i]);
    }
}
