// output[n, i] = factor * input[n, i] where pcg4d(number, keys[n], layer).x >= threshold, else 0; the number is that of the channel
// of i, or of i within its sample.
//
// Layout   input, output: [samples, rows, channels]; keys: [samples, 2]
// Grid     rows.wgsl, several rows per invocation
// Traffic  8 bytes per element
// Oracle   ops::Dropout::reference
#import rows
#import random

struct Params {
    rows: Rows,
    spatial: u32, // 1: whole channels are dropped
    layer: u32,
    threshold: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

fn factor(number: u32, key: vec2<u32>) -> f32 {
    return select(0.0, params.factor, pcg4d(vec4<u32>(number, key, params.layer)).x >= params.threshold);
}

@compute @workgroup_size(WORKGROUP)
fn dropout(invocation: Invocation) {
    let at = share(params.rows, invocation);
    if at.row >= at.end {
        return;
    }
    let key = vec2<u32>(keys[2u * at.sample], keys[2u * at.sample + 1u]);
    let of_channel = factor(at.channel, key);
    let first_row = at.sample * params.rows.rows;
    for (var row = at.row; row < at.end; row += params.rows.groups) {
        var kept = of_channel;
        if params.spatial == 0u {
            kept = factor((row - first_row) * params.rows.channels + at.channel, key);
        }
        let i = row * params.rows.channels + at.channel;
        output[i] = select(0.0, kept * input[i], kept > 0.0);
    }
}
