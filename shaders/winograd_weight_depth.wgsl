// The weights' transform along z: partial[f, t, e] = sum over k < 5 of G[f, k] * weight[25 k + t, e], or of the taps from
// the other end for the gradient with respect to the input.
//
// Layout   weight [5, 25, elements], partial [8, 25, elements], an element being a pair of channels
// Grid     (64 elements, 25 taps)
// Traffic  five loads and eight stores per element
// Oracle   conv3d_naive and conv3d_grad_input_naive, through the convolutions
#import winograd_store_lines

struct Params {
    elements: u32,
    mirrored: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<Stored>;
@group(0) @binding(2) var<storage, read_write> partial: array<Stored>;

fn tap_at(k: u32, at: u32) -> Element {
    let z = select(k, 4u - k, params.mirrored != 0u);
    return unpacked(weight[z * 25u * params.elements + at]);
}

@compute @workgroup_size(64)
fn winograd_weight_depth(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let element = workgroup.x * 64u + local;
    if element >= params.elements {
        return;
    }
    let at = workgroup.y * params.elements + element;
    let result = transform_weight(Five(tap_at(0u, at), tap_at(1u, at), tap_at(2u, at), tap_at(3u, at), tap_at(4u, at)));
    let step = 25u * params.elements;
    store_frequencies(at, step, result);
}
