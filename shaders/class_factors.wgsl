// factors[sample, k] = weights[k] / sum over j of weights[j] * counts[j], 0 where that sum is.
//
// Layout   counts, weights: [classes]; factors: [samples, classes]
// Grid     one invocation per sample, workgroups of 64
// Traffic  8 bytes per sample and class
// Oracle   ops::CrossEntropyLoss::reference
#import grid

struct Params {
    samples: u32,
    classes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> counts: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> factors: array<f32>;

@compute @workgroup_size(64)
fn class_factors(invocation: Invocation) {
    let sample = workgroup_number(invocation) * 64u + invocation.local;
    if sample >= params.samples {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < params.classes; k++) {
        sum += weights[k] * counts[k];
    }
    for (var k = 0u; k < params.classes; k++) {
        factors[sample * params.classes + k] = select(0.0, weights[k] / select(1.0, sum, sum > 0.0), sum > 0.0);
    }
}
