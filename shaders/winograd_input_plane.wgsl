// The input's transform along y and x, after winograd_input_depth: 8 x 8 frequencies of each tile, channel and
// frequency along z.
//
// Layout   partial [slabs, 8, 4 rows + 4, 4 tiles_x + 4, C], frequencies [panels, frequencies, 16, padded channels]
// Grid     (64 elements of a row of tiles (tx, c), rows of tiles (slab, ty), frequencies along z)
// Traffic  64 loads and stores per 64 frequencies
// Bounds   padded channels and tiles that do not exist are zero, as is the first element of the partial
// Oracle   as winograd_input_depth
#import winograd_load_lines
#import winograd_tiles
#import winograd_store

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> partial: array<Stored>;
@group(0) @binding(2) var<storage, read_write> frequencies: array<Stored>;

@compute @workgroup_size(64)
fn winograd_input_plane(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let element = workgroup.x * 64u + local;
    let tile_x = element / params.padded_channels;
    let tile = workgroup.y * params.tiles_x + tile_x;
    if tile_x >= params.tiles_x || tile >= params.panels * 16u {
        return;
    }
    let channel = element - tile_x * params.padded_channels;
    let exists = workgroup.y < params.tile_rows && channel < params.channels;
    let slab_number = workgroup.y / params.rows;
    let tile_y = workgroup.y - slab_number * params.rows;
    let columns = params.tiles_x * 4u + 4u;
    let lines = params.rows * 4u + 4u;
    let first_line = (slab_number * 8u + params.first_frequency + workgroup.z) * lines + tile_y * 4u;
    let first = select(0u, (first_line * columns + tile_x * 4u) * params.channels + channel, exists);
    let step = select(0u, params.channels, exists);
    let line = columns * step;
    let p = transposed(Plane(
        transform_input(load_eight(first, step)),
        transform_input(load_eight(first + line, step)),
        transform_input(load_eight(first + 2u * line, step)),
        transform_input(load_eight(first + 3u * line, step)),
        transform_input(load_eight(first + 4u * line, step)),
        transform_input(load_eight(first + 5u * line, step)),
        transform_input(load_eight(first + 6u * line, step)),
        transform_input(load_eight(first + 7u * line, step)),
    ));
    let at = frequencies_of(params, tile, workgroup.z, channel);
    store_column(0u, at, params.frequency_step, transform_input(p.a));
    store_column(1u, at, params.frequency_step, transform_input(p.b));
    store_column(2u, at, params.frequency_step, transform_input(p.c));
    store_column(3u, at, params.frequency_step, transform_input(p.d));
    store_column(4u, at, params.frequency_step, transform_input(p.e));
    store_column(5u, at, params.frequency_step, transform_input(p.f));
    store_column(6u, at, params.frequency_step, transform_input(p.g));
    store_column(7u, at, params.frequency_step, transform_input(p.h));
}
