// The gemms' transform along z, after winograd_output_plane: output[n, OUTPUTS_Z tz + k, y, x, c] = sum over f of
// A^T[k, f] * partial[s, f, y', x, c].
//
// Layout   partial [slabs, FREQUENCIES_Z, OUTPUTS_Y rows, OUTPUTS_X tiles_x, C], output [N, D, H, W, C]
// Grid     (64 elements of a line (x, c), lines y', slabs)
// Traffic  FREQUENCIES_Z loads and OUTPUTS_Z stores per element of a line
// Bounds   voxels of a tile that lie outside the output are dropped
// Oracle   as winograd_output_plane
#import winograd_load_depth
#import winograd_tiles

@group(0) @binding(0) var<uniform> params: Tiles;
@group(0) @binding(1) var<storage, read> partial: array<Stored>;
@group(0) @binding(2) var<storage, read_write> output: array<Stored>;

@compute @workgroup_size(64)
fn winograd_output_depth(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let line = params.width * params.channels;
    let element = workgroup.x * 64u + local;
    let y = params.first_row * OUTPUTS_Y + workgroup.y;
    if element >= line || y >= params.height {
        return;
    }
    let padded_line = params.tiles_x * OUTPUTS_X * params.channels;
    let step = params.rows * OUTPUTS_Y * padded_line;
    let first = workgroup.z * FREQUENCIES_Z * step + workgroup.y * padded_line + element;
    let result = transform_output_z(load_frequencies(first, step));
    let s = slab(params, workgroup.z);
    let plane = params.height * line;
    let at = (s.first_plane + s.z) * plane + y * line + element;
    let planes = params.depth - s.z;
#each k in OUTPUTS_Z
    if {k}u < planes {
        output[at + {k}u * plane] = packed(result.f{k});
    }
#end
}
