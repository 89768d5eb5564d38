// The whole gradient of a PReLU in one pass: grad_input = grad_output where input > 0, else slopes[channel] * grad_output;
// slope_sums[tile, channel] = sum over the rows of the tile of input * grad_output where input <= 0; and
// sums[tile, channel] = sum of grad_input, the gradient of the bias in front of the PReLU.
//
// Layout   input, grad_output, grad_input: [rows, channels]; slopes: [channels]; slope_sums, sums: [tiles, channels]
// Grid     rows.wgsl, one workgroup per tile and block of channels
// Shared   1 KiB per channel of an element
// Traffic  12 bytes per element
// Oracle   ops::PreluGrad::reference
#import rows
#import element
#import reduce

@group(0) @binding(0) var<uniform> rows: Rows;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read> slopes: array<Stored>;
@group(0) @binding(3) var<storage, read> grad_output: array<Stored>;
@group(0) @binding(4) var<storage, read_write> grad_input: array<Stored>;
@group(0) @binding(5) var<storage, read_write> slope_sums: array<Stored>;
@group(0) @binding(6) var<storage, read_write> sums: array<Stored>;

@compute @workgroup_size(WORKGROUP)
fn prelu_grad(invocation: Invocation) {
    let at = share(rows, invocation);
    var slope_sum = Element();
    var sum = Element();
    let slope = unpacked(slopes[min(at.channel, rows.channels - 1u)]);
    for (var row = at.row; row < at.end; row += rows.groups) {
        let i = row * rows.channels + at.channel;
        let x = unpacked(input[i]);
        let upstream = unpacked(grad_output[i]);
        let gradient = select(slope * upstream, upstream, x > Element());
        grad_input[i] = packed(gradient);
        slope_sum += select(x * upstream, Element(), x > Element());
        sum += gradient;
    }
    let slope_total = sum_groups(invocation.local, rows.block, rows.groups, slope_sum);
    let total = sum_groups(invocation.local, rows.block, rows.groups, sum);
    if at.leads {
        let to = at.tile * rows.channels + at.channel;
        slope_sums[to] = packed(slope_total);
        sums[to] = packed(total);
    }
}
