// grad_logits[voxel, k] = grad_output * weight * class_weights[k] * (1 / (1 + exp(-logits[voxel, k])) - g), with g 1 where the
// voxel belongs to region k, else 0, or its share; 0 where the voxel is ignored.
//
// Layout   logits, grad_logits: [samples, voxels, regions]; labels: [samples, voxels] or
//          [samples, voxels, regions]; weight, grad_output: [1]; class_weights: [regions]
// Grid     rows.wgsl, four voxels per invocation
// Traffic  8 bytes per logit and 4 per voxel
// Oracle   ops::BinaryCrossEntropyGrad::reference
#import rows
#import labels
#import class_weights
#import logistic

struct Params {
    rows: Rows,
    masks: u32,   // 1: labels are masks of regions, 0: numbers of classes
    ignored: u32, // labels from here on say that the voxel has no say
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(5) var<storage, read> class_weights: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_logits: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn binary_cross_entropy_grad(invocation: Invocation) {
    let at = share(params.rows, invocation);
    let scale = grad_output[0] * weight[0] * weight_of(min(at.channel, params.rows.channels - 1u));
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let i = voxel * params.rows.channels + at.channel;
        let word = label_word(voxel, params.rows.channels);
        let label = labels[word];
        var grad = 0.0;
        if label < params.ignored {
            grad = scale * (logistic(logits[i]) - times_share(1.0, params.masks, label, word, at.channel));
        }
        grad_logits[i] = grad;
    }
}
