// grad_logits[voxel, k] = grad_output * weights[sample, label] * (softmax(logits[voxel])[k] - [k = label]); 0 where the
// label is no class.
//
// Layout   logits, grad_logits: [samples, voxels, classes]; labels: [samples, voxels]; weights: [samples, classes];
//          grad_output: [1]
// Grid     rows.wgsl over [samples, voxels, 1], four voxels per invocation
// Traffic  8 bytes per logit and 4 per voxel; logits and grad_logits are read again from the cache
// Oracle   ops::CrossEntropyGrad::reference
#import rows

struct Params {
    rows: Rows,
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
        let label = labels[voxel];
        var scale = 0.0;
        if label < params.classes {
            scale = grad_output[0] * weights[at.sample * params.classes + label];
        }
        let first = voxel * params.classes;
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
            grad_logits[first + k] = scale * (p - select(0.0, 1.0, k == label));
        }
    }
}
