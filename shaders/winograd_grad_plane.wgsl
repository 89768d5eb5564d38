// The output gradient's transform along y and x, after winograd_grad_depth: 8 x 8 frequencies of each tile, channel and
// frequency along z.
//
// Layout   partial [slabs, 8, 4 rows, 4 tiles_x, C], frequencies [panels, frequencies, 16, padded channels]
// Grid     (64 elements of a row of tiles (tx, c), rows of tiles (slab, ty), frequencies along z)
// Traffic  16 loads and 64 stores per 64 frequencies
// Bounds   padded channels and tiles that do not exist are zero
// Oracle   as winograd_grad_depth
#import winograd_tiles
#import winograd_store

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> partial: array<Stored>;
@group(0) @binding(2) var<storage, read_write> frequencies: array<Stored>;

fn load_line(at: u32, exists: bool) -> Four {
    let first = select(0u, at, exists);
    let step = params.channels;
    return Four(
        select(Element(), unpacked(partial[first]), exists),
        select(Element(), unpacked(partial[first + step]), exists),
        select(Element(), unpacked(partial[first + 2u * step]), exists),
        select(Element(), unpacked(partial[first + 3u * step]), exists),
    );
}

@compute @workgroup_size(64)
fn winograd_grad_plane(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let element = workgroup.x * 64u + local;
    let row = workgroup.y;
    let tile_x = element / params.padded_channels;
    let tile = row * params.tiles_x + tile_x;
    let channel = element - tile_x * params.padded_channels;
    if tile_x >= params.tiles_x || tile >= params.panels * 16u {
        return;
    }
    let exists = row < params.tile_rows && channel < params.channels;
    let slab_number = row / params.rows;
    let tile_y = row - slab_number * params.rows;
    let line = params.tiles_x * 4u * params.channels;
    let first_line = (slab_number * 8u + params.first_frequency + workgroup.z) * params.rows * 4u + tile_y * 4u;
    let first = first_line * line + tile_x * 4u * params.channels + channel;
    let a = transform_grad(load_line(first, exists));
    let b = transform_grad(load_line(first + line, exists));
    let c = transform_grad(load_line(first + 2u * line, exists));
    let d = transform_grad(load_line(first + 3u * line, exists));
    let at = frequencies_of(params, tile, workgroup.z, channel);
    store_gradients(at, params.frequency_step, a, b, c, d);
}
