// grad_input[row, channel] = sum of grad_output[row, c] over the c that are channel modulo the number of channels.
//
// Layout   grad_output: [rows, tiled_channels]; grad_input: [rows, channels]
// Grid     rows.wgsl over grad_input, several rows per invocation
// Traffic  4 bytes per element of both
// Oracle   ops::TileChannelsGrad::reference
#import rows

struct Params {
    rows: Rows,
    tiled_channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn tile_channels_grad(invocation: Invocation) {
    let at = share(params.rows, invocation);
    for (var row = at.row; row < at.end; row += params.rows.groups) {
        let first = row * params.tiled_channels;
        var sum = 0.0;
        for (var c = at.channel; c < params.tiled_channels; c += params.rows.channels) {
            sum += grad_output[first + c];
        }
        grad_input[row * params.rows.channels + at.channel] = sum;
    }
}
