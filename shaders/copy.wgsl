// output[i] = input[i]: a gradient to the window of its parameter.
//
// Layout   input, output: elements
// Grid     four elements per invocation, 256 apart per workgroup, folded
// Traffic  8 bytes per element
// Oracle   doctor::optimisers::copies
#import grid

@group(0) @binding(0) var<uniform> elements: u32;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(256)
fn copy(invocation: Invocation) {
    let first = workgroup_number(invocation) * 1024u + invocation.local;
    for (var i = first; i < min(first + 1024u, elements); i += 256u) {
        output[i] = input[i];
    }
}
