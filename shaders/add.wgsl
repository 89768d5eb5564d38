// output[i] = a[i] + b[i].
//
// Layout   a, b, output: elements
// Grid     four elements per invocation, 256 apart per workgroup of 64, folded
// Traffic  12 bytes per element
// Oracle   ops::Add::reference
#import grid

struct Params {
    elements: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn add(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let first = linear_workgroup(workgroup, grid) * 256u + local;
    for (var i = first; i < min(first + 256u, params.elements); i += 64u) {
        output[i] = a[i] + b[i];
    }
}
