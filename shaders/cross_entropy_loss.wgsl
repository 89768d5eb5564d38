// partial[tile] = sum over the voxels of the tile of weights[sample, label] * (log sum over k of exp(logits[voxel, k]) -
// logits[voxel, label]). A label that is no class adds nothing.
//
// Layout   logits: [samples, voxels, classes]; labels: [samples, voxels]; weights: [samples, classes];
//          partial: [samples, tiles]
// Grid     rows.wgsl over [samples, voxels, 1], one workgroup per tile
// Shared   1 KiB
// Traffic  4 bytes per logit and 4 per voxel; logits are read again from the cache
// Oracle   ops::CrossEntropyLoss::reference
#import rows
#import reduce

struct Params {
    rows: Rows,
    classes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn cross_entropy_loss(invocation: Invocation) {
    let at = share(params.rows, invocation);
    var sum = 0.0;
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let label = labels[voxel];
        if label < params.classes {
            let first = voxel * params.classes;
            var largest = logits[first];
            for (var k = 1u; k < params.classes; k++) {
                largest = max(largest, logits[first + k]);
            }
            var exponentials = 0.0;
            for (var k = 0u; k < params.classes; k++) {
                exponentials += exp(logits[first + k] - largest);
            }
            let loss = log(exponentials) + (largest - logits[first + label]);
            sum += weights[at.sample * params.classes + label] * loss;
        }
    }
    let total = sum_groups(invocation.local, params.rows.block, params.rows.groups, sum);
    if at.leads {
        partial[at.tile] = total;
    }
}
