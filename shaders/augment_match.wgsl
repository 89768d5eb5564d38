// output[n, v, c] = to[k] + t (to[k + 1] - to[k]) with from[k] <= image[n, v, c] < from[k + 1] and t the position between
// the two: the intensity at a quantile of the image's channel becomes the one at the same quantile of another volume's.
//
// Layout   image, output: [N, voxels, C]; parameters: [N, C, 1 + 2 quantiles]: 1, or 0 to copy; from; to
// Grid     one workgroup of 64 per 1024 voxels of a sample, folded; one channel after the other
// Traffic  8 bytes per element; log2(quantiles) + 4 numbers from the cache
// Bounds   quantiles >= 2
// Oracle   augment::HistogramMatch::reference
#import channels
#import grid

struct Params {
    samples: u32,
    voxels: u32,
    tiles: u32,
    quantiles: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> image: array<f32>;
@group(0) @binding(2) var<storage, read> parameters: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

// The last quantile but one that is at most `value`, 0 if there is none.
fn interval(value: f32, from_first: u32) -> u32 {
    var low = 0u;
    var high = params.quantiles - 1u;
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if parameters[from_first + middle] <= value {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

fn match_tile(sample: u32, first: u32, channel: u32, local: u32) {
    let end = min(first + 1024u, params.voxels);
    let numbers = (sample * CHANNELS + channel) * (1u + 2u * params.quantiles);
    let matched = parameters[numbers] != 0.0;
    for (var v = first + local; v < end; v += 64u) {
        let i = (sample * params.voxels + v) * CHANNELS + channel;
        var value = image[i];
        if matched {
            let k = numbers + 1u + interval(value, numbers + 1u);
            let below = parameters[k];
            let above = parameters[k + 1u];
            var t = select(0.0, 1.0, value >= above);
            if value > below && value < above {
                t = (value - below) / (above - below);
            }
            let start = parameters[k + params.quantiles];
            value = start + t * (parameters[k + params.quantiles + 1u] - start);
        }
        output[i] = value;
    }
}

@compute @workgroup_size(64)
fn augment_match(invocation: Invocation) {
    let tile = workgroup_number(invocation);
    let sample = tile / params.tiles;
    if sample >= params.samples {
        return;
    }
    let first = (tile - sample * params.tiles) * 1024u;
    for (var channel = 0u; channel < CHANNELS; channel++) {
        match_tile(sample, first, channel, invocation.local);
    }
}
