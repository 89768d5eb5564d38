// output[i] = sum over s of partial[s, i], in ascending order of s.
//
// Layout   partial [splits, elements], output [elements]
// Grid     one invocation per element, workgroups of 64, folded
// Traffic  4 bytes per element of both
// Oracle   conv3d_grad_weight_naive, through the weight gradients
#import grid

struct Params {
    elements: u32,
    splits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn conv3d_split_k_sum(invocation: Invocation) {
    let i = workgroup_number(invocation) * 64u + invocation.local;
    if i >= params.elements {
        return;
    }
    var sum = 0.0;
    for (var s = 0u; s < params.splits; s += 1u) {
        sum += partial[s * params.elements + i];
    }
    output[i] = sum;
}
