// output[row, output_start + channel] = input[row, input_start + channel]: one argument of a concatenation, or a slice.
//
// Layout   input: [rows, input_channels]; output: [rows, output_channels]
// Grid     rows.wgsl over the channels that are copied, several rows per invocation
// Traffic  8 bytes per element copied
// Oracle   ops::ConcatChannels::reference, ops::SliceChannels::reference
#import rows
#import element

struct Params {
    rows: Rows,
    input_channels: u32,
    input_start: u32,
    output_channels: u32,
    output_start: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(WORKGROUP)
fn channel_copy(invocation: Invocation) {
    let at = share(params.rows, invocation);
    let from_channel = params.input_start + at.channel;
    let to_channel = params.output_start + at.channel;
    for (var row = at.row; row < at.end; row += params.rows.groups) {
        output[row * params.output_channels + to_channel] = input[row * params.input_channels + from_channel];
    }
}
