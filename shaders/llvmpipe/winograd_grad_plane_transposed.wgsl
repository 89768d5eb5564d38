// winograd_grad_plane for panels whose tiles follow one another: an element is two neighbouring tiles of a panel.
//
// Layout   partial [slabs, FREQUENCIES_Z, OUTPUTS_Y rows, OUTPUTS_X tiles_x, C], frequencies [panels, frequencies, padded channels, 16]
// Grid     (64 elements (c, tiles) of a panel, panels, frequencies along z)
// Traffic  two loads per voxel and a store per frequency, of two tiles
// Bounds   padded channels and tiles that do not exist are zero
// Oracle   as winograd_grad_depth
#import winograd_tiles
#import winograd_store_gradients

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
    let line = params.tiles_x * OUTPUTS_X * params.channels;
    let slice = slab_number * FREQUENCIES_Z + params.first_frequency + z;
    let first_line = slice * params.rows * OUTPUTS_Y + tile_y * OUTPUTS_Y;
    let exists = row < params.tile_rows && channel < params.channels;
    return Place(select(0u, first_line * line + tile_x * OUTPUTS_X * params.channels + channel, exists), exists);
}

fn both(x: Place, y: Place, offset: u32) -> Element {
    return select(Element(), Element(partial[x.at + offset], partial[y.at + offset]), vec2(x.exists, y.exists));
}

fn load_line(x: Place, y: Place, line: u32) -> OutputsX {
    let step = params.channels;
    let offset = line * params.tiles_x * OUTPUTS_X * step;
    return OutputsX(
#each x in OUTPUTS_X
        both(x, y, offset + {x}u * step),
#end
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
    let lines = GradientLines(
#each y in OUTPUTS_Y
        transform_grad_x(load_line(x, y, {y}u)),
#end
    );
    let step = params.frequency_step / 2u;
    let at = workgroup.y * params.panel_step / 2u + workgroup.z * PLANE * step + element;
    store_gradients(at, step, lines);
}
