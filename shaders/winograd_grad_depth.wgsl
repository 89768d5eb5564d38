// The output gradient's transform along z for the gradient of the weight: partial[s, f, y', x, c] = sum over k < OUTPUTS_Z of
// A[f, k] * grad_output[n, OUTPUTS_Z tz + k, y, x, c], where s counts the chunk's slabs (n, tz) and y' its lines from
// OUTPUTS_Y first_row on.
//
// Layout   grad_output [N, D, H, W, C], partial [slabs, FREQUENCIES_Z, OUTPUTS_Y rows, OUTPUTS_X tiles_x, C]
// Grid     (64 elements of a line (x, c), lines y', slabs)
// Traffic  OUTPUTS_Z loads and FREQUENCIES_Z stores per element of a line
// Bounds   voxels outside are zero
// Oracle   conv3d_grad_weight_naive, through the weight gradient
#import winograd_store_depth
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
    let line = params.tiles_x * OUTPUTS_X * params.channels;
    let element = workgroup.x * 64u + local;
    if element >= line {
        return;
    }
    let output_line = params.width * params.channels;
    let y = params.first_row * OUTPUTS_Y + workgroup.y;
    let inside = element < output_line && y < params.height;
    let s = slab(params, workgroup.z);
    let plane = params.height * output_line;
    let at = y * output_line + element;
    let result = transform_grad_z(OutputsZ(
#each k in OUTPUTS_Z
        plane_at(s.first_plane, s.z + {k}u, plane, at, inside),
#end
    ));
    let step = params.rows * OUTPUTS_Y * line;
    let first = workgroup.z * FREQUENCIES_Z * step + workgroup.y * line + element;
    store_frequencies(first, step, result);
}
