// From the sums of tiles what the gradient of a normalisation needs of whole sets, and the gradients of its parameters. The first
// `columns` columns are the sets and groups: means[set, 0, channel] = mean over the elements of weight * g, means[set, 1, channel]
// that of weight * g * normalised, the same for all channels of a group. The others are the channels: grad_bias, grad_weight and
// grad_slope are the sums of the three sums over all samples.
//
// A column has `lanes` invocations, a workgroup `width` columns; columns of sets and of channels share no workgroup.
//
// Layout   partial: [sets, set_tiles, 3, channels]; weights, grad_weight, grad_bias, grad_slope, grad_sum: [channels];
//          means: [sets, 2, channels]. grad_sum, the sum of the gradient of the input over a set, is 0 where a group is a channel.
// Grid     one workgroup per `width` columns, folded
// Shared   1 KiB
// Traffic  20 bytes per tile and channel
// Oracle   ops::NormaliseGrad::reference
#import grid
#import reduce

struct Params {
    columns: u32,        // sets times groups
    groups: u32,
    group_channels: u32,
    channels: u32,
    set_tiles: u32,      // tiles of all samples of a set
    all_tiles: u32,      // of all samples
    width: u32,
    lanes: u32,
    workgroups: u32,     // of the columns of sets
    slopes: u32,         // 1: a slope per channel
    elements: f32,       // of a set and group
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> means: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_slope: array<f32>;
@group(0) @binding(7) var<storage, read_write> grad_sum: array<f32>;

// The sums of a column of a set over the items lane, lane + lanes, …
fn of_set(sample: u32, group: u32, lane: u32, items: u32) -> vec3<f32> {
    var sums = vec3<f32>();
    for (var i = lane; i < items; i += params.lanes) {
        let tile = i / params.group_channels;
        let channel = group * params.group_channels + i - tile * params.group_channels;
        let start = 3u * (sample * params.set_tiles + tile) * params.channels + channel;
        let weight = weights[channel];
        sums += vec3(weight * partial[start], weight * partial[start + params.channels], 0.0);
    }
    return sums;
}

// Those of a channel over the tiles lane, lane + lanes, …
fn of_channel(channel: u32, lane: u32, tiles: u32) -> vec3<f32> {
    var sums = vec3<f32>();
    for (var tile = lane; tile < tiles; tile += params.lanes) {
        let start = 3u * tile * params.channels + channel;
        sums += vec3(partial[start], partial[start + params.channels], 0.0);
        if params.slopes == 1u {
            sums.z += partial[start + 2u * params.channels];
        }
    }
    return sums;
}

@compute @workgroup_size(256)
fn norm_grad_means(invocation: Invocation) {
    let workgroup = workgroup_number(invocation);
    let lane = invocation.local / params.width;
    let of_sets = workgroup < params.workgroups;
    let first = select((workgroup - params.workgroups) * params.width, workgroup * params.width, of_sets);
    let column = first + invocation.local % params.width;
    let columns = select(params.channels, params.columns, of_sets);
    let exists = column < columns;
    let sample = column / params.groups;
    let group = column - sample * params.groups;
    var sums = vec3<f32>();
    if exists && of_sets {
        sums = of_set(sample, group, lane, params.set_tiles * params.group_channels);
    } else if exists {
        sums = of_channel(column, lane, params.all_tiles);
    }
    let a = sum_groups(invocation.local, params.width, params.lanes, sums.x);
    let b = sum_groups(invocation.local, params.width, params.lanes, sums.y);
    let c = sum_groups(invocation.local, params.width, params.lanes, sums.z);
    if !exists || lane > 0u {
        return;
    }
    if of_sets {
        for (var i = 0u; i < params.group_channels; i += 1u) {
            let to = 2u * sample * params.channels + group * params.group_channels + i;
            means[to] = a / params.elements;
            means[to + params.channels] = b / params.elements;
        }
    } else {
        grad_bias[column] = a;
        grad_weight[column] = b;
        grad_slope[column] = c;
        grad_sum[column] = 0.0;
    }
}
