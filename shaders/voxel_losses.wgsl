// losses[voxel] = the cross-entropy of the voxel: with classes the sum over k of its share times -log of the softmax of k, with regions
// the mean over k of the binary cross-entropy; 0 or more. -1 where the voxel is ignored.
//
// Layout   logits: [samples, voxels, outputs]; labels: [samples, voxels] or [samples, voxels, outputs]; losses: [samples, voxels]
// Grid     rows.wgsl over [samples, voxels, 1], four voxels per invocation
// Traffic  4 bytes per logit and 8 per voxel; logits are read again from the cache
// Oracle   ops::TopKLoss::reference
#import rows
#import labels

struct Params {
    rows: Rows,
    masks: u32,   // 1: labels are masks of regions, 0: numbers of classes
    ignored: u32, // labels from here on say that the voxel has no say
    outputs: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;

fn of_classes(first: u32, label: u32, word: u32) -> f32 {
    var largest = logits[first];
    for (var k = 1u; k < params.outputs; k++) {
        largest = max(largest, logits[first + k]);
    }
    var exponentials = 0.0;
    for (var k = 0u; k < params.outputs; k++) {
        exponentials += exp(logits[first + k] - largest);
    }
    let logarithm = log(exponentials);
    var loss = 0.0;
    for (var k = 0u; k < params.outputs; k++) {
        loss += times_share(logarithm + (largest - logits[first + k]), 0u, label, word, k);
    }
    return loss;
}

fn of_regions(first: u32, label: u32, word: u32) -> f32 {
    var loss = 0.0;
    for (var k = 0u; k < params.outputs; k++) {
        let x = logits[first + k];
        let g = times_share(1.0, 1u, label, word, k);
        loss += abs(x) * select(g, 1.0 - g, x > 0.0) + log(1.0 + exp(-abs(x)));
    }
    return loss / f32(params.outputs);
}

@compute @workgroup_size(WORKGROUP)
fn voxel_losses(invocation: Invocation) {
    let at = share(params.rows, invocation);
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let word = label_word(voxel, params.outputs);
        let label = labels[word];
        let first = voxel * params.outputs;
        var loss = -1.0;
        if label < params.ignored {
            if params.masks == 1u {
                loss = of_regions(first, label, word);
            } else {
                loss = of_classes(first, label, word);
            }
            // Numbers from 0 on are in the order of their bits; a logarithm may be a little below 0.
            loss = abs(max(loss, 0.0));
        }
        losses[voxel] = loss;
    }
}
