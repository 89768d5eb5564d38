// The gemms' transform along y and x: 4 x 4 outputs of each tile, channel and frequency along z. A bias is added at the
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
@group(0) @binding(1) var<storage, read> frequencies: array<Stored>;
@group(0) @binding(2) var<storage, read> bias: array<Stored>;
@group(0) @binding(3) var<storage, read_write> partial: array<Stored>;

// The outputs along y of each frequency along x.
struct Outputs {
    a: Four,
    b: Four,
    c: Four,
    d: Four,
    e: Four,
    f: Four,
    g: Four,
    h: Four,
}

fn store_line(at: u32, values: Four) {
    partial[at] = packed(values.a);
    partial[at + params.channels] = packed(values.b);
    partial[at + 2u * params.channels] = packed(values.c);
    partial[at + 3u * params.channels] = packed(values.d);
}

@compute @workgroup_size(64)
fn winograd_output_plane(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let element = workgroup.x * 64u + local;
    let tile_x = element / params.channels;
    if tile_x >= params.tiles_x {
        return;
    }
    let channel = element - tile_x * params.channels;
    let first = frequencies_of(params, workgroup.y * params.tiles_x + tile_x, workgroup.z, channel);
    let z = params.first_frequency + workgroup.z;
    let step = params.frequency_step;
    var second = load_column(1u, first, step);
    if params.with_bias != 0u && z == 1u {
        second.b += unpacked(bias[channel]);
    }
    let p = Outputs(
        transform_output(load_column(0u, first, step)),
        transform_output(second),
        transform_output(load_column(2u, first, step)),
        transform_output(load_column(3u, first, step)),
        transform_output(load_column(4u, first, step)),
        transform_output(load_column(5u, first, step)),
        transform_output(load_column(6u, first, step)),
        transform_output(load_column(7u, first, step)),
    );
    let slab_number = workgroup.y / params.rows;
    let tile_y = workgroup.y - slab_number * params.rows;
    let line = params.tiles_x * 4u * params.channels;
    let at = ((slab_number * 8u + z) * params.rows + tile_y) * 4u * line
        + tile_x * 4u * params.channels + channel;
    store_line(at, transform_output(Eight(p.a.a, p.b.a, p.c.a, p.d.a, p.e.a, p.f.a, p.g.a, p.h.a)));
    store_line(at + line, transform_output(Eight(p.a.b, p.b.b, p.c.b, p.d.b, p.e.b, p.f.b, p.g.b, p.h.b)));
    store_line(at + 2u * line, transform_output(Eight(p.a.c, p.b.c, p.c.c, p.d.c, p.e.c, p.f.c, p.g.c, p.h.c)));
    store_line(at + 3u * line, transform_output(Eight(p.a.d, p.b.d, p.c.d, p.d.d, p.e.d, p.f.d, p.g.d, p.h.d)));
}
