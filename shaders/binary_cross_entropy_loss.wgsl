// partial[tile] = weight * sum over the voxels of the tile that count and over k of class_weights[k] * (max(x, 0) - x g +
// log(1 + exp(-|x|))), with x = logits[voxel, k] and g 1 where the voxel belongs to region k, else 0, or its share.
//
// Layout   logits: [samples, voxels, regions]; labels: [samples, voxels] or [samples, voxels, regions];
//          weight: [1]; class_weights: [regions]; partial: [samples, tiles]
// Grid     rows.wgsl over [samples, voxels, 1], one workgroup per tile
// Shared   1 KiB
// Traffic  4 bytes per logit and 4 per voxel
// Oracle   ops::BinaryCrossEntropyLoss::reference
#import rows
#import reduce
#import labels
#import class_weights

struct Params {
    rows: Rows,
    masks: u32,   // 1: labels are masks of regions, 0: numbers of classes
    ignored: u32, // labels from here on say that the voxel has no say
    regions: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> class_weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn binary_cross_entropy_loss(invocation: Invocation) {
    let at = share(params.rows, invocation);
    var sum = 0.0;
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let word = label_word(voxel, params.regions);
        let label = labels[word];
        if label < params.ignored {
            var of_voxel = 0.0;
            for (var k = 0u; k < params.regions; k++) {
                let x = logits[voxel * params.regions + k];
                var missed = 0.0;
                if SOFT == 1u {
                    let g = bitcast<f32>(labels[word + k]);
                    missed = abs(x) * select(g, 1.0 - g, x > 0.0);
                } else {
                    missed = select(max(x, 0.0), max(-x, 0.0), belongs(params.masks, label, k));
                }
                of_voxel += weight_of(k) * (missed + log(1.0 + exp(-abs(x))));
            }
            sum += weight[0] * of_voxel;
        }
    }
    let total = sum_groups(invocation.local, params.rows.block, params.rows.groups, sum);
    if at.leads {
        partial[at.tile] = total;
    }
}
