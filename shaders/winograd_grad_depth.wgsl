// The output gradient's transform along z for the gradient of the weight: partial[s, f, y', x, c] = sum over k < 4 of
// A[f, k] * grad_output[n, 4 tz + k, y, x, c], where s counts the chunk's slabs (n, tz) and y' its lines from
// 4 first_row on.
//
// Layout   grad_output [N, D, H, W, C], partial [slabs, 8, 4 rows, 4 tiles_x, C]
// Grid     (64 elements of a line (x, c), lines y', slabs)
// Traffic  four loads and eight stores per element of a line
// Bounds   voxels outside are zero
// Oracle   conv3d_grad_weight_naive, through the weight gradient
#import winograd_store_lines
#import winograd_tiles

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> grad_output: array<Stored>;
@group(0) @binding(2) var<storage, read_write> partial: array<Stored>;

// The element of a plane, or zero outside.
fn plane_at(first_plane: u32, z: u32, plane: u32, at: u32, inside: bool) -> Element {
    let exists = inside && z < params.depth;
    return select(Element(), unpacked(grad_output[select(0u, (first_plane + z) * plane + at, exists)]), exists);
}

@compute @workgroup_size(64)
fn winograd_grad_depth(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let line = params.tiles_x * 4u * params.channels;
    let element = workgroup.x * 64u + local;
    if element >= line {
        return;
    }
    let output_line = params.width * params.channels;
    let y = params.first_row * 4u + workgroup.y;
    let inside = element < output_line && y < params.height;
    let s = slab(params, workgroup.z);
    let plane = params.height * output_line;
    let at = y * output_line + element;
    let result = transform_grad(Four(
        plane_at(s.first_plane, s.z, plane, at, inside),
        plane_at(s.first_plane, s.z + 1u, plane, at, inside),
        plane_at(s.first_plane, s.z + 2u, plane, at, inside),
        plane_at(s.first_plane, s.z + 3u, plane, at, inside),
    ));
    let step = params.rows * 4u * line;
    let first = workgroup.z * 8u * step + workgroup.y * line + element;
    store_frequencies(first, step, result);
}
