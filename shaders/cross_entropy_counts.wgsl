// partial[tile, channel] = number of voxels of the tile whose label is the channel, or sum of its shares. Counts are exact in f32
// below 2^24 voxels per sample.
//
// Layout   labels: [samples, voxels] or [samples, voxels, classes]; partial: [samples, tiles, channels]
// Grid     rows.wgsl, one workgroup per tile and block of classes
// Shared   1 KiB
// Traffic  4 bytes per voxel and class
// Oracle   ops::CrossEntropyLoss::reference
#import rows
#import reduce
#import labels

struct Params {
    rows: Rows,
    masks: u32,
    ignored: u32, // labels from here on say that the voxel has no say
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn cross_entropy_counts(invocation: Invocation) {
    let at = share(params.rows, invocation);
    var count = 0.0;
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let word = label_word(voxel, params.rows.channels);
        let label = labels[word];
        count += times_share(select(0.0, 1.0, label < params.ignored), params.masks, label, word, at.channel);
    }
    let total = sum_groups(invocation.local, params.rows.block, params.rows.groups, count);
    if at.leads {
        partial[at.tile * params.rows.channels + at.channel] = total;
    }
}
