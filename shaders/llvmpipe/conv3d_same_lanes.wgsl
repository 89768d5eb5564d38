// output[n, v, o] = bias[o] + sum over k, i of input[n, v + k - taps / 2, i] * weight[tap(k), i, o], a convolution of TAPS_Z x TAPS_Y x
// TAPS_X taps that keeps the extents, for subgroups of eight (llvmpipe); tap(k) is k, or the one from the other end for the
// gradient with respect to the input.
//
// Layout     as conv3d_same
// Grid       (COLUMNS output channels, rows (n, z, y)), the rows folded
// Workgroup  one subgroup: for each k along z and each i, the taps of a plane are kept while it goes along the row
// Traffic    per block of 8 voxels and COLUMNS 16: 2 TAPS_Y loads of the input, 16 of the output and 16 stores per 16 TAPS_Y TAPS_X
//            multiply-adds of 8
// Bounds     any extents and channels; voxels outside are zero
// Oracle     conv3d_naive, conv3d_grad_input_naive
#import same
#import same_lanes

const TAPS = {TAPS_Z}u * {TAPS_Y}u * {TAPS_X}u;

fn tap_at(k: u32, channel: u32, columns: vec2<u32>) -> vec2<f32> {
    let tap = select(k, TAPS - 1u - k, params.flip != 0u);
    let at = tap * params.tap_step + channel * params.in_step;
    if COLUMNS == 16u {
        return vec2(weight[at + columns.x * params.out_step], weight[at + columns.y * params.out_step]);
    }
    return vec2(weight[at + columns.x * params.out_step], 0.0);
}

fn taps_at(k: u32, channel: u32, columns: vec2<u32>) -> Taps {
    return Taps(
#each k in TAPS_X
        tap_at(k + {k}u, channel, columns),
#end
    );
}

fn output_at(row: u32, x: u32, columns: vec2<u32>) -> vec2<f32> {
    let at = (row * params.width + min(x, params.width - 1u)) * params.out_channels;
    if COLUMNS == 16u {
        return vec2(output[at + columns.x], output[at + columns.y]);
    }
    return vec2(output[at + columns.x], 0.0);
}

fn store(row: u32, x: u32, column: u32, value: vec2<f32>) {
    if x < params.width {
        let at = (row * params.width + x) * params.out_channels + column;
        if column < params.out_channels {
            output[at] = value.x;
        }
        if COLUMNS == 16u {
            if column + 8u < params.out_channels {
                output[at + 8u] = value.y;
            }
        }
    }
}

fn multiply_add(b: Block, s: Span, w: Taps) -> Block {
    return Block(
#each i in VOXELS
        b.v{i} + sum_of_{TAPS_X}(
#each k in TAPS_X
            s[{i}u + {k}u] * w[{k}u],
#end
        ),
#end
    );
}

@compute @workgroup_size(8)
fn conv3d_same_lanes(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let row = params.first_unit + workgroup.y + grid.y * workgroup.z;
    if row >= params.rows {
        return;
    }
    let column = workgroup.x * COLUMNS + lane;
    let columns = below(column, params.out_channels);
    var biases = vec2<f32>();
    if params.with_bias != 0u {
        biases = vec2(bias[columns.x], bias[columns.y]);
    }
    let z = row / params.height % params.depth;
    let first = HALF_Z - min(z, HALF_Z);
    let end = min({TAPS_Z}u, params.depth + HALF_Z - z);
    for (var dz = first; dz < end; dz += 1u) {
        for (var i = 0u; i < params.in_channels; i += 1u) {
#each y in TAPS_Y
            let w{y} = taps_at((dz * {TAPS_Y}u + {y}u) * {TAPS_X}u, i, columns);
#end
            let starts = dz == first && i == 0u;
            for (var x = 0u; x < params.width; x += 8u) {
                var b = Block(biases, biases, biases, biases, biases, biases, biases, biases);
                if !starts {
                    b.v0 = output_at(row, x, columns);
                    b.v1 = output_at(row, x + 1u, columns);
                    b.v2 = output_at(row, x + 2u, columns);
                    b.v3 = output_at(row, x + 3u, columns);
                    b.v4 = output_at(row, x + 4u, columns);
                    b.v5 = output_at(row, x + 5u, columns);
                    b.v6 = output_at(row, x + 6u, columns);
                    b.v7 = output_at(row, x + 7u, columns);
                }
#each y in TAPS_Y
                b = multiply_add(b, span_at(row, dz, {y}u, i, x, lane), w{y});
#end
                store(row, x, column, b.v0);
                store(row, x + 1u, column, b.v1);
                store(row, x + 2u, column, b.v2);
                store(row, x + 3u, column, b.v3);
                store(row, x + 4u, column, b.v4);
                store(row, x + 5u, column, b.v5);
                store(row, x + 6u, column, b.v6);
                store(row, x + 7u, column, b.v7);
            }
        }
    }
}
