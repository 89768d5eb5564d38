// partials[first + workgroup] = sum of the squares of 16384 gradients.
//
// Layout   gradients: elements; partials: one per workgroup of all windows
// Grid     one workgroup per 16384 elements, folded
// Shared   1 KiB
// Traffic  4 bytes per element
// Oracle   optim::reference::global_norm
#import grid
#import reduce

const ELEMENTS = 16384u;

struct Params {
    elements: u32,
    first: u32, // partial sum of this window's first workgroup
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;

@compute @workgroup_size(256)
fn squares(invocation: Invocation) {
    let number = workgroup_number(invocation);
    let start = number * ELEMENTS;
    var sum = 0.0;
    for (var i = start + invocation.local; i < min(start + ELEMENTS, params.elements); i += 256u) {
        let g = gradients[i];
        sum += g * g;
    }
    let total = sum_groups(invocation.local, 1u, 256u, sum);
    if invocation.local == 0u && start < params.elements {
        partials[params.first + number] = total;
    }
}
