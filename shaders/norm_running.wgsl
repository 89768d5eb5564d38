// The statistics of normalise.wgsl from running ones: statistics[0, channel] = means, statistics[1, channel] = 1 / sqrt(variances +
// epsilon).
//
// Layout   means, variances: [channels]; statistics: [2, channels]
// Grid     one channel per invocation, folded
// Traffic  16 bytes per channel
// Oracle   ops::NormaliseRunning::reference
#import grid

struct Params {
    channels: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> means: array<f32>;
@group(0) @binding(2) var<storage, read> variances: array<f32>;
@group(0) @binding(3) var<storage, read_write> statistics: array<f32>;

@compute @workgroup_size(64)
fn norm_running(invocation: Invocation) {
    let channel = 64u * workgroup_number(invocation) + invocation.local;
    if channel < params.channels {
        statistics[channel] = means[channel];
        statistics[params.channels + channel] = 1.0 / sqrt(variances[channel] + params.epsilon);
    }
}
