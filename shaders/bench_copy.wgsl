// output[i] = input[i]: what the memory of the device gives to a shader at best.
//
// Layout   input, output: vectors of four elements
// Grid     four vectors per invocation, 64 apart, 256 per workgroup of 64, folded
// Traffic  32 bytes per vector
// Oracle   profile::CopyLoop::reference
#import grid

@group(0) @binding(0) var<uniform> vectors: u32;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(64)
fn bench_copy(invocation: Invocation) {
    let first = workgroup_number(invocation) * 256u + invocation.local;
    for (var i = first; i < min(first + 256u, vectors); i += 64u) {
        output[i] = input[i];
    }
}
