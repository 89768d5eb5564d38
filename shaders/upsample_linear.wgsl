// output[n, v, c] = the eight voxels around (v + 1/2) / factors - 1/2 of input[n, .., c], weighted linearly along each axis.
//
// Layout   input: [N, depth, height, width, C]; output: [N, depth * factor_depth, height * factor_height, width * factor_width, C]
// Grid     rows.wgsl over the output, of one sample
// Traffic  4 bytes per element of input and output; the input is read again from the cache
// Oracle   ops::UpsampleLinear::reference
#import rows
#import line
#import linear_axis

@group(0) @binding(0) var<uniform> params: Upsampling;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

fn along_x(first: u32, x: Place, channel: u32) -> f32 {
    let low = input[(first + x.low) * params.rows.channels + channel];
    let high = input[(first + x.high) * params.rows.channels + channel];
    return (1.0 - x.weight) * low + x.weight * high;
}

fn along_y(plane: u32, y: Place, x: Place, channel: u32) -> f32 {
    let low = along_x((plane * params.height + y.low) * params.width, x, channel);
    let high = along_x((plane * params.height + y.high) * params.width, x, channel);
    return (1.0 - y.weight) * low + y.weight * high;
}

@compute @workgroup_size(WORKGROUP)
fn upsample_linear(invocation: Invocation) {
    let at = share(params.rows, invocation);
    let width = params.width * params.factor_width;
    for (var row = at.row; row < at.end; row += params.rows.groups) {
        let number = row / width;
        let line = line_of(number, params.depth * params.factor_depth, params.height * params.factor_height);
        let z = place(line.z, params.factor_depth, params.depth, params.unit_depth);
        let y = place(line.y, params.factor_height, params.height, params.unit_height);
        let x = place(row - number * width, params.factor_width, params.width, params.unit_width);
        let low = along_y(line.sample * params.depth + z.low, y, x, at.channel);
        let high = along_y(line.sample * params.depth + z.high, y, x, at.channel);
        output[row * params.rows.channels + at.channel] = (1.0 - z.weight) * low + z.weight * high;
    }
}
