// The input's transform along y and x, after winograd_input_depth: the frequencies of a plane of each tile, channel and
// frequency along z.
//
// Layout   partial [slabs, FREQUENCIES_Z, OUTPUTS_Y rows + SHARED_Y, OUTPUTS_X tiles_x + SHARED_X, C],
//          frequencies [panels, frequencies, 16, padded channels]
// Grid     (64 elements of a row of tiles (tx, c), rows of tiles (slab, ty), frequencies along z)
// Traffic  a load and a store per frequency
// Bounds   padded channels and tiles that do not exist are zero, as is the first element of a partial with shared columns
// Oracle   as winograd_input_depth
#import winograd_tiles
#import winograd_store

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> partial: array<Stored>;
@group(0) @binding(2) var<storage, read_write> frequencies: array<Stored>;

fn loaded(at: u32, exists: bool) -> Element {
    if SHARED_X > 0u {
        return unpacked(partial[at]);
    }
    return select(Element(), unpacked(partial[at]), exists);
}

fn load_line(first: u32, step: u32, exists: bool) -> FrequenciesX {
    return FrequenciesX(
#each x in FREQUENCIES_X
        loaded(first + {x}u * step, exists),
#end
    );
}

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
    let columns = params.tiles_x * OUTPUTS_X + SHARED_X;
    let lines = params.rows * OUTPUTS_Y + SHARED_Y;
    let first_line = (slab_number * FREQUENCIES_Z + params.first_frequency + workgroup.z) * lines + tile_y * OUTPUTS_Y;
    let first = select(0u, (first_line * columns + tile_x * OUTPUTS_X) * params.channels + channel, exists);
    let step = select(0u, params.channels, exists);
    let line = columns * step;
#each y in FREQUENCIES_Y
    let l{y} = transform_input_x(load_line(first + {y}u * line, step, exists));
#end
    let at = frequencies_of(params, tile, workgroup.z, channel);
#each x in FREQUENCIES_X
    store_column({x}u, at, params.frequency_step, transform_input_y(FrequenciesY(
#each y in FREQUENCIES_Y
        l{y}.f{x},
#end
    )));
#end
}
