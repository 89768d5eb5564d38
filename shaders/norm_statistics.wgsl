// Mean and inverse standard deviation of each set of elements from those of tiles: statistics[set, 0, channel] = mean,
// statistics[set, 1, channel] = 1 / sqrt(variance + epsilon), the same for all channels of a group. Of a batch also mean and
// unbiased variance, batch_mean[channel] and batch_variance[channel].
//
// A column is a set and a group; its items are the means of its tiles and channels. `lanes` invocations sum each column, of which a
// workgroup has `width`.
//
// Layout   partial: [sets, set_tiles, 2, channels]; statistics: [sets, 2, channels]; batch_mean, batch_variance: [channels]
// Grid     one workgroup per `width` columns, folded
// Shared   2 KiB
// Traffic  8 bytes per item, and as much once more
// Oracle   ops::Normalise::reference
#import grid
#import reduce

struct Params {
    columns: u32,        // sets times groups
    groups: u32,
    group_channels: u32,
    channels: u32,
    set_tiles: u32,      // tiles of all samples of a set
    tiles: u32,          // of one sample
    tile: u32,           // rows of a tile
    rows: u32,           // of one sample
    width: u32,
    lanes: u32,
    elements: f32,       // of a set and group
    others: f32,         // one less
    epsilon: f32,
    batch: u32,          // 1: a batch
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> statistics: array<f32>;
@group(0) @binding(3) var<storage, read_write> batch_mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> batch_variance: array<f32>;

var<workgroup> means: array<f32, 256>;

// Where the mean of an item of a column is, of a sample or of the batch; its squares are `channels` further on.
fn place(sample: u32, group: u32, item: u32) -> u32 {
    let tile = item / params.group_channels;
    let channel = group * params.group_channels + item - tile * params.group_channels;
    return 2u * (sample * params.set_tiles + tile) * params.channels + channel;
}

// Rows of the tile of an item.
fn count(item: u32) -> f32 {
    let tile = (item / params.group_channels) % params.tiles;
    return f32(min(params.tile, params.rows - tile * params.tile));
}

@compute @workgroup_size(256)
fn norm_statistics(invocation: Invocation) {
    let column = workgroup_number(invocation) * params.width + invocation.local % params.width;
    let lane = invocation.local / params.width;
    let exists = column < params.columns;
    let sample = min(column, params.columns - 1u) / params.groups;
    let group = min(column, params.columns - 1u) - sample * params.groups;
    let items = select(0u, params.set_tiles * params.group_channels, exists);
    let pivot = partial[place(sample, group, 0u)];
    var sum = 0.0;
    for (var i = lane; i < items; i += params.lanes) {
        sum += (partial[place(sample, group, i)] - pivot) * count(i);
    }
    let total = sum_groups(invocation.local, params.width, params.lanes, sum);
    means[invocation.local] = pivot + total / params.elements;
    workgroupBarrier();
    let mean = means[invocation.local % params.width];
    var squares = 0.0;
    for (var i = lane; i < items; i += params.lanes) {
        let start = place(sample, group, i);
        let apart = partial[start] - mean;
        squares += partial[start + params.channels] + apart * apart * count(i);
    }
    let all = sum_groups(invocation.local, params.width, params.lanes, squares);
    if !exists || lane > 0u {
        return;
    }
    let scale = 1.0 / sqrt(all / params.elements + params.epsilon);
    for (var i = 0u; i < params.group_channels; i += 1u) {
        let channel = group * params.group_channels + i;
        let to = 2u * sample * params.channels + channel;
        statistics[to] = mean;
        statistics[to + params.channels] = scale;
    }
    if params.batch == 1u {
        batch_mean[group] = mean;
        batch_variance[group] = all / params.others;
    }
}
