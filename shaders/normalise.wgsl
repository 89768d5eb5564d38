// z = (input - mean) * scale * weights[channel] + biases[channel], output = z where z > 0, else slope * z; the slope is 1 where no
// rectifier follows, a constant, or one per channel.
//
// Layout   input, output: [samples, rows, channels]; statistics: [sets, 2, channels]; weights, biases, slopes: [channels]
// Grid     rows.wgsl, several rows per invocation
// Traffic  8 bytes per element
// Oracle   ops::Normalise::reference
#import rows
#import element
#import norm

@group(0) @binding(0) var<uniform> params: NormParams;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read> statistics: array<Stored>;
@group(0) @binding(3) var<storage, read> weights: array<Stored>;
@group(0) @binding(4) var<storage, read> biases: array<Stored>;
@group(0) @binding(5) var<storage, read> slopes: array<Stored>;
@group(0) @binding(6) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(WORKGROUP)
fn normalise(invocation: Invocation) {
    let rows = params.rows;
    let at = share(rows, invocation);
    if at.row >= at.end {
        return;
    }
    let first = first_statistic(params, at.sample, at.channel);
    let mean = unpacked(statistics[first]);
    let scale = unpacked(statistics[first + rows.channels]) * unpacked(weights[at.channel]);
    let bias = unpacked(biases[at.channel]);
    let slope = select(Element(params.slope), unpacked(slopes[at.channel]), params.slopes == 1u);
    for (var row = at.row; row < at.end; row += rows.groups) {
        let i = row * rows.channels + at.channel;
        let z = (unpacked(input[i]) - mean) * scale + bias;
        output[i] = packed(select(slope * z, z, z > Element()));
    }
}
