// output[n, v, c] = input[n, v + offset, c], zero outside the input.
//
// Layout   input [N, D, H, W, C], output [N, extents, C]
// Grid     one workgroup of 64 per output row (n, d, h), folded; invocations stride over the row's W * C elements
// Traffic  8 bytes per output element
// Oracle   ops::PadCrop::reference
#import grid
#import line

struct Params {
    input_depth: u32,
    input_height: u32,
    input_width: u32,
    depth: u32,
    height: u32,
    width: u32,
    channels: u32,
    rows: u32,
    offset_depth: i32,
    offset_height: i32,
    offset_width: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn pad_crop(invocation: Invocation) {
    let row = workgroup_number(invocation);
    if row >= params.rows {
        return;
    }
    let line = line_of(row, params.depth, params.height);
    let y = i32(line.y) + params.offset_height;
    let z = i32(line.z) + params.offset_depth;
    let inside = y >= 0 && y < i32(params.input_height) && z >= 0 && z < i32(params.input_depth);
    let source = ((line.sample * params.input_depth + u32(z)) * params.input_height + u32(y)) * params.input_width;
    // First input element of the row's output element 0, and the range of the row's elements that have a source.
    let shift = params.offset_width * i32(params.channels);
    let source_elements = i32(params.input_width * params.channels);
    let elements = params.width * params.channels;
    for (var i = invocation.local; i < elements; i += 64u) {
        let j = i32(i) + shift;
        var value = 0.0;
        if inside && j >= 0 && j < source_elements {
            value = input[source * params.channels + u32(j)];
        }
        output[row * elements + i] = value;
    }
}
