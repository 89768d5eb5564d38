// The input's transform along z: partial[s, f, y', x', c] = sum over k of B^T[f, k] * input[n, 4 tz - 2 + k, y, x, c],
// where s counts the chunk's slabs (n, tz), y' its lines from 4 first_row - 2 on, and x' columns from -2 on.
//
// Layout   input [N, D, H, W, C], partial [slabs, 8, 4 rows + 4, 4 tiles_x + 4, C]
// Grid     (64 elements of a line (x', c), lines y', slabs)
// Traffic  eight loads and stores per element of a line
// Bounds   voxels outside the input are zero, so that the transform of planes need not look
// Oracle   conv3d_naive and the gradients' naive kernels, through the convolutions
#import winograd_store_lines
#import winograd_tiles

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> input: array<Stored>;
@group(0) @binding(2) var<storage, read_write> partial: array<Stored>;

// The element of a plane, or zero outside; `z` below zero wraps.
fn plane_at(first_plane: u32, z: u32, plane: u32, at: u32, inside: bool) -> Element {
    let exists = inside && z < params.depth;
    return select(Element(), unpacked(input[select(0u, (first_plane + z) * plane + at, exists)]), exists);
}

@compute @workgroup_size(64)
fn winograd_input_depth(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let line = (params.tiles_x * 4u + 4u) * params.channels;
    let element = workgroup.x * 64u + local;
    if element >= line {
        return;
    }
    let input_line = params.width * params.channels;
    let y = params.first_row * 4u + workgroup.y - 2u;
    let offset = element - 2u * params.channels;
    let inside = offset < input_line && y < params.height;
    let s = slab(params, workgroup.z);
    let plane = params.height * input_line;
    let at = y * input_line + offset;
    let z = s.z - 2u;
    let result = transform_input(Eight(
        plane_at(s.first_plane, z, plane, at, inside),
        plane_at(s.first_plane, z + 1u, plane, at, inside),
        plane_at(s.first_plane, z + 2u, plane, at, inside),
        plane_at(s.first_plane, z + 3u, plane, at, inside),
        plane_at(s.first_plane, z + 4u, plane, at, inside),
        plane_at(s.first_plane, z + 5u, plane, at, inside),
        plane_at(s.first_plane, z + 6u, plane, at, inside),
        plane_at(s.first_plane, z + 7u, plane, at, inside),
    ));
    let step = (params.rows * 4u + 4u) * line;
    let first = workgroup.z * 8u * step + workgroup.y * line + element;
    store_frequencies(first, step, result);
}
