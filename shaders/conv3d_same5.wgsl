// output[n, v, o] = bias[o] + sum over k, i of input[n, v + k - 2, i] * weight[tap(k), i, o], a 5x5x5 convolution that
// keeps the extents; tap(k) is k, or 124 - k for the gradient with respect to the input.
//
// Layout     input [N, D, H, W, I], output [N, D, H, W, O], bias [O]; weight: 125 taps of `tap_step` elements, with a step
//            per channel axis: (O, 1) forward; (1, I) for the input gradient, where I and O change places
// Grid       one workgroup per eight voxels along x, eight output channels and INVOCATIONS rows (n, z, y), folded
// Workgroup  INVOCATIONS invocations: one row each, a register tile of 8 voxels x 8 channels
// Shared     the taps along x of CHUNK input channels: 2560 bytes
// Traffic    12 loads from memory and 10 vec4 from workgroup memory per 320 fused multiply-adds
// Bounds     any extents and channels; voxels outside are zero
// Oracle     conv3d_naive, conv3d_grad_input_naive
#import grid
#import same5
#import row_tile
#import tile_output

override INVOCATIONS: u32;

const CHUNK = 16u;
const STAGED = CHUNK * 10u;

// [channel of the chunk][tap along x][half of the output channels]
var<workgroup> staged: array<vec4<f32>, STAGED>;

// Stages the five taps of plane and row `kzy` for `count` input channels from `first` on.
fn stage(kzy: u32, first: u32, count: u32, out_channel: u32, local: u32) {
    for (var i = local; i < count * 10u; i += INVOCATIONS) {
        let channel = first + i / 10u;
        let k = kzy * 5u + i % 10u / 2u;
        let tap = select(k, 124u - k, params.flip != 0u);
        let o = out_channel + i % 2u * 4u;
        staged[i] = weights_at(tap * params.tap_step + channel * params.in_step, o);
    }
}

fn taps(channel: u32, half: u32) -> Taps {
    let i = channel * 10u + half;
    return Taps(staged[i], staged[i + 2u], staged[i + 4u], staged[i + 6u], staged[i + 8u]);
}

fn gather(base: u32, offsets: vec4<u32>, inside: vec4<bool>) -> vec4<f32> {
    let at = vec4(base) + offsets;
    return select(vec4(0.0), vec4(input[at.x], input[at.y], input[at.z], input[at.w]), inside);
}

fn store(row: u32, x: u32, channel: u32, values: vec4<f32>) {
    if x < params.width {
        store_channels(row * params.width + x, channel, values);
    }
}

fn store_tile(row: u32, x: u32, channel: u32, tile: Tile) {
    store(row, x, channel, tile.a0);
    store(row, x + 1u, channel, tile.a1);
    store(row, x + 2u, channel, tile.a2);
    store(row, x + 3u, channel, tile.a3);
    store(row, x + 4u, channel, tile.a4);
    store(row, x + 5u, channel, tile.a5);
    store(row, x + 6u, channel, tile.a6);
    store(row, x + 7u, channel, tile.a7);
}

@compute @workgroup_size(INVOCATIONS)
fn conv3d_same5(invocation: Invocation) {
    let number = params.first_unit + workgroup_number(invocation);
    let tiles = (params.width + 7u) / 8u;
    let blocks = (params.out_channels + 7u) / 8u;
    let x = number % tiles * 8u;
    let out_channel = number / tiles % blocks * 8u;
    let row = number / (tiles * blocks) * INVOCATIONS + invocation.local;
    let plane = row / params.height;
    let y = row % params.height;
    let z = plane % params.depth;

    // Voxels below zero wrap to more than any extent.
    let xa = vec4(x) + vec4(0u, 1u, 2u, 3u) - 2u;
    let last = vec4(params.width - 1u);
    let inside_a = xa <= last;
    let inside_b = xa + 4u <= last;
    let inside_c = xa + 8u <= last;
    let offset_a = select(vec4(0u), xa, inside_a) * params.in_channels;
    let offset_b = select(vec4(0u), xa + 4u, inside_b) * params.in_channels;
    let offset_c = select(vec4(0u), xa + 8u, inside_c) * params.in_channels;

    var low = filled(biases_at(out_channel));
    var high = filled(biases_at(out_channel + 4u));
    for (var kzy = 0u; kzy < 25u; kzy += 1u) {
        let iz = z + kzy / 5u - 2u;
        let iy = y + kzy % 5u - 2u;
        let present = row < params.rows && iz < params.depth && iy < params.height;
        let input_row = select(0u, (plane - z + iz) * params.height + iy, present);
        let input_base = input_row * params.width * params.in_channels;
        let a = inside_a & vec4(present);
        let b = inside_b & vec4(present);
        let c = inside_c & vec4(present);
        for (var first = 0u; first < params.in_channels; first += CHUNK) {
            let count = min(CHUNK, params.in_channels - first);
            workgroupBarrier();
            stage(kzy, first, count, out_channel, invocation.local);
            workgroupBarrier();
            for (var i = 0u; i < count; i += 1u) {
                let base = input_base + first + i;
                let inputs = Row(gather(base, offset_a, a), gather(base, offset_b, b), gather(base, offset_c, c));
                accumulate(&low, inputs, taps(i, 0u));
                accumulate(&high, inputs, taps(i, 1u));
            }
        }
    }
    if row < params.rows {
        store_tile(row, x, out_channel, low);
        store_tile(row, x, out_channel + 4u, high);
    }
}
