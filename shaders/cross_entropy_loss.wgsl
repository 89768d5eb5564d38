// partial[tile] = sum over the voxels of the tile of weights[sample, label] * (log sum over k of exp(logits[voxel, k]) -
// logits[voxel, label]), with soft targets over the classes, each times its share. A voxel that is ignored adds nothing.
//
// Layout   logits: [samples, voxels, classes]; labels: [samples, voxels] or [samples, voxels, classes];
//          weights: [samples, classes]; partial: [samples, tiles]
// Grid     rows.wgsl over [samples, voxels, 1], one workgroup per tile
// Shared   1 KiB
// Traffic  4 bytes per logit and 4 per voxel; logits are read again from the cache
// Oracle   ops::CrossEntropyLoss::reference
#import rows
#import reduce
#import labels

struct Params {
    rows: Rows,
    masks: u32,
    ignored: u32, // labels from here on say that the voxel has no say
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
        let first = voxel * params.classes;
        let label = labels[label_word(voxel, params.classes)];
        if label < params.ignored {
            var largest = logits[first];
            for (var k = 1u; k < params.classes; k++) {
                largest = max(largest, logits[first + k]);
            }
            var exponentials = 0.0;
            for (var k = 0u; k < params.classes; k++) {
                exponentials += exp(logits[first + k] - largest);
            }
            let logarithm = log(exponentials);
            if SOFT == 1u {
                for (var k = 0u; k < params.classes; k++) {
                    let loss = logarithm + (largest - logits[first + k]);
                    sum += weights[at.sample * params.classes + k] * bitcast<f32>(labels[first + k]) * loss;
                }
            } else {
                sum += weights[at.sample * params.classes + label] * (logarithm + (largest - logits[first + label]));
            }
        }
    }
    let total = sum_groups(invocation.local, params.rows.block, params.rows.groups, sum);
    if at.leads {
        partial[at.tile] = total;
    }
}
