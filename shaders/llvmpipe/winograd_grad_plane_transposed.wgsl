// winograd_grad_plane for panels whose tiles follow one another: an element is two neighbouring tiles of a panel.
//
// Layout   partial [slabs, 8, 4 rows, 4 tiles_x, C], frequencies [panels, frequencies, padded channels, 16]
// Grid     (64 elements (c, tiles) of a panel, panels, frequencies along z)
// Traffic  32 loads and 64 stores per 128 frequencies
// Bounds   padded channels and tiles that do not exist are zero
// Oracle   as winograd_grad_depth
#import winograd_tiles
#import winograd_store

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> frequencies: array<Stored>;

// Where a tile starts, and whether it exists.
struct Place {
    at: u32,
    exists: bool,
}

fn place(tile: u32, z: u32, channel: u32) -> Place {
    let row = tile / params.tiles_x;
    let tile_x = tile - row * params.tiles_x;
    let slab_number = row / params.rows;
    let tile_y = row - slab_number * params.rows;
    let line = params.tiles_x * 4u * params.channels;
    let first_line = (slab_number * 8u + params.first_frequency + z) * params.rows * 4u + tile_y * 4u;
    let exists = row < params.tile_rows && channel < params.channels;
    return Place(select(0u, first_line * line + tile_x * 4u * params.channels + channel, exists), exists);
}

fn both(x: Place, y: Place, offset: u32) -> Element {
    return select(Element(), Element(partial[x.at + offset], partial[y.at + offset]), vec2(x.exists, y.exists));
}

fn load_line(x: Place, y: Place, line: u32) -> Four {
    let step = params.channels;
    let offset = line * params.tiles_x * 4u * step;
    return Four(
        both(x, y, offset),
        both(x, y, offset + step),
        both(x, y, offset + 2u * step),
        both(x, y, offset + 3u * step),
    );
}

@compute @workgroup_size(64)
fn winograd_grad_plane_transposed(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let element = workgroup.x * 64u + local;
    let channel = element / 8u;
    if channel >= params.padded_channels {
        return;
    }
    let tile = workgroup.y * 16u + element % 8u * 2u;
    let x = place(tile, workgroup.z, channel);
    let y = place(tile + 1u, workgroup.z, channel);
    let a = transform_grad(load_line(x, y, 0u));
    let b = transform_grad(load_line(x, y, 1u));
    let c = transform_grad(load_line(x, y, 2u));
    let d = transform_grad(load_line(x, y, 3u));
    let step = params.frequency_step / 2u;
    let at = workgroup.y * params.panel_step / 2u + workgroup.z * 64u * step + element;
    store_gradients(at, step, a, b, c, d);
}
