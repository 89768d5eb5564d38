// grad_p[voxel, class] = grad_output / (samples * foreground classes) * 2 (p * numerator / denominator - g) / denominator
// with numerator = 2 pg + epsilon, denominator = pp + gg + epsilon of the sample and class; 0 for class 0.
//
// Layout   p, grad_p: [samples, voxels, channels]; labels: [samples, voxels]; sums: [samples, channels - 1, 3];
//          grad_output: [1]
// Grid     rows.wgsl, four voxels per invocation
// Traffic  12 bytes per element
// Oracle   ops::SoftDiceGrad::reference
#import rows

struct Params {
    rows: Rows,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> sums: array<f32>;
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_p: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn soft_dice_grad(invocation: Invocation) {
    let at = share(params.rows, invocation);
    if at.row >= at.end {
        return;
    }
    // The gradient is linear in p and g: both factors are 0 for the background.
    var of_p = 0.0;
    var of_g = 0.0;
    if at.channel > 0u {
        let i = 3u * (at.sample * (params.rows.channels - 1u) + at.channel - 1u);
        let numerator = 2.0 * sums[i] + params.epsilon;
        let denominator = sums[i + 1u] + sums[i + 2u] + params.epsilon;
        let count = f32(params.rows.samples * (params.rows.channels - 1u));
        of_g = -2.0 * grad_output[0] / (count * denominator);
        of_p = -of_g * numerator / denominator;
    }
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let i = voxel * params.rows.channels + at.channel;
        grad_p[i] = of_p * p[i] + select(0.0, of_g, labels[voxel] == at.channel);
    }
}
