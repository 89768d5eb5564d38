// The output gradient's transform along y and x, behind winograd_grad_depth: 8 x 8 frequencies of each tile, channel and
// frequency along z.
//
// Layout   partial [slabs, 8, 4 rows, W, C], frequencies [panels, frequencies, 16, padded channels], or TURNED [panels,
//          frequencies, padded channels, 16]
// Grid     (64 elements of a row of tiles (tx, c), rows of tiles (slab, ty), frequencies along z), or TURNED (64 elements
//          (c, tile) of a panel, panels, frequencies along z)
// Traffic  16 loads and 64 stores per 64 frequencies
// Bounds   voxels outside the output, padded channels and tiles that do not exist are zero
// Oracle   as winograd_grad_depth
#import winograd_tiles
#import winograd_store

// 1 where lanes are tiles.
override TURNED: u32;

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> frequencies: array<f32>;

fn quad(line: u32, inside_line: bool, x: u32, channel: u32) -> vec4<f32> {
    let all = vec4(x, x + 1u, x + 2u, x + 3u);
    let inside = (all < vec4(params.width)) & vec4(inside_line && channel < params.channels);
    let at = select(vec4(0u), line + all * params.channels + channel, inside);
    return select(vec4(0.0), vec4(partial[at.x], partial[at.y], partial[at.z], partial[at.w]), inside);
}

@compute @workgroup_size(64)
fn winograd_grad_plane(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let element = workgroup.x * 64u + local;
    var tile = 0u;
    var row = 0u; // of tiles
    var tile_x = 0u;
    var channel = 0u;
    if TURNED == 1u {
        tile = workgroup.y * 16u + element % 16u;
        row = tile / params.tiles_x;
        tile_x = tile - row * params.tiles_x;
        channel = element / 16u;
        if channel >= params.padded_channels {
            return;
        }
    } else {
        row = workgroup.y;
        tile_x = element / params.padded_channels;
        tile = row * params.tiles_x + tile_x;
        channel = element - tile_x * params.padded_channels;
        if tile_x >= params.tiles_x || tile >= params.panels * 16u {
            return;
        }
    }
    let slab_number = row / params.rows;
    let tile_y = row - slab_number * params.rows;
    let line = params.width * params.channels;
    let first = ((slab_number * 8u + params.first_frequency + workgroup.z) * params.rows * 4u + tile_y * 4u) * line;
    // Lines of tiles that do not exist are outside.
    let y = select(params.height, (params.first_row + tile_y) * 4u, row < params.tile_rows);
    let x = tile_x * 4u;
    let columns = transform_grad(Four(
        quad(first, y < params.height, x, channel),
        quad(first + line, y + 1u < params.height, x, channel),
        quad(first + 2u * line, y + 2u < params.height, x, channel),
        quad(first + 3u * line, y + 3u < params.height, x, channel),
    ));
    let up = transpose(mat4x4(columns.a, columns.b, columns.c, columns.d));
    let low = transpose(mat4x4(columns.e, columns.f, columns.g, columns.h));
    var at = frequencies_of(params, tile, workgroup.z, channel);
    if TURNED == 1u {
        at = turned_frequencies_of(params, tile, workgroup.z, channel);
    }
    store_plane(
        at,
        params.frequency_step,
        transform_grad(Four(up[0], up[1], up[2], up[3])),
        transform_grad(Four(low[0], low[1], low[2], low[3])),
    );
}
