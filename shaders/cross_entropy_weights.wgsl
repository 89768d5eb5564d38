// weights[sample, k] = 1 / (samples * occurring * counts[sample, k]), 0 where the class does not occur in the sample;
// occurring is the number of classes that do. That is N / N_k over its sum over the sample's N voxels, which is
// N * occurring, over the number of samples.
//
// Layout   counts, weights: [samples, classes]
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
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;

@compute @workgroup_size(64)
fn cross_entropy_weights(invocation: Invocation) {
    let sample = workgroup_number(invocation) * 64u + invocation.local;
    if sample >= params.samples {
        return;
    }
    let first = sample * params.classes;
    var occurring = 0.0;
    for (var k = 0u; k < params.classes; k++) {
        occurring += select(0.0, 1.0, counts[first + k] > 0.0);
    }
    let share = f32(params.samples) * occurring;
    for (var k = 0u; k < params.classes; k++) {
        let count = counts[first + k];
        weights[first + k] = select(0.0, 1.0 / (share * select(1.0, count, count > 0.0)), count > 0.0);
    }
}
