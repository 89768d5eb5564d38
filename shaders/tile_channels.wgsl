// output[row, channel] = input[row, channel mod input_channels].
//
// Layout   input: [rows, input_channels]; output: [rows, channels]
// Grid     rows.wgsl over the output, several rows per invocation
// Traffic  4 bytes per element of input and output
// Oracle   ops::TileChannels::reference
#import rows

struct Params {
    rows: Rows,
    input_channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn tile_channels(invocation: Invocation) {
    let at = share(params.rows, invocation);
    let from_channel = at.channel % params.input_channels;
    for (var row = at.row; row < at.end; row += params.rows.groups) {
        output[row * params.rows.channels + at.channel] = input[row * params.input_channels + from_channel];
    }
}
