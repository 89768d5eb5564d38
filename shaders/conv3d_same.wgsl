// output[n, v, o] = bias[o] + sum over k, i of input[n, v + k - taps / 2, i] * weight[tap(k), i, o], a convolution of TAPS_Z x TAPS_Y x
// TAPS_X taps that keeps the extents; tap(k) is k, or the one from the other end for the gradient with respect to the input.
//
// Layout     input [N, D, H, W, I], output [N, D, H, W, O], bias [O]; weight: taps of `tap_step` elements, with a step
//            per channel axis: (O, 1) forward; (1, I) for the input gradient, where I and O change places
// Grid       one workgroup per eight voxels along x, eight output channels and INVOCATIONS rows (n, z, y), folded
// Workgroup  INVOCATIONS invocations: one row each, a register tile of 8 voxels x 8 channels
// Shared     the taps along x of CHUNK input channels: 2560 bytes for five
// Traffic    TAPS_X + 7 loads from memory and 2 TAPS_X vec4 from workgroup memory per 64 TAPS_X fused multiply-adds
// Bounds     any extents and channels; voxels outside are zero
// Oracle     conv3d_naive, conv3d_grad_input_naive
#import grid
#import same
#import row_tile
#import tile_output

override INVOCATIONS: u32;

const CHUNK = 16u;
const STAGED = CHUNK * {TAPS_X}u * 2u;
const TAPS = {TAPS_Z}u * {TAPS_Y}u * {TAPS_X}u;

// The inputs of one channel under a tile and its taps.
alias Row = array<f32, {ROW}>;

// The taps along x of one input channel, four output channels each.
alias Taps = array<vec4<f32>, {TAPS_X}>;

// [channel of the chunk][tap along x][half of the output channels]
var<workgroup> staged: array<vec4<f32>, STAGED>;

// Stages the taps of plane and row `kzy` for `count` input channels from `first` on.
fn stage(kzy: u32, first: u32, count: u32, out_channel: u32, local: u32) {
    for (var i = local; i < count * {TAPS_X}u * 2u; i += INVOCATIONS) {
        let channel = first + i / ({TAPS_X}u * 2u);
        let k = kzy * {TAPS_X}u + i % ({TAPS_X}u * 2u) / 2u;
        let tap = select(k, TAPS - 1u - k, params.flip != 0u);
        let o = out_channel + i % 2u * 4u;
        staged[i] = weights_at(tap * params.tap_step + channel * params.in_step, o);
    }
}

fn taps(channel: u32, half: u32) -> Taps {
    let i = channel * {TAPS_X}u * 2u + half;
    return Taps(
#each k in TAPS_X
        staged[i + 2u * {k}u],
#end
    );
}

// tile[i] += sum over k of row[i + k] * taps[k]
fn accumulate(tile: ptr<function, Tile>, x: Row, w: Taps) {
#each i in VOXELS
    var sum_{i} = (*tile).a{i};
#each k in TAPS_X
    sum_{i} = fma(vec4(x[{i}u + {k}u]), w[{k}u], sum_{i});
#end
    (*tile).a{i} = sum_{i};
#end
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
fn conv3d_same(invocation: Invocation) {
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
#each i in ROW
    let inside_{i} = x + {i}u - {TAPS_X}u / 2u < params.width;
    let offset_{i} = select(0u, x + {i}u - {TAPS_X}u / 2u, inside_{i}) * params.in_channels;
#end

    var low = filled(biases_at(out_channel));
    var high = filled(biases_at(out_channel + 4u));
    for (var kzy = 0u; kzy < {TAPS_Z}u * {TAPS_Y}u; kzy += 1u) {
        let iz = z + kzy / {TAPS_Y}u - {TAPS_Z}u / 2u;
        let iy = y + kzy % {TAPS_Y}u - {TAPS_Y}u / 2u;
        let present = row < params.rows && iz < params.depth && iy < params.height;
        let input_row = select(0u, (plane - z + iz) * params.height + iy, present);
        let input_base = input_row * params.width * params.in_channels;
        for (var first = 0u; first < params.in_channels; first += CHUNK) {
            let count = min(CHUNK, params.in_channels - first);
            workgroupBarrier();
            stage(kzy, first, count, out_channel, invocation.local);
            workgroupBarrier();
            for (var i = 0u; i < count; i += 1u) {
                let base = input_base + first + i;
                let inputs = Row(
#each i in ROW
                    select(0.0, input[base + offset_{i}], present && inside_{i}),
#end
                );
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
