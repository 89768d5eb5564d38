// The gemms' transform along z, after winograd_output_plane: output[n, 4 tz + k, y, x, c] = sum over f of
// A^T[k, f] * partial[s, f, y', x, c].
//
// Layout   partial [slabs, 8, 4 rows, 4 tiles_x, C], output [N, D, H, W, C]
// Grid     (64 elements of a line (x, c), lines y', slabs)
// Traffic  eight loads and four stores per element of a line
// Bounds   voxels of a tile that lie outside the output are dropped
// Oracle   as winograd_output_plane
#import winograd_load_lines
#import winograd_tiles

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> partial: array<Stored>;
@group(0) @binding(2) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(64)
fn winograd_output_depth(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let line = params.width * params.channels;
    let element = workgroup.x * 64u + local;
    let y = params.first_row * 4u + workgroup.y;
    if element >= line || y >= params.height {
        return;
    }
    let padded_line = params.tiles_x * 4u * params.channels;
    let step = params.rows * 4u * padded_line;
    let first = workgroup.z * 8u * step + workgroup.y * padded_line + element;
    let result = transform_output(load_eight(first, step));
    let s = slab(params, workgroup.z);
    let plane = params.height * line;
    let at = (s.first_plane + s.z) * plane + y * line + element;
    let planes = params.depth - s.z;
    output[at] = packed(result.a);
    if planes > 1u {
        output[at + plane] = packed(result.b);
    }
    if planes > 2u {
        output[at + 2u * plane] = packed(result.c);
    }
    if planes > 3u {
        output[at + 3u * plane] = packed(result.d);
    }
}
