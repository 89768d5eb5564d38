// grad_p[voxel, k] = 2 grad_output / count * (x * numerator / denominator - g) / denominator with numerator = 2 pg + epsilon,
// denominator = pp + gg + epsilon of the sample (or the batch) and output, and x = p, without squares 1/2; 0 for the background
// and where the voxel is ignored.
//
// Layout   p, grad_p: [samples, voxels, outputs]; labels: [samples, voxels]; sums: [samples or 1, foreground outputs, 3];
//          grad_output: [1]
// Grid     rows.wgsl, four voxels per invocation
// Traffic  12 bytes per element
// Oracle   ops::SoftDiceGrad::reference
#import rows
#import labels

struct Params {
    rows: Rows,
    masks: u32,   // 1: labels are masks of regions, 0: numbers of classes
    ignored: u32, // labels from here on say that the voxel has no say
    squares: u32,
    samples: u32, // of sums
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
    let background = 1u - params.masks;
    let foreground = params.rows.channels - background;
    // The gradient is linear in x and g: both factors are 0 for the background.
    var of_x = 0.0;
    var of_g = 0.0;
    if at.channel >= background {
        let i = 3u * (min(at.sample, params.samples - 1u) * foreground + at.channel - background);
        let numerator = 2.0 * sums[i] + params.epsilon;
        let denominator = sums[i + 1u] + sums[i + 2u] + params.epsilon;
        let count = f32(params.samples * foreground);
        of_g = -2.0 * grad_output[0] / (count * denominator);
        of_x = -of_g * numerator / denominator;
    }
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let i = voxel * params.rows.channels + at.channel;
        let label = labels[voxel];
        var grad = 0.0;
        if label < params.ignored {
            let x = select(0.5, p[i], params.squares == 1u);
            grad = of_x * x + select(0.0, of_g, belongs(params.masks, label, at.channel));
        }
        grad_p[i] = grad;
    }
}
