// A convolution and the batch normalisation after it as one convolution: folded_weights = weights * scale,
// folded_biases = (biases - means) * scale + norm_biases, with scale = norm_weights / sqrt(variances + epsilon) of the output channel.
//
// Layout   weights, folded_weights: [rows, channels], channels those of the output; the others: [channels]
// Grid     rows.wgsl, several rows per invocation; the first of a channel also has its bias
// Traffic  8 bytes per weight
// Oracle   ops::FoldNorm::reference
#import rows

struct Params {
    rows: Rows,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> biases: array<f32>;
@group(0) @binding(3) var<storage, read> norm_weights: array<f32>;
@group(0) @binding(4) var<storage, read> norm_biases: array<f32>;
@group(0) @binding(5) var<storage, read> means: array<f32>;
@group(0) @binding(6) var<storage, read> variances: array<f32>;
@group(0) @binding(7) var<storage, read_write> folded_weights: array<f32>;
@group(0) @binding(8) var<storage, read_write> folded_biases: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn fold_norm(invocation: Invocation) {
    let rows = params.rows;
    let at = share(rows, invocation);
    if at.row >= at.end {
        return;
    }
    let channel = at.channel;
    let scale = norm_weights[channel] / sqrt(variances[channel] + params.epsilon);
    if at.row == 0u {
        folded_biases[channel] = (biases[channel] - means[channel]) * scale + norm_biases[channel];
    }
    for (var row = at.row; row < at.end; row += rows.groups) {
        let i = row * rows.channels + channel;
        folded_weights[i] = weights[i] * scale;
    }
}
