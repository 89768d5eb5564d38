// The input's transform along y and x, behind winograd_source_depth: 8 x 8 frequencies of each tile, channel and
// frequency along z.
//
// Layout   partial [slabs, 8, 4 rows + 4, W, C], frequencies [panels, frequencies, 16, padded channels]
// Grid     (64 elements of a row of tiles (tx, c), rows of tiles (slab, ty), frequencies along z)
// Traffic  64 loads and stores per 64 frequencies
// Bounds   voxels outside the input, padded channels and tiles that do not exist are zero
// Oracle   as winograd_source_depth
#import winograd_tiles
#import winograd_store

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> frequencies: array<f32>;

// Where a tile's columns lie in a line: four offsets and whether they are inside.
struct Columns {
    offset: vec4<u32>,
    inside: vec4<bool>,
}

fn columns(x: u32, channel: u32) -> Columns {
    let all = vec4(x, x + 1u, x + 2u, x + 3u);
    let inside = (all < vec4(params.width)) & vec4(channel < params.channels);
    return Columns(select(vec4(0u), all * params.channels + channel, inside), inside);
}

fn quad(line: u32, inside: bool, c: Columns) -> vec4<f32> {
    let first = select(0u, line, inside);
    let values = vec4(
        partial[first + c.offset.x],
        partial[first + c.offset.y],
        partial[first + c.offset.z],
        partial[first + c.offset.w],
    );
    return select(vec4(0.0), values, c.inside & vec4(inside));
}

fn half(first: u32, y: u32, step: u32, c: Columns) -> Eight {
    return Eight(
        quad(first, y < params.height, c),
        quad(first + step, y + 1u < params.height, c),
        quad(first + 2u * step, y + 2u < params.height, c),
        quad(first + 3u * step, y + 3u < params.height, c),
        quad(first + 4u * step, y + 4u < params.height, c),
        quad(first + 5u * step, y + 5u < params.height, c),
        quad(first + 6u * step, y + 6u < params.height, c),
        quad(first + 7u * step, y + 7u < params.height, c),
    );
}

@compute @workgroup_size(64)
fn winograd_source_plane(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let element = workgroup.x * 64u + local;
    let tile_x = element / params.padded_channels;
    let tile = workgroup.y * params.tiles_x + tile_x;
    if tile_x >= params.tiles_x || tile >= params.panels * 16u {
        return;
    }
    let channel = element - tile_x * params.padded_channels;
    let slab_number = workgroup.y / params.rows;
    let tile_y = workgroup.y - slab_number * params.rows;
    let line = params.width * params.channels;
    let lines = params.rows * 4u + 4u;
    let first = ((slab_number * 8u + params.first_frequency + workgroup.z) * lines + tile_y * 4u) * line;
    // Lines of tiles that do not exist are outside.
    let y = select(params.height, (params.first_row + tile_y) * 4u - 2u, workgroup.y < params.tile_rows);
    let x = tile_x * 4u - 2u;
    let result = Plane(
        transform_source(half(first, y, line, columns(x, channel))),
        transform_source(half(first, y, line, columns(x + 4u, channel))),
    );
    let at = frequencies_of(params, tile, workgroup.z, channel);
    store_plane(at, params.frequency_step, transform_source(upper(result)), transform_source(lower(result)));
}
