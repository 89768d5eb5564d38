// The weights' transform along z: partial[f, t, e] = sum over k < TAPS_Z of G[f, k] * weight[plane k + t, e] for the taps t of a
// plane, or of the taps from the other end for the gradient with respect to the input.
//
// Layout   weight [TAPS_Z, TAPS_Y TAPS_X, elements], partial [FREQUENCIES_Z, TAPS_Y TAPS_X, elements], an element being a pair of
//          channels
// Grid     (64 elements, TAPS_Y TAPS_X)
// Traffic  TAPS_Z loads and FREQUENCIES_Z stores per element
// Oracle   conv3d_naive and conv3d_grad_input_naive, through the convolutions
#import winograd_store_depth

struct Params {
    elements: u32,
    mirrored: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read_write> partial: array<Stored>;

fn tap_at(k: u32, at: u32) -> Element {
    let z = select(k, TAPS_Z - 1u - k, params.mirrored != 0u);
    return unpacked(weight[z * TAPS_Y * TAPS_X * params.elements + at]);
}

@compute @workgroup_size(64)
fn winograd_weight_depth(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let element = workgroup.x * 64u + local;
    if element >= params.elements {
        return;
    }
    let at = workgroup.y * params.elements + element;
    let result = transform_weight_z(TapsZ(
#each k in TAPS_Z
        tap_at({k}u, at),
#end
    ));
    store_frequencies(at, TAPS_Y * TAPS_X * params.elements, result);
}
