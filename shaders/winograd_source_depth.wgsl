// The input's transform along z: partial[s, f, y', x, c] = sum over k of B^T[f, k] * input[n, 4 tz - 2 + k, y, x, c],
// where s counts the chunk's slabs (n, tz) and y' its lines from 4 first_row - 2 on.
//
// Layout   input [N, D, H, W, C], partial [slabs, 8, 4 rows + 4, W, C]
// Grid     (64 elements of a line (x, c), lines y', slabs)
// Traffic  eight loads and stores per element of a line
// Bounds   planes outside the input are zero; lines outside it are not written
// Oracle   conv3d_naive and the gradients' naive kernels, through the convolutions
#import winograd_store_lines
#import winograd_tiles

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

// The element of a plane, or zero outside; `z` below zero wraps.
fn plane_at(first_plane: u32, z: u32, plane: u32, at: u32) -> vec4<f32> {
    let inside = z < params.depth;
    let value = input[(first_plane + select(0u, z, inside)) * plane + at];
    return vec4(select(0.0, value, inside), 0.0, 0.0, 0.0);
}

@compute @workgroup_size(64)
fn winograd_source_depth(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let line = params.width * params.channels;
    let element = workgroup.x * 64u + local;
    let y = params.first_row * 4u + workgroup.y - 2u;
    if element >= line || y >= params.height {
        return;
    }
    let s = slab(params, workgroup.z);
    let plane = params.height * line;
    let at = y * line + element;
    let z = s.z - 2u;
    let result = transform_source(Eight(
        plane_at(s.first_plane, z, plane, at),
        plane_at(s.first_plane, z + 1u, plane, at),
        plane_at(s.first_plane, z + 2u, plane, at),
        plane_at(s.first_plane, z + 3u, plane, at),
        plane_at(s.first_plane, z + 4u, plane, at),
        plane_at(s.first_plane, z + 5u, plane, at),
        plane_at(s.first_plane, z + 6u, plane, at),
        plane_at(s.first_plane, z + 7u, plane, at),
    ));
    let step = (params.rows * 4u + 4u) * line;
    let first = workgroup.z * 8u * step + workgroup.y * line + element;
    store_frequencies(first, step, result);
}
