// The product's transform along y and x: 4 x 4 outputs of each tile, channel and frequency along z. A bias is added at the
// frequency of point 1, which counts once in every output.
//
// Layout   frequencies [panels, frequencies, 16, padded channels], bias [C],
//          partial [slabs, 8, 4 rows, 4 tiles_x, C]
// Grid     (64 elements of a row of tiles (tx, c), rows of tiles (slab, ty), frequencies along z)
// Traffic  64 loads and 16 stores per 64 frequencies
// Oracle   conv3d_naive and conv3d_grad_input_naive, through the convolutions
#import winograd_tiles
#import winograd_load

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> frequencies: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

fn store_line(at: u32, values: vec4<f32>) {
    partial[at] = values.x;
    partial[at + params.channels] = values.y;
    partial[at + 2u * params.channels] = values.z;
    partial[at + 3u * params.channels] = values.w;
}

@compute @workgroup_size(64)
fn winograd_output_plane(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let element = workgroup.x * 64u + local;
    let tile_x = element / params.channels;
    if tile_x >= params.tiles_x {
        return;
    }
    let channel = element - tile_x * params.channels;
    let base = frequencies_of(params, workgroup.y * params.tiles_x + tile_x, workgroup.z, channel);
    let z = params.first_frequency + workgroup.z;
    var plane = load_plane(base, params.frequency_step);
    if params.with_bias != 0u && z == 1u {
        plane.left.b.y += bias[channel];
    }
    // Along y: four lines of eight.
    let left = transform_output(plane.left);
    let right = transform_output(plane.right);
    let result = transform_output(turned(
        mat4x4(left.a, left.b, left.c, left.d),
        mat4x4(right.a, right.b, right.c, right.d),
    ));
    let lines = transpose(mat4x4(result.a, result.b, result.c, result.d));
    let slab_number = workgroup.y / params.rows;
    let tile_y = workgroup.y - slab_number * params.rows;
    let line = params.tiles_x * 4u * params.channels;
    let at = ((slab_number * 8u + z) * params.rows + tile_y) * 4u * line
        + tile_x * 4u * params.channels + channel;
    store_line(at, lines[0]);
    store_line(at + line, lines[1]);
    store_line(at + 2u * line, lines[2]);
    store_line(at + 3u * line, lines[3]);
}
