// grad_logits[voxel, k] = grad_output * weights[sample, label] * (softmax(logits[voxel])[k] - [k = label]), with soft targets
// summed over the labels, each times its share; 0 where the voxel is ignored.
//
// Layout   logits, grad_logits: [samples, voxels, classes]; labels: [samples, voxels] or [samples, voxels, classes];
//          weights: [samples, classes]; grad_output: [1]
// Grid     rows.wgsl over [samples, voxels, 1], four voxels per invocation
// Traffic  8 bytes per logit and 4 per voxel; logits and grad_logits are read again from the cache
// Oracle   ops::CrossEntropyGrad::reference
#import rows
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
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_logits: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn cross_entropy_grad(invocation: Invocation) {
    let at = share(params.rows, invocation);
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let first = voxel * params.classes;
        let label = labels[label_word(voxel, params.classes)];
        let first_weight = at.sample * params.classes;
        var scale = 0.0;
        if label < params.ignored {
            if SOFT == 1u {
                for (var k = 0u; k < params.classes; k++) {
                    scale += weights[first_weight + k] * bitcast<f32>(labels[first + k]);
                }
                scale *= grad_output[0];
            } else {
                scale = grad_output[0] * weights[first_weight + label];
            }
        }
        var largest = logits[first];
        for (var k = 1u; k < params.classes; k++) {
            largest = max(largest, logits[first + k]);
        }
        var sum = 0.0;
        for (var k = 0u; k < params.classes; k++) {
            let e = exp(logits[first + k] - largest);
            grad_logits[first + k] = e;
            sum += e;
        }
        for (var k = 0u; k < params.classes; k++) {
            let p = grad_logits[first + k] / sum;
            if SOFT == 1u {
                let of_share = grad_output[0] * weights[first_weight + k] * bitcast<f32>(labels[first + k]);
                grad_logits[first + k] = select(0.0, scale * p - of_share, label < params.ignored);
            } else {
                grad_logits[first + k] = scale * (p - select(0.0, 1.0, k == label));
            }
        }
    }
}
