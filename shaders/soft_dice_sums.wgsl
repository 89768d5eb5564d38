// partial[tile, channel, 0..3] = sums over the voxels of the tile that count of p g, of p² and of g² (without squares p and g),
// where k is the channel-th foreground output, p is p[voxel, k] and g 1 where the voxel belongs to it, else 0, or its share.
//
// Layout   p: [samples, voxels, background + channels]; labels: [samples, voxels] or
//          [samples, voxels, background + channels]; partial: [samples, tiles, channels, 3]
// Grid     rows.wgsl over the foreground outputs, one workgroup per tile and block of outputs
// Shared   1 KiB
// Traffic  8 bytes per voxel and foreground output
// Oracle   ops::SoftDiceLoss::reference
#import rows
#import reduce
#import labels

struct Params {
    rows: Rows,
    masks: u32,   // 1: labels are masks of regions, 0: numbers of classes
    ignored: u32, // labels from here on say that the voxel has no say
    squares: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn soft_dice_sums(invocation: Invocation) {
    let at = share(params.rows, invocation);
    let background = 1u - params.masks;
    let k = at.channel + background;
    var overlap = 0.0;
    var predicted = 0.0;
    var labelled = 0.0;
    let outputs = params.rows.channels + background;
    for (var voxel = at.row; voxel < at.end; voxel += params.rows.groups) {
        let word = label_word(voxel, outputs);
        let label = labels[word];
        let has_say = label < params.ignored;
        let x = select(0.0, p[voxel * outputs + k], has_say);
        let g = times_share(select(0.0, 1.0, has_say), params.masks, label, word, k);
        overlap += x * g;
        predicted += x * select(1.0, x, params.squares == 1u);
        labelled += g * select(1.0, g, params.squares == 1u);
    }
    let overlaps = sum_groups(invocation.local, params.rows.block, params.rows.groups, overlap);
    let predictions = sum_groups(invocation.local, params.rows.block, params.rows.groups, predicted);
    let voxels = sum_groups(invocation.local, params.rows.block, params.rows.groups, labelled);
    if at.leads {
        let i = (at.tile * params.rows.channels + at.channel) * 3u;
        partial[i] = overlaps;
        partial[i + 1u] = predictions;
        partial[i + 2u] = voxels;
    }
}
