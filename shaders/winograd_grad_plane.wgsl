// The output gradient's transform along y and x, after winograd_grad_depth: the frequencies of a plane of each tile, channel and
// frequency along z.
//
// Layout   partial [slabs, FREQUENCIES_Z, OUTPUTS_Y rows, OUTPUTS_X tiles_x, C], frequencies [panels, frequencies, 16, padded channels]
// Grid     (64 elements of a row of tiles (tx, c), rows of tiles (slab, ty), frequencies along z)
// Traffic  a load per voxel and a store per frequency
// Bounds   padded channels and tiles that do not exist are zero
// Oracle   as winograd_grad_depth
#import winograd_tiles
#import winograd_store_gradients

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> partial: array<Stored>;
@group(0) @binding(2) var<storage, read_write> frequencies: array<Stored>;

fn load_line(at: u32, exists: bool) -> OutputsX {
    let first = select(0u, at, exists);
    let step = params.channels;
    return OutputsX(
#each x in OUTPUTS_X
        select(Element(), unpacked(partial[first + {x}u * step]), exists),
#end
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
    let line = params.tiles_x * OUTPUTS_X * params.channels;
    let slice = slab_number * FREQUENCIES_Z + params.first_frequency + workgroup.z;
    let first_line = slice * params.rows * OUTPUTS_Y + tile_y * OUTPUTS_Y;
    let first = first_line * line + tile_x * OUTPUTS_X * params.channels + channel;
    let lines = GradientLines(
#each y in OUTPUTS_Y
        transform_grad_x(load_line(first + {y}u * line, exists)),
#end
    );
    store_gradients(frequencies_of(params, tile, workgroup.z, channel), params.frequency_step, lines);
}
