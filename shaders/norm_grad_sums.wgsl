// Sums over the rows of a tile for the gradient of a normalisation: of g, of g * normalised, and with a slope per channel of
// grad_output * z where z <= 0. normalised = (input - mean) * scale, z = normalised * weights[channel] + biases[channel], and g is
// grad_output, times the slope where z <= 0.
//
// Layout   input, grad_output: [samples, rows, channels]; statistics: [sets, 2, channels]; weights, biases, slopes: [channels];
//          partial: [samples, tiles, 3, channels]
// Grid     rows.wgsl, one workgroup per tile and block of channels
// Shared   1 KiB per channel of an element
// Traffic  8 bytes per element
// Oracle   ops::NormaliseGrad::reference
#import rows
#import element
#import reduce
#import norm

@group(0) @binding(0) var<uniform> params: NormParams;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read> grad_output: array<Stored>;
@group(0) @binding(3) var<storage, read> statistics: array<Stored>;
@group(0) @binding(4) var<storage, read> weights: array<Stored>;
@group(0) @binding(5) var<storage, read> biases: array<Stored>;
@group(0) @binding(6) var<storage, read> slopes: array<Stored>;
@group(0) @binding(7) var<storage, read_write> partial: array<Stored>;

@compute @workgroup_size(WORKGROUP)
fn norm_grad_sums(invocation: Invocation) {
    let rows = params.rows;
    let at = share(rows, invocation);
    let channel = min(at.channel, rows.channels - 1u);
    let first = first_statistic(params, min(at.sample, rows.samples - 1u), channel);
    let mean = unpacked(statistics[first]);
    let scale = unpacked(statistics[first + rows.channels]);
    let weight = unpacked(weights[channel]);
    let bias = unpacked(biases[channel]);
    let slope = select(Element(params.slope), unpacked(slopes[channel]), params.slopes == 1u);
    var sum = Element();
    var product = Element();
    var of_slope = Element();
    for (var row = at.row; row < at.end; row += rows.groups) {
        let i = row * rows.channels + at.channel;
        let normalised = (unpacked(input[i]) - mean) * scale;
        let upstream = unpacked(grad_output[i]);
        let z = normalised * weight + bias;
        let g = select(slope * upstream, upstream, z > Element());
        sum += g;
        product += g * normalised;
        of_slope += select(z * upstream, Element(), z > Element());
    }
    let sums = sum_groups(invocation.local, rows.block, rows.groups, sum);
    let products = sum_groups(invocation.local, rows.block, rows.groups, product);
    let to = 3u * at.tile * rows.channels + at.channel;
    if at.leads {
        partial[to] = packed(sums);
        partial[to + rows.channels] = packed(products);
    }
    if params.slopes == 1u {
        let of_slopes = sum_groups(invocation.local, rows.block, rows.groups, of_slope);
        if at.leads {
            partial[to + 2u * rows.channels] = packed(of_slopes);
        }
    }
}
