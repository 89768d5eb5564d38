// loss = mean over samples (or the whole batch) and foreground outputs of 1 - (2 pg + epsilon) / (pp + gg + epsilon).
//
// Layout   sums: [count, 3] with pg, pp, gg; loss: [1]
// Grid     one workgroup
// Shared   1 KiB
// Traffic  12 bytes per sample and output
// Oracle   ops::SoftDiceLoss::reference
#import reduce

struct Params {
    count: u32, // samples, or 1, times foreground outputs
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;

@compute @workgroup_size(256)
fn soft_dice_loss(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var i = local; i < params.count; i += 256u) {
        let numerator = 2.0 * sums[3u * i] + params.epsilon;
        let denominator = sums[3u * i + 1u] + sums[3u * i + 2u] + params.epsilon;
        sum += 1.0 - numerator / denominator;
    }
    let total = sum_groups(local, 1u, 256u, sum);
    if local == 0u {
        loss[0] = total / f32(params.count);
    }
}
