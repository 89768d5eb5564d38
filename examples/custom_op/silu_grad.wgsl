// grad_input[i] = grad_output[i] * s * (1 + x * (1 - s)), x = input[i], s = 1 / (1 + exp(-x)).
//
// Layout   input, grad_output, grad_input: elements
// Grid     one invocation per element, workgroups of 64, folded
// Traffic  12 bytes per element
// Oracle   SiluGrad::reference
#import grid

@group(0) @binding(0) var<uniform> elements: u32;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(64)
fn silu_grad(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup, grid) * 64u + local;
    if i < elements {
        let x = input[i];
        let s = 1.0 / (1.0 + exp(-x));
        grad_input[i] = grad_output[i] * s * (1.0 + x * (1.0 - s));
    }
}
