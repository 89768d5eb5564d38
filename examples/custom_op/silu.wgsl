// output[i] = x / (1 + exp(-x)), x = input[i].
//
// Layout   input, output: elements
// Grid     one invocation per element, workgroups of 64, folded
// Traffic  8 bytes per element
// Oracle   Silu::reference
#import grid

@group(0) @binding(0) var<uniform> elements: u32;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn silu(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup, grid) * 64u + local;
    if i < elements {
        let x = input[i];
        output[i] = x / (1.0 + exp(-x));
    }
}
