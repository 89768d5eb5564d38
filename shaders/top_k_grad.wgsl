// grad_logits[voxel, k] = grad_output * factors[voxel] * d, with d the derivative of the voxel's loss: with classes the softmax of k
// less the share of k, with regions the sigmoid less the share over the number of regions.
//
// Layout   logits, grad_logits: [samples, voxels, outputs]; labels: [samples, voxels] or [samples, voxels, outputs];
//          factors: [samples, voxels]; grad_output: [1]
// Grid     rows.wgsl over [samples, voxels, 1], four voxels per invocation
// Traffic  8 bytes per logit and 8 per voxel; logits and grad_logits are read again from the cache
// Oracle   ops::TopKGrad::reference
#import rows
#import labels
#import logistic

struct Params {
    rows: Rows,
    masks: u32,   // 1: labels are masks of regions, 0: numbers of classes
    ignored: u32, // labels from here on say that the voxel has no say
    outputs: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> factors: array<f32>;
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_logits: array<f32>;

fn of_classes(first: u32, scale: f32, label: u32, word: u32) {
    var largest = logits[first];
    for (var k = 1u; k < params.outputs; k++) {
        largest = max(largest, logits[first + k]);
    }
    var sum = 0.0;
    var shares = 0.0;
    for (var k = 0u; k < params.outputs; k++) {
        let e = exp(logits[first + k] - largest);
        grad_logits[first + k] = e;
        sum += e;
        shares += times_share(1.0, 0u, label, word, k);
    }
    for (var k = 0u; k < params.outputs; k++) {
        let p = grad_logits[first + k] / sum;
        grad_logits[first + k] = scale * (shares * p - times_share(1.0, 0u, label, word, k));
    }
}

fn of_regions(first: u32, scale: f32, label: u32, word: u32) {
    for (var k = 0u; k < params.outputs; k++) {
        let p = logistic(logits[first + k]);
        grad_logits[first + k] = scale / f32(params.outputs) * (p - times_share(1.0, 1u, label, word, k));
    }
}

@compute @workgroup_size(WORKGROUP)
fn top_k_grad(invocation: Invocation) {
    let at = share(params.rows, invocation);
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let word = label_word(voxel, params.outputs);
        let label = labels[word];
        let first = voxel * params.outputs;
        let scale = grad_output[0] * factors[voxel];
        if factors[voxel] == 0.0 {
            for (var k = 0u; k < params.outputs; k++) {
                grad_logits[first + k] = 0.0;
            }
        } else if params.masks == 1u {
            of_regions(first, scale, label, word);
        } else {
            of_classes(first, scale, label, word);
        }
    }
}
