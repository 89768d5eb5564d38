// grad_input[voxel, k] = p[voxel, k] * (g[voxel, k] - sum over j of p[voxel, j] * g[voxel, j]), with p the output of
// the softmax and g the gradient with respect to it.
//
// Layout   p, g, grad_input: [voxels, classes]
// Grid     rows.wgsl over [voxels, 1], four voxels per invocation
// Traffic  12 bytes per element; p and g are read again from the cache
// Oracle   ops::SoftmaxGrad::reference
#import rows

struct Params {
    rows: Rows,
    classes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_input: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn softmax_grad(invocation: Invocation) {
    let at = share(params.rows, invocation);
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let first = voxel * params.classes;
        var projection = 0.0;
        for (var k = 0u; k < params.classes; k++) {
            projection += p[first + k] * g[first + k];
        }
        for (var k = 0u; k < params.classes; k++) {
            grad_input[first + k] = p[first + k] * (g[first + k] - projection);
        }
    }
}
