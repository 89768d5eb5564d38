// loss = mean over samples (or the whole batch) and foreground outputs of weight * (1 - (overlap pg + epsilon) /
// (both pg + predicted pp + labelled gg + epsilon)): overlap 2, both 0, predicted and labelled 1 for Dice.
//
// Layout   sums: [count, 3] with pg, pp, gg; loss: [1]; class_weights: [outputs]
// Grid     one workgroup
// Shared   1 KiB
// Traffic  12 bytes per sample and output
// Oracle   ops::SoftDiceLoss::reference
#import reduce
#import class_weights

struct Params {
    count: u32, // samples, or 1, times foreground outputs
    epsilon: f32,
    overlap: f32,
    both: f32,
    predicted: f32,
    labelled: f32,
    foreground: u32, // foreground outputs
    background: u32, // outputs before them
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read> class_weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;

@compute @workgroup_size(256)
fn soft_dice_loss(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var i = local; i < params.count; i += 256u) {
        let pg = sums[3u * i];
        let numerator = params.overlap * pg + params.epsilon;
        let all = params.both * pg + params.predicted * sums[3u * i + 1u] + params.labelled * sums[3u * i + 2u];
        let denominator = all + params.epsilon;
        sum += weight_of(i % params.foreground + params.background) * (1.0 - numerator / denominator);
    }
    let total = sum_groups(local, 1u, 256u, sum);
    if local == 0u {
        loss[0] = total / f32(params.count);
    }
}
