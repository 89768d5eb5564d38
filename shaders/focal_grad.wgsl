// The gradient of focal_loss.wgsl with respect to the logits, times grad_output; 0 where the voxel is ignored.
//
// With classes and s[k] = factors[k] * share[k] * focal_slope of k it is p[j] * sum of the other s - (1 - p[j]) * s[j]; with regions
// factor * (outside * p * slope of the rest - share * (1 - p) * slope of p).
//
// Layout   logits, grad_logits: [samples, voxels, outputs]; labels: [samples, voxels] or [samples, voxels, outputs];
//          factors: [samples, outputs]; grad_output: [1]; class_weights: [outputs]
// Grid     rows.wgsl over [samples, voxels, 1], four voxels per invocation
// Traffic  8 bytes per logit and 4 per voxel; logits and grad_logits are read again from the cache
// Oracle   ops::FocalGrad::reference
#import rows
#import labels
#import class_weights
#import focal
#import logistic

@group(0) @binding(0) var<uniform> params: FocalParams;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> factors: array<f32>;
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(5) var<storage, read> class_weights: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_logits: array<f32>;

fn of_classes(first: u32, first_factor: u32, label: u32, word: u32) {
    var largest = logits[first];
    for (var k = 1u; k < params.outputs; k++) {
        largest = max(largest, logits[first + k]);
    }
    var sum = 0.0;
    for (var k = 0u; k < params.outputs; k++) {
        grad_logits[first + k] = 0.0;
        sum += exp(logits[first + k] - largest);
    }
    let logarithm = log(sum);
    for (var k = 0u; k < params.outputs; k++) {
        let share = times_share(1.0, 0u, label, word, k);
        if share > 0.0 {
            var others = 0.0;
            for (var j = 0u; j < params.outputs; j++) {
                others += select(exp(logits[first + j] - largest), 0.0, j == k);
            }
            let own = logits[first + k] - largest;
            let m = others / sum;
            let slope = focal_slope(exp(own) / sum, m, logarithm - own, params.gamma);
            let s = grad_output[0] * factors[first_factor + k] * share * slope;
            for (var j = 0u; j < params.outputs; j++) {
                let p = exp(logits[first + j] - largest) / sum;
                grad_logits[first + j] += select(s * p, -s * m, j == k);
            }
        }
    }
}

fn of_regions(first: u32, first_factor: u32, label: u32, word: u32) {
    for (var k = 0u; k < params.outputs; k++) {
        let x = logits[first + k];
        let p = logistic(x);
        let m = logistic(-x);
        let logarithm = log(1.0 + exp(-abs(x)));
        let share = times_share(1.0, 1u, label, word, k);
        let inside = share * m * focal_slope(p, m, logarithm + max(-x, 0.0), params.gamma);
        let outside = (1.0 - share) * p * focal_slope(m, p, logarithm + max(x, 0.0), params.gamma);
        grad_logits[first + k] = grad_output[0] * factors[first_factor + k] * weight_of(k) * (outside - inside);
    }
}

@compute @workgroup_size(WORKGROUP)
fn focal_grad(invocation: Invocation) {
    let at = share(params.rows, invocation);
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let word = label_word(voxel, params.outputs);
        let label = labels[word];
        let first = voxel * params.outputs;
        if label >= params.ignored {
            for (var k = 0u; k < params.outputs; k++) {
                grad_logits[first + k] = 0.0;
            }
        } else if params.masks == 1u {
            of_regions(first, at.sample * params.outputs, label, word);
        } else {
            of_classes(first, at.sample * params.outputs, label, word);
        }
    }
}
