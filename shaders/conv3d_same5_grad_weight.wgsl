// partial[s, k, i, o] = sum over the rows of split s and over x of input[row + k - 2, x + kx - 2, i] * grad_output[row, x, o]
// for the 5x5x5 convolution that keeps the extents; the splits are summed by conv3d_split_k_sum.
//
// Layout     input [N, D, H, W, I], grad_output [N, D, H, W, O], partial [splits, 125, I, O]
// Grid       one workgroup per (kz, ky), IN_BLOCKS * 4 input channels, OUT_BLOCKS * 4 output channels and group of SPLITS
//            splits, folded
// Workgroup  SPLITS * IN_BLOCKS * OUT_BLOCKS invocations: each owns 5 taps x 4 x 4 channels of one split in registers
// Shared     SEGMENT voxels of grad_output and SEGMENT + 4 of the input for each of SPLITS rows
// Traffic    2 vec4 from workgroup memory per 80 fused multiply-adds
// Bounds     any extents and channels; voxels outside are zero. Rows are added in ascending order: no atomics
// Oracle     conv3d_grad_weight_naive
#import grid
#import split_k

struct Params {
    rows: u32,
    depth: u32,
    height: u32,
    width: u32,
    in_channels: u32,
    out_channels: u32,
    // Groups of SPLITS splits; split s has the rows s, s + splits, s + 2 * splits, ...
    groups: u32,
    first_workgroup: u32,
}

// The input row that row `row` meets at tap row `kzy`, or `rows` when that lies outside.
fn input_row(row: u32, kzy: u32) -> u32 {
    let plane = row / params.height;
    let z = plane % params.depth;
    let iz = z + kzy / 5u - 2u;
    let iy = row % params.height + kzy % 5u - 2u;
    if row < params.rows && iz < params.depth && iy < params.height {
        return (plane - z + iz) * params.height + iy;
    }
    return params.rows;
}

fn stage(first_row: u32, kzy: u32, x: u32, in_channel: u32, out_channel: u32, local: u32) {
    for (var i = local; i < INPUTS; i += INVOCATIONS) {
        let channel = in_channel + i % IN_BLOCKS * 4u;
        // Voxels below zero wrap to more than any extent.
        let ix = x + i / IN_BLOCKS % (SEGMENT + 4u) - 2u;
        let row = input_row(first_row + i / (IN_BLOCKS * (SEGMENT + 4u)), kzy);
        var value = vec4(0.0);
        if row < params.rows && ix < params.width {
            let at = (row * params.width + ix) * params.in_channels;
            value = inputs_at(at, channel);
        }
        inputs[i] = value;
    }
    for (var i = local; i < GRADS; i += INVOCATIONS) {
        let channel = out_channel + i % OUT_BLOCKS * 4u;
        let ox = x + i / OUT_BLOCKS % SEGMENT;
        let row = first_row + i / (OUT_BLOCKS * SEGMENT);
        var value = vec4(0.0);
        if row < params.rows && ox < params.width {
            let at = (row * params.width + ox) * params.out_channels;
            value = grads_at(at, channel);
        }
        grads[i] = value;
    }
}

fn store(split: u32, tap: u32, channels: vec2<u32>, sum: mat4x4<f32>) {
    let first = (split * 125u + tap) * params.in_channels * params.out_channels;
    store_products(first, vec2(params.out_channels, 1u), channels, sum);
}

@compute @workgroup_size(INVOCATIONS)
fn conv3d_same5_grad_weight(invocation: Invocation) {
    let block = channels_of(params.first_workgroup + workgroup_number(invocation));
    let in_channel = block.in_channel;
    let out_channel = block.out_channel;
    let number = block.rest;
    let local = invocation.local;
    let kzy = number % 25u;
    let group = number / 25u;

    let out_block = local % OUT_BLOCKS;
    let in_block = local / OUT_BLOCKS % IN_BLOCKS;
    let r = local / (OUT_BLOCKS * IN_BLOCKS);
    let from_input = r * (SEGMENT + 4u) * IN_BLOCKS + in_block;
    let from_grad = r * SEGMENT * OUT_BLOCKS + out_block;
    var k0 = mat4x4<f32>();
    var k1 = mat4x4<f32>();
    var k2 = mat4x4<f32>();
    var k3 = mat4x4<f32>();
    var k4 = mat4x4<f32>();
    for (var first = group * SPLITS; first < params.rows; first += params.groups * SPLITS) {
        for (var x = 0u; x < params.width; x += SEGMENT) {
            workgroupBarrier();
            stage(first, kzy, x, in_channel, out_channel, local);
            workgroupBarrier();
            var x0 = inputs[from_input];
            var x1 = inputs[from_input + IN_BLOCKS];
            var x2 = inputs[from_input + 2u * IN_BLOCKS];
            var x3 = inputs[from_input + 3u * IN_BLOCKS];
            for (var i = 0u; i < SEGMENT; i += 1u) {
                let x4 = inputs[from_input + (i + 4u) * IN_BLOCKS];
                let g = grads[from_grad + i * OUT_BLOCKS];
                k0 = outer(k0, x0, g);
                k1 = outer(k1, x1, g);
                k2 = outer(k2, x2, g);
                k3 = outer(k3, x3, g);
                k4 = outer(k4, x4, g);
                x0 = x1;
                x1 = x2;
                x2 = x3;
                x3 = x4;
            }
        }
    }
    // The workgroups of a folded grid's surplus have a group that does not exist.
    if group < params.groups {
        let split = group * SPLITS + r;
        let channels = vec2(in_channel + in_block * 4u, out_channel + out_block * 4u);
        store(split, kzy * 5u, channels, k0);
        store(split, kzy * 5u + 1u, channels, k1);
        store(split, kzy * 5u + 2u, channels, k2);
        store(split, kzy * 5u + 3u, channels, k3);
        store(split, kzy * 5u + 4u, channels, k4);
    }
}
