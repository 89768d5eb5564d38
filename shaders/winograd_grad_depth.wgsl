// The output gradient's transform along z for the gradient of the weight: partial[s, f, y', x, c] = sum over k < 4 of
// A[f, k] * grad_output[n, 4 tz + k, y, x, c], where s counts the chunk's slabs (n, tz) and y' its lines from
// 4 first_row on.
//
// Layout   grad_output [N, D, H, W, C], partial [slabs, 8, 4 rows, W, C]
// Grid     (64 elements of a line (x, c), lines y', slabs)
// Traffic  four loads and eight stores per element of a line
// Bounds   planes outside are zero; lines outside are not written
// Oracle   conv3d_grad_weight_naive, through the weight gradient
#import winograd_store_lines
#import winograd_tiles

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

fn plane_at(first_plane: u32, z: u32, plane: u32, at: u32) -> vec4<f32> {
    let inside = z < params.depth;
    let value = grad_output[(first_plane + select(0u, z, inside)) * plane + at];
    return vec4(select(0.0, value, inside), 0.0, 0.0, 0.0);
}

@compute @workgroup_size(64)
fn winograd_grad_depth(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let line = params.width * params.channels;
    let element = workgroup.x * 64u + local;
    let y = params.first_row * 4u + workgroup.y;
    if element >= line || y >= params.height {
        return;
    }
    let s = slab(params, workgroup.z);
    let plane = params.height * line;
    let at = y * line + element;
    let result = transform_grad(Four(
        plane_at(s.first_plane, s.z, plane, at),
        plane_at(s.first_plane, s.z + 1u, plane, at),
        plane_at(s.first_plane, s.z + 2u, plane, at),
        plane_at(s.first_plane, s.z + 3u, plane, at),
    ));
    let step = params.rows * 4u * line;
    let first = workgroup.z * 8u * step + workgroup.y * line + element;
    store_frequencies(first, step, result);
}
