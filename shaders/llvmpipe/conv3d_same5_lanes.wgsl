// output[n, v, o] = bias[o] + sum over k, i of input[n, v + k - 2, i] * weight[tap(k), i, o], a 5x5x5 convolution that
// keeps the extents, for subgroups of eight (llvmpipe); tap(k) is k, or 124 - k for the
// gradient with respect to the input.
//
// Layout     as conv3d_same5
// Grid       (COLUMNS output channels, rows (n, z, y)), the rows folded
// Workgroup  one subgroup: for each k along z and each i, the 25 taps of a plane are kept while it goes along the row
// Traffic    per block of 8 voxels and COLUMNS 16: 10 loads of the input, 16 of the output and 16 stores per 400 multiply-adds of 8
// Bounds     any extents and channels; voxels outside are zero
// Oracle     conv3d_naive, conv3d_grad_input_naive
#import same5
#import same5_lanes

fn tap_at(k: u32, channel: u32, columns: vec2<u32>) -> vec2<f32> {
    let tap = select(k, 124u - k, params.flip != 0u);
    let at = tap * params.tap_step + channel * params.in_step;
    if COLUMNS == 16u {
        return vec2(weight[at + columns.x * params.out_step], weight[at + columns.y * params.out_step]);
    }
    return vec2(weight[at + columns.x * params.out_step], 0.0);
}

fn taps_at(k: u32, channel: u32, columns: vec2<u32>) -> Taps {
    return Taps(
        tap_at(k, channel, columns),
        tap_at(k + 1u, channel, columns),
        tap_at(k + 2u, channel, columns),
        tap_at(k + 3u, channel, columns),
        tap_at(k + 4u, channel, columns),
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

fn voxel(sum: vec2<f32>, x: vec4<f32>, last: f32, w: Taps) -> vec2<f32> {
    return sum + (((x.x * w.t0 + x.y * w.t1) + (x.z * w.t2 + x.w * w.t3)) + last * w.t4);
}

fn multiply_add(b: Block, s: Span, w: Taps) -> Block {
    return Block(
        voxel(b.v0, s.a, s.b.x, w),
        voxel(b.v1, vec4(s.a.yzw, s.b.x), s.b.y, w),
        voxel(b.v2, vec4(s.a.zw, s.b.xy), s.b.z, w),
        voxel(b.v3, vec4(s.a.w, s.b.xyz), s.b.w, w),
        voxel(b.v4, s.b, s.c.x, w),
        voxel(b.v5, vec4(s.b.yzw, s.c.x), s.c.y, w),
        voxel(b.v6, vec4(s.b.zw, s.c.xy), s.c.z, w),
        voxel(b.v7, vec4(s.b.w, s.c.xyz), s.c.w, w),
    );
}

@compute @workgroup_size(8)
fn conv3d_same5_lanes(
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
    let first = 2u - min(z, 2u);
    let end = min(5u, params.depth + 2u - z);
    for (var dz = first; dz < end; dz += 1u) {
        for (var i = 0u; i < params.in_channels; i += 1u) {
            let w0 = taps_at(dz * 25u, i, columns);
            let w1 = taps_at(dz * 25u + 5u, i, columns);
            let w2 = taps_at(dz * 25u + 10u, i, columns);
            let w3 = taps_at(dz * 25u + 15u, i, columns);
            let w4 = taps_at(dz * 25u + 20u, i, columns);
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
                b = multiply_add(b, span_at(row, dz, 0u, i, x, lane), w0);
                b = multiply_add(b, span_at(row, dz, 1u, i, x, lane), w1);
                b = multiply_add(b, span_at(row, dz, 2u, i, x, lane), w2);
                b = multiply_add(b, span_at(row, dz, 3u, i, x, lane), w3);
                b = multiply_add(b, span_at(row, dz, 4u, i, x, lane), w4);
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
