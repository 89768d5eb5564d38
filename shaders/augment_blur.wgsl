// output[v] = w[0] image[v] + sum over r = 1..4 of w[r] (image[v - r] + image[v + r]) along one axis, channel by channel;
// beyond the edge the outermost voxel is repeated.
//
// Layout   image, output: [N, D, H, W, C]; parameters: [N, C, 5], the weights; a channel with w[0] = 1 is copied
// Grid     one workgroup of 64 per row (n, z, y), folded; invocations stride over the row, for one channel after the other
// Traffic  8 bytes per element, 8 more elements from the cache
// Oracle   augment::Blur::reference
#import channels
#import grid
#import line

const RADIUS: i32 = 4;

struct Params {
    depth: u32,
    height: u32,
    width: u32,
    rows: u32,
    axis: u32,    // that is blurred along: 0 is z, 1 is y, 2 is x
    extent: u32,  // of this axis
    stride: u32,  // from an element to its neighbour along this axis
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> image: array<f32>;
@group(0) @binding(2) var<storage, read> parameters: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

fn blur_row(row: u32, channel: u32, local: u32) {
    let line = line_of(row, params.depth, params.height);
    let numbers = (line.sample * CHANNELS + channel) * u32(RADIUS + 1);
    let centre = parameters[numbers];
    let at_of_row = select(line.z, line.y, params.axis == 1u);
    let last = i32(params.extent) - 1;
    for (var x = local; x < params.width; x += 64u) {
        let i = (row * params.width + x) * CHANNELS + channel;
        if centre == 1.0 {
            output[i] = image[i];
            continue;
        }
        let at = select(at_of_row, x, params.axis == 2u);
        let first = i32(i - at * params.stride);
        var sum = centre * image[i];
        for (var r = 1; r <= RADIUS; r++) {
            let before = first + max(i32(at) - r, 0) * i32(params.stride);
            let after = first + min(i32(at) + r, last) * i32(params.stride);
            sum += parameters[numbers + u32(r)] * (image[before] + image[after]);
        }
        output[i] = sum;
    }
}

@compute @workgroup_size(64)
fn augment_blur(invocation: Invocation) {
    let row = workgroup_number(invocation);
    if row >= params.rows {
        return;
    }
    for (var channel = 0u; channel < CHANNELS; channel++) {
        blur_row(row, channel, invocation.local);
    }
}
