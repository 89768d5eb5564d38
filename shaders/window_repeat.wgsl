// output[n, v, c] = factor * input[n, o, c], with o the window that voxel v lies in.
//
// Layout   input: [N, depth, height, width, C]; output: [N, depth * window_depth, height * window_height, width * window_width, C]
// Grid     rows.wgsl over the output, of one sample
// Traffic  4 bytes per element of input and output
// Oracle   ops::UpsampleNearest::reference
#import line
#import windows

@group(0) @binding(0) var<uniform> params: Windows;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn window_repeat(invocation: Invocation) {
    let at = share(params.rows, invocation);
    let width = params.width * params.window_width;
    for (var row = at.row; row < at.end; row += params.rows.groups) {
        let number = row / width;
        let line = line_of(number, params.depth * params.window_depth, params.height * params.window_height);
        let x = (row - number * width) / params.window_width;
        let plane = line.sample * params.depth + line.z / params.window_depth;
        let from_row = (plane * params.height + line.y / params.window_height) * params.width + x;
        output[row * params.rows.channels + at.channel] = params.factor * input[from_row * params.rows.channels + at.channel];
    }
}
