// output[i] = value.
//
// Layout   output: elements
// Grid     one invocation per element, workgroups of 64, folded
// Oracle   ops::Fill::reference
#import grid

struct Params {
    elements: u32,
    value: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn fill(invocation: Invocation) {
    let i = workgroup_number(invocation) * 64u + invocation.local;
    if i < params.elements {
        output[i] = params.value;
    }
}
