// partial[s, k, i, o] = sum over the rows of split s and over x of input[v + k - taps / 2, i] * grad_output[v, o], v being (row, x),
// for a convolution of TAPS_Z x TAPS_Y x TAPS_X taps that keeps the extents; the splits are summed by conv3d_split_k_sum.
//
// Layout     input [N, D, H, W, I], grad_output [N, D, H, W, O], partial [splits, taps, I, O]
// Grid       one workgroup per (kz, ky), IN_BLOCKS * 4 input channels, OUT_BLOCKS * 4 output channels and group of SPLITS
//            splits, folded
// Workgroup  SPLITS * IN_BLOCKS * OUT_BLOCKS invocations: each owns TAPS_X taps x 4 x 4 channels of one split in registers
// Shared     SEGMENT voxels of grad_output and SEGMENT + TAPS_X - 1 of the input for each of SPLITS rows
// Traffic    2 vec4 from workgroup memory per 16 TAPS_X fused multiply-adds
// Bounds     any extents and channels; voxels outside are zero. Rows are added in ascending order: no atomics
// Oracle     conv3d_grad_weight_naive
#import grid
#import split_k

// Voxels of the input under a segment and its taps.
const SPAN = SEGMENT + {TAPS_X}u - 1u;
const PLANES = {TAPS_Z}u * {TAPS_Y}u;

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
    let iz = z + kzy / {TAPS_Y}u - {TAPS_Z}u / 2u;
    let iy = row % params.height + kzy % {TAPS_Y}u - {TAPS_Y}u / 2u;
    if row < params.rows && iz < params.depth && iy < params.height {
        return (plane - z + iz) * params.height + iy;
    }
    return params.rows;
}

fn stage(first_row: u32, kzy: u32, x: u32, in_channel: u32, out_channel: u32, local: u32) {
    for (var i = local; i < INPUTS; i += INVOCATIONS) {
        let channel = in_channel + i % IN_BLOCKS * 4u;
        // Voxels below zero wrap to more than any extent.
        let ix = x + i / IN_BLOCKS % SPAN - {TAPS_X}u / 2u;
        let row = input_row(first_row + i / (IN_BLOCKS * SPAN), kzy);
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
    let first = (split * PLANES * {TAPS_X}u + tap) * params.in_channels * params.out_channels;
    store_products(first, vec2(params.out_channels, 1u), channels, sum);
}

@compute @workgroup_size(INVOCATIONS)
fn conv3d_same_grad_weight(invocation: Invocation) {
    let block = channels_of(params.first_workgroup + workgroup_number(invocation));
    let in_channel = block.in_channel;
    let out_channel = block.out_channel;
    let number = block.rest;
    let local = invocation.local;
    let kzy = number % PLANES;
    let group = number / PLANES;

    let out_block = local % OUT_BLOCKS;
    let in_block = local / OUT_BLOCKS % IN_BLOCKS;
    let r = local / (OUT_BLOCKS * IN_BLOCKS);
    let from_input = r * SPAN * IN_BLOCKS + in_block;
    let from_grad = r * SEGMENT * OUT_BLOCKS + out_block;
#each k in TAPS_X
    var sum_{k} = mat4x4<f32>();
#end
    for (var first = group * SPLITS; first < params.rows; first += params.groups * SPLITS) {
        for (var x = 0u; x < params.width; x += SEGMENT) {
            workgroupBarrier();
            stage(first, kzy, x, in_channel, out_channel, local);
            workgroupBarrier();
            // The voxel that a segment has not come to is the last.
            var x: array<vec4<f32>, {TAPS_X} + 1>;
#each k in TAPS_X
            x[{k}u + 1u] = inputs[from_input + {k}u * IN_BLOCKS];
#end
            for (var i = 0u; i < SEGMENT; i += 1u) {
#each k in TAPS_X
                x[{k}u] = x[{k}u + 1u];
#end
                x[{TAPS_X}u] = inputs[from_input + min(i + {TAPS_X}u, SPAN - 1u) * IN_BLOCKS];
                let g = grads[from_grad + i * OUT_BLOCKS];
#each k in TAPS_X
                sum_{k} = outer(sum_{k}, x[{k}u], g);
#end
            }
        }
    }
    // The workgroups of a folded grid's surplus have a group that does not exist.
    if group < params.groups {
        let split = group * SPLITS + r;
        let channels = vec2(in_channel + in_block * 4u, out_channel + out_block * 4u);
#each k in TAPS_X
        store(split, kzy * {TAPS_X}u + {k}u, channels, sum_{k});
#end
    }
}
