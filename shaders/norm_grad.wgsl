// The gradient of a normalisation with respect to its input:
// grad_input = scale * (weights[channel] * g - means[set, 0, channel] - normalised * means[set, 1, channel]),
// with g and normalised as in norm_grad_sums.wgsl.
//
// Layout   input, grad_output, grad_input: [samples, rows, channels]; statistics, means: [sets, 2, channels];
//          weights, biases, slopes: [channels]
// Grid     rows.wgsl, several rows per invocation
// Traffic  12 bytes per element
// Oracle   ops::NormaliseGrad::reference
#import rows
#import element
#import norm

@group(0) @binding(0) var<uniform> params: NormParams;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read> grad_output: array<Stored>;
@group(0) @binding(3) var<storage, read> statistics: array<Stored>;
@group(0) @binding(4) var<storage, read> weights: array<Stored>;
@group(0) @binding(5) var<storage, read> biases: array<Stored>;
@group(0) @binding(6) var<storage, read> slopes: array<Stored>;
@group(0) @binding(7) var<storage, read> means: array<Stored>;
@group(0) @binding(8) var<storage, read_write> grad_input: array<Stored>;

@compute @workgroup_size(WORKGROUP)
fn norm_grad(invocation: Invocation) {
    let rows = params.rows;
    let at = share(rows, invocation);
    if at.row >= at.end {
        return;
    }
    let first = first_statistic(params, at.sample, at.channel);
    let mean = unpacked(statistics[first]);
    let scale = unpacked(statistics[first + rows.channels]);
    let weight = unpacked(weights[at.channel]);
    let bias = unpacked(biases[at.channel]);
    let slope = select(Element(params.slope), unpacked(slopes[at.channel]), params.slopes == 1u);
    let of_gradient = unpacked(means[first]);
    let of_product = unpacked(means[first + rows.channels]);
    for (var row = at.row; row < at.end; row += rows.groups) {
        let i = row * rows.channels + at.channel;
        let normalised = (unpacked(input[i]) - mean) * scale;
        let upstream = unpacked(grad_output[i]);
        let g = select(slope * upstream, upstream, normalised * weight + bias > Element());
        grad_input[i] = packed(scale * (weight * g - of_gradient - normalised * of_product));
    }
}
