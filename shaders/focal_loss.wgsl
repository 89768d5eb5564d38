// partial[tile] = sum over the voxels of the tile that count and over their outputs k of factors[sample, k] * the focal loss: with
// classes that of the share of k in the voxel, with regions also that of 1 - p for the rest.
//
// Layout   logits: [samples, voxels, outputs]; labels: [samples, voxels] or [samples, voxels, outputs];
//          factors: [samples, outputs]; class_weights: [outputs]; partial: [samples, tiles]
// Grid     rows.wgsl over [samples, voxels, 1], one workgroup per tile
// Shared   1 KiB
// Traffic  4 bytes per logit and 4 per voxel; logits are read again from the cache
// Oracle   ops::FocalLoss::reference
#import rows
#import reduce
#import labels
#import class_weights
#import focal
#import logistic

@group(0) @binding(0) var<uniform> params: FocalParams;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> factors: array<f32>;
@group(0) @binding(4) var<storage, read> class_weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> partial: array<f32>;

fn of_classes(first: u32, first_factor: u32, label: u32, word: u32) -> f32 {
    var largest = logits[first];
    for (var k = 1u; k < params.outputs; k++) {
        largest = max(largest, logits[first + k]);
    }
    var loss = 0.0;
    for (var k = 0u; k < params.outputs; k++) {
        let share = times_share(1.0, 0u, label, word, k);
        if share > 0.0 {
            var others = 0.0;
            for (var j = 0u; j < params.outputs; j++) {
                others += select(exp(logits[first + j] - largest), 0.0, j == k);
            }
            let own = logits[first + k] - largest;
            let sum = others + exp(own);
            loss += factors[first_factor + k] * share * focal(others / sum, log(sum) - own, params.gamma);
        }
    }
    return loss;
}

fn of_regions(first: u32, first_factor: u32, label: u32, word: u32) -> f32 {
    var loss = 0.0;
    for (var k = 0u; k < params.outputs; k++) {
        let x = logits[first + k];
        let p = logistic(x);
        let m = logistic(-x);
        let logarithm = log(1.0 + exp(-abs(x)));
        let share = times_share(1.0, 1u, label, word, k);
        let inside = share * focal(m, logarithm + max(-x, 0.0), params.gamma);
        let outside = (1.0 - share) * focal(p, logarithm + max(x, 0.0), params.gamma);
        loss += factors[first_factor + k] * weight_of(k) * (inside + outside);
    }
    return loss;
}

@compute @workgroup_size(WORKGROUP)
fn focal_loss(invocation: Invocation) {
    let at = share(params.rows, invocation);
    var sum = 0.0;
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let word = label_word(voxel, params.outputs);
        let label = labels[word];
        if label < params.ignored {
            let first = voxel * params.outputs;
            if params.masks == 1u {
                sum += of_regions(first, at.sample * params.outputs, label, word);
            } else {
                sum += of_classes(first, at.sample * params.outputs, label, word);
            }
        }
    }
    let total = sum_groups(invocation.local, params.rows.block, params.rows.groups, sum);
    if at.leads {
        partial[at.tile] = total;
    }
}
