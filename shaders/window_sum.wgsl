// output[n, o, c] = factor * sum over the voxels v of window o of input[n, v, c].
//
// Layout   input: [N, depth * window_depth, height * window_height, width * window_width, C]; output: [N, depth, height, width, C]
// Grid     rows.wgsl over the output, of one sample
// Traffic  4 bytes per element of input and output
// Oracle   ops::AvgPool::reference
#import line
#import windows

@group(0) @binding(0) var<uniform> params: Windows;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn window_sum(invocation: Invocation) {
    let at = share(params.rows, invocation);
    for (var row = at.row; row < at.end; row += params.rows.groups) {
        let number = row / params.width;
        let line = line_of(number, params.depth, params.height);
        let x = (row - number * params.width) * params.window_width;
        var sum = 0.0;
        for (var dz = 0u; dz < params.window_depth; dz++) {
            let plane = (line.sample * params.depth + line.z) * params.window_depth + dz;
            for (var dy = 0u; dy < params.window_height; dy++) {
                let first = ((plane * params.height + line.y) * params.window_height + dy) * params.width * params.window_width + x;
                for (var dx = 0u; dx < params.window_width; dx++) {
                    sum += input[(first + dx) * params.rows.channels + at.channel];
                }
            }
        }
        output[row * params.rows.channels + at.channel] = params.factor * sum;
    }
}
