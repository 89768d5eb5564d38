// output[sample, tile, channel] = sum over the rows of the tile of input[sample, row, channel]: a whole sum where a
// sample is one tile, else partial sums that a second dispatch of this shader adds up.
//
// Layout   input: [samples, rows, channels]; output: [samples, tiles, channels]
// Grid     rows.wgsl, one workgroup per tile and block of channels
// Shared   1 KiB
// Traffic  4 bytes per element
// Oracle   ops::ChannelSum::reference
#import rows
#import reduce

@group(0) @binding(0) var<uniform> rows: Rows;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn channel_sum(invocation: Invocation) {
    let at = share(rows, invocation);
    var sum = 0.0;
    for (var row = at.row; row < at.end; row += rows.groups) {
        sum += input[row * rows.channels + at.channel];
    }
    let total = sum_groups(invocation.local, rows.block, rows.groups, sum);
    if at.leads {
        output[at.tile * rows.channels + at.channel] = total;
    }
}
