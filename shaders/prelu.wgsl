// output = input where input > 0, else slopes[channel] * input.
//
// Layout   input, output: [rows, channels]; slopes: [channels]
// Grid     rows.wgsl, several rows per invocation
// Traffic  8 bytes per element
// Oracle   ops::Prelu::reference
#import rows
#import element

@group(0) @binding(0) var<uniform> rows: Rows;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read> slopes: array<Stored>;
@group(0) @binding(3) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(WORKGROUP)
fn prelu(invocation: Invocation) {
    let at = share(rows, invocation);
    if at.row >= at.end {
        return;
    }
    let slope = unpacked(slopes[at.channel]);
    for (var row = at.row; row < at.end; row += rows.groups) {
        let i = row * rows.channels + at.channel;
        let x = unpacked(input[i]);
        output[i] = packed(select(slope * x, x, x > Element()));
    }
}
