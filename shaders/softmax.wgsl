// output[voxel, k] = exp(input[voxel, k] - m) / sum over j of exp(input[voxel, j] - m), m = max over j of
// input[voxel, j].
//
// Layout   input, output: [voxels, classes]
// Grid     rows.wgsl over [voxels, 1], four voxels per invocation
// Traffic  8 bytes per element; input and output are read again from the cache
// Oracle   ops::Softmax::reference
#import rows

struct Params {
    rows: Rows,
    classes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn softmax(invocation: Invocation) {
    let at = share(params.rows, invocation);
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let first = voxel * params.classes;
        var largest = input[first];
        for (var k = 1u; k < params.classes; k++) {
            largest = max(largest, input[first + k]);
        }
        var sum = 0.0;
        for (var k = 0u; k < params.classes; k++) {
            let e = exp(input[first + k] - largest);
            output[first + k] = e;
            sum += e;
        }
        for (var k = 0u; k < params.classes; k++) {
            output[first + k] /= sum;
        }
    }
}
