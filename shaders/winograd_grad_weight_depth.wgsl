// The weight gradient's transform along z, after winograd_grad_weight_plane: grad_weight[plane k + t, e] = sum over f of
// G^T[k, f] * partial[f, t, e], for the taps t of a plane.
//
// Layout   partial [FREQUENCIES_Z, TAPS_Y TAPS_X, elements], grad_weight [TAPS_Z, TAPS_Y TAPS_X, elements], an element being a pair of
//          channels
// Grid     (64 elements, TAPS_Y TAPS_X)
// Traffic  FREQUENCIES_Z loads and TAPS_Z stores per element
// Oracle   conv3d_grad_weight_naive, through the weight gradient
#import winograd_load_depth

@group(0) @binding(0) var<uniform> elements: u32;
@group(0) @binding(1) var<storage, read> partial: array<Stored>;
@group(0) @binding(2) var<storage, read_write> grad_weight: array<Stored>;

@compute @workgroup_size(64)
fn winograd_grad_weight_depth(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let element = workgroup.x * 64u + local;
    if element >= elements {
        return;
    }
    let at = workgroup.y * elements + element;
    let step = TAPS_Y * TAPS_X * elements;
    let result = transform_grad_weight_z(load_frequencies(at, step));
#each k in TAPS_Z
    grad_weight[at + {k}u * step] = packed(result.f{k});
#end
}
