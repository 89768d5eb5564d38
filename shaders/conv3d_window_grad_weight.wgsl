// partial[s, k, i, o] = sum over the windows v of split s of input[window(v, k), i] * grad_output[v, o]: the weight gradient
// of convolutions of any kernel, stride and padding, and of transposed ones; conv3d_split_k_sum adds the splits.
//
// Layout     input [.., I], grad_output [.., O], partial [splits, taps, *, *] with a step per channel axis
// Grid       one workgroup per tap, IN_BLOCKS * 4 input channels, OUT_BLOCKS * 4 output channels and group of SPLITS splits,
//            folded
// Workgroup  SPLITS * IN_BLOCKS * OUT_BLOCKS invocations: each owns 4 x 4 channels of one split in registers
// Shared     SEGMENT voxels of both sides for each of SPLITS splits
// Traffic    2 vec4 from workgroup memory per 16 fused multiply-adds
// Bounds     any number of voxels and channels. Voxels are added in ascending order: no atomics
// Oracle     conv3d_grad_weight_naive
#import grid
#import split_k
#import window

struct Params {
    window: Window,
    in_channels: u32,
    out_channels: u32,
    in_step: u32,
    out_step: u32,
    // Groups of SPLITS splits.
    groups: u32,
    first_workgroup: u32,
}

fn stage(first: u32, tap: u32, in_channel: u32, out_channel: u32, local: u32) {
    for (var i = local; i < INPUTS; i += INVOCATIONS) {
        let c = in_channel + i % IN_BLOCKS * 4u;
        let voxel = first + i / IN_BLOCKS;
        var value = vec4(0.0);
        if voxel < params.window.voxels {
            let place = window_voxel(params.window, voxel, tap);
            if place.exists {
                value = inputs_at(place.at * params.in_channels, c);
            }
        }
        inputs[i] = value;
    }
    for (var i = local; i < GRADS; i += INVOCATIONS) {
        let c = out_channel + i % OUT_BLOCKS * 4u;
        let voxel = first + i / OUT_BLOCKS;
        var value = vec4(0.0);
        if voxel < params.window.voxels {
            let at = voxel * params.out_channels;
            value = grads_at(at, c);
        }
        grads[i] = value;
    }
}

@compute @workgroup_size(INVOCATIONS)
fn conv3d_window_grad_weight(invocation: Invocation) {
    let taps = params.window.taps;
    let block = channels_of(params.first_workgroup + workgroup_number(invocation));
    let in_channel = block.in_channel;
    let out_channel = block.out_channel;
    let number = block.rest;
    let local = invocation.local;
    let tap = number % taps;
    let group = number / taps;

    let out_block = local % OUT_BLOCKS;
    let in_block = local / OUT_BLOCKS % IN_BLOCKS;
    let r = local / (OUT_BLOCKS * IN_BLOCKS);
    let from_input = r * SEGMENT * IN_BLOCKS + in_block;
    let from_grad = r * SEGMENT * OUT_BLOCKS + out_block;
    var sum = mat4x4<f32>();
    for (var first = group * SPLITS * SEGMENT; first < params.window.voxels; first += params.groups * SPLITS * SEGMENT) {
        workgroupBarrier();
        stage(first, tap, in_channel, out_channel, local);
        workgroupBarrier();
        for (var i = 0u; i < SEGMENT; i += 1u) {
            sum = outer(sum, inputs[from_input + i * IN_BLOCKS], grads[from_grad + i * OUT_BLOCKS]);
        }
    }
    // The workgroups of a folded grid's surplus have a group that does not exist.
    if group < params.groups {
        let split = (group * SPLITS + r) * taps + tap;
        let channels = vec2(in_channel + in_block * 4u, out_channel + out_block * 4u);
        let steps = vec2(params.in_step, params.out_step);
        store_products(split * params.in_channels * params.out_channels, steps, channels, sum);
    }
}
