// The weight gradient's transform along z, after winograd_grad_weight_plane: grad_weight[25 k + t, e] = sum over f of
// G^T[k, f] * partial[f, t, e].
//
// Layout   partial [8, 25, elements], grad_weight [5, 25, elements], an element being a pair of channels
// Grid     (64 elements, 25 taps)
// Traffic  eight loads and five stores per element
// Oracle   conv3d_grad_weight_naive, through the weight gradient
#import winograd_load_lines

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
    let step = 25u * elements;
    let result = transform_grad_weight(load_eight(at, step));
    grad_weight[at] = packed(result.a);
    grad_weight[at + step] = packed(result.b);
    grad_weight[at + 2u * step] = packed(result.c);
    grad_weight[at + 3u * step] = packed(result.d);
    grad_weight[at + 4u * step] = packed(result.e);
}
