// output[n, o, c] = sum over the voxels v of the axis-wise weight of o in v, times input[n, v, c]: the adjoint of upsample_linear.wgsl,
// gathered.
//
// Layout   input: [N, depth * factor_depth, height * factor_height, width * factor_width, C]; output: [N, depth, height, width, C]
// Grid     rows.wgsl over the output, of one sample
// Traffic  4 bytes per element of input and output; the input is read again from the cache
// Oracle   ops::UpsampleLinearGrad::reference
#import rows
#import line
#import linear_axis

@group(0) @binding(0) var<uniform> params: Upsampling;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn upsample_linear_grad(invocation: Invocation) {
    let at = share(params.rows, invocation);
    let large_height = params.height * params.factor_height;
    let large_width = params.width * params.factor_width;
    for (var row = at.row; row < at.end; row += params.rows.groups) {
        let number = row / params.width;
        let line = line_of(number, params.depth, params.height);
        let x = row - number * params.width;
        let z_range = reached(line.z, params.factor_depth, params.depth);
        let y_range = reached(line.y, params.factor_height, params.height);
        let x_range = reached(x, params.factor_width, params.width);
        var sum = 0.0;
        for (var to_z = z_range.x; to_z < z_range.y; to_z++) {
            let plane = line.sample * params.depth * params.factor_depth + to_z;
            let of_z = weight_at(line.z, to_z, params.factor_depth, params.depth, params.unit_depth);
            for (var to_y = y_range.x; to_y < y_range.y; to_y++) {
                let first = (plane * large_height + to_y) * large_width;
                let of_y = of_z * weight_at(line.y, to_y, params.factor_height, params.height, params.unit_height);
                for (var to_x = x_range.x; to_x < x_range.y; to_x++) {
                    let weight = of_y * weight_at(x, to_x, params.factor_width, params.width, params.unit_width);
                    sum += weight * input[(first + to_x) * params.rows.channels + at.channel];
                }
            }
        }
        output[row * params.rows.channels + at.channel] = sum;
    }
}
