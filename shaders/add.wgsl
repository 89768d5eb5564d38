// output[i] = a[i] + b[i].
//
// Layout   a, b, output: elements
// Grid     `share` elements per workgroup of 64, folded
// Traffic  12 bytes per element
// Oracle   ops::Add::reference
#import grid
#import element

struct Params {
    elements: u32,
    share: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Stored>;
@group(0) @binding(2) var<storage, read> b: array<Stored>;
@group(0) @binding(3) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(64)
fn add(invocation: Invocation) {
    let first = workgroup_number(invocation) * params.share;
    for (var i = first + invocation.local; i < min(first + params.share, params.elements); i += 64u) {
        output[i] = packed(unpacked(a[i]) + unpacked(b[i]));
    }
}
