// Running statistics, on a window of the arenas: value += momentum * (statistic - value), where the statistic of the batch stands in
// the place of a gradient. Nothing where the global norm of the gradients is not finite, and no element whose statistic is not.
//
// Layout   statistics, values: elements; norm: [1]
// Grid     four elements per invocation, 256 apart per workgroup, folded
// Traffic  12 bytes per element
// Oracle   optim::reference::follow
#import grid
#import step

struct Params {
    elements: u32,
    momentum: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> norm: array<u32>;
@group(0) @binding(2) var<storage, read> statistics: array<u32>;
@group(0) @binding(3) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(256)
fn follow(invocation: Invocation) {
    if !is_finite(norm[0]) {
        return;
    }
    let first = workgroup_number(invocation) * 1024u + invocation.local;
    for (var i = first; i < min(first + 1024u, params.elements); i += 256u) {
        let bits = statistics[i];
        if is_finite(bits) {
            let before = values[i];
            values[i] = before + params.momentum * (bitcast<f32>(bits) - before);
        }
    }
}
