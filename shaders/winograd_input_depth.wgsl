// The input's transform along z: partial[s, f, y', x', c] = sum over k of B^T[f, k] * input[n, OUTPUTS_Z tz - TAPS_Z / 2 + k, y, x, c],
// where s counts the chunk's slabs (n, tz), y' its lines from OUTPUTS_Y first_row - TAPS_Y / 2 on, and x' columns from -TAPS_X / 2 on.
//
// Layout   input [N, D, H, W, C], partial [slabs, FREQUENCIES_Z, OUTPUTS_Y rows + SHARED_Y, OUTPUTS_X tiles_x + SHARED_X, C]
// Grid     (64 elements of a line (x', c), lines y', slabs)
// Traffic  FREQUENCIES_Z loads and stores per element of a line
// Bounds   voxels outside the input are zero, so that the transform of planes need not look
// Oracle   conv3d_naive and the gradients' naive kernels, through the convolutions
#import winograd_store_depth
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
    let line = (params.tiles_x * OUTPUTS_X + SHARED_X) * params.channels;
    let element = workgroup.x * 64u + local;
    if element >= line {
        return;
    }
    let input_line = params.width * params.channels;
    let y = params.first_row * OUTPUTS_Y + workgroup.y - TAPS_Y / 2u;
    let offset = element - TAPS_X / 2u * params.channels;
    let inside = offset < input_line && y < params.height;
    let s = slab(params, workgroup.z);
    let plane = params.height * input_line;
    let at = y * input_line + offset;
    let z = s.z - TAPS_Z / 2u;
    let result = transform_input_z(FrequenciesZ(
#each k in FREQUENCIES_Z
        plane_at(s.first_plane, z + {k}u, plane, at, inside),
#end
    ));
    let step = (params.rows * OUTPUTS_Y + SHARED_Y) * line;
    let first = workgroup.z * FREQUENCIES_Z * step + workgroup.y * line + element;
    store_frequencies(first, step, result);
}
