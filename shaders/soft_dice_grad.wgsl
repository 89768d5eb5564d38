// grad_p[voxel, k] = -grad_output * weight / count * (overlap g - (both g + predicted x) numerator / denominator) / denominator
// with numerator and denominator of soft_dice_loss.wgsl of the sample (or the batch) and output, and x = 2 p, without squares 1; 0
// for the background and where the voxel is ignored.
//
// Layout   p, grad_p: [samples, voxels, outputs]; labels: [samples, voxels] or [samples, voxels, outputs];
//          sums: [samples or 1, foreground outputs, 3]; grad_output: [1]; class_weights: [outputs]
// Grid     rows.wgsl, four voxels per invocation
// Traffic  12 bytes per element
// Oracle   ops::SoftDiceGrad::reference
#import rows
#import labels
#import class_weights

struct Params {
    rows: Rows,
    masks: u32,   // 1: labels are masks of regions, 0: numbers of classes
    ignored: u32, // labels from here on say that the voxel has no say
    squares: u32,
    samples: u32, // of sums
    epsilon: f32,
    overlap: f32,
    both: f32,
    predicted: f32,
    labelled: f32,
    both_share: f32,    // both / overlap
    predicted_share: f32, // 2 predicted / overlap
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> sums: array<f32>;
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(5) var<storage, read> class_weights: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_p: array<f32>;

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
        let numerator = params.overlap * sums[i] + params.epsilon;
        let all = params.both * sums[i] + params.predicted * sums[i + 1u] + params.labelled * sums[i + 2u];
        let denominator = all + params.epsilon;
        let count = f32(params.samples * foreground);
        let of_overlap = -params.overlap * (weight_of(at.channel) * grad_output[0]) / (count * denominator);
        let of_denominator = -of_overlap * numerator / denominator;
        of_g = of_overlap + params.both_share * of_denominator;
        of_x = params.predicted_share * of_denominator;
    }
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let i = voxel * params.rows.channels + at.channel;
        let word = label_word(voxel, params.rows.channels);
        let label = labels[word];
        var grad = 0.0;
        if label < params.ignored {
            let x = select(0.5, p[i], params.squares == 1u);
            grad = of_x * x + times_share(of_g, params.masks, label, word, at.channel);
        }
        grad_p[i] = grad;
    }
}
