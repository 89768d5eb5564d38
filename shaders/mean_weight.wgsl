// weights[i] = 1 / (terms * the number of voxels that count), 0 where none does; `all`, the host's quotient, where none is ignored.
//
// Layout   counts: [2], voxels that count and voxels that are ignored; weights: elements
// Grid     one invocation per element, workgroups of 64
// Traffic  4 bytes per element
// Oracle   ops::CrossEntropyLoss::reference, ops::BinaryCrossEntropyLoss::reference
#import grid

struct Params {
    elements: u32,
    terms: u32,
    all: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> counts: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;

@compute @workgroup_size(64)
fn mean_weight(invocation: Invocation) {
    let i = workgroup_number(invocation) * 64u + invocation.local;
    if i >= params.elements {
        return;
    }
    var weight = params.all;
    if counts[1] > 0.0 {
        weight = select(0.0, 1.0 / (max(counts[0], 1.0) * f32(params.terms)), counts[0] > 0.0);
    }
    weights[i] = weight;
}
